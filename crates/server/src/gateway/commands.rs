//! What the gateway asks of whatever stands behind it.
//!
//! The engine in process answers at once whenever its lock is free, and then
//! nothing is allocated for it; a store on another machine answers later. Both
//! serve the same gateway.

use std::pin::Pin;
use std::sync::Arc;

use sangam_engine::journal::Health;
use sangam_engine::keyspace::{Busy, Keyspace};
use sangam_engine::session::{Principal, Session};
use sangam_engine::{Batch, Engine, Reply, Seq};
use sangam_wire::{Argv, rest};

/// Commands that may run under one acquisition of the lock.
const TURN_COMMANDS: usize = 128;
/// Microseconds after which a pipeline lets others have the lock.
const TURN_MICROS: u64 = 1000;

/// An answer, now or later.
pub enum Answer<'a, T> {
    /// It is here.
    Ready(T),
    /// It comes.
    Later(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<T> Answer<'_, T> {
    /// Waits for it.
    pub async fn get(self) -> T {
        match self {
            Answer::Ready(answer) => answer,
            Answer::Later(future) => future.await,
        }
    }
}

/// Takes the replies of a batch, in order; answers how many bytes there is room
/// for after it, and nothing where there was none for it.
pub type Each<'a> = &'a mut (dyn FnMut(&Reply) -> Option<usize> + Send + 'a);

/// What the reply of a single command has to fit into.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// Bytes of the answer.
    pub bytes: usize,
    /// Whether it fits.
    pub fits: &'a (dyn Fn(&Reply) -> bool + Send + Sync),
}

/// Whether a stream may go on.
pub(super) type Warrant = Box<dyn Fn() -> bool + Send + Sync>;

/// Runs commands for sessions. The [`Seq`] beside a reply is the last write
/// that the reply may depend on; it is as durable as the store promises.
pub trait Commands: Send + Sync + 'static {
    /// A session for requests from an address, without a principal yet.
    fn session(&self, remote: String) -> Session;

    /// Who a token is.
    fn authenticate(&self, token: &[u8]) -> Option<Principal>;

    /// The refusal of a request that the gateway serves itself, if the session may
    /// not make it.
    fn refuse(&self, session: &Session, argv: &[&[u8]]) -> Option<Reply>;

    /// Asks again, whenever it is called, whether `token` opens the door and may
    /// request this: for streams, which outlive the request that opened them.
    fn warrant(&self, token: &[u8], request: &[&[u8]]) -> Warrant;

    /// One command. A reply that does not fit comes back all the same, and what
    /// the command wrote is undone.
    fn call<'a>(
        &'a self,
        session: &'a mut Session,
        argv: &'a [&'a [u8]],
        room: Room<'a>,
    ) -> Answer<'a, (Reply, Seq)>;

    /// Commands one after the other; others may come in between. It stops at the
    /// first reply that `each` has no room for, and undoes that command; those
    /// before it stay. A refusal stands for all replies: what became of the
    /// commands is unknown.
    fn pipeline<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)>;

    /// Commands as one atomic unit, or the refusal of all of them. When `each`
    /// has no room, the unit is undone.
    fn transaction<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)>;

    /// Waits until commands can run; false where they are refused.
    fn ready(&self) -> Answer<'_, bool>;

    /// Why writes are refused while reads go on, if so.
    fn degraded(&self) -> Option<String>;

    /// Milliseconds since the epoch.
    fn now_millis(&self) -> u64;
}

impl Commands for Engine {
    fn session(&self, remote: String) -> Session {
        self.rest_session_from(remote)
    }

    fn authenticate(&self, token: &[u8]) -> Option<Principal> {
        Engine::authenticate(self, token)
    }

    fn refuse(&self, session: &Session, argv: &[&[u8]]) -> Option<Reply> {
        Engine::refuse(self, session, argv)
    }

