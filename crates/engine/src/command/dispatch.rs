//! A request's life once it may run ([`super::admission`]): take the keyspace
//! lock, run the command, log its effects as one unit.
//!
//! Three ways lead in. [`Engine::call`] blocks its thread for the lock;
//! [`Engine::call_unlocked`] serves what needs none; [`Batch`] holds the lock
//! for many commands of a pipeline. Whoever holds a `Batch` must not await.
//!
//! Cost around a command: a table lookup, a clock reading, two counters; no
//! allocation but the reply.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::admission::{Prepared, busy, no_auth, prepare};
use super::once::{encoder_of_all, is_remembered};
use super::redact::{abridge, redacted};
use super::spec::{Command, Flags, Run};
use super::transaction::why_undone;
use super::{Ctx, Tracks};
use crate::effect::Seq;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::requests::{Once, Request};
use crate::keyspace::{Busy, Db, Durability, Guard, Keyspace, SlowEntry};
use crate::reply::Reply;
use crate::reply::encoded::Encoder;
use crate::session::{Blocked, Session};

mod call;
mod replay;
#[cfg(test)]
mod tests;

pub(crate) use call::{call, call_scripted};
pub(super) use call::{call_queued, is_script, remember_reads};

/// Elements above which a `LONG` command is announced to the host.
pub(super) const LONG_ELEMENTS: usize = 20_000;

/// Bytes that a number or a status takes in any protocol, with what stands
/// around it.
const BRIEF: usize = 64;

impl Engine {
    /// Runs one command and answers with the position of the last write that
    /// the answer may depend on. Blocks the thread while others hold the lock,
    /// and while the command waits.
    pub fn call(&self, session: &mut Session, argv: &[&[u8]]) -> (Reply, Seq) {
        match self.call_or_block(session, argv) {
            (Ok(reply), seq) => (reply, seq),
            (Err(blocked), seq) => {
                let (reply, served) = self.unblock_thread(&blocked);
                (reply, seq.max(served))
            }
        }
    }

    /// The same for a caller that waits in its own way: where the reply comes
    /// later, it awaits [`Engine::unblocked`] for as long as
    /// [`Blocked::patience`] says, then asks [`Engine::blocked_reply`].
    pub fn call_or_block(
        &self,
        session: &mut Session,
        argv: &[&[u8]],
    ) -> (Result<Reply, Blocked>, Seq) {
        let (reply, seq) = self.call_now(session, argv);
        (session.take_blocked().map_or(Ok(reply), Err), seq)
    }

    fn call_now(&self, session: &mut Session, argv: &[&[u8]]) -> (Reply, Seq) {
        self.wait_until_resumed(session, argv);
        let keyspace = session.keyspace().cloned();
        let free = keyspace
            .as_ref()
            .and_then(|keyspace| self.try_batch(keyspace));
        let mut batch = match (free, &keyspace) {
            (Some(batch), _) => batch,
            (None, keyspace) => {
                if let Some(reply) = self.call_unlocked(session, argv) {
                    return (reply, Seq::default());
                }
                let Some(keyspace) = keyspace else {
                    return (no_auth(), Seq::default());
                };
                if let Some(journal) = self.backlog() {
                    journal.drained_blocking();
                }
                match keyspace.data.lock_blocking() {
                    Ok(db) => Batch::new(self, keyspace, db),
                    Err(Busy) => return (busy(keyspace), Seq::default()),
                }
            }
        };
        let reply = batch.run(session, argv);
        (reply, batch.seq())
    }

    /// The answer, where the command needs no lock or is refused; `None` where
    /// it needs the lock.
    pub fn call_unlocked(&self, session: &mut Session, argv: &[&[u8]]) -> Option<Reply> {
        let reply = match prepare(self, session, argv) {
            Prepared::Done(reply) => reply,
            Prepared::Unlocked(command) => run_unlocked(self, session, command, argv),
            Prepared::Locked(_) => return None,
        };
        if session.is_tracking() {
            end_caching(session, argv);
        }
        Some(reply)
    }

