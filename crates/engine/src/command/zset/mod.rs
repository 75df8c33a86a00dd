//! Sorted sets.
//!
//! A range of scores or members becomes a range of ranks first, in logarithmic
//! time, so that limits, reversal and removal are arithmetic on ranks. What
//! walks more than a bounded number of members announces it to the host just
//! before, by the exact number: a page of a huge leaderboard stays cheap.

mod add;
mod combine;
mod pop;
mod range;
mod read;
#[cfg(test)]
mod tests;

use super::dispatch::LONG_ELEMENTS;
use super::generic::delete;
use super::spec::{ALL_BUT_LAST, Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use super::{Ctx, args};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Db, Expire};
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Bound, Collection, LexBound, ZSet, ZSetLimits, float};

pub(super) use add::{Conditions, add_scored};

type Handler = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

const fn write(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .writes(ONE_KEY, Acl::SORTEDSET)
        .since("1.2.0")
}

const fn read(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .reads(ONE_KEY, Acl::SORTEDSET)
        .since("1.2.0")
}

const fn combine(name: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, -3, handler)
        .reads(Keys::Counted { at: 1 }, Acl::SORTEDSET)
        .flags(Flags::MOVABLEKEYS.and(Flags::LONG))
        .since("6.2.0")
}

const fn store(name: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, -4, handler)
        .writes(Keys::DestinationAndCounted, Acl::SORTEDSET)
        .denyoom()
        .flags(Flags::MOVABLEKEYS.and(Flags::LONG))
        .since("2.0.0")
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("zadd", -4, add::zadd)
        .denyoom()
        .fast()
        .adds_members(2),
    write("zincrby", 4, add::zincrby)
        .denyoom()
        .fast()
        .adds_members(2),
    write("zrem", -3, add::zrem).fast(),
    read("zcard", 2, read::zcard).fast(),
    read("zscore", 3, read::zscore).fast(),
    read("zmscore", -3, read::zmscore).fast().since("6.2.0"),
    read("zrank", 3, read::zrank)
        .upstash_arity(-3)
        .fast()
        .since("2.0.0"),
    read("zrevrank", 3, read::zrevrank)
        .upstash_arity(-3)
        .fast()
        .since("2.0.0"),
    read("zcount", 4, read::zcount).fast().since("2.0.0"),
    read("zlexcount", 4, read::zlexcount).fast().since("2.8.9"),
    read("zrandmember", -2, read::zrandmember).since("6.2.0"),
    read("zrange", -4, range::zrange),
    read("zrevrange", -4, range::zrevrange),
    read("zrangebyscore", -4, range::zrangebyscore).since("1.0.5"),
    read("zrevrangebyscore", -4, range::zrevrangebyscore).since("2.2.0"),
    read("zrangebylex", -4, range::zrangebylex).since("2.8.9"),
    read("zrevrangebylex", -4, range::zrevrangebylex).since("2.8.9"),
    write("zrangestore", -5, range::zrangestore)
        .keys(TWO_KEYS)
        .denyoom()
        .since("6.2.0"),
    write("zremrangebyrank", 4, range::zremrangebyrank).since("2.0.0"),
    write("zremrangebyscore", 4, range::zremrangebyscore),
    write("zremrangebylex", 4, range::zremrangebylex).since("2.8.9"),
    write("zpopmin", -2, pop::zpopmin)
        .flags(Flags::YIELDS)
        .fast()
        .since("5.0.0"),
    write("zpopmax", -2, pop::zpopmax)
        .flags(Flags::YIELDS)
        .fast()
        .since("5.0.0"),
    write("zmpop", -4, pop::zmpop)
        .keys(Keys::Counted { at: 1 })
        .flags(Flags::MOVABLEKEYS.and(Flags::YIELDS))
        .since("7.0.0"),
    write("bzpopmin", -3, pop::bzpopmin)
        .keys(ALL_BUT_LAST)
        .flags(Flags::NOSCRIPT.and(Flags::BLOCKING).and(Flags::YIELDS))
        .fast()
        .since("5.0.0")
        .not_rest(),
    write("bzpopmax", -3, pop::bzpopmax)
        .keys(ALL_BUT_LAST)
        .flags(Flags::NOSCRIPT.and(Flags::BLOCKING).and(Flags::YIELDS))
        .fast()
        .since("5.0.0")
        .not_rest(),
    write("bzmpop", -5, pop::bzmpop)
        .keys(Keys::Counted { at: 2 })
        .flags(Flags::BLOCKING.and(Flags::MOVABLEKEYS).and(Flags::YIELDS))
        .since("7.0.0")
        .not_rest(),
    combine("zunion", combine::zunion),
    combine("zinter", combine::zinter),
    combine("zdiff", combine::zdiff),
    combine("zintercard", combine::zintercard).since("7.0.0"),
    store("zunionstore", combine::zunionstore),
    store("zinterstore", combine::zinterstore),
    store("zdiffstore", combine::zdiffstore).since("6.2.0"),
];

/// Tells the host that `members` are about to be walked, if they are many.
pub(super) fn announce(engine: &Engine, members: usize) {
    if members > LONG_ELEMENTS {
        engine.announce_long_unit();
    }
}

/// Both ends of a range of scores.
fn score_bounds(min: &[u8], max: &[u8]) -> Result<(Bound, Bound), CommandError> {
    let bound = |text: &[u8]| match text.strip_prefix(b"(") {
        Some(text) => float::parse_range_f64(text).map(Bound::Excluded),
        None => float::parse_range_f64(text).map(Bound::Included),
    };
    bound(min)
        .zip(bound(max))
        .ok_or(CommandError::text("ERR min or max is not a float"))
}

/// Both ends of a range of members.
fn lex_bounds(min: &[u8], max: &[u8]) -> Result<(LexBound, LexBound), CommandError> {
    let bound = |text: &[u8]| match text {
        // Redis compares these two as C strings: a NUL ends them.
        [b'-'] | [b'-', 0, ..] => Some(LexBound::Min),
        [b'+'] | [b'+', 0, ..] => Some(LexBound::Max),
        [b'[', member @ ..] => Some(LexBound::Included(member.to_vec())),
        [b'(', member @ ..] => Some(LexBound::Excluded(member.to_vec())),
        _ => None,
    };
    bound(min).zip(bound(max)).ok_or(CommandError::text(
        "ERR min or max not valid string range item",
    ))
}

/// A member with its score, as replies carry it.
fn pair((member, score): (impl AsRef<[u8]>, f64)) -> (Reply, Reply) {
    (Reply::bulk(member), Reply::Double(score))
}

/// The limits to build a result with: what will not be compact at the end
/// never is on the way.
pub(super) const fn building(limits: ZSetLimits, compact: bool) -> ZSetLimits {
    if compact {
        limits
    } else {
        ZSetLimits {
            max_entries: 0,
            max_value: 0,
        }
    }
}

/// Puts a result at `key` and raises `event`, or nothing where it is empty;
/// answers its size.
pub(super) fn put(db: &mut Db, key: &[u8], result: ZSet, event: &'static str) -> Reply {
    let count = Collection::len(&result);
    if count == 0 {
        delete(db, key);
    } else {
        db.put(key, result.into_value(), Expire::Clear);
        db.notify(Event::ZSet, event, key);
    }
    count.into()
}
