//! Strings: read, replaced whole or changed in place.
//!
//! A value that is exactly an integer's decimal text is kept as the number, so
//! a counter costs no allocation; a change in place turns it into bytes. SET
//! and its relatives stand in `set`, the counters in `counter`, comparing and
//! deleting in `compare`.
//!
//! Cost: GET copies the value into the reply, SET copies it out of the request
//! once; APPEND and SETRANGE touch only the bytes that change.

mod compare;
mod counter;
mod lcs;
mod set;
mod xxh3;

use super::Ctx;
use super::args::{int, parse_i64};
use super::spec::{ALL_KEYS, Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use crate::error::CommandError;
use crate::keyspace::{Db, Expire, StrRef};
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::Value;

pub(super) use counter::add_to;
pub(super) use set::put;

/// Keys with a value after each.
const PAIRS: Keys = Keys::Range {
    first: 1,
    last: -1,
    step: 2,
};

const fn read(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler).reads(ONE_KEY, Acl::STRING)
}

const fn write(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler).writes(ONE_KEY, Acl::STRING)
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    read("get", 2, get).fast(),
    read("lcs", -3, lcs::lcs)
        .keys(TWO_KEYS)
        .since("7.0.0")
        .not_upstash(),
    write("set", -3, set::set).flags(Flags::YIELDS).denyoom(),
    write("setnx", 3, set::setnx).denyoom().fast(),
    write("setex", 4, set::setex).denyoom().since("2.0.0"),
    write("psetex", 4, set::psetex).denyoom().since("2.6.0"),
    write("getset", 3, set::getset)
        .flags(Flags::YIELDS)
        .denyoom()
        .fast(),
    write("getdel", 2, set::getdel)
        .flags(Flags::YIELDS)
        .fast()
        .since("6.2.0"),
    write("getex", -2, set::getex)
        .flags(Flags::YIELDS)
        .fast()
        .since("6.2.0"),
    CommandSpec::new("mget", -2, mget)
        .reads(ALL_KEYS, Acl::STRING)
        .fast(),
    CommandSpec::new("mset", -3, mset)
        .writes(PAIRS, Acl::STRING)
        .denyoom()
        .since("1.0.1"),
    CommandSpec::new("msetnx", -3, msetnx)
        .writes(PAIRS, Acl::STRING)
        .denyoom()
        .since("1.0.1"),
    write("append", 3, append).denyoom().fast().since("2.0.0"),
    read("strlen", 2, strlen).fast().since("2.2.0"),
    read("getrange", 4, getrange).since("2.4.0"),
    read("substr", 4, getrange).not_upstash(),
    write("setrange", 4, setrange).denyoom().since("2.2.0"),
    write("incr", 2, counter::incr).denyoom().fast(),
    write("decr", 2, counter::decr).denyoom().fast(),
    write("incrby", 3, counter::incrby).denyoom().fast(),
    write("decrby", 3, counter::decrby).denyoom().fast(),
    write("incrbyfloat", 3, counter::incrbyfloat)
        .flags(Flags::YIELDS)
        .denyoom()
        .fast()
        .since("2.6.0"),
    write("delex", -2, compare::delex).fast().since("8.4.0"),
    read("digest", 2, compare::digest).fast().since("8.4.0"),
];

/// `text` as it is kept: a number where it is one's canonical text.
fn encode(text: &[u8]) -> Value {
    // The longest i64 has 20 characters.
    let number = if text.len() <= 20 {
        parse_i64(text)
    } else {
        None
    };
    number.map_or_else(|| Value::Str(text.to_vec()), Value::Int)
}

