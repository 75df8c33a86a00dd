//! Streams and their consumer groups.
//!
//! What depends on the time says its effect as what came of it: an entry's id,
//! the length after trimming "about", and for whatever is handed out or claimed
//! who has it since when, as `XCLAIM … FORCE JUSTID` with `TIME` and
//! `RETRYCOUNT`. Entries that share all of that share one effect.

mod add;
mod claim;
mod delete;
mod group;
mod ids;
mod info;
mod pending;
mod range;
mod read;
#[cfg(test)]
mod tests;
mod trim;

use super::generic::count_lookup;
use super::spec::{Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome};
use super::{Ctx, args};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::reply::{Bulks, Reply};
use crate::value::{Collection, Entry, Group, Stream, StreamId};

type Handler = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

const fn write(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .writes(ONE_KEY, Acl::STREAM)
        .since("5.0.0")
}

const fn read(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .reads(ONE_KEY, Acl::STREAM)
        .since("5.0.0")
}

/// The key of a subcommand.
const SECOND: Keys = Keys::Range {
    first: 2,
    last: 2,
    step: 1,
};

const YIELDS: Flags = Flags::YIELDS;

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("xadd", -5, add::xadd).denyoom().fast().flags(YIELDS),
    read("xlen", 2, range::xlen).fast(),
    read("xrange", -4, range::xrange),
    read("xrevrange", -4, range::xrevrange),
    read("xread", -4, read::xread)
        .keys(Keys::Streams { from: 1 })
        .flags(Flags::BLOCKING.and(Flags::MOVABLEKEYS))
        .acl(Acl::BLOCKING),
    write("xreadgroup", -7, read::xreadgroup)
        .keys(Keys::Streams { from: 4 })
        .flags(Flags::BLOCKING.and(Flags::MOVABLEKEYS).and(YIELDS))
        .acl(Acl::BLOCKING),
    write("xdel", -3, delete::xdel).fast(),
    write("xdelex", -5, delete::xdelex)
        .fast()
        .flags(YIELDS)
        .since("8.2.0"),
    write("xtrim", -4, trim::xtrim),
    write("xsetid", -3, group::xsetid)
        .denyoom()
        .fast()
        .not_upstash(),
    write("xack", -4, delete::xack).fast(),
    write("xackdel", -6, delete::xackdel)
        .fast()
        .flags(YIELDS)
        .since("8.2.0"),
    read("xpending", -3, pending::xpending),
    write("xclaim", -6, claim::xclaim).fast().flags(YIELDS),
    write("xautoclaim", -6, claim::xautoclaim)
        .fast()
        .flags(YIELDS)
        .since("6.2.0"),
    CommandSpec::container(
        "xgroup",
        &[
            write("create", -5, group::create).keys(SECOND).denyoom(),
            write("createconsumer", 5, group::createconsumer)
                .keys(SECOND)
                .denyoom()
                .since("6.2.0"),
            write("delconsumer", 5, group::delconsumer).keys(SECOND),
            write("destroy", 4, group::destroy).keys(SECOND),
            CommandSpec::unlocked("help", 2, group::help)
                .flags(Flags::LOADING.and(Flags::STALE))
                .acl(Acl::STREAM)
                .since("5.0.0")
                .not_upstash(),
            write("setid", -5, group::setid).keys(SECOND),
        ],
    )
    .since("5.0.0"),
    CommandSpec::container(
        "xinfo",
        &[
            read("consumers", 4, info::consumers).keys(SECOND),
            read("groups", 3, info::groups).keys(SECOND),
            CommandSpec::unlocked("help", 2, info::help)
                .flags(Flags::LOADING.and(Flags::STALE))
                .acl(Acl::STREAM)
                .since("5.0.0")
                .not_upstash(),
            read("stream", -3, info::stream).keys(SECOND),
        ],
    )
    .since("5.0.0"),
];

/// Entries above which a walk is announced to the host.
fn announce(ctx: &Ctx<'_>, entries: usize) {
    if entries > super::dispatch::LONG_ELEMENTS {
        ctx.engine.announce_long_unit();
    }
}

fn id_reply(id: StreamId) -> Reply {
    Reply::bulk(id.text())
}

/// An entry as replies carry it: its id, and fields and values in turn.
fn entry_reply(entry: &Entry<'_>) -> Reply {
    let mut texts = Bulks::with_capacity(entry.len * 2, entry.bytes());
    for (field, value) in entry.pairs() {
        texts.push(field);
        texts.push(value);
    }
    Reply::Array(vec![id_reply(entry.id), Reply::Bulks(texts)])
}

/// The stream at a key, for a command that writes: counts neither hit nor miss.
fn peek<'a>(ctx: &'a mut Ctx<'_>, key: &[u8]) -> Result<Option<&'a Stream>, CommandError> {
    match ctx.db.peek(key) {
        None => Ok(None),
        Some(record) => Stream::of(&record.value)
            .map(Some)
            .ok_or(CommandError::WrongType),
    }
}

/// An argument as an error quotes it: like a C string it ends at a NUL.
fn quoted(arg: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, arg).unwrap_or(arg.len());
    arg.get(..end).unwrap_or(arg)
}

/// An error that quotes a key and a group.
fn quoting(parts: [&str; 3], first: &[u8], second: &[u8]) -> CommandError {
    let [begin, middle, end] = parts.map(str::as_bytes);
    CommandError::Bytes([begin, quoted(first), middle, quoted(second), end].concat())
}

/// Neither the key nor the group may be missing.
fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    quoting(
        ["NOGROUP No such key '", "' or consumer group '", "'"],
        key,
        group,
    )
}

/// The key is there, the group is not.
fn no_group_of(group: &[u8], key: &[u8]) -> CommandError {
    quoting(
        ["NOGROUP No such consumer group '", "' for key name '", "'"],
        group,
        key,
    )
}

/// Redis' answer to options of a subcommand that it does not know.
fn unknown_options(container: &str, subcommand: &[u8]) -> CommandError {
    quoting(
        [
            "ERR unknown subcommand or wrong number of arguments for '",
            "'. Try ",
            " HELP.",
        ],
        subcommand.get(..128).unwrap_or(subcommand),
        container.as_bytes(),
    )
}

/// Counts a look at the key as a read, as Redis does for some commands that write.
fn look_up(ctx: &mut Ctx<'_>, key: &[u8]) {
    let found = ctx.db.exists(key);
    count_lookup(ctx.db, key, found);
}

/// Changes a group that is known to be there.
fn edit_group<R>(
    db: &mut Db,
    key: &[u8],
    group: &[u8],
    change: impl FnOnce(&mut Group) -> R,
) -> Result<R, CommandError> {
    db.edit(key, |stream: &mut Stream| stream.edit_group(group, change))?
        .flatten()
        .ok_or_else(|| no_group(key, group))
}
