//! A request's whole life: find the command, check it, queue it or run it
//! under the keyspace lock, log its effects as one unit.
//!
//! Three ways lead in. [`Engine::call`] blocks its thread for the lock;
//! [`Engine::call_unlocked`] serves what needs none; [`Batch`] holds the lock
//! for many commands of a pipeline. Whoever holds a `Batch` must not await.
//!
//! Cost around a command: a table lookup, a clock reading, two counters; no
//! allocation but the reply.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::redact::redacted;
use super::spec::{Acl, Command, Flags, Run, find};
use super::transaction::why_undone;
use super::{Ctx, Tracks, authorize, debug};
use crate::effect::{self, Seq};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::journal::frame::Frame;
use crate::keyspace::{Busy, Db, Durability, Guard, Keyspace, Running, SlowEntry};
use crate::reply::Reply;
use crate::session::{Blocked, Dialect, Protocol, Session};

/// Elements above which a `LONG` command is announced to the host.
pub(super) const LONG_ELEMENTS: usize = 20_000;

/// Bytes that a number or a status takes in any protocol, with what stands
/// around it.
const BRIEF: usize = 64;

/// A request after its checks.
enum Prepared {
    Done(Reply),
    Unlocked(&'static Command),
    Locked(&'static Command),
}

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

    /// The refusal of a request that a front door answers itself, such as
    /// `/subscribe`; `None` where the session may.
    pub fn refuse(&self, session: &Session, argv: &[&[u8]]) -> Option<Reply> {
        let command = argv.first().and_then(|name| find(name))?;
        if session.principal.is_none() || session.is_orphaned() {
            return Some(no_auth());
        }
        authorize::refuse(self, session, command, argv)
    }

    /// The reply for a caller that met [`Busy`] at this keyspace.
    pub fn busy_reply(keyspace: &Keyspace) -> Reply {
        busy(keyspace)
    }

    /// The same for a session that may be in MULTI: its EXEC gives that up.
    pub fn refuse_busy(session: &mut Session, argv: &[&[u8]]) -> Reply {
        let refusal = session
            .keyspace()
            .map_or_else(no_auth, |keyspace| busy(keyspace));
        refused_whole(session, argv, refusal)
    }

    /// The reply for a caller whose write was not durable when the journal
    /// failed.
    pub fn lost_reply(&self) -> Reply {
        let refusal = self.admit().err().unwrap_or_default();
        Reply::error(format!(
            "{refusal}. The outcome of this command is unknown: it is applied in memory and may \
             not survive a restart"
        ))
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

    /// Whether anything was written under it.
    pub fn wrote(&self) -> bool {
        self.db.seq != self.began
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
            Prepared::Locked(command) => self.run_locked(session, command, argv, None),
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
        match prepare(self.engine, session, argv) {
            Prepared::Locked(command) if may_lose(command, argv, room) => {
                self.run_locked(session, command, argv, Some(accept))
            }
            Prepared::Locked(command) => {
                let reply = self.run_locked(session, command, argv, None);
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
        let mut prepared = Vec::with_capacity(commands.len());
        for argv in commands {
            match prepare(self.engine, session, argv) {
                Prepared::Done(refusal) => return Err(refusal),
                Prepared::Unlocked(command) | Prepared::Locked(command) => prepared.push(command),
            }
            if let Some(refusal) = prepared.last().and_then(|command| self.admit(command)) {
                return Err(refusal);
            }
        }
        self.set_time();
        self.set_author(session);
        self.db.begin_undo();
        let mark = self.db.effects.mark();
        let accepted = prepared.iter().zip(commands).all(|(command, argv)| {
            each(&self.with_ctx(session, |ctx| call_queued(ctx, command, argv)))
        });
        let killed = std::mem::take(&mut self.db.must_roll_back);
        if let Some(reason) = why_undone(&self.db, killed, accepted) {
            self.db.rollback();
            self.db.effects.truncate(mark);
            self.log();
            return Err(Reply::error(reason));
        }
        self.db.commit();
        self.log();
        self.serve_waiting();
        self.clock_us = self.engine.now_micros();
        Ok(())
    }

    /// Runs the commands of a frame again, at the frame's time, and logs nothing.
    pub(crate) fn replay(
        &mut self,
        session: &mut Session,
        frame: &Frame<'_>,
    ) -> Result<(), String> {
        self.db.now_ms = frame.now_ms;
        self.db.now_us = frame.now_ms * 1000;
        self.repeat_all(session, frame.payload)?;
        self.db.effects.clear();
        self.db.outbox.clear();
        self.db.seq = frame.seq;
        self.keyspace.last_seq.store(frame.seq.0, Ordering::Release);
        Ok(())
    }

    /// Runs the commands of a snapshot that make users, and nothing else.
    pub(crate) fn repeat_users(
        &mut self,
        session: &mut Session,
        commands: &[u8],
    ) -> Result<(), String> {
        let mut all = effect::decode(commands).ok_or("the payload is not commands")?;
        if !all.all(|argv| matches!(argv.as_slice(), [b"ACL", b"SETUSER", ..])) {
            return Err("a snapshot's users are made by other commands".to_owned());
        }
        self.repeat_all(session, commands)?;
        self.db.effects.clear();
        Ok(())
    }

    /// Loads a library that a snapshot holds, and logs nothing.
    pub(crate) fn restore_library(
        &mut self,
        session: &mut Session,
        code: &[u8],
    ) -> Result<(), String> {
        self.repeat(session, &[b"FUNCTION", b"LOAD", code])?;
        self.db.effects.clear();
        Ok(())
    }

    /// Runs the commands of a unit again.
    fn repeat_all(&mut self, session: &mut Session, unit: &[u8]) -> Result<(), String> {
        let mut commands = effect::decode(unit).ok_or("the payload is not commands")?;
        commands.try_for_each(|argv| self.repeat(session, &argv))
    }

    fn repeat(&mut self, session: &mut Session, argv: &[&[u8]]) -> Result<(), String> {
        let command = argv
            .first()
            .and_then(|name| find(name))
            .and_then(|command| resolve(command, argv).ok())
            .filter(|command| command.spec.accepts(argv.len()))
            .ok_or_else(|| format!("no such command: {}", Abridged(argv)))?;
        match self.with_ctx(session, |ctx| call(ctx, command, argv)) {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(&text);
                let shown = redacted(command, argv);
                Err(format!("{} answered {text}", Abridged(&shown)))
            }
            _ => Ok(()),
        }
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
        self.db
            .next_deadline()
            .map(|deadline| deadline.saturating_sub(now))
    }

    /// Reads the data, for what the host shows (INFO, metrics).
    pub fn db(&self) -> &Db {
        &self.db
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

    /// Makes room, or says why a write cannot run now.
    fn admit(&mut self, command: &Command) -> Option<Reply> {
        let flags = command.spec.flags;
        let refusal = if flags.has(Flags::WRITE) {
            self.engine.admit().err()
        } else {
            None
        };
        if let Some(text) = refusal {
            self.db.commands.of(command.id).rejected += 1;
            return Some(Reply::error(text));
        }
        let has_room = crate::evict::make_room(&mut self.db, self.keyspace.class);
        if !has_room && flags.has(Flags::DENYOOM) {
            // What went nevertheless is a unit of its own.
            self.log();
            self.db.commands.of(command.id).rejected += 1;
            return Some(CommandError::OutOfMemory.into());
        }
        None
    }

    fn run_locked(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        argv: &[&[u8]],
        accept: Option<&mut dyn FnMut(&Reply) -> bool>,
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
        let reply = match accept {
            None => self.with_ctx(session, |ctx| call(ctx, command, argv)),
            Some(accept) => self.call_within(session, command, argv, accept),
        };
        self.log();
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

    /// Runs a command as a unit that is undone where `accept` answers false.
    fn call_within(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        argv: &[&[u8]],
        accept: &mut dyn FnMut(&Reply) -> bool,
    ) -> Reply {
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
        let failed = is_script && session.dialect == Dialect::Upstash && reply.is_error();
        let too_large = is_script && self.db.effects.exceed_a_unit();
        if too_large && !killed {
            reply = Reply::error("ERR the script is undone: it writes more than a unit may");
        }
        if !accept(&reply) || killed || failed || too_large {
            self.db.rollback();
            self.db.effects.truncate(mark);
        } else {
            self.db.commit();
        }
        reply
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

/// A request for an error's text.
struct Abridged<'a>(&'a [&'a [u8]]);

impl fmt::Display for Abridged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = abridge(self.0);
        let words: Vec<_> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        f.write_str(&words.join(" "))
    }
}

/// What SLOWLOG keeps of a request: 32 arguments of 128 bytes.
pub(super) fn abridge(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let (arguments, bytes) = (32, 128);
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(argv.len().min(arguments));
    for (at, arg) in argv.iter().enumerate() {
        if at + 1 == arguments && argv.len() > arguments {
            let more = argv.len() - arguments + 1;
            kept.push(format!("... ({more} more arguments)").into_bytes());
            break;
        }
        let (head, tail) = arg.split_at(arg.len().min(bytes));
        let mut text = head.to_vec();
        if !tail.is_empty() {
            text.extend_from_slice(format!("... ({} more bytes)", tail.len()).as_bytes());
        }
        kept.push(text);
    }
    kept
}

/// Runs one command inside a unit: alone, in EXEC, or from a script.
pub(crate) fn call(ctx: &mut Ctx<'_>, command: &'static Command, argv: &[&[u8]]) -> Reply {
    let dirty = ctx.db.dirty;
    ctx.db.explicit_effects = false;
    let is_watched = ctx.keyspace.monitors.is_watched();
    if is_watched && is_script(command) {
        let monitors = &ctx.keyspace.monitors;
        monitors.show(command, ctx.session, ctx.db.now_us, argv);
    }
    let outcome = match command.spec.run {
        Run::Locked(handler) => handler(ctx, argv),
        Run::Unlocked(handler) => handler(ctx.engine, ctx.session, argv),
        Run::Container => Err(CommandError::Syntax),
    };
    let db = &mut *ctx.db;
    db.stats.commands += 1;
    db.stats.billed += u64::from(command.spec.billed);
    if db.dirty != dirty && !db.explicit_effects && command.spec.flags.has(Flags::WRITE) {
        db.effects.push(argv);
    }
    if db.outbox.is_full() {
        db.publish_events(&ctx.keyspace.hub);
    }
    let stat = db.commands.of(command.id);
    stat.calls += 1;
    let reply = outcome.unwrap_or_else(Reply::from);
    if reply.is_error() {
        stat.failed += 1;
        db.commands.count_error(&reply);
    }
    if is_watched {
        let monitors = &ctx.keyspace.monitors;
        monitors.tell(command, ctx.session, ctx.db.now_us, argv);
    }
    if let Some(tracks) = &ctx.session.tracking
        && tracks.remembers()
    {
        remember_reads(ctx.db, tracks.number(), command, argv);
    }
    reply
}

/// Whether it runs a script, which reads and writes by its own commands.
pub(super) fn is_script(command: &Command) -> bool {
    command.spec.acl.has(Acl::SCRIPTING) && command.spec.flags.has(Flags::SKIP_MONITOR)
}

/// Remembers that a client that caches has read the command's keys.
#[cold]
pub(super) fn remember_reads(db: &mut Db, number: u64, command: &Command, argv: &[&[u8]]) {
    if command.spec.flags.has(Flags::READONLY) && !is_script(command) {
        for at in command.spec.keys.positions(argv) {
            if let Some(key) = argv.get(at) {
                db.remember_read(number, key);
            }
        }
    }
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

/// The same in EXEC and its like, where rules may have changed since the command
/// was accepted.
pub(super) fn call_queued(ctx: &mut Ctx<'_>, command: &'static Command, argv: &[&[u8]]) -> Reply {
    match authorize::refuse_in_exec(ctx.engine, ctx.session, command, argv) {
        Some(refusal) => refusal,
        None => call(ctx, command, argv),
    }
}

/// Whether `session` may run the command; `None` when there is no such command.
pub(crate) fn may_call(session: &Session, argv: &[&[u8]]) -> Option<bool> {
    let command = resolve(find(argv.first()?)?, argv).ok()?;
    Some(authorize::allows(session, command, argv))
}

/// Runs a command that a script asked for: `read_only` for the `_RO` forms and
/// scripts flagged `no-writes`.
pub(crate) fn call_scripted(
    ctx: &mut Ctx<'_>,
    argv: &[&[u8]],
    read_only: bool,
    allow_oom: bool,
) -> Reply {
    let Some(command) = argv.first().and_then(|name| find(name)) else {
        return Reply::error("ERR Unknown Redis command called from script");
    };
    let Ok(command) = resolve(command, argv) else {
        return Reply::error("ERR Unknown Redis command called from script");
    };
    let spec = &command.spec;
    if !spec.accepts(argv.len()) {
        return Reply::error("ERR Wrong number of args calling Redis command from script");
    }
    if spec.flags.has(Flags::NOSCRIPT) {
        return Reply::error("ERR This Redis command is not allowed from script");
    }
    if let Some(refusal) = authorize::refuse_in_script(ctx.engine, ctx.session, command, argv) {
        return refusal;
    }
    let changes = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::MAY_REPLICATE);
    if read_only && changes {
        return Reply::error("ERR Write commands are not allowed from read-only scripts.");
    }
    if spec.flags.has(Flags::WRITE) {
        if let Err(text) = ctx.engine.admit() {
            return Reply::error(text);
        }
        if spec.flags.has(Flags::DENYOOM) && !allow_oom && crate::evict::is_full(ctx.db) {
            return CommandError::OutOfMemory.into();
        }
    }
    let reply = call(ctx, command, argv);
    if spec.flags.has(Flags::READONLY) {
        ctx.db.script_read();
    }
    reply
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

/// Checks everything that can be checked without the lock; inside MULTI,
/// queues.
fn prepare(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Prepared {
    let checked = match check(engine, session, argv) {
        Ok(command) => command,
        Err(refusal) => {
            // Whose user was deleted, goes.
            session.closing |= session.is_orphaned();
            if let Some(transaction) = &mut session.transaction {
                transaction.aborted = true;
            }
            let refusal = refused_whole(session, argv, refusal);
            if let Some(keyspace) = session.keyspace() {
                keyspace.unlocked.lock().count_error(&refusal);
            }
            return Prepared::Done(refusal);
        }
    };
    if let Some(transaction) = &mut session.transaction
        && !matches!(
            checked.spec.name,
            "exec" | "discard" | "multi" | "watch" | "quit" | "reset"
        )
    {
        if checked.spec.flags.has(Flags::NO_MULTI) {
            transaction.aborted = true;
            return Prepared::Done(Reply::error("ERR Command not allowed inside a transaction"));
        }
        let fits = transaction.push(checked, argv);
        session
            .client
            .queued
            .store(transaction.queue.len(), Ordering::Relaxed);
        return Prepared::Done(if fits {
            Reply::status("QUEUED")
        } else {
            Reply::error("ERR the commands of this transaction are too large together")
        });
    }
    match checked.spec.run {
        Run::Unlocked(_) => Prepared::Unlocked(checked),
        Run::Locked(_) | Run::Container => Prepared::Locked(checked),
    }
}

/// What a refusal does besides: a refused EXEC gives its transaction up, and
/// the first words of an HTTP request end the connection, so that no web page
/// can make a browser speak to this port.
fn refused_whole(session: &mut Session, argv: &[&[u8]], refusal: Reply) -> Reply {
    let name = argv.first().copied().unwrap_or_default();
    if session.dialect == Dialect::Upstash {
        return refusal;
    }
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        session.closing = true;
        return Reply::Many(Vec::new());
    }
    if !name.eq_ignore_ascii_case(b"exec") {
        return refusal;
    }
    session.discard();
    let Reply::Error(text) = refusal else {
        return refusal;
    };
    let reason = text.strip_prefix(b"ERR ").unwrap_or(&text);
    Reply::error([b"EXECABORT Transaction discarded because of: ", reason].concat())
}

fn check(engine: &Engine, session: &Session, argv: &[&[u8]]) -> Result<&'static Command, Reply> {
    let Some(name) = argv.first() else {
        return Err(Reply::error("ERR empty command"));
    };
    let Some(command) = find(name) else {
        return Err(unknown(session, argv));
    };
    let command = resolve(command, argv)?;
    if session.dialect == Dialect::Upstash {
        refuse_rest(command, name)?;
    }
    if !command.spec.accepts_in(session.dialect, argv.len()) {
        return Err(CommandError::wrong_arity(&command.full_name).into());
    }
    let is_known = session.principal.is_some() && !session.is_orphaned();
    if !is_known && !command.spec.flags.has(Flags::NO_AUTH) {
        return Err(no_auth());
    }
    if let Some(refusal) = authorize::refuse(engine, session, command, argv) {
        return Err(refusal);
    }
    if session.in_transaction() && command.spec.name == "debug" {
        debug::admit(engine)?;
    }
    if session.is_monitoring() && touches_keys(command) {
        return Err(Reply::error("ERR Replica can't interact with the keyspace"));
    }
    if session.protocol == Protocol::Resp2
        && session.subscriptions() > 0
        && !matches!(
            command.spec.name,
            "subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "ping" | "quit" | "reset"
        )
    {
        return Err(Reply::error(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            command.full_name
        )));
    }
    Ok(command)
}

/// Whether it reads or writes the keyspace, or publishes in it.
fn touches_keys(command: &Command) -> bool {
    let flags = command.spec.flags;
    let publishes = matches!(command.spec.name, "publish" | "spublish");
    flags.has(Flags::READONLY) || flags.has(Flags::WRITE) || publishes || is_script(command)
}

/// The subcommand, where the command is a container.
pub(crate) fn resolve(
    command: &'static Command,
    argv: &[&[u8]],
) -> Result<&'static Command, Reply> {
    if command.subcommands.is_empty() {
        return Ok(command);
    }
    let Some(name) = argv.get(1) else {
        if matches!(command.spec.run, Run::Container) {
            return Err(CommandError::wrong_arity(command.spec.name).into());
        }
        return Ok(command);
    };
    command.subcommand(name).ok_or_else(|| {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(quoted(name, 128));
        text.extend_from_slice(b"'. Try ");
        text.extend_from_slice(command.spec.name.to_ascii_uppercase().as_bytes());
        text.extend_from_slice(b" HELP.");
        Reply::error(text)
    })
}

fn refuse_rest(command: &Command, name: &[u8]) -> Result<(), Reply> {
    if !command.spec.rest {
        return Err(not_over_rest(name));
    }
    Ok(())
}

fn not_over_rest(name: &[u8]) -> Reply {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    Reply::error(format!(
        "ERR Command \"{name}\" is not allowed in REST or it has a special context path"
    ))
}

pub(super) fn no_auth() -> Reply {
    Reply::error("NOAUTH Authentication required.")
}

/// What others hear while a script or a function runs past its limit.
pub(super) fn busy(keyspace: &Keyspace) -> Reply {
    Reply::error(match keyspace.script.running() {
        Some(Running::Function) => {
            "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN \
             NOSAVE."
        }
        _ => {
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN \
             NOSAVE."
        }
    })
}

fn unknown(session: &Session, argv: &[&[u8]]) -> Reply {
    let name = argv.first().copied().unwrap_or_default();
    if session.dialect == Dialect::Upstash {
        return Reply::error(format!(
            "ERR Command is not available: '{}'. See \
             https://upstash.com/docs/redis/overall/rediscompatibility for details",
            String::from_utf8_lossy(name).to_ascii_uppercase()
        ));
    }
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(quoted(name, 128));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut bytes: usize = 0;
    for arg in argv.iter().skip(1) {
        if bytes >= 128 {
            break;
        }
        let shown = quoted(arg, 128 - bytes);
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        bytes += shown.len() + 3;
    }
    Reply::error(text)
}

/// What an error's text shows of an argument: up to `most` bytes, and like a C
/// string none from a NUL on.
fn quoted(arg: &[u8], most: usize) -> &[u8] {
    let shown = arg.get(..most).unwrap_or(arg);
    let end = shown.iter().position(|byte| *byte == 0);
    shown.get(..end.unwrap_or(shown.len())).unwrap_or(shown)
}

#[cfg(test)]
mod tests;
