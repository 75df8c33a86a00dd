//! The engine in the same process.
//!
//! A call takes a session from a pool, the keyspace's lock if it is free, and
//! answers without suspending; it waits, in the caller's task, only where the
//! lock is held, the journal has to be durable first, or the command blocks.
//! Cost beside the engine's own call: two uncontended locks.

use std::sync::Arc;

use parking_lot::Mutex;
use sangam_engine::keyspace::{Busy, Keyspace};
use sangam_engine::session::Session;
use sangam_engine::{Batch, Engine, Reply, Seq};
use tokio::sync::watch;

use crate::commands::{Argv, Commands};
use crate::error::{Error, Why, checked, refusal};
use crate::kind::is_of_connection;
use crate::op::AtomicOp;
use crate::resilience::{State, Status};

/// Sessions that are kept for the next call.
const SESSIONS_KEPT: usize = 64;
/// Commands of a pipeline that run under one acquisition of the lock.
const TURN_COMMANDS: usize = 128;
/// What a pause takes an atomic step for.
const SCRIPT: &[&[u8]] = &[b"EVAL"];

/// An engine's keyspace, for callers with full rights.
pub(crate) struct Embedded {
    pub(crate) engine: Engine,
    keyspace: Arc<Keyspace>,
    #[allow(
        clippy::vec_box,
        reason = "a session is large, and is moved twice a call"
    )]
    sessions: Mutex<Vec<Box<Session>>>,
    /// Always up; here so that it can be watched like others.
    pub(crate) state: watch::Sender<State>,
}

/// A session that goes back to the pool.
struct Lent<'a> {
    store: &'a Embedded,
    session: Option<Box<Session>>,
}

impl Lent<'_> {
    fn get(&mut self) -> &mut Session {
        let store = self.store;
        self.session.get_or_insert_with(|| store.new_session())
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        // A call that was given up while it waited leaves nothing behind.
        drop(session.take_blocked());
        let mut sessions = self.store.sessions.lock();
        if sessions.len() < SESSIONS_KEPT {
            sessions.push(session);
        }
    }
}

impl Embedded {
    pub(crate) fn new(engine: Engine, keyspace: Arc<Keyspace>) -> Self {
        let (state, _) = watch::channel(State {
            status: Status::Up,
            reason: String::new(),
            since_ms: engine.now_micros() / 1000,
        });
        Embedded {
            state,
            engine,
            keyspace,
            sessions: Mutex::new(Vec::with_capacity(SESSIONS_KEPT)),
        }
    }

    pub(crate) fn session(&self) -> Session {
        let mut session = self.engine.session();
        session.set_principal(Some(self.engine.owner_of(&self.keyspace)));
        session
    }

    #[cold]
    fn new_session(&self) -> Box<Session> {
        Box::new(self.session())
    }

