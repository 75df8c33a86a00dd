//! DEBUG: what test suites ask of a server. Refused unless the server was started
//! with `--enable-debug-command`.

use std::thread;
use std::time::Duration;

use super::Ctx;
use super::args::{at, int, is};
use super::object::{encoding_of, help};
use super::spec::{CommandSpec, Flags, Outcome};
use crate::config::parse_memory;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::glob;
use crate::journal::snapshot::record;
use crate::keyspace::Durability;
use crate::persist::{through_codec, through_journal};
use crate::reply::Reply;

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::new("debug", -2, debug)
    .flags(
        Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
    )
    .not_upstash()];

/// Longest text that STRINGMATCH-LEN builds.
const TEXT_MAX: usize = 1 << 20;

/// Refuses the command where it is not enabled; in MULTI before it is queued.
pub(super) fn admit(engine: &Engine) -> Result<(), CommandError> {
    if engine.settings().debug_command {
        return Ok(());
    }
    Err(CommandError::text(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
         \"local\", you can run it from a local connection, otherwise you need to set this \
         option in the configuration file, and then restart the server.",
    ))
}

fn debug(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    admit(ctx.engine)?;
    let word = at(argv, 1)?;
    match argv.get(2..).unwrap_or_default() {
        [] if is(word, "HELP") => Ok(help("DEBUG", HELP)),
        [] if is(word, "JMAP") || is(word, "JEMALLOC") || is(word, "CHANGE-REPL-ID") => {
            Ok(Reply::OK)
        }
        [_, ..] if is(word, "JEMALLOC") => Ok(Reply::OK),
        [text] if is(word, "SLEEP") => sleep(ctx, text),
        [text] if is(word, "SET-ACTIVE-EXPIRE") => {
            ctx.db.expires_unasked = leading_number(text) != 0.0;
            Ok(Reply::OK)
        }
        options if is(word, "RELOAD") => reload(ctx, options),
        [key] if is(word, "OBJECT") => object(ctx, key),
        [key] if is(word, "LISTPACK") => listpack(ctx, key),
        [size] if is(word, "QUICKLIST-PACKED-THRESHOLD") => threshold(size),
        [length, pattern] if is(word, "STRINGMATCH-LEN") => {
            let length = usize::try_from(int(length)?).unwrap_or(0).min(TEXT_MAX);
            Ok(glob::matches(pattern, &vec![b'a'; length]).into())
        }
        [text] if is(word, "ERROR") => Ok(Reply::error(text)),
        [_] if is(word, "LOG") => Ok(Reply::OK),
        _ => {
            let parts: [&[u8]; 3] = [
                b"ERR unknown subcommand or wrong number of arguments for '",
                word,
                b"'. Try DEBUG HELP.",
            ];
            Err(CommandError::Bytes(parts.concat()))
        }
    }
}

/// The number that a text begins with, as C's strtod reads it; 0 for none.
fn leading_number(text: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(text);
    let number = (0..=text.len())
        .rev()
        .filter_map(|end| text.get(..end))
        .find_map(|head| head.trim_start().parse::<f64>().ok());
    number.filter(|number| number.is_finite()).unwrap_or(0.0)
}

/// Holds the keyspace's lock; other keyspaces and the host's own tasks go on.
fn sleep(ctx: &mut Ctx<'_>, text: &[u8]) -> Outcome {
    let seconds = leading_number(text).clamp(0.0, 1e6);
    if seconds > 0.0 {
        ctx.engine.announce_long_unit();
        thread::sleep(Duration::from_secs_f64(seconds));
    }
    Ok(Reply::OK)
}

/// Replaces every record by what the disk, or a snapshot in memory, would give
/// back of it.
fn reload(ctx: &mut Ctx<'_>, options: &[&[u8]]) -> Outcome {
    let known = ["MERGE", "NOFLUSH", "NOSAVE"];
    if !options
        .iter()
        .all(|option| known.iter().any(|name| is(option, name)))
    {
        return Err(CommandError::text(
            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        ));
    }
    if ctx.db.is_recording() || !ctx.db.effects.is_empty() {
        return Err(CommandError::text(
            "ERR DEBUG RELOAD cannot run inside of another unit",
        ));
    }
    ctx.engine.announce_long_unit();
    let keeps_all = ctx.keyspace.class.durability == Durability::Every;
    let records = match ctx.engine.journal().filter(|_| keeps_all) {
        Some(journal) => through_journal(journal, &ctx.keyspace.name, ctx.db.now_ms),
        None => through_codec(ctx.db),
    };
    let records = records.map_err(|reason| format!("ERR Error trying to load: {reason}"))?;
    let expected = ctx.db.iter().count();
    if records.len() != expected {
        return Err(CommandError::from(format!(
            "ERR Error trying to load: {} keys of {expected} came back",
            records.len()
        )));
    }
    ctx.db.reload(records);
    Ok(Reply::OK)
}

fn object(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome {
    let now = ctx.now_ms() / 1000;
    let record = ctx.db.peek(key).ok_or(CommandError::NoSuchKey)?;
    let mut bytes = Vec::new();
    record::encode(record, &mut bytes);
    let accessed = u64::from(record.accessed);
    Ok(Reply::Status(
        format!(
            "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
            encoding_of(&record.value),
            bytes.len(),
            accessed & 0xff_ffff,
            now.saturating_sub(accessed)
        )
        .into(),
    ))
}

fn listpack(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome {
    let record = ctx.db.peek(key).ok_or(CommandError::NoSuchKey)?;
    if encoding_of(&record.value) == "listpack" {
        Ok(Reply::OK)
    } else {
        Err(CommandError::text("ERR Not a listpack encoded object."))
    }
}

/// There are no packed nodes whose size could be chosen; the argument is checked.
fn threshold(size: &[u8]) -> Outcome {
    let bytes = std::str::from_utf8(size).ok().and_then(parse_memory);
    match bytes {
        Some(bytes) if bytes <= 1 << 32 => Ok(Reply::OK),
        _ => Err(CommandError::text(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        )),
    }
}

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Accepted; there is no replication.",
    "ERROR <text>",
    "    Answer with this error.",
    "JEMALLOC, JMAP",
    "    Accepted.",
    "LISTPACK <key>",
    "    Whether the value is kept as a listpack.",
    "LOG <text>",
    "    Accepted.",
    "OBJECT <key>",
    "    How the value is kept.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Replace the data by what a restart would bring back.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys go when their time comes though nobody asks for them.",
    "SLEEP <seconds>",
    "    Keep the keyspace busy.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match a pattern against a text of this length.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_as_far_as_they_go() {
        for (text, seconds) in [
            ("0.5", 0.5),
            ("2x", 2.0),
            ("x", 0.0),
            ("", 0.0),
            ("1e", 1.0),
        ] {
            assert_eq!(leading_number(text.as_bytes()), seconds, "{text}");
        }
    }
}