    /// Takes the lock of `keyspace` if it is free and the journal keeps up.
    pub fn try_batch<'a>(&'a self, keyspace: &'a Arc<Keyspace>) -> Option<Batch<'a>> {
        if self.backlog().is_some() {
            return None;
        }
        keyspace
            .data
            .try_lock()
            .map(|db| Batch::new(self, keyspace, db))
    }

    /// Waits for the lock of `keyspace` without blocking the thread.
    pub async fn batch<'a>(&'a self, keyspace: &'a Arc<Keyspace>) -> Result<Batch<'a>, Busy> {
        if let Some(journal) = self.backlog() {
            journal.drained().await;
        }
        keyspace
            .data
            .lock()
            .await
            .map(|db| Batch::new(self, keyspace, db))
    }

    /// The same for a thread, which it blocks.
    pub fn batch_blocking<'a>(&'a self, keyspace: &'a Arc<Keyspace>) -> Result<Batch<'a>, Busy> {
        if let Some(batch) = self.try_batch(keyspace) {
            return Ok(batch);
        }
        if let Some(journal) = self.backlog() {
            journal.drained_blocking();
        }
        let db = keyspace.data.lock_blocking()?;
        Ok(Batch::new(self, keyspace, db))
    }
}

/// The keyspace lock, held for one command or a pipeline of them.
pub struct Batch<'a> {
    pub(super) engine: &'a Engine,
    pub(super) keyspace: &'a Arc<Keyspace>,
    pub(super) db: Guard<'a, Db>,
    pub(super) clock_us: u64,
    /// Position of the last write before this.
    began: Seq,
    /// Whether a reply to an earlier attempt was given again.
    pub(super) recalled: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(engine: &'a Engine, keyspace: &'a Arc<Keyspace>, db: Guard<'a, Db>) -> Self {
        let clock_us = engine.now_micros();
        let began = db.seq;
        let mut batch = Batch {
            engine,
            keyspace,
            db,
            clock_us,
            began,
            recalled: false,
        };
        // A unit that a panic ended is taken back by whoever comes next.
        if batch.db.is_recording() {
            batch.db.rollback();
            batch.db.effects.clear();
            batch.db.outbox.clear();
        }
        batch.set_time();
        batch
    }

    /// Whether this is the lock that `session` needs.
    pub fn serves(&self, session: &Session) -> bool {
        session
            .keyspace()
            .is_some_and(|keyspace| Arc::ptr_eq(keyspace, self.keyspace))
    }

    /// Position of the keyspace's last write.
    pub fn seq(&self) -> Seq {
        self.db.seq
    }

    /// Whether anything was written under it, or answered that an earlier
    /// attempt wrote.
    pub fn wrote(&self) -> bool {
        self.db.seq != self.began || self.recalled
    }

    /// Microseconds since the epoch when the last command ended.
    pub fn clock_micros(&self) -> u64 {
        self.clock_us
    }

    /// Runs one command of `session`, which this batch [`serves`](Batch::serves).
    pub fn run(&mut self, session: &mut Session, argv: &[&[u8]]) -> Reply {
        let reply = match prepare(self.engine, session, argv) {
            Prepared::Done(reply) => reply,
            Prepared::Unlocked(command) => run_unlocked(self.engine, session, command, argv),
            Prepared::Locked(command) => self.run_locked(session, command, argv, None, None),
        };
        if session.is_tracking() {
            end_caching(session, argv);
        }
        reply
    }

    /// The same for a caller that may not be able to pass the reply on: where
    /// the command may have to be undone for that, `accept` is asked, once, and
    /// if it answers false, what the command wrote is undone. The reply comes
    /// back all the same.
    ///
    /// `room` is how many bytes `accept` takes for sure: a number or a status
    /// needs [`BRIEF`], and what answers with no more is spared the undo list.
    pub fn run_within(
        &mut self,
        session: &mut Session,
        argv: &[&[u8]],
        room: usize,
        accept: &mut dyn FnMut(&Reply) -> bool,
    ) -> Reply {
        self.run_once(session, argv, None, room, accept)
    }

    /// The same for a command of a request that may have an id: a write then runs
    /// once, and a repeat gets the reply of the first time.
    pub fn run_once(
        &mut self,
        session: &mut Session,
        argv: &[&[u8]],
        once: Option<&Once>,
        room: usize,
        accept: &mut dyn FnMut(&Reply) -> bool,
    ) -> Reply {
        match prepare(self.engine, session, argv) {
            Prepared::Locked(command) => {
                let once = once.filter(|_| is_remembered(command) && !session.in_transaction());
                if let Some(reply) = once.and_then(|once| self.recall(once)) {
                    return reply;
                }
                if may_lose(command, argv, room) {
                    return self.run_locked(session, command, argv, Some(accept), once);
                }
                let reply = self.run_locked(session, command, argv, None, once);
                debug_assert!(
                    !command.spec.flags.has(Flags::WRITE) || !reply.carries_data(),
                    "{} yields",
                    command.full_name
                );
                reply
            }
            Prepared::Unlocked(command) => run_unlocked(self.engine, session, command, argv),
            Prepared::Done(reply) => reply,
        }
    }

    /// Runs `commands` as one atomic unit (what `/multi-exec` does). An error
    /// found before execution refuses all of it; an error of one command while
    /// it runs is that command's reply. `each` takes the replies in order;
    /// where it answers false, the unit is undone and refused.
    pub fn transaction(
        &mut self,
        session: &mut Session,
        commands: &[Vec<&[u8]>],
        each: &mut dyn FnMut(&Reply) -> bool,
    ) -> Result<(), Reply> {
        self.transaction_once(session, commands, None, each)
    }

    /// The same for a request that may have an id: a unit with a write then runs
    /// once, and a repeat gets the replies of the first time.
    pub fn transaction_once(
        &mut self,
        session: &mut Session,
        commands: &[Vec<&[u8]>],
        request: Option<&Request>,
        each: &mut dyn FnMut(&Reply) -> bool,
    ) -> Result<(), Reply> {
        let mut prepared = Vec::with_capacity(commands.len());
        for argv in commands {
            match prepare(self.engine, session, argv) {
                Prepared::Done(refusal) => return Err(refusal),
                Prepared::Unlocked(command) | Prepared::Locked(command) => prepared.push(command),
            }
        }
        if let Some(request) = request
            && let Some(outcome) = self.recall_all(request, each)
        {
            return outcome;
        }
        let refusals = prepared.iter().map(|command| self.admit(command));
        if let Some(refusal) = refusals.flatten().next() {
            return Err(refusal);
        }
        let request = request.filter(|_| prepared.iter().any(|command| is_remembered(command)));
        let mut replies = request.map(|_| encoder_of_all(commands.len()));
        self.set_time();
        self.set_author(session);
        self.db.begin_undo();
        let mark = self.db.effects.mark();
        let accepted = prepared.iter().zip(commands).all(|(command, argv)| {
            let reply = self.with_ctx(session, |ctx| call_queued(ctx, command, argv));
            if let Some(replies) = &mut replies {
                replies.push(&reply);
            }
            each(&reply)
        });
        let killed = std::mem::take(&mut self.db.must_roll_back);
        if let Some(reason) = why_undone(&self.db, killed, accepted) {
            self.db.rollback();
            self.db.effects.truncate(mark);
            self.log();
            return Err(Reply::error(reason));
        }
        self.db.commit();
        let once = request.map(|request| request.at(0));
        self.log_once(once.as_ref().zip(replies.map(Encoder::finish)));
        self.serve_waiting();
        self.clock_us = self.engine.now_micros();
        Ok(())
    }

    /// Removes keys that are due; answers the milliseconds to the next
    /// deadline.
    pub(crate) fn expire(&mut self, limit: usize) -> Option<u64> {
        if let Some(tracking) = self.db.tracking_mut() {
            tracking.set_no_author();
        }
        if !self.db.expires_unasked || self.keyspace.pause.is_on() {
            return None;
        }
        self.db.expire_due(limit);
        self.db.peak = self.db.peak.max(self.db.used_memory());
        self.log();
        self.serve_waiting();
        self.db.prune_tracking();
        let now = self.db.now_ms;
        self.db.requests.prune(now, limit);
        self.db
            .next_deadline()
            .map(|deadline| deadline.saturating_sub(now))
    }

    /// Reads the data, for what the host shows (INFO, metrics).
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Commands run in the keyspace, those that needed no lock among them.
    pub fn commands_run(&self) -> u64 {
        let sum = |stats: &super::stat::CommandStats| {
            stats.iter().map(|(_, stat)| stat.calls).sum::<u64>()
        };
        sum(&self.db.commands) + sum(&self.keyspace.unlocked.lock())
    }

    pub(super) fn db_mut(&mut self) -> &mut Db {
        &mut self.db
    }

    pub(super) fn set_time(&mut self) {
        self.db.now_us = self.clock_us;
        self.db.now_ms = self.clock_us / 1000;
        let version = self.engine.settings_version();
        if self.db.settings_version != version {
            self.db.settings_version = version;
            let settings = self.engine.settings();
            self.db.outbox.choose(settings.notify);
            self.db.settings = settings;
        }
    }

    /// Says to the table of those who cache whose command runs.
    pub(super) fn set_author(&mut self, session: &Session) {
        if let Some(tracking) = self.db.tracking_mut() {
            let number = session.tracking.as_ref().map_or(0, Tracks::number);
            tracking.set_author(number, &session.client);
        }
    }

    pub(super) fn with_ctx<R>(
        &mut self,
        session: &mut Session,
        work: impl FnOnce(&mut Ctx<'_>) -> R,
    ) -> R {
        work(&mut Ctx {
            engine: self.engine,
            keyspace: self.keyspace,
            db: &mut self.db,
            session,
        })
    }

    fn run_locked(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        argv: &[&[u8]],
        accept: Option<&mut dyn FnMut(&Reply) -> bool>,
        once: Option<&Once>,
    ) -> Reply {
        self.set_time();
        self.set_author(session);
        if let Some(refusal) = self.admit(command) {
            return refusal;
        }
        if command.spec.flags.has(Flags::LONG)
            && self.engine.0.on_long_unit.is_some()
            && self.weight(command, argv) > LONG_ELEMENTS
        {
            self.engine.announce_long_unit();
        }
        session
            .client
            .last_command
            .store(command.id + 1, Ordering::Relaxed);
        session
            .client
            .active_us
            .store(self.clock_us, Ordering::Relaxed);
        let (reply, accepted) = match accept {
            None => (self.with_ctx(session, |ctx| call(ctx, command, argv)), true),
            Some(accept) => self.call_within(session, command, argv, accept),
        };
        match once.filter(|_| accepted && session.blocked.is_none()) {
            None => self.log(),
            Some(once) => self.log_reply(once, &reply),
        }
        if self.db.has_written() {
            self.serve_waiting();
        }
        let end = self.engine.now_micros();
        let micros = end.saturating_sub(self.clock_us);
        self.clock_us = end;
        self.db.commands.of(command.id).usec += micros;
        let slower_than = self.db.settings.slowlog_log_slower_than;
        if slower_than >= 0
            && micros >= slower_than as u64
            && !command.spec.flags.has(Flags::SKIP_SLOWLOG)
        {
            self.log_slow(session, abridge(&redacted(command, argv)), micros);
        }
        reply
    }

    /// Runs a command as a unit that is undone where `accept` answers false, and
    /// says what it answered.
    fn call_within(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        argv: &[&[u8]],
        accept: &mut dyn FnMut(&Reply) -> bool,
    ) -> (Reply, bool) {
        self.db.begin_undo();
        let mark = self.db.effects.mark();
        let run = || self.with_ctx(session, |ctx| call(ctx, command, argv));
        let mut reply = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(reply) => reply,
            Err(panic) => {
                // The next unit begins with an empty list.
                self.db.rollback();
                self.db.effects.truncate(mark);
                resume_unwind(panic);
            }
        };
        let killed = std::mem::take(&mut self.db.must_roll_back);
        // A script leaves to the unit around it what it does when it is alone.
        let is_script = !command.spec.flags.has(Flags::WRITE);
        let failed = is_script && session.dialect.is_upstash() && reply.is_error();
        let too_large = is_script && self.db.effects.exceed_a_unit();
        if too_large && !killed {
            reply = Reply::error("ERR the script is undone: it writes more than a unit may");
        }
        let accepted = accept(&reply);
        if !accepted || killed || failed || too_large {
            self.db.rollback();
            self.db.effects.truncate(mark);
        } else {
            self.db.commit();
        }
        (reply, accepted)
    }

    /// Hands the unit's effects to the sink, and tells who listens.
    pub(super) fn log(&mut self) {
        let db = &mut *self.db;
        if !db.effects.is_empty() {
            if self.keyspace.class.durability == Durability::Every {
                db.seq = self.engine.append(self.keyspace.id, db.now_ms, &db.effects);
                self.keyspace.last_seq.store(db.seq.0, Ordering::Release);
            }
            db.effects.clear();
        }
        if !db.outbox.is_empty() {
            db.publish_events(&self.keyspace.hub);
        }
        if let Some(tracking) = db.tracking_mut() {
            tracking.flush();
        }
    }

    /// How many elements the command is about to walk.
    fn weight(&mut self, command: &Command, argv: &[&[u8]]) -> usize {
        if command.spec.keys == super::spec::Keys::None {
            return self.db.len();
        }
        let keys = command.spec.keys.positions(argv);
        keys.into_iter()
            .filter_map(|at| argv.get(at))
            .map(|key| {
                self.db
                    .peek(key)
                    .map_or(0, |record| crate::value::weight(&record.value))
            })
            .sum()
    }

    pub(super) fn log_slow(&mut self, session: &Session, argv: Vec<Vec<u8>>, micros: u64) {
        let limit = self.db.settings.slowlog_max_len;
        let mut log = self.keyspace.slow_log.lock();
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(SlowEntry {
            id,
            unix_seconds: self.clock_us / 1_000_000,
            micros,
            argv,
            addr: session.client.addr.clone(),
            name: session.client.name.lock().clone(),
        });
        log.entries.truncate(limit);
    }
}