/// Refuses a string that would grow to `offset + added` bytes, past the limit.
fn check_length(db: &Db, offset: usize, added: usize) -> Result<(), CommandError> {
    match offset.checked_add(added) {
        Some(length) if length <= db.settings.proto_max_bulk_len => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

/// The inclusive range `start..=end` of `len` elements, negative counted from
/// the end; beyond either end it is cut, so that `end` may lie before `start`.
pub(super) fn clamp(start: i64, end: i64, len: i64) -> (i64, i64) {
    let from_end = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    (from_end(start), from_end(end).min(len - 1))
}

fn get(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get_str(argv[1])?
        .map_or(Reply::Null, |text| Reply::Bulk(text.to_vec())))
}

fn mget(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut room = Room::new();
    let mut values = Vec::with_capacity(argv.len() - 1);
    for key in &argv[1..] {
        values.push(match ctx.db.get_str(key) {
            Ok(Some(text)) => {
                room.take(text.len())?;
                Reply::Bulk(text.to_vec())
            }
            // A value of another type is no string: nil, not an error.
            Ok(None) | Err(_) => Reply::Null,
        });
    }
    Ok(Reply::Array(values))
}

fn put_pairs(db: &mut Db, pairs: &[&[u8]]) {
    for pair in pairs.chunks_exact(2) {
        db.put(pair[0], encode(pair[1]), Expire::Clear);
        db.notify(Event::String, "set", pair[0]);
    }
}

fn mset(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    if argv.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity("mset"));
    }
    put_pairs(ctx.db, &argv[1..]);
    Ok(Reply::OK)
}

fn msetnx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    if argv.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity("msetnx"));
    }
    if argv[1..].iter().step_by(2).any(|key| ctx.db.exists(key)) {
        return Ok(Reply::Int(0));
    }
    put_pairs(ctx.db, &argv[1..]);
    Ok(Reply::Int(1))
}

fn append(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, tail) = (argv[1], argv[2]);
    let Some(length) = ctx.db.peek_str(key)?.map(StrRef::len) else {
        ctx.db.put(key, encode(tail), Expire::Clear);
        ctx.db.notify(Event::String, "append", key);
        return Ok(tail.len().into());
    };
    check_length(ctx.db, length, tail.len())?;
    let length = ctx.db.splice(key, length, tail);
    ctx.db.notify(Event::String, "append", key);
    Ok(length.into())
}

fn strlen(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx.db.get_str(argv[1])?.map_or(0, StrRef::len).into())
}

fn getrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (start, end) = (int(argv[2])?, int(argv[3])?);
    let Some(text) = ctx.db.get_str(argv[1])? else {
        return Ok(Reply::bulk(""));
    };
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(""));
    }
    Ok(text.with(|text| {
        let (start, end) = clamp(start, end, text.len() as i64);
        Reply::bulk(
            text.get(start as usize..(end + 1) as usize)
                .unwrap_or_default(),
        )
    }))
}

fn setrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, patch) = (argv[1], argv[3]);
    let offset = usize::try_from(int(argv[2])?)
        .map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let length = ctx.db.peek_str(key)?.map_or(0, StrRef::len);
    if patch.is_empty() {
        return Ok(length.into());
    }
    check_length(ctx.db, offset, patch.len())?;
    let length = ctx.db.splice(key, offset, patch);
    ctx.db.notify(Event::String, "setrange", key);
    Ok(length.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_become_numbers() {
        for text in ["0", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert!(matches!(encode(text.as_bytes()), Value::Int(_)), "{text}");
        }
        for text in ["", "00", "-0", "+1", " 1", "1.0", "9223372036854775808"] {
            assert!(matches!(encode(text.as_bytes()), Value::Str(_)), "{text}");
        }
    }

    #[test]
    fn ranges_are_cut_at_both_ends() {
        assert_eq!(clamp(0, -1, 3), (0, 2));
        assert_eq!(clamp(-2, 10, 3), (1, 2));
        assert_eq!(clamp(0, -10, 3), (0, 0));
        assert_eq!(clamp(i64::MIN, i64::MAX, 3), (0, 2));
        assert_eq!(clamp(0, -1, 0), (0, -1));
    }
}
