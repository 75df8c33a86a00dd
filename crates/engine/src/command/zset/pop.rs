//! ZPOPMIN, ZPOPMAX, ZMPOP, and the forms of them that wait.

use super::super::blocked;
use super::super::spec::Outcome;
use super::{Ctx, announce, args};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::session::Wait;
use crate::value::{Collection, ZSet};

/// The end from which members are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

type Popped = Vec<(Vec<u8>, f64)>;

pub(super) fn zpopmin(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    zpop(ctx, argv, End::Min)
}

pub(super) fn zpopmax(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    zpop(ctx, argv, End::Max)
}

/// The reply's shape depends on whether a count was given: without one, a
/// member and its score side by side in both protocols.
fn zpop(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    let count = match argv.get(2..) {
        None | Some([]) => None,
        Some([count]) => Some(args::positive(count)? as usize),
        Some(_) => return Err(CommandError::Syntax),
    };
    let popped = pop(ctx, argv[1], count.unwrap_or(1), end)?.unwrap_or_default();
    Ok(if count.is_some() {
        Reply::Pairs(popped.into_iter().map(moved).collect())
    } else {
        let flat = popped.into_iter().map(moved).flat_map(<[Reply; 2]>::from);
        Reply::Array(flat.collect())
    })
}

pub(super) fn bzpopmin(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    bzpop(ctx, argv, End::Min)
}

pub(super) fn bzpopmax(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    bzpop(ctx, argv, End::Max)
}

fn bzpop(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    let [_, keys @ .., timeout] = argv else {
        return Err(CommandError::Syntax);
    };
    let patience = blocked::seconds(timeout)?;
    for key in ctx.candidates(keys) {
        if let Some(popped) = pop(ctx, key, 1, end)?.and_then(|mut popped| popped.pop()) {
            let (member, score) = moved(popped);
            return Ok(Reply::Array(vec![Reply::bulk(key), member, score]));
        }
    }
    Ok(ctx.wait(argv, Wait::for_keys(keys, patience)))
}

pub(super) fn bzmpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (keys, end, count) = which(&argv[2..])?;
    let patience = blocked::seconds(argv[1])?;
    match mpop(ctx, ctx.candidates(keys), end, count)? {
        Some(reply) => Ok(reply),
        None => Ok(ctx.wait(argv, Wait::for_keys(keys, patience))),
    }
}

pub(super) fn zmpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (keys, end, count) = which(&argv[1..])?;
    Ok(mpop(ctx, keys, end, count)?.unwrap_or(Reply::NullArray))
}

/// The arguments of ZMPOP from `numkeys` on.
fn which<'a>(args: &'a [&'a [u8]]) -> Result<(&'a [&'a [u8]], End, usize), CommandError> {
    let bad_keys = "ERR numkeys should be greater than 0";
    let keys = args::int_or(args[0], bad_keys)?;
    if keys < 1 {
        return Err(CommandError::text(bad_keys));
    }
    let Some((keys, [end, options @ ..])) = args[1..].split_at_checked(keys as usize) else {
        return Err(CommandError::Syntax);
    };
    let end = if args::is(end, "MIN") {
        End::Min
    } else if args::is(end, "MAX") {
        End::Max
    } else {
        return Err(CommandError::Syntax);
    };
    let count = match options {
        [] => 1,
        [name, count, rest @ ..] if args::is(name, "COUNT") => {
            let bad_count = "ERR count should be greater than 0";
            let count = args::int_or(count, bad_count)?;
            if count < 1 {
                return Err(CommandError::text(bad_count));
            }
            if !rest.is_empty() {
                return Err(CommandError::Syntax);
            }
            count as usize
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok((keys, end, count))
}

/// From the first of `keys` that has any.
fn mpop(
    ctx: &mut Ctx<'_>,
    keys: &[&[u8]],
    end: End,
    count: usize,
) -> Result<Option<Reply>, CommandError> {
    for key in keys {
        if let Some(popped) = pop(ctx, key, count, end)? {
            let nested = popped
                .into_iter()
                .map(|popped| Reply::Array(<[Reply; 2]>::from(moved(popped)).into()));
            return Ok(Some(Reply::Array(vec![
                Reply::bulk(key),
                Reply::Array(nested.collect()),
            ])));
        }
    }
    Ok(None)
}

/// A member with its score, as replies carry it, without copying.
fn moved((member, score): (Vec<u8>, f64)) -> (Reply, Reply) {
    (Reply::Bulk(member), Reply::Double(score))
}

/// Takes up to `count` members out, the outermost first; `None` where there is
/// no key.
fn pop(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    count: usize,
    end: End,
) -> Result<Option<Popped>, CommandError> {
    let engine = ctx.engine;
    let popped = ctx.db.edit(key, |zset: &mut ZSet| {
        let len = Collection::len(zset);
        let count = count.min(len);
        announce(engine, count);
        let start = if end == End::Max { len - count } else { 0 };
        let mut popped = Vec::with_capacity(count);
        zset.remove_range_by_rank(start, count, |member, score| {
            popped.push((member.to_vec(), score));
        });
        if end == End::Max {
            popped.reverse();
        }
        popped
    })?;
    let Some(popped) = popped else {
        return Ok(None);
    };
    if !popped.is_empty() {
        let event = match end {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        };
        ctx.db.notify_taken(Event::ZSet, event, key);
        if ctx.db.exists(key) {
            let mut effect: Vec<&[u8]> = Vec::with_capacity(popped.len() + 2);
            effect.extend([b"ZREM".as_slice(), key]);
            effect.extend(popped.iter().map(|(member, _)| member.as_slice()));
            ctx.db.effect(&effect);
        } else {
            ctx.db.effect(&[b"DEL", key]);
        }
    }
    Ok(Some(popped))
}