    fn warrant(&self, token: &[u8], request: &[&[u8]]) -> Warrant {
        let engine = self.clone();
        let token = token.to_vec();
        let request: Vec<Vec<u8>> = request.iter().map(|arg| arg.to_vec()).collect();
        Box::new(move || {
            let Some(principal) = engine.authenticate(&token) else {
                return false;
            };
            let mut session = Commands::session(&engine, String::new());
            session.set_principal(Some(principal));
            let argv: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
            engine.refuse(&session, &argv).is_none()
        })
    }

    fn call<'a>(
        &'a self,
        session: &'a mut Session,
        argv: &'a [&'a [u8]],
        room: Room<'a>,
    ) -> Answer<'a, (Reply, Seq)> {
        let mut fits = |reply: &Reply| (room.fits)(reply);
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((no_principal(), Seq::default()));
        };
        let held = self.paused(session, argv).is_some();
        if !held && let Some(mut batch) = self.try_batch(&keyspace) {
            let reply = batch.run_within(session, argv, room.bytes, &mut fits);
            let done = Done::of(&batch);
            drop(batch);
            if !self.must_wait(done.seq) {
                return Answer::Ready((reply, done.seq));
            }
            return Answer::Later(Box::pin(async move {
                let reply = done.settle(self).await.err().unwrap_or(reply);
                (reply, done.seq)
            }));
        }
        if !held && let Some(reply) = self.call_unlocked(session, argv) {
            return Answer::Ready((reply, keyspace.last_seq()));
        }
        Answer::Later(Box::pin(async move {
            until_resumed(self, session, argv).await;
            let (reply, done) = match self.batch(&keyspace).await {
                Ok(mut batch) => {
                    let reply = batch.run_within(session, argv, room.bytes, &mut fits);
                    (reply, Done::of(&batch))
                }
                Err(Busy) => return (Engine::busy_reply(&keyspace), keyspace.last_seq()),
            };
            let reply = done.settle(self).await.err().unwrap_or(reply);
            (reply, done.seq)
        }))
    }

    fn pipeline<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            let _ = commands.iter().all(|_| each(&no_principal()).is_some());
            return Answer::Ready((Ok(()), Seq::default()));
        };
        let mut next = 0;
        let mut done = Done {
            seq: keyspace.last_seq(),
            wrote: false,
        };
        if let Some(batch) = self.try_batch(&keyspace) {
            done = turn(self, batch, session, commands, &mut next, each);
        }
        if next == commands.len() && !self.must_wait(done.seq) {
            return Answer::Ready((Ok(()), done.seq));
        }
        Answer::Later(Box::pin(async move {
            rest_of_pipeline(self, session, keyspace, commands, each, next, &mut done).await;
            (done.settle(self).await, done.seq)
        }))
    }

    fn transaction<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((Err(no_principal()), Seq::default()));
        };
        let unit: Vec<Vec<&[u8]>> = commands.iter().map(Argv::into_vec).collect();
        let held = unit.iter().any(|argv| self.paused(session, argv).is_some());
        if !held && let Some(mut batch) = self.try_batch(&keyspace) {
            let outcome = batch.transaction(session, &unit, &mut |reply| each(reply).is_some());
            let done = Done::of(&batch);
            drop(batch);
            if !self.must_wait(done.seq) {
                return Answer::Ready((outcome, done.seq));
            }
            return Answer::Later(Box::pin(async move {
                (done.settle(self).await.and(outcome), done.seq)
            }));
        }
        Answer::Later(Box::pin(async move {
            for argv in &unit {
                until_resumed(self, session, argv).await;
            }
            let (outcome, done) = match self.batch(&keyspace).await {
                Ok(mut batch) => {
                    let each = &mut |reply: &Reply| each(reply).is_some();
                    (batch.transaction(session, &unit, each), Done::of(&batch))
                }
                Err(Busy) => return (Err(Engine::busy_reply(&keyspace)), keyspace.last_seq()),
            };
            (done.settle(self).await.and(outcome), done.seq)
        }))
    }

    fn ready(&self) -> Answer<'_, bool> {
        let keyspaces = self.keyspaces();
        if keyspaces
            .iter()
            .all(|keyspace| self.try_batch(keyspace).is_some())
        {
            return Answer::Ready(true);
        }
        Answer::Later(Box::pin(async move {
            for keyspace in &keyspaces {
                if self.batch(keyspace).await.is_err() {
                    return false;
                }
            }
            true
        }))
    }

    fn degraded(&self) -> Option<String> {
        match self.journal()?.health() {
            Health::Good => None,
            Health::Full => Some("the disk is full: writes are refused".to_owned()),
            Health::Poisoned(reason) => {
                Some(format!("the journal failed: writes are refused: {reason}"))
            }
        }
    }

    fn now_millis(&self) -> u64 {
        self.now_micros() / 1000
    }
}

