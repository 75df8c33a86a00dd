//! Atomic operations: steps written in Rust, run under the keyspace lock as one
//! unit, all of them or none.
//!
//! What a script is to a caller at the end of a wire, an operation is to one in
//! the same process: it reads, decides and writes through a [`Tx`], and nobody
//! sees half of it. Its effects reach the journal in one append, as the commands
//! that it comes to; an error or a panic takes everything back, and then nobody
//! is told of anything either. It has no clock: the time that it decides by comes
//! with its arguments. It touches the keys that it declares and no others, so that
//! the same operation can run where keys are spread over machines.
//!
//! Cost: the unit adds a clock reading and an emptied undo list to its steps; a
//! step costs its lookup and no argv is parsed. Nothing is on the heap but what
//! the data keeps.
//!
//! The lock is held while an operation runs: it must not wait for anything.

mod collections;
mod tx;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use super::admission::{busy, no_auth};
use super::dispatch::end_caching;
use super::redact::abridge;
use super::{Batch, Ctx};
use crate::effect::Seq;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::session::Session;

pub use tx::{Ttl, Tx};

const TOO_LARGE: CommandError =
    CommandError::text("ERR the unit is undone: it writes more than a unit may");

impl Engine {
    /// Runs `op` as one unit on `keys` of the session's keyspace, and answers with
    /// the position of the last write that the answer may depend on. Blocks the
    /// thread while others hold the lock; who must not block asks
    /// [`Engine::paused`] with a script's name, takes the lock by
    /// [`Engine::batch`] and calls [`Batch::atomic`].
    ///
    /// ```
    /// use sangam_engine::{Engine, Ttl};
    ///
    /// let engine = Engine::default();
    /// let mut session = engine.session();
    /// let taken = |session: &mut _| {
    ///     let (outcome, _seq) = engine.atomic(session, &[b"lock:7"], |tx| {
    ///         let free = !tx.exists(b"lock:7")?;
    ///         if free {
    ///             tx.put(b"lock:7", b"me", Ttl::Millis(30_000))?;
    ///         }
    ///         Ok(free)
    ///     });
    ///     outcome
    /// };
    /// assert_eq!(taken(&mut session), Ok(true));
    /// assert_eq!(taken(&mut session), Ok(false));
    /// ```
    pub fn atomic<R>(
        &self,
        session: &mut Session,
        keys: &[&[u8]],
        op: impl FnOnce(&mut Tx<'_>) -> Result<R, CommandError>,
    ) -> (Result<R, CommandError>, Seq) {
        self.wait_until_resumed(session, &[b"EVAL"]);
        let Some(keyspace) = session.keyspace().cloned() else {
            return (Err(no_auth().into_error()), Seq::default());
        };
        let Ok(mut batch) = self.batch_blocking(&keyspace) else {
            return (Err(busy(&keyspace).into_error()), Seq::default());
        };
        let outcome = batch.atomic(session, keys, op);
        (outcome, batch.seq())
    }
}

impl Batch<'_> {
    /// Runs `op` as one unit of `session`, which this batch
    /// [`serves`](Batch::serves), on `keys`. An error of `op` undoes the unit and
    /// comes back; so does a refusal, before `op` is called or of a step, by the
    /// text that a command would get. A panic undoes it and goes on.
    pub fn atomic<R>(
        &mut self,
        session: &mut Session,
        keys: &[&[u8]],
        op: impl FnOnce(&mut Tx<'_>) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        refuse(session)?;
        self.set_time();
        self.set_author(session);
        crate::evict::make_room(&mut self.db, self.keyspace.class);
        let began = self.clock_us;
        session.client.active_us.store(began, Ordering::Relaxed);
        self.db.begin_undo();
        let mark = self.db.effects.mark();
        let run = || self.with_ctx(session, |ctx| op(&mut Tx::new(ctx, keys)));
        let mut outcome = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.db.rollback();
                self.db.effects.truncate(mark);
                resume_unwind(panic);
            }
        };
        if outcome.is_ok() && self.db.effects.exceed_a_unit() {
            outcome = Err(TOO_LARGE);
        }
        if outcome.is_ok() {
            self.db.commit();
        } else {
            self.db.rollback();
            self.db.effects.truncate(mark);
        }
        self.log();
        if self.db.has_written() {
            self.serve_waiting();
        }
        self.clock_us = self.engine.now_micros();
        self.note_if_slow(session, keys, began);
        if session.is_tracking() {
            end_caching(session, &[b"atomic"]);
        }
        outcome
    }

    /// SLOWLOG shows an operation by the keys that it declared.
    fn note_if_slow(&mut self, session: &Session, keys: &[&[u8]], began: u64) {
        let micros = self.clock_us.saturating_sub(began);
        let slower_than = self.db.settings.slowlog_log_slower_than;
        if slower_than >= 0 && micros >= slower_than as u64 {
            let mut argv = vec![&b"atomic"[..]];
            argv.extend(keys);
            self.log_slow(session, abridge(&argv), micros);
        }
    }
}

/// What a session cannot do in the state that it is in.
fn refuse(session: &Session) -> Result<(), CommandError> {
    if session.principal.is_none() || session.is_orphaned() {
        return Err(no_auth().into_error());
    }
    if session.in_transaction() {
        return Err(CommandError::text(
            "ERR an atomic operation is not allowed inside a transaction",
        ));
    }
    if session.is_monitoring() {
        return Err(CommandError::text(
            "ERR Replica can't interact with the keyspace",
        ));
    }
    Ok(())
}
