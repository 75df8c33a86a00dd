//! BITOP: bitwise operations between whole strings.
//!
//! Shorter strings count as followed by zeros. Sources are folded one after
//! the other into one result, so no more than two are held at a time.
//! DIFF, DIFF1, ANDOR and ONE are Redis 8.2's.

use super::super::Ctx;
use super::super::args::is;
use super::super::generic::delete;
use super::super::spec::Outcome;
use crate::error::CommandError;
use crate::keyspace::{Db, Expire};
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Value, make_raw};

/// Folds the strings at `keys` over `result`, grown to the longest of them.
/// `beyond`: whether `step` changes a byte of the result where the source has
/// ended.
fn fold(
    db: &mut Db,
    keys: &[&[u8]],
    mut result: Vec<u8>,
    beyond: bool,
    step: impl Fn(&mut u8, u8),
) -> Result<Vec<u8>, CommandError> {
    for key in keys {
        let mut apply = |text: &[u8]| {
            if result.len() < text.len() {
                result.resize(text.len(), 0);
            }
            for (byte, other) in result.iter_mut().zip(text) {
                step(byte, *other);
            }
            if beyond {
                for byte in result.iter_mut().skip(text.len()) {
                    step(byte, 0);
                }
            }
        };
        match db.get_str(key)? {
            Some(text) => text.with(apply),
            None => apply(&[]),
        }
    }
    Ok(result)
}

fn union(db: &mut Db, keys: &[&[u8]]) -> Result<Vec<u8>, CommandError> {
    fold(db, keys, Vec::new(), false, |byte, other| *byte |= other)
}

/// Combines `x` with `y`, the shorter one followed by zeros.
fn combine(mut x: Vec<u8>, y: &[u8], step: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    x.resize(x.len().max(y.len()), 0);
    let (both, rest) = x.split_at_mut(y.len());
    for (byte, other) in both.iter_mut().zip(y) {
        *byte = step(*byte, *other);
    }
    for byte in rest {
        *byte = step(*byte, 0);
    }
    x
}

/// Bits that are set in exactly one of the strings.
fn exactly_one(db: &mut Db, keys: &[&[u8]]) -> Result<Vec<u8>, CommandError> {
    let (mut once, mut more) = (Vec::new(), Vec::<u8>::new());
    for key in keys {
        let Some(text) = db.get_str(key)? else {
            continue;
        };
        text.with(|text| {
            let longest = text.len().max(once.len());
            once.resize(longest, 0_u8);
            more.resize(longest, 0);
            for ((once, more), other) in once.iter_mut().zip(&mut more).zip(text) {
                *more |= *once & other;
                *once = (*once | other) & !*more;
            }
        });
    }
    Ok(once)
}

pub(super) fn bitop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (name, destination, sources) = (argv[1], argv[2], &argv[3..]);
    let (first, others) = sources.split_at(1);
    let binary = |step: fn(u8, u8) -> u8, db: &mut Db| {
        if others.is_empty() {
            let name = String::from_utf8_lossy(name).to_ascii_uppercase();
            return Err(CommandError::from(format!(
                "ERR BITOP {name} must be called with at least two source keys."
            )));
        }
        let first = union(db, first)?;
        Ok(combine(first, &union(db, others)?, step))
    };
    let db = &mut *ctx.db;
    let result = if is(name, "AND") {
        let result = union(db, first)?;
        fold(db, others, result, true, |byte, other| *byte &= other)
    } else if is(name, "OR") {
        union(db, sources)
    } else if is(name, "XOR") {
        fold(db, sources, Vec::new(), false, |byte, other| *byte ^= other)
    } else if is(name, "NOT") {
        if !others.is_empty() {
            return Err(CommandError::text(
                "ERR BITOP NOT must be called with a single source key.",
            ));
        }
        fold(db, sources, Vec::new(), false, |byte, other| *byte = !other)
    } else if is(name, "DIFF") {
        binary(|x, y| x & !y, db)
    } else if is(name, "DIFF1") {
        binary(|x, y| !x & y, db)
    } else if is(name, "ANDOR") {
        binary(|x, y| x & y, db)
    } else if is(name, "ONE") {
        exactly_one(db, sources)
    } else {
        Err(CommandError::Syntax)
    }?;
    let mut result = result;
    let length = result.len();
    if result.is_empty() {
        delete(db, destination);
    } else {
        make_raw(&mut result);
        db.put(destination, Value::Str(result), Expire::Clear);
        db.notify(Event::String, "set", destination);
    }
    Ok(Reply::from(length))
}