    fn lend(&self) -> Lent<'_> {
        let kept = self.sessions.lock().pop();
        Lent {
            store: self,
            session: kept,
        }
    }

    pub(crate) async fn call(&self, argv: &[&[u8]]) -> Result<Reply, Error> {
        if let Some(name) = argv.first()
            && is_of_connection(name)
        {
            return Err(of_connection(name));
        }
        let mut lent = self.lend();
        let session = lent.get();
        if let Some((reply, done)) = self.run_now(session, argv) {
            if !self.engine.must_wait(done.seq) && !session.is_blocked() {
                return checked(reply);
            }
            return Box::pin(self.finish(session, reply, done)).await;
        }
        Box::pin(self.call_later(session, argv)).await
    }

    /// Runs a command where the lock is free.
    fn run_now(&self, session: &mut Session, argv: &[&[u8]]) -> Option<(Reply, Done)> {
        if self.engine.paused(session, argv).is_some() {
            return None;
        }
        let mut batch = self.engine.try_batch(&self.keyspace)?;
        Some((batch.run(session, argv), Done::of(&batch)))
    }

    async fn call_later(&self, session: &mut Session, argv: &[&[u8]]) -> Result<Reply, Error> {
        self.until_resumed(session, argv).await;
        if self.keyspace.is_busy()
            && let Some(reply) = self.engine.call_unlocked(session, argv)
        {
            return checked(reply);
        }
        let (reply, done) = match self.engine.batch(&self.keyspace).await {
            Ok(mut batch) => (batch.run(session, argv), Done::of(&batch)),
            Err(Busy) => return checked(Engine::busy_reply(&self.keyspace)),
        };
        self.finish(session, reply, done).await
    }

    /// Waits for what the reply waits for.
    async fn finish(
        &self,
        session: &mut Session,
        reply: Reply,
        done: Done,
    ) -> Result<Reply, Error> {
        let Some(blocked) = session.take_blocked() else {
            self.settle(done).await?;
            return checked(reply);
        };
        let wait = self.engine.unblocked(&blocked);
        match blocked.patience {
            Some(patience) => {
                let _ = tokio::time::timeout(patience, wait).await;
            }
            None => wait.await,
        }
        let (reply, seq) = self.engine.blocked_reply(&blocked);
        self.settle(Done { seq, wrote: true }).await?;
        checked(reply)
    }

    pub(crate) async fn pipeline(&self, commands: &Commands) -> Vec<Result<Reply, Error>> {
        let mut lent = self.lend();
        let session = lent.get();
        let mut replies = Vec::with_capacity(commands.len());
        let mut done = Done::default();
        while replies.len() < commands.len() {
            if !replies.is_empty() {
                // Those who wait for the lock were woken; let them run.
                tokio::task::yield_now().await;
            }
            let Some(argv) = commands.get(replies.len()) else {
                break;
            };
            self.until_resumed(session, &argv).await;
            if let Ok(batch) = self.engine.batch(&self.keyspace).await {
                let turn = self.turn(batch, session, commands, &mut replies);
                done = Done {
                    seq: turn.seq,
                    wrote: done.wrote | turn.wrote,
                };
            } else {
                let reply = self.engine.call_unlocked(session, &argv);
                let reply = reply.unwrap_or_else(|| Engine::busy_reply(&self.keyspace));
                replies.push(checked(reply));
            }
        }
        if let Err(error) = self.settle(done).await {
            replies.fill(Err(error));
        }
        replies
    }

    /// Runs a pipeline's next commands under one acquisition of the lock.
    fn turn(
        &self,
        mut batch: Batch<'_>,
        session: &mut Session,
        commands: &Commands,
        replies: &mut Vec<Result<Reply, Error>>,
    ) -> Done {
        for _ in 0..TURN_COMMANDS {
            let Some(argv) = commands.get(replies.len()) else {
                break;
            };
            if self.engine.paused(session, &argv).is_some() {
                break;
            }
            replies.push(run_in_pipeline(&mut batch, session, &argv));
        }
        Done::of(&batch)
    }

    pub(crate) async fn transaction(
        &self,
        commands: &Commands,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        let unit: Vec<Vec<&[u8]>> = commands.iter().map(Argv::into_vec).collect();
        if let Some(name) = unit
            .iter()
            .filter_map(|it| it.first())
            .find(|it| is_of_connection(it))
        {
            return Err(of_connection(name));
        }
        let mut lent = self.lend();
        let session = lent.get();
        for argv in &unit {
            self.until_resumed(session, argv).await;
        }
        let mut replies = Vec::with_capacity(unit.len());
        let (outcome, done) = match self.engine.batch(&self.keyspace).await {
            Ok(mut batch) => {
                let outcome = batch.transaction(session, &unit, &mut |reply| {
                    replies.push(checked(reply.clone()));
                    true
                });
                (outcome, Done::of(&batch))
            }
            Err(Busy) => (Err(Engine::busy_reply(&self.keyspace)), Done::default()),
        };
        drop(session.take_blocked());
        if let Err(refusal) = outcome {
            checked(refusal)?;
        }
        self.settle(done).await?;
        Ok(replies)
    }

    /// Runs an atomic step; as [`Embedded::call`], it suspends only where it waits.
    pub(crate) async fn atomic<O: AtomicOp>(&self, op: &O) -> Result<O::Output, Error> {
        let mut lent = self.lend();
        let session = lent.get();
        if let Some((outcome, done)) = self.atomic_now(session, op) {
            if self.engine.must_wait(done.seq) {
                Box::pin(self.settle(done)).await?;
            }
            return outcome;
        }
        Box::pin(self.atomic_later(session, op)).await
    }

    /// Runs it where nothing has to be waited for, or not at all.
    pub(crate) fn atomic_at_once<O: AtomicOp>(&self, op: &O) -> Option<Result<O::Output, Error>> {
        if self.engine.waits_for_the_disk() {
            return None;
        }
        let mut lent = self.lend();
        let (outcome, _) = self.atomic_now(lent.get(), op)?;
        Some(outcome)
    }

    /// Runs it where the lock is free.
    fn atomic_now<O: AtomicOp>(
        &self,
        session: &mut Session,
        op: &O,
    ) -> Option<(Result<O::Output, Error>, Done)> {
        if self.engine.paused(session, SCRIPT).is_some() {
            return None;
        }
        let mut batch = self.engine.try_batch(&self.keyspace)?;
        Some((run_atomic(&mut batch, session, op), Done::of(&batch)))
    }

    async fn atomic_later<O: AtomicOp>(
        &self,
        session: &mut Session,
        op: &O,
    ) -> Result<O::Output, Error> {
        self.until_resumed(session, SCRIPT).await;
        let (outcome, done) = match self.engine.batch(&self.keyspace).await {
            Ok(mut batch) => {
                let outcome = run_atomic(&mut batch, session, op);
                (outcome, Done::of(&batch))
            }
            Err(Busy) => return Err(refusal(Engine::busy_reply(&self.keyspace))),
        };
        self.settle(done).await?;
        outcome
    }

    /// Waits until it is as durable as the policy wants.
    pub(crate) async fn settle(&self, done: Done) -> Result<(), Error> {
        if self.engine.must_wait(done.seq)
            && self.engine.durable(done.seq).await.is_err()
            && done.wrote
        {
            let text = match self.engine.lost_reply() {
                Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
                _ => String::new(),
            };
            return Err(Error::Indeterminate(Why::Refusing(text)));
        }
        Ok(())
    }

    async fn until_resumed(&self, session: &Session, argv: &[&[u8]]) {
        while let Some(wait) = self.engine.paused(session, argv) {
            tokio::time::sleep(wait).await;
        }
    }
}

