//! What Upstash does not have or take, refused: its strict dialect.
//!
//! The plain dialect of REST adds Upstash's rules to everything that the engine
//! has. The strict one ([`Dialect::StrictUpstash`]) takes away what the service
//! does not document, so that a test that passes here passes there. What is
//! available is read from the table ([`CommandSpec::upstash`]); the limits are
//! those of its smaller plans. Where its text is known, it is used; where not, a
//! refusal says plainly what it refuses.
//!
//! Cost elsewhere: a comparison of the session's dialect for a command.
//!
//! [`Dialect::StrictUpstash`]: crate::session::Dialect::StrictUpstash
//! [`CommandSpec::upstash`]: super::spec::CommandSpec::upstash

use super::spec::{Command, Flags, find};
use super::{admission, server};
use crate::config;
use crate::error::CommandError;
use crate::keyspace::{Db, Record};
use crate::reply::Reply;

/// Bytes of a key, of a field of a hash, of a member of a set.
const NAME_MAX: usize = 32 * 1024;
/// Bytes of a record, whatever its type.
const RECORD_MAX: usize = 100 * 1024 * 1024;
/// Entries of a stream that a consumer may have without having acknowledged them.
pub(super) const PENDING_MAX: usize = 1000;

/// The refusal of a write to a record that is as large as it may be.
pub(super) const RECORD_SIZE: CommandError =
    CommandError::text("ERR max single record size exceeded");

/// The refusal of a command that the service does not have, or not here; `name`
/// in its words.
pub(super) fn unavailable(name: &[&[u8]]) -> Reply {
    Reply::error(format!(
        "ERR Command is not available: '{}'. See \
         https://upstash.com/docs/redis/overall/rediscompatibility for details",
        String::from_utf8_lossy(&name.join(&b' ')).to_ascii_uppercase()
    ))
}

/// The subcommand where `command` is a container; refuses what the service does
/// not have. What is not for REST has the text of that, as there: all of CLIENT
/// but SETINFO.
#[cold]
pub(super) fn resolve(
    command: &'static Command,
    name: &[u8],
    argv: &[&[u8]],
) -> Result<&'static Command, Reply> {
    let word = argv.get(1).filter(|_| !command.subcommands.is_empty());
    let found = admission::resolve(command, argv);
    let asked = found.as_ref().copied().unwrap_or(command);
    admission::over_rest(asked, name)?;
    match word {
        _ if !command.spec.upstash => Err(unavailable(&[name])),
        Some(word) if found.is_err() || !asked.spec.upstash => Err(unavailable(&[name, word])),
        _ => found,
    }
}

/// Refuses keys, fields and members that are longer than the service takes.
#[cold]
pub(super) fn check_names(command: &Command, argv: &[&[u8]]) -> Result<(), Reply> {
    let keys = command.spec.keys.positions(argv).into_iter();
    check_lengths("key", keys.filter_map(|at| argv.get(at).copied()))?;
    match command.spec.parts {
        Some(parts) => check_lengths(parts.name, parts.of(argv)),
        None => Ok(()),
    }
}

/// Refuses to set what is no setting of the service's, where another server than
/// this engine would set it.
#[cold]
pub(super) fn check_settings(command: &Command, argv: &[&[u8]]) -> Result<(), Reply> {
    if command.full_name != "config|set" {
        return Ok(());
    }
    let mut names = argv.iter().skip(2).step_by(2);
    match names.find(|name| !config::is_upstash(name)) {
        Some(name) => Err(server::unknown_setting(name).into()),
        None => Ok(()),
    }
}

fn check_lengths<'a>(what: &str, mut names: impl Iterator<Item = &'a [u8]>) -> Result<(), Reply> {
    match names.find(|name| name.len() > NAME_MAX) {
        Some(long) => Err(Reply::error(format!(
            "ERR max {what} size exceeded. Limit: {NAME_MAX} bytes, Actual: {} bytes",
            long.len()
        ))),
        None => Ok(()),
    }
}

/// Refuses what a script asks for and the service does not have or take.
#[cold]
pub(super) fn admit_scripted(command: &Command, argv: &[&[u8]]) -> Result<(), Reply> {
    if command.spec.upstash {
        return check_names(command, argv);
    }
    // Of a container that is not there at all, the name of that.
    let container = argv.first().and_then(|name| find(name));
    let is_part = container.is_some_and(|container| container.spec.upstash);
    let words = if is_part { 2 } else { 1 };
    Err(unavailable(argv.get(..words).unwrap_or(argv)))
}

/// Whether a record would be too large with all the bytes of the request. What a
/// command makes besides (SETRANGE far behind the end, the stored result of other
/// keys) is seen by the next.
#[cold]
pub(super) fn outgrows(db: &mut Db, command: &Command, argv: &[&[u8]]) -> bool {
    if !command.spec.flags.has(Flags::WRITE.and(Flags::DENYOOM)) {
        return false;
    }
    let request: usize = argv.iter().skip(1).map(|arg| arg.len()).sum();
    let written = command.keys_used(argv).into_iter();
    written
        .filter(|(_, access)| access.is_write())
        .filter_map(|(at, access)| argv.get(at).map(|key| (key, access)))
        .any(|(key, access)| {
            let held = if access.replaces() {
                0
            } else {
                db.peek(key).map_or(0, Record::bytes)
            };
            held.saturating_add(request) > RECORD_MAX
        })
}

/// The refusal of entries that a consumer has no room for among those that it has
/// not acknowledged.
pub(super) fn too_many_pending(
    pending: usize,
    wanted: usize,
    [key, group, consumer]: [&[u8]; 3],
) -> CommandError {
    let head = format!(
        "ERR XReadGroup is cancelled. Pending Entries List limit per consumer is about to be \
         reached. Limit: {PENDING_MAX}, Current PEL size: {pending}, Requested Read: {wanted}, \
         Key: "
    );
    CommandError::Bytes(
        [
            head.as_bytes(),
            key,
            b", Group: ",
            group,
            b", Consumer: ",
            consumer,
            b".",
        ]
        .concat(),
    )
}

/// The refusal of a command that the user may not run.
pub(super) fn no_permission(command: &Command) -> Reply {
    let name = command.full_name.split('|').next().unwrap_or_default();
    Reply::error(format!(
        "NOPERM this user has no permissions to run the '{name}' command or its subcommand"
    ))
}

#[cfg(test)]
mod tests;
