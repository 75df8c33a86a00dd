//! What an operation acts through.
//!
//! Each step stands for one command of the table and does what that command does
//! to the data, the counts, the events and the log: the same rights are asked
//! for, the same errors come back. Typed steps go straight to [`Db`].

use std::sync::LazyLock;

use super::super::admission::resolve;
use super::super::declared::Declared;
use super::super::dispatch::call;
use super::super::dispatch::remember_reads;
use super::super::expire::{clear_deadline, put_deadline};
use super::super::generic::{count_lookup, delete};
use super::super::spec::{Acl, Command, Flags, Keys, find};
use super::super::string;
use super::{Ctx, TOO_LARGE};
use crate::command::authorize;
use crate::error::CommandError;
use crate::keyspace::{Db, Expire, StrRef};
use crate::reply::Reply;

/// Of the steps that operations take most, found once.
static GET: LazyLock<Option<&'static Command>> = LazyLock::new(|| find(b"GET"));
static SET: LazyLock<Option<&'static Command>> = LazyLock::new(|| find(b"SET"));

/// When a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Never.
    None,
    /// When it went before; never, where there was no key.
    Keep,
    /// This many milliseconds from now, by the engine's clock.
    Millis(u64),
    /// At this moment, in milliseconds since the epoch.
    At(u64),
}

impl Ttl {
    /// The moment, where it names one that fits a command's argument.
    fn moment(self, now_ms: u64) -> Option<i64> {
        match self {
            Ttl::None | Ttl::Keep => None,
            Ttl::Millis(millis) => i64::try_from(now_ms.checked_add(millis)?).ok(),
            Ttl::At(moment) => i64::try_from(moment).ok(),
        }
    }

    fn expire(self, now_ms: u64) -> Result<Expire, CommandError> {
        match self {
            Ttl::None => Ok(Expire::Clear),
            Ttl::Keep => Ok(Expire::Keep),
            Ttl::Millis(0) | Ttl::At(0) => Err(CommandError::invalid_expire("set")),
            Ttl::Millis(_) | Ttl::At(_) => match self.moment(now_ms) {
                Some(moment) => Ok(Expire::At(moment as u64)),
                None => Err(CommandError::invalid_expire("set")),
            },
        }
    }
}

/// The data of a keyspace while an operation runs; see the module of
/// [`Batch::atomic`](crate::Batch::atomic).
///
/// Every method but [`call`](Tx::call) answers an error where the session may not
/// do the step, the key was not declared or holds another type, and, for writes,
/// where none is admitted now (a failed journal, `maxmemory`). An operation that
/// goes on after an error is kept as far as it came.
pub struct Tx<'a> {
    ctx: Ctx<'a>,
    declared: Declared<'a>,
    /// Whether the journal has been asked if it takes writes.
    admitted: bool,
}