fn run_atomic<O: AtomicOp>(
    batch: &mut Batch<'_>,
    session: &mut Session,
    op: &O,
) -> Result<O::Output, Error> {
    let outcome = batch.atomic(session, &op.keys(), |tx| op.run(tx));
    outcome.map_err(|error| refusal(error.into()))
}

/// What ran under a lock that was given back.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    seq: Seq,
    wrote: bool,
}

impl Done {
    pub(crate) fn of(batch: &Batch<'_>) -> Self {
        Done {
            seq: batch.seq(),
            wrote: batch.wrote(),
        }
    }
}

/// A blocking command answers in a pipeline as if its time were over.
fn run_in_pipeline(
    batch: &mut Batch<'_>,
    session: &mut Session,
    argv: &[&[u8]],
) -> Result<Reply, Error> {
    if let Some(name) = argv.first()
        && is_of_connection(name)
    {
        return Err(of_connection(name));
    }
    let reply = batch.run(session, argv);
    match session.take_blocked() {
        Some(_) => Ok(Reply::NullArray),
        None => checked(reply),
    }
}

/// The refusal of a command about the connection.
pub(crate) fn of_connection(name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    Error::Unsupported(format!(
        "{name} is about a connection, and a store's connections are shared: use `transaction` \
         for MULTI, `atomic` or `script` for WATCH, `subscribe` for messages"
    ))
}