/// What ran under a lock that was given back.
#[derive(Clone, Copy)]
struct Done {
    seq: Seq,
    wrote: bool,
}

impl Done {
    fn of(batch: &Batch<'_>) -> Self {
        Done {
            seq: batch.seq(),
            wrote: batch.wrote(),
        }
    }

    /// Waits until it is as durable as the policy wants; the error takes the
    /// place of its replies.
    async fn settle(self, engine: &Engine) -> Result<(), Reply> {
        if engine.must_wait(self.seq) && engine.durable(self.seq).await.is_err() && self.wrote {
            return Err(engine.lost_reply());
        }
        Ok(())
    }
}

/// Runs commands from `next` on until the turn is over. Where there is no room
/// for a reply, none is left to run.
fn turn(
    engine: &Engine,
    mut batch: Batch<'_>,
    session: &mut Session,
    commands: &rest::Batch<'_>,
    next: &mut usize,
    each: &mut (dyn FnMut(&Reply) -> Option<usize> + Send),
) -> Done {
    let start = batch.clock_micros();
    let last = *next + TURN_COMMANDS;
    let mut room = None;
    while *next < last
        && batch.clock_micros().saturating_sub(start) < TURN_MICROS
        && let Some(argv) = commands.argv(*next)
        && engine.paused(session, &argv).is_none()
    {
        let before = room.unwrap_or_default();
        let mut asked = false;
        let reply = batch.run_within(session, &argv, before, &mut |reply| {
            asked = true;
            room = each(reply);
            room.is_some()
        });
        if !asked {
            room = each(&reply);
        }
        *next = after(*next, room, commands);
    }
    Done::of(&batch)
}

/// The command after `done`, if there was room for its reply; none otherwise.
fn after(done: usize, room: Option<usize>, commands: &rest::Batch<'_>) -> usize {
    room.map_or(commands.len(), |_| done + 1)
}

async fn rest_of_pipeline(
    engine: &Engine,
    session: &mut Session,
    keyspace: Arc<Keyspace>,
    commands: &rest::Batch<'_>,
    each: Each<'_>,
    mut next: usize,
    done: &mut Done,
) {
    let mut add = |turn: Done| {
        done.seq = turn.seq;
        done.wrote |= turn.wrote;
    };
    while let Some(argv) = commands.argv(next) {
        if next > 0 {
            // Those who wait for the lock were woken; let them run.
            tokio::task::yield_now().await;
        }
        until_resumed(engine, session, &argv).await;
        if let Some(batch) = engine.try_batch(&keyspace) {
            add(turn(engine, batch, session, commands, &mut next, each));
            continue;
        }
        // What needs no lock goes on while a script holds it.
        if let Some(reply) = engine.call_unlocked(session, &argv) {
            next = after(next, each(&reply), commands);
            continue;
        }
        if let Ok(batch) = engine.batch(&keyspace).await {
            add(turn(engine, batch, session, commands, &mut next, each));
        } else {
            next = after(next, each(&Engine::busy_reply(&keyspace)), commands);
        }
    }
}

/// Waits until a command is not paused.
async fn until_resumed(engine: &Engine, session: &Session, argv: &[&[u8]]) {
    while let Some(wait) = engine.paused(session, argv) {
        tokio::time::sleep(wait).await;
    }
}

/// For a caller that asks without having authenticated; the gateway does not.
fn no_principal() -> Reply {
    Reply::error("NOAUTH Authentication required.")
}
