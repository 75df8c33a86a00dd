//! Whether a request may run: what refuses it, and in which words.
//!
//! In the order of the questions: is there such a command, does its front door
//! have it, do its arguments suffice, who asks and may they, does the state of
//! the connection allow it ([`prepare`], without the lock); can it be written and
//! is there room ([`Batch::admit`], under the lock). A request of a script is
//! asked the same in its own order and words ([`admit_scripted`]).

use std::sync::atomic::Ordering;

use super::dispatch::{Batch, is_script};
use super::spec::{Command, Flags, Run, find};
use super::{Ctx, authorize, debug, generic, upstash};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Keyspace, Running};
use crate::reply::Reply;
use crate::session::{Dialect, Protocol, Session};

/// A request after its checks.
pub(super) enum Prepared {
    Done(Reply),
    Unlocked(&'static Command),
    Locked(&'static Command),
}

impl Engine {
    /// The refusal of a request that a front door answers itself, such as
    /// `/subscribe`; `None` where the session may.
    pub fn refuse(&self, session: &Session, argv: &[&[u8]]) -> Option<Reply> {
        let command = argv.first().and_then(|name| find(name))?;
        if session.principal.is_none() || session.is_orphaned() {
            return Some(no_auth());
        }
        authorize::refuse(self, session, command, argv)
    }

    /// The reply for a caller that met [`Busy`](crate::keyspace::Busy) at this keyspace.
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

impl Batch<'_> {
    /// Makes room, or says why a write cannot run now.
    pub(super) fn admit(&mut self, command: &Command) -> Option<Reply> {
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
}

/// The same for what a script asks for: `read_only` for the `_RO` forms and
/// scripts flagged `no-writes`.
#[inline]
pub(super) fn admit_scripted(
    ctx: &mut Ctx<'_>,
    argv: &[&[u8]],
    read_only: bool,
    allow_oom: bool,
) -> Result<&'static Command, Reply> {
    let Some(command) = argv.first().and_then(|name| find(name)) else {
        return Err(Reply::error("ERR Unknown Redis command called from script"));
    };
    let Ok(command) = resolve(command, argv) else {
        return Err(Reply::error("ERR Unknown Redis command called from script"));
    };
    if ctx.is_strict() {
        upstash::admit_scripted(command, argv)?;
    }
    let spec = &command.spec;
    if !spec.accepts(argv.len()) {
        return Err(Reply::error(
            "ERR Wrong number of args calling Redis command from script",
        ));
    }
    if spec.flags.has(Flags::NOSCRIPT) {
        return Err(Reply::error(
            "ERR This Redis command is not allowed from script",
        ));
    }
    if let Some(refusal) = authorize::refuse_in_script(ctx.engine, ctx.session, command, argv) {
        return Err(refusal);
    }
    let changes = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::MAY_REPLICATE);
    if read_only && changes {
        return Err(Reply::error(
            "ERR Write commands are not allowed from read-only scripts.",
        ));
    }
    if spec.flags.has(Flags::WRITE) {
        if let Err(text) = ctx.engine.admit() {
            return Err(Reply::error(text));
        }
        if spec.flags.has(Flags::DENYOOM) && !allow_oom && crate::evict::is_full(ctx.db) {
            return Err(CommandError::OutOfMemory.into());
        }
    }
    Ok(command)
}

/// Whether `session` may run the command; `None` when there is no such command.
pub(crate) fn may_call(session: &Session, argv: &[&[u8]]) -> Option<bool> {
    let command = resolve(find(argv.first()?)?, argv).ok()?;
    Some(authorize::allows(session, command, argv))
}

/// Checks everything that can be checked without the lock; inside MULTI,
/// queues.
pub(super) fn prepare(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Prepared {
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
    if session.dialect.is_upstash() {
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

/// The command of a request that a front door passes on to a store elsewhere,
/// where the table has it, the dialect allows it and its arguments suffice; for a
/// token that only reads, where that may run it. The refusals are the engine's.
pub fn admit_forwarded(
    argv: &[&[u8]],
    dialect: Dialect,
    only_reads: bool,
) -> Result<&'static Command, Reply> {
    let command = named(dialect, argv)?;
    if only_reads && !authorize::may_read(command) {
        return Err(authorize::not_this_command(dialect, command));
    }
    if dialect.is_strict() {
        upstash::check_names(command, argv)?;
        upstash::check_settings(command, argv)?;
    }
    generic::check_database(command, argv)?;
    Ok(command)
}

/// The command that a request names, where its dialect has it and its arguments
/// suffice.
#[inline]
fn named(dialect: Dialect, argv: &[&[u8]]) -> Result<&'static Command, Reply> {
    let Some(name) = argv.first() else {
        return Err(Reply::error("ERR empty command"));
    };
    let Some(command) = find(name) else {
        return Err(unknown(dialect, argv));
    };
    let command = match dialect {
        Dialect::Redis => resolve(command, argv)?,
        Dialect::Upstash => over_rest(resolve(command, argv)?, name)?,
        Dialect::StrictUpstash => upstash::resolve(command, name, argv)?,
    };
    if !command.spec.accepts_in(dialect, argv.len()) {
        return Err(CommandError::wrong_arity(&command.full_name).into());
    }
    Ok(command)
}

fn check(engine: &Engine, session: &Session, argv: &[&[u8]]) -> Result<&'static Command, Reply> {
    let command = named(session.dialect, argv)?;
    let is_known = session.principal.is_some() && !session.is_orphaned();
    if !is_known && !command.spec.flags.has(Flags::NO_AUTH) {
        return Err(no_auth());
    }
    if let Some(refusal) = authorize::refuse(engine, session, command, argv) {
        return Err(refusal);
    }
    if session.dialect.is_strict() {
        upstash::check_names(command, argv)?;
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

/// The command, where REST may call it.
pub(super) fn over_rest(command: &'static Command, name: &[u8]) -> Result<&'static Command, Reply> {
    if !command.spec.rest {
        return Err(not_over_rest(name));
    }
    Ok(command)
}

pub(super) fn not_over_rest(name: &[u8]) -> Reply {
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

fn unknown(dialect: Dialect, argv: &[&[u8]]) -> Reply {
    let name = argv.first().copied().unwrap_or_default();
    if dialect.is_upstash() {
        return upstash::unavailable(&[name]);
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