impl<'a> Tx<'a> {
    pub(super) fn new<'c: 'a>(ctx: &'a mut Ctx<'c>, keys: &'a [&'a [u8]]) -> Self {
        Tx {
            ctx: Ctx {
                engine: ctx.engine,
                keyspace: ctx.keyspace,
                db: ctx.db,
                session: ctx.session,
            },
            declared: Declared::new(keys),
            admitted: false,
        }
    }

    // ---- strings ----

    /// The string at `key`.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<StrRef<'_>>, CommandError> {
        self.read(&[b"GET", key])?.get_str(key)
    }

    /// Sets the string at `key`, over whatever was there. A [`Ttl`] of 0, or
    /// beyond 63 bits, is an error; one that has passed leaves no key.
    pub fn put(&mut self, key: &[u8], value: &[u8], ttl: Ttl) -> Result<(), CommandError> {
        let argv: &[&[u8]] = &[b"SET", key, value];
        let command = self.enter(argv)?;
        let db = &mut *self.ctx.db;
        if value.len() > db.settings.proto_max_bulk_len {
            return Err(CommandError::StringTooLong);
        }
        let expire = ttl.expire(db.now_ms)?;
        string::put(db, key, value, expire);
        self.leave(command, argv);
        Ok(())
    }

    /// Adds to the number at `key`, which counts from 0 where there is none and
    /// keeps its time; answers the sum, an error where that leaves 64 bits.
    pub fn add(&mut self, key: &[u8], amount: i64) -> Result<i64, CommandError> {
        let mut digits = itoa::Buffer::new();
        let argv: &[&[u8]] = &[b"INCRBY", key, digits.format(amount).as_bytes()];
        self.write(argv, |db| string::add_to(db, key, amount))
    }

    // ---- keys of any type ----

    /// Whether there is a key.
    pub fn exists(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        let db = self.read(&[b"EXISTS", key])?;
        let found = db.exists(key);
        count_lookup(db, key, found);
        Ok(found)
    }

    /// Removes `key`; whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        self.write(&[b"DEL", key], |db| Ok(delete(db, key)))
    }

    /// When `key` goes: [`Ttl::At`] or [`Ttl::None`]; `None` where there is no key.
    pub fn ttl(&mut self, key: &[u8]) -> Result<Option<Ttl>, CommandError> {
        let db = self.read(&[b"PEXPIRETIME", key])?;
        let deadline = db.deadline(key);
        count_lookup(db, key, deadline.is_some());
        Ok(deadline.map(|deadline| deadline.map_or(Ttl::None, Ttl::At)))
    }

    /// Says when `key` goes, and answers whether it could: there is such a key, and
    /// for [`Ttl::None`] it had a time to lose. A moment that has passed removes the
    /// key; [`Ttl::Keep`] changes nothing.
    pub fn set_ttl(&mut self, key: &[u8], ttl: Ttl) -> Result<bool, CommandError> {
        match ttl {
            Ttl::Keep => self.exists(key),
            Ttl::None => self.write(&[b"PERSIST", key], |db| Ok(clear_deadline(db, key))),
            Ttl::Millis(_) | Ttl::At(_) => {
                let moment = ttl
                    .moment(self.ctx.db.now_ms)
                    .ok_or(CommandError::invalid_expire("pexpireat"))?;
                let mut digits = itoa::Buffer::new();
                let argv: &[&[u8]] = &[b"PEXPIREAT", key, digits.format(moment).as_bytes()];
                let command = self.enter(argv)?;
                let db = &mut *self.ctx.db;
                let found = db.exists(key);
                if found {
                    put_deadline(db, key, moment);
                }
                self.leave(command, argv);
                Ok(found)
            }
        }
    }

    // ---- anything else ----

    /// Runs any other command within the unit, and answers as `redis.call` would
    /// get it: an error is a reply, and the unit is undone only if the operation
    /// says so. Commands that wait for a key do not. Refused is what is of a
    /// session, a script or an operator, what reaches keys that are not declared,
    /// and what reaches keys that it does not name.
    pub fn call(&mut self, argv: &[&[u8]]) -> Reply {
        match self.admit_call(argv) {
            Ok(command) => call(&mut self.ctx, command, argv),
            Err(error) => error.into(),
        }
    }

    fn admit_call(&mut self, argv: &[&[u8]]) -> Result<&'static Command, CommandError> {
        let unknown = CommandError::text("ERR unknown command called from an atomic operation");
        let Some(command) = argv.first().and_then(|name| find(name)) else {
            return Err(unknown);
        };
        let command = resolve(command, argv).map_err(Reply::into_error)?;
        let spec = &command.spec;
        if !spec.accepts_in(self.ctx.session.dialect, argv.len()) {
            return Err(CommandError::wrong_arity(&command.full_name));
        }
        let refuse = |why: &str| {
            let name = &command.full_name;
            CommandError::from(format!(
                "ERR '{name}' is not allowed in an atomic operation: {why}"
            ))
        };
        let waits = spec.flags.has(Flags::BLOCKING) && spec.keys != Keys::None;
        if !waits && (spec.flags.has(Flags::NOSCRIPT) || is_of_a_session(command)) {
            return Err(refuse("it is no step of one"));
        }
        let touches = spec.flags.has(Flags::READONLY) || spec.flags.has(Flags::WRITE);
        if touches && spec.keys == Keys::None {
            return Err(refuse("it does not name its keys"));
        }
        if let Some(stranger) = self.declared.stranger(spec.keys, argv) {
            return Err(undeclared(stranger));
        }
        self.admit(command, argv)?;
        Ok(command)
    }

    // ---- what every step does ----

    /// Begins a step that reads the key `argv[1]`.
    pub(super) fn read(&mut self, argv: &[&[u8]]) -> Result<&mut Db, CommandError> {
        let command = self.enter(argv)?;
        self.note(command, argv);
        if let Some(tracks) = &self.ctx.session.tracking
            && tracks.remembers()
        {
            remember_reads(self.ctx.db, tracks.number(), command, argv);
        }
        Ok(self.ctx.db)
    }

    /// A step that changes the key `argv[1]`: `argv` is its effect, where it has
    /// one.
    pub(super) fn write<R>(
        &mut self,
        argv: &[&[u8]],
        change: impl FnOnce(&mut Db) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        let command = self.enter(argv)?;
        let db = &mut *self.ctx.db;
        let dirty = db.dirty;
        let outcome = change(db);
        if db.dirty != dirty {
            db.effects.push(argv);
        }
        self.leave(command, argv);
        if outcome.is_err() {
            self.ctx.db.commands.of(command.id).failed += 1;
        }
        outcome
    }

    #[inline]
    fn enter(&mut self, argv: &[&[u8]]) -> Result<&'static Command, CommandError> {
        let [name, key, ..] = argv else {
            return Err(CommandError::Syntax);
        };
        if !self.declared.has(key) {
            return Err(undeclared(key));
        }
        let command = match *name {
            b"GET" => *GET,
            b"SET" => *SET,
            name => find(name),
        };
        let command = command.ok_or(CommandError::Syntax)?;
        self.admit(command, argv)?;
        Ok(command)
    }

    /// Whether the session may, and the keyspace takes, this now.
    fn admit(&mut self, command: &'static Command, argv: &[&[u8]]) -> Result<(), CommandError> {
        let ctx = &self.ctx;
        if let Some(refusal) = authorize::refuse(ctx.engine, ctx.session, command, argv) {
            return Err(refusal.into_error());
        }
        let flags = command.spec.flags;
        if !flags.has(Flags::WRITE) {
            return Ok(());
        }
        if !self.admitted {
            ctx.engine.admit()?;
            self.admitted = true;
        }
        if flags.has(Flags::DENYOOM) && crate::evict::is_full(ctx.db) {
            return Err(CommandError::OutOfMemory);
        }
        if ctx.db.effects.exceed_a_unit() {
            return Err(TOO_LARGE);
        }
        Ok(())
    }

    /// Ends a step that wrote.
    fn leave(&mut self, command: &'static Command, argv: &[&[u8]]) {
        self.note(command, argv);
        if self.ctx.db.outbox.is_full() {
            self.ctx.db.publish_events(&self.ctx.keyspace.hub);
        }
    }

    /// Counts a step, and shows it to who watches.
    fn note(&mut self, command: &'static Command, argv: &[&[u8]]) {
        let db = &mut *self.ctx.db;
        db.stats.commands += 1;
        db.stats.billed += u64::from(command.spec.billed);
        db.commands.of(command.id).calls += 1;
        let monitors = &self.ctx.keyspace.monitors;
        if monitors.is_watched() {
            monitors.tell(command, self.ctx.session, db.now_us, argv);
        }
    }
}

/// Whether it changes or tells of who asks, or runs steps of its own.
fn is_of_a_session(command: &Command) -> bool {
    let acl = command.spec.categories();
    [
        Acl::CONNECTION,
        Acl::TRANSACTION,
        Acl::SCRIPTING,
        Acl::ADMIN,
    ]
    .into_iter()
    .any(|category| acl.has(category))
}

fn undeclared(key: &[u8]) -> CommandError {
    let text = b"ERR the atomic operation did not declare this key: ";
    CommandError::Bytes([text, key].concat())
}
