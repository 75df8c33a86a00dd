//! One command inside a unit: alone, in EXEC, or from a script.
//!
//! The handler runs; its effect is collected unless it said a more exact one, and
//! the command is counted, shown to monitors and remembered for who caches.

use super::super::admission::admit_scripted;
use super::super::spec::{Acl, Command, Flags, Run};
use super::super::{Ctx, authorize, upstash};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::reply::Reply;

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
        Run::Locked(_) if ctx.is_strict() && upstash::outgrows(ctx.db, command, argv) => {
            Err(upstash::RECORD_SIZE)
        }
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
pub(in crate::command) fn is_script(command: &Command) -> bool {
    command.spec.acl.has(Acl::SCRIPTING) && command.spec.flags.has(Flags::SKIP_MONITOR)
}

/// Remembers that a client that caches has read the command's keys.
#[cold]
pub(crate) fn remember_reads(db: &mut Db, number: u64, command: &Command, argv: &[&[u8]]) {
    if command.spec.flags.has(Flags::READONLY) && !is_script(command) {
        for at in command.spec.keys.positions(argv) {
            if let Some(key) = argv.get(at) {
                db.remember_read(number, key);
            }
        }
    }
}

/// The same in EXEC and its like, where rules may have changed since the command
/// was accepted.
pub(in crate::command) fn call_queued(
    ctx: &mut Ctx<'_>,
    command: &'static Command,
    argv: &[&[u8]],
) -> Reply {
    match authorize::refuse_in_exec(ctx.engine, ctx.session, command, argv) {
        Some(refusal) => refusal,
        None => call(ctx, command, argv),
    }
}

/// Runs a command that a script asked for: `read_only` for the `_RO` forms and
/// scripts flagged `no-writes`.
pub(crate) fn call_scripted(
    ctx: &mut Ctx<'_>,
    argv: &[&[u8]],
    read_only: bool,
    allow_oom: bool,
) -> Reply {
    let command = match admit_scripted(ctx, argv, read_only, allow_oom) {
        Ok(command) => command,
        Err(refusal) => return refusal,
    };
    let reply = call(ctx, command, argv);
    if command.spec.flags.has(Flags::READONLY) {
        ctx.db.script_read();
    }
    reply
}
