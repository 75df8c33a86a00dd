//! What the gateway asks of whatever stands behind it.
//!
//! The engine in process answers at once whenever its lock is free, and then
//! nothing is allocated for it; a store on another machine answers later. Both
//! serve the same gateway.

use std::pin::Pin;
use std::sync::Arc;

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

/// Takes the replies of a pipeline, in order.
pub type Each<'a> = &'a mut (dyn FnMut(&Reply) + Send + 'a);

/// Takes the replies of a transaction, in order; answers whether there is room
/// for more.
pub type EachWithin<'a> = &'a mut (dyn FnMut(&Reply) -> bool + Send + 'a);

/// Runs commands for sessions. The [`Seq`] beside a reply is the last write
/// that the reply may depend on.
pub trait Commands: Send + Sync + 'static {
    /// A session for requests, without a principal yet.
    fn session(&self) -> Session;

    /// Who a token is.
    fn authenticate(&self, token: &[u8]) -> Option<Principal>;

    /// One command.
    fn call<'a>(
        &'a self,
        session: &'a mut Session,
        argv: &'a [&'a [u8]],
    ) -> Answer<'a, (Reply, Seq)>;

    /// Commands one after the other; others may come in between.
    fn pipeline<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, Seq>;

    /// Commands as one atomic unit, or the refusal of all of them. When `each`
    /// has no room, the unit is undone.
    fn transaction<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: EachWithin<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)>;

    /// Waits until commands can run; false where they are refused.
    fn ready(&self) -> Answer<'_, bool>;

    /// Milliseconds since the epoch.
    fn now_millis(&self) -> u64;
}

impl Commands for Engine {
    fn session(&self) -> Session {
        self.rest_session()
    }

    fn authenticate(&self, token: &[u8]) -> Option<Principal> {
        Engine::authenticate(self, token)
    }

    fn call<'a>(
        &'a self,
        session: &'a mut Session,
        argv: &'a [&'a [u8]],
    ) -> Answer<'a, (Reply, Seq)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((no_principal(), Seq::default()));
        };
        if let Some(mut batch) = self.try_batch(&keyspace) {
            return Answer::Ready((batch.run(session, argv), batch.seq()));
        }
        if let Some(reply) = self.call_unlocked(session, argv) {
            return Answer::Ready((reply, keyspace.last_seq()));
        }
        Answer::Later(Box::pin(async move {
            match self.batch(&keyspace).await {
                Ok(mut batch) => (batch.run(session, argv), batch.seq()),
                Err(Busy) => (Engine::busy_reply(), keyspace.last_seq()),
            }
        }))
    }

    fn pipeline<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: Each<'a>,
    ) -> Answer<'a, Seq> {
        let Some(keyspace) = session.keyspace().cloned() else {
            commands.iter().for_each(|_| each(&no_principal()));
            return Answer::Ready(Seq::default());
        };
        let mut next = 0;
        let mut seq = keyspace.last_seq();
        if let Some(batch) = self.try_batch(&keyspace) {
            seq = turn(batch, session, commands, &mut next, each);
        }
        if next == commands.len() {
            return Answer::Ready(seq);
        }
        Answer::Later(Box::pin(rest_of_pipeline(
            self, session, keyspace, commands, each, next,
        )))
    }

    fn transaction<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        each: EachWithin<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Seq)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((Err(no_principal()), Seq::default()));
        };
        let unit: Vec<Vec<&[u8]>> = commands.iter().map(Argv::into_vec).collect();
        if let Some(mut batch) = self.try_batch(&keyspace) {
            return Answer::Ready((batch.transaction(session, &unit, each), batch.seq()));
        }
        Answer::Later(Box::pin(async move {
            match self.batch(&keyspace).await {
                Ok(mut batch) => (batch.transaction(session, &unit, each), batch.seq()),
                Err(Busy) => (Err(Engine::busy_reply()), keyspace.last_seq()),
            }
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

    fn now_millis(&self) -> u64 {
        self.now_micros() / 1000
    }
}

/// Runs commands from `next` on until the turn is over.
fn turn(
    mut batch: Batch<'_>,
    session: &mut Session,
    commands: &rest::Batch<'_>,
    next: &mut usize,
    each: &mut (dyn FnMut(&Reply) + Send),
) -> Seq {
    let start = batch.clock_micros();
    let last = *next + TURN_COMMANDS;
    while *next < last
        && batch.clock_micros().saturating_sub(start) < TURN_MICROS
        && let Some(argv) = commands.argv(*next)
    {
        each(&batch.run(session, &argv));
        *next += 1;
    }
    batch.seq()
}

async fn rest_of_pipeline(
    engine: &Engine,
    session: &mut Session,
    keyspace: Arc<Keyspace>,
    commands: &rest::Batch<'_>,
    each: Each<'_>,
    mut next: usize,
) -> Seq {
    let mut seq = keyspace.last_seq();
    while let Some(argv) = commands.argv(next) {
        if next > 0 {
            // Those who wait for the lock were woken; let them run.
            tokio::task::yield_now().await;
        }
        if let Some(batch) = engine.try_batch(&keyspace) {
            seq = turn(batch, session, commands, &mut next, each);
            continue;
        }
        // What needs no lock goes on while a script holds it.
        if let Some(reply) = engine.call_unlocked(session, &argv) {
            each(&reply);
            next += 1;
            continue;
        }
        if let Ok(batch) = engine.batch(&keyspace).await {
            seq = turn(batch, session, commands, &mut next, each);
        } else {
            each(&Engine::busy_reply());
            next += 1;
        }
    }
    seq
}

/// For a caller that asks without having authenticated; the gateway does not.
fn no_principal() -> Reply {
    Reply::error("NOAUTH Authentication required.")
}
