//! OBJECT and MEMORY: how a value is kept.

use super::Ctx;
use super::args::{at, int, is};
use super::spec::{Acl, CommandSpec, Flags, Keys, Outcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Record, frequency};
use crate::reply::Reply;
use crate::session::Session;
use crate::value::{EMBEDDED, Value};

const SECOND: Keys = Keys::Range {
    first: 2,
    last: 2,
    step: 1,
};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::container(
        "object",
        &[
            CommandSpec::new("encoding", 3, encoding)
                .reads(SECOND, Acl::KEYSPACE)
                .since("2.2.3")
                .not_upstash(),
            CommandSpec::new("freq", 3, freq)
                .reads(SECOND, Acl::KEYSPACE)
                .since("4.0.0")
                .not_upstash(),
            CommandSpec::unlocked("help", 2, object_help)
                .flags(Flags::LOADING.and(Flags::STALE))
                .acl(Acl::KEYSPACE)
                .since("6.2.0")
                .not_upstash(),
            CommandSpec::new("idletime", 3, idletime)
                .reads(SECOND, Acl::KEYSPACE)
                .since("2.2.3")
                .not_upstash(),
            CommandSpec::new("refcount", 3, refcount)
                .reads(SECOND, Acl::KEYSPACE)
                .since("2.2.3")
                .not_upstash(),
        ],
    )
    .since("2.2.3")
    .not_upstash(),
    CommandSpec::container(
        "memory",
        &[
            CommandSpec::unlocked("help", 2, memory_help)
                .flags(Flags::LOADING.and(Flags::STALE))
                .since("4.0.0")
                .not_upstash(),
            CommandSpec::new("usage", -3, usage)
                .reads(SECOND, Acl::empty())
                .since("4.0.0"),
        ],
    )
    .since("4.0.0"),
];

/// Integers below this are shared in Redis, unless eviction needs their ages.
const SHARED_INTEGERS: i64 = 10_000;

pub(super) fn encoding_of(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "int",
        Value::Str(text) if text.capacity() <= EMBEDDED => "embstr",
        Value::Str(_) => "raw",
        Value::Hash(hash) => hash.encoding(),
        Value::Set(set) => set.encoding(),
        Value::ZSet(zset) => zset.encoding(),
        Value::List(list) => list.encoding(),
        Value::Stream(_) => "stream",
    }
}

/// Answers `show` of the record; null where there is none.
fn look(ctx: &mut Ctx<'_>, argv: &[&[u8]], show: impl FnOnce(&Record) -> Reply) -> Outcome {
    Ok(ctx.db.peek(at(argv, 2)?).map_or(Reply::Null, show))
}

fn encoding(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    look(ctx, argv, |record| Reply::bulk(encoding_of(&record.value)))
}

fn idletime(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now = ctx.now_ms() / 1000;
    let counts_uses = ctx.db.settings.policy.counts_uses();
    look(ctx, argv, |record| {
        if counts_uses {
            return Reply::error(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note \
                 that when switching between policies at runtime LRU and LFU data will take some \
                 time to adjust.",
            );
        }
        Reply::Int(now.saturating_sub(u64::from(record.accessed)) as i64)
    })
}

fn refcount(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let settings = &ctx.db.settings;
    let sharing = settings.maxmemory == 0 || !settings.policy.needs_ages();
    look(ctx, argv, |record| match record.value {
        Value::Int(number) if sharing && (0..SHARED_INTEGERS).contains(&number) => {
            Reply::Int(i64::from(i32::MAX))
        }
        _ => Reply::Int(1),
    })
}

fn freq(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (now_ms, settings) = (ctx.now_ms(), ctx.db.settings.clone());
    look(ctx, argv, |record| {
        if settings.policy.counts_uses() {
            return Reply::Int(frequency(record.accessed, now_ms, &settings).into());
        }
        Reply::error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        )
    })
}

fn usage(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut options = argv.iter().skip(3);
    while let Some(option) = options.next() {
        let value = options
            .next()
            .filter(|_| is(option, "SAMPLES"))
            .ok_or(CommandError::Syntax)?;
        // Sizes are known exactly: nothing is sampled.
        if int(value)? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    look(ctx, argv, |record| record.bytes().into())
}

/// What a HELP subcommand answers: a line for the form of the command, then
/// `lines`, then HELP itself.
pub(super) fn help(name: &str, lines: &[&'static str]) -> Reply {
    let head = format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    let tail = ["HELP", "    Prints this help."];
    let lines = lines.iter().copied().chain(tail).map(Reply::status);
    Reply::Array(
        std::iter::once(Reply::Status(head.into()))
            .chain(lines)
            .collect(),
    )
}

fn object_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "OBJECT",
        &[
            "ENCODING <key>",
            "    How the value is kept: int, embstr, raw, listpack, ...",
            "FREQ <key>",
            "    How often the key is used; needs an LFU policy.",
            "IDLETIME <key>",
            "    Seconds since the key was last used.",
            "REFCOUNT <key>",
            "    Number of references to the value.",
        ],
    ))
}

fn memory_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "MEMORY",
        &[
            "USAGE <key> [SAMPLES <count>]",
            "    Bytes that the key and its value take.",
        ],
    ))
}
