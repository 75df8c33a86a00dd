//! Counters: integers with overflow checked, and INCRBYFLOAT's 80-bit sums.

use super::super::Ctx;
use super::super::args::{int, parse_i64};
use super::super::spec::Outcome;
use crate::error::CommandError;
use crate::keyspace::{Db, Expire, StrRef};
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::Value;
use crate::value::float::{ExtendedError, extended_add};

/// Adds to the number at `key`, 0 where there is none; answers the sum.
pub(in crate::command) fn add_to(db: &mut Db, key: &[u8], delta: i64) -> Result<i64, CommandError> {
    let number = match db.peek_str(key)? {
        None => 0,
        Some(StrRef::Int(number)) => number,
        Some(StrRef::Bytes(text)) => parse_i64(text).ok_or(CommandError::NotInteger)?,
    };
    let sum = number.checked_add(delta).ok_or(CommandError::Overflow)?;
    db.put(key, Value::Int(sum), Expire::Keep);
    db.notify(Event::String, "incrby", key);
    Ok(sum)
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], delta: i64) -> Outcome {
    add_to(ctx.db, key, delta).map(Reply::Int)
}

pub(super) fn incr(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    add(ctx, argv[1], 1)
}

pub(super) fn decr(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    add(ctx, argv[1], -1)
}

pub(super) fn incrby(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    add(ctx, argv[1], int(argv[2])?)
}

pub(super) fn decrby(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let delta = int(argv[2])?
        .checked_neg()
        .ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(ctx, argv[1], delta)
}

pub(super) fn incrbyfloat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, delta) = (argv[1], argv[2]);
    let sum = match ctx.db.peek_str(key)? {
        None => extended_add(b"0", delta),
        Some(text) => text.with(|text| extended_add(text, delta)),
    };
    let sum = sum.map_err(|error| match error {
        ExtendedError::NotAFloat => CommandError::NotFloat,
        ExtendedError::NanOrInfinity => CommandError::NotFinite,
    })?;
    ctx.db.put(key, Value::Str(sum.clone()), Expire::Keep);
    ctx.db.effect(&[b"SET", key, &sum, b"KEEPTTL"]);
    ctx.db.notify(Event::String, "incrbyfloat", key);
    Ok(Reply::Bulk(sum))
}
