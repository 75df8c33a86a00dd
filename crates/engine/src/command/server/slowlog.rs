//! SLOWLOG: the slowest commands of late.

use super::super::args::{at, parse_i64};
use super::super::object::help;
use super::super::spec::{CommandSpec, Flags, Outcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::SlowEntry;
use crate::reply::Reply;
use crate::session::Session;

const OPERATOR: Flags = Flags::ADMIN.and(super::ANY_TIME);

pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("get", -2, get)
        .flags(OPERATOR)
        .since("2.2.12")
        .not_upstash(),
    CommandSpec::unlocked("help", 2, slowlog_help)
        .flags(super::ANY_TIME)
        .since("6.2.0")
        .not_upstash(),
    CommandSpec::unlocked("len", 2, len)
        .flags(OPERATOR)
        .since("2.2.12")
        .not_upstash(),
    CommandSpec::unlocked("reset", 2, reset)
        .flags(OPERATOR)
        .since("2.2.12")
        .not_upstash(),
];

const DEFAULT_COUNT: usize = 10;

fn get(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let count = match argv {
        [_, _] => DEFAULT_COUNT,
        [_, _, count] => match parse_i64(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => {
                return Err(CommandError::text(
                    "ERR count should be greater than or equal to -1",
                ));
            }
        },
        _ => {
            return Err(CommandError::from(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
                String::from_utf8_lossy(at(argv, 1)?)
            )));
        }
    };
    let log = session.keyspace().map(|keyspace| keyspace.slow_log.lock());
    let entries = log.iter().flat_map(|log| log.entries.iter());
    Ok(Reply::Array(entries.take(count).map(show).collect()))
}

fn show(entry: &SlowEntry) -> Reply {
    Reply::Array(vec![
        Reply::Int(entry.id as i64),
        Reply::Int(entry.unix_seconds as i64),
        Reply::Int(entry.micros as i64),
        Reply::Array(entry.argv.iter().map(Reply::bulk).collect()),
        Reply::bulk(&entry.addr),
        Reply::bulk(&entry.name),
    ])
}

fn len(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let length = session
        .keyspace()
        .map_or(0, |keyspace| keyspace.slow_log.lock().entries.len());
    Ok(length.into())
}

fn reset(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    if let Some(keyspace) = session.keyspace() {
        keyspace.slow_log.lock().entries.clear();
    }
    Ok(Reply::OK)
}

fn slowlog_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    The newest slow commands, 10 of them or <count>, all for -1: id, time,",
            "    microseconds, arguments, address and name of the client.",
            "LEN",
            "    Number of commands in the log.",
            "RESET",
            "    Empty the log.",
        ],
    ))
}
