//! A pipeline before the engine: turns at the keyspace's lock, between which
//! others have it.

use std::sync::Arc;

use sangam_engine::keyspace::requests::{Request, RequestId};
use sangam_engine::keyspace::{Busy, Keyspace};
use sangam_engine::session::Session;
use sangam_engine::{Batch, Engine, Reply};
use sangam_wire::rest;

use super::{Done, Each, until_resumed};

/// Commands that may run under one acquisition of the lock.
const TURN_COMMANDS: usize = 128;
/// Microseconds after which a pipeline lets others have the lock.
const TURN_MICROS: u64 = 1000;

/// A pipeline on its way.
pub(super) struct Pipeline<'a> {
    commands: &'a rest::Batch<'a>,
    /// The command that is to run next.
    next: usize,
    /// What it is, where it has an id.
    request: Option<Request>,
    /// Whether the id was looked at, or why all of it is refused.
    admitted: Result<bool, Reply>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(commands: &'a rest::Batch<'a>, id: Option<RequestId>) -> Self {
        Pipeline {
            commands,
            next: 0,
            request: id.map(|id| Request::pipeline(id, commands.iter())),
            admitted: Ok(id.is_none()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next == self.commands.len()
    }

    /// The refusal of all of it, if it was refused.
    pub(super) fn outcome(&self) -> Result<(), Reply> {
        self.admitted.as_ref().map(drop).map_err(Reply::clone)
    }

    /// Runs none of it, or none of the rest.
    fn refuse(&mut self, refusal: Reply) {
        self.admitted = Err(refusal);
        self.next = self.commands.len();
    }

    /// Looks at the id before the first command runs.
    fn admit(&mut self, batch: &Batch<'_>) {
        if let (Ok(false), Some(request)) = (&self.admitted, &self.request) {
            match batch.admit_request(request) {
                Ok(()) => self.admitted = Ok(true),
                Err(refusal) => self.refuse(refusal),
            }
        }
    }

    /// Goes to the next command if there was room for the reply, else to the end.
    fn step(&mut self, room: Option<usize>) {
        self.next = room.map_or(self.commands.len(), |_| self.next + 1);
    }

    /// Runs commands until the turn is over. Where there is no room for a reply,
    /// none is left to run.
    pub(super) fn turn(
        &mut self,
        engine: &Engine,
        mut batch: Batch<'_>,
        session: &mut Session,
        each: &mut (dyn FnMut(&Reply) -> Option<usize> + Send),
    ) -> Done {
        self.admit(&batch);
        let start = batch.clock_micros();
        let last = self.next + TURN_COMMANDS;
        let mut room = None;
        while self.next < last
            && batch.clock_micros().saturating_sub(start) < TURN_MICROS
            && let Some(argv) = self.commands.argv(self.next)
            && engine.paused(session, &argv).is_none()
        {
            let once = self.request.map(|request| request.at(self.next));
            let before = room.unwrap_or_default();
            let mut asked = false;
            let reply = batch.run_once(session, &argv, once.as_ref(), before, &mut |reply| {
                asked = true;
                room = each(reply);
                room.is_some()
            });
            if !asked {
                room = each(&reply);
            }
            self.step(room);
        }
        Done::of(&batch)
    }

    /// Runs the rest, a turn at a time.
    pub(super) async fn finish(
        &mut self,
        engine: &Engine,
        session: &mut Session,
        keyspace: Arc<Keyspace>,
        each: Each<'_>,
        done: &mut Done,
    ) {
        let mut add = |turn: Done| {
            done.seq = turn.seq;
            done.wrote |= turn.wrote;
        };
        while let Some(argv) = self.commands.argv(self.next) {
            if self.next > 0 {
                // Those who wait for the lock were woken; let them run.
                tokio::task::yield_now().await;
            }
            until_resumed(engine, session, &argv).await;
            if let Some(batch) = engine.try_batch(&keyspace) {
                add(self.turn(engine, batch, session, each));
                continue;
            }
            // What needs no lock goes on while a script holds it.
            if self.admitted == Ok(true)
                && let Some(reply) = engine.call_unlocked(session, &argv)
            {
                self.step(each(&reply));
                continue;
            }
            match engine.batch(&keyspace).await {
                Ok(batch) => add(self.turn(engine, batch, session, each)),
                Err(Busy) if self.admitted == Ok(false) => {
                    self.refuse(Engine::busy_reply(&keyspace));
                }
                Err(Busy) => self.step(each(&Engine::busy_reply(&keyspace))),
            }
        }
    }
}