/// Whether the command may write and then not get its reply into `room` bytes.
fn may_lose(command: &Command, argv: &[&[u8]], room: usize) -> bool {
    let flags = command.spec.flags;
    if flags.has(Flags::YIELDS) {
        // SET, of all commands the most frequent, yields only with its option GET.
        return argv.len() > 3 || command.spec.name != "set" || room < BRIEF;
    }
    flags.has(Flags::WRITE) && room < BRIEF
}

/// CLIENT CACHING holds for the next command that is not CLIENT itself, or for
/// the whole of the next transaction.
#[cold]
pub(super) fn end_caching(session: &mut Session, argv: &[&[u8]]) {
    let name = argv.first().copied().unwrap_or_default();
    if !session.in_transaction()
        && !name.eq_ignore_ascii_case(b"client")
        && let Some(tracks) = &mut session.tracking
    {
        tracks.end_caching();
    }
}

fn run_unlocked(
    engine: &Engine,
    session: &mut Session,
    command: &'static Command,
    argv: &[&[u8]],
) -> Reply {
    let start = engine.now_micros();
    session
        .client
        .last_command
        .store(command.id + 1, Ordering::Relaxed);
    session.client.active_us.store(start, Ordering::Relaxed);
    let reply = match command.spec.run {
        Run::Unlocked(handler) => handler(engine, session, argv).unwrap_or_else(Reply::from),
        Run::Locked(_) | Run::Container => Reply::from(CommandError::Syntax),
    };
    if let Some(keyspace) = session.keyspace() {
        let mut stats = keyspace.unlocked.lock();
        let stat = stats.of(command.id);
        stat.calls += 1;
        stat.usec += engine.now_micros().saturating_sub(start);
        stat.failed += u64::from(reply.is_error());
        stats.count_error(&reply);
        drop(stats);
        if keyspace.monitors.is_watched() {
            keyspace.monitors.tell(command, session, start, argv);
        }
    }
    reply
}
