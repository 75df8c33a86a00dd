//! Lists.
//!
//! All commands that push, pop or move go through the few functions of `push`,
//! `pop` and `moving`: a form that waits for an element does, once there is
//! one, exactly what its plain form does.

mod edit;
mod moving;
mod pop;
mod push;
mod read;
#[cfg(test)]
mod tests;

use super::spec::{ALL_BUT_LAST, Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use super::zset::announce;
use super::{Ctx, args};
use crate::error::CommandError;
use crate::value::End;

type Handler = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

const fn write(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler).writes(ONE_KEY, Acl::LIST)
}

const fn read(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler).reads(ONE_KEY, Acl::LIST)
}

/// A command that may make its caller wait; over REST nobody can.
const fn waits(spec: CommandSpec) -> CommandSpec {
    spec.flags(Flags::BLOCKING.and(Flags::YIELDS)).not_rest()
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("lpush", -3, push::lpush).denyoom().fast(),
    write("rpush", -3, push::rpush).denyoom().fast(),
    write("lpushx", -3, push::lpushx)
        .denyoom()
        .fast()
        .since("2.2.0"),
    write("rpushx", -3, push::rpushx)
        .denyoom()
        .fast()
        .since("2.2.0"),
    write("lpop", -2, pop::lpop).flags(Flags::YIELDS).fast(),
    write("rpop", -2, pop::rpop).flags(Flags::YIELDS).fast(),
    write("lmpop", -4, pop::lmpop)
        .keys(Keys::Counted { at: 1 })
        .flags(Flags::MOVABLEKEYS.and(Flags::YIELDS))
        .since("7.0.0"),
    write("lmove", 5, moving::lmove)
        .keys(TWO_KEYS)
        .flags(Flags::YIELDS)
        .denyoom()
        .since("6.2.0"),
    write("rpoplpush", 3, moving::rpoplpush)
        .keys(TWO_KEYS)
        .flags(Flags::YIELDS)
        .denyoom()
        .since("1.2.0"),
    waits(write("blpop", -3, pop::blpop))
        .keys(ALL_BUT_LAST)
        .flags(Flags::NOSCRIPT)
        .since("2.0.0"),
    waits(write("brpop", -3, pop::brpop))
        .keys(ALL_BUT_LAST)
        .flags(Flags::NOSCRIPT)
        .since("2.0.0"),
    waits(write("blmpop", -5, pop::blmpop))
        .keys(Keys::Counted { at: 2 })
        .flags(Flags::MOVABLEKEYS)
        .since("7.0.0"),
    waits(write("blmove", 6, moving::blmove))
        .keys(TWO_KEYS)
        .flags(Flags::NOSCRIPT)
        .denyoom()
        .since("6.2.0"),
    waits(write("brpoplpush", 4, moving::brpoplpush))
        .keys(TWO_KEYS)
        .flags(Flags::NOSCRIPT)
        .denyoom()
        .since("2.2.0"),
    read("llen", 2, read::llen).fast(),
    read("lindex", 3, read::lindex),
    read("lrange", 4, read::lrange),
    read("lpos", -3, read::lpos).since("6.0.6"),
    write("lset", 4, edit::lset).denyoom(),
    write("linsert", 5, edit::linsert).denyoom().since("2.2.0"),
    write("lrem", 4, edit::lrem),
    write("ltrim", 4, edit::ltrim),
];

/// LEFT or RIGHT.
fn end(text: &[u8]) -> Result<End, CommandError> {
    if args::is(text, "LEFT") {
        Ok(End::Head)
    } else if args::is(text, "RIGHT") {
        Ok(End::Tail)
    } else {
        Err(CommandError::Syntax)
    }
}
