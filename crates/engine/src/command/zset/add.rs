//! ZADD with its conditions, ZINCRBY, ZREM.
//!
//! A pair costs one insertion where there are no conditions, and a lookup more
//! where there are; nothing is allocated but what the sorted set keeps, up to
//! eight pairs.

use smallvec::SmallVec;

use super::super::spec::Outcome;
use super::{Ctx, args};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{ZSet, ZSetLimits, float};

/// ZADD's options.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::command) struct Conditions {
    /// Only new members.
    pub(in crate::command) nx: bool,
    /// Only members that are there.
    pub(in crate::command) xx: bool,
    /// Only where the score grows, of members that are there.
    gt: bool,
    /// Only where the score falls, of members that are there.
    lt: bool,
    /// Count changed members too.
    pub(in crate::command) ch: bool,
    /// Add to the score.
    incr: bool,
}

/// What became of one pair.
#[derive(Debug, Clone, Copy)]
enum Done {
    /// A condition held it back.
    Refused,
    /// The member had this score already.
    Same(f64),
    Added(f64),
    Updated(f64),
}

impl Conditions {
    /// Reads one option; `false` where the scores begin.
    fn take(&mut self, text: &[u8]) -> bool {
        let option = match text.len() {
            2 if args::is(text, "NX") => &mut self.nx,
            2 if args::is(text, "XX") => &mut self.xx,
            2 if args::is(text, "GT") => &mut self.gt,
            2 if args::is(text, "LT") => &mut self.lt,
            2 if args::is(text, "CH") => &mut self.ch,
            4 if args::is(text, "INCR") => &mut self.incr,
            _ => return false,
        };
        *option = true;
        true
    }

    fn check(self, pairs: usize) -> Result<(), CommandError> {
        let text = if self.nx && self.xx {
            "ERR XX and NX options at the same time are not compatible"
        } else if u8::from(self.nx) + u8::from(self.gt) + u8::from(self.lt) > 1 {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.incr && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::text(text))
    }

    const fn is_conditional(self) -> bool {
        self.nx || self.xx || self.gt || self.lt || self.incr
    }

    fn apply(
        self,
        zset: &mut ZSet,
        member: &[u8],
        score: f64,
        limits: ZSetLimits,
    ) -> Result<Done, CommandError> {
        if !self.is_conditional() {
            return Ok(match zset.insert(member, score, limits) {
                None => Done::Added(score),
                Some(old) if old == score => Done::Same(score),
                Some(_) => Done::Updated(score),
            });
        }
        let Some(old) = zset.score(member) else {
            if self.xx {
                return Ok(Done::Refused);
            }
            zset.insert(member, score, limits);
            return Ok(Done::Added(score));
        };
        if self.nx {
            return Ok(Done::Refused);
        }
        let new = if self.incr { old + score } else { score };
        if new.is_nan() {
            return Err(CommandError::text(
                "ERR resulting score is not a number (NaN)",
            ));
        }
        if (self.gt && new <= old) || (self.lt && new >= old) {
            return Ok(Done::Refused);
        }
        if new == old {
            return Ok(Done::Same(new));
        }
        zset.insert(member, new, limits);
        Ok(Done::Updated(new))
    }
}

pub(super) fn zadd(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    add(ctx, argv, Conditions::default())
}

pub(super) fn zincrby(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let options = Conditions {
        incr: true,
        ..Conditions::default()
    };
    add(ctx, argv, options)
}

/// ZINCRBY reads ZADD's options too, as Redis does: with its four arguments
/// that is always an error.
fn add(ctx: &mut Ctx<'_>, argv: &[&[u8]], mut options: Conditions) -> Outcome {
    let given = argv[2..]
        .iter()
        .take_while(|text| options.take(text))
        .count();
    let (pairs, []) = argv[2 + given..].as_chunks::<2>() else {
        return Err(CommandError::Syntax);
    };
    if pairs.is_empty() {
        return Err(CommandError::Syntax);
    }
    options.check(pairs.len())?;
    let scores = pairs
        .iter()
        .map(|[score, _]| args::float(score))
        .collect::<Result<SmallVec<[f64; 8]>, _>>()?;

    let members = pairs.iter().map(|[_, member]| *member);
    let (count, last) = apply_each(ctx, argv[1], options, scores.into_iter().zip(members))?;
    if !options.incr {
        return Ok(count);
    }
    Ok(match last {
        Done::Refused => Reply::Null,
        Done::Same(score) => Reply::Double(score),
        Done::Added(score) | Done::Updated(score) => {
            let mut text = Vec::with_capacity(24);
            float::format_g17(score, &mut text);
            if let [[_, member], ..] = pairs {
                ctx.db.effect(&[b"ZADD", argv[1], &text, member]);
            }
            Reply::Double(score)
        }
    })
}

/// Sets the scores of `members` at `key`; answers how many are new, or with `ch`
/// how many are new or changed, and what became of the last.
fn apply_each<'a>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    conditions: Conditions,
    members: impl Iterator<Item = (f64, &'a [u8])>,
) -> Result<(Reply, Done), CommandError> {
    let limits = ctx.db.settings.zset;
    let (mut added, mut updated) = (0, 0);
    let last = ctx.db.edit_or_create(key, |zset: &mut ZSet| {
        let mut last = Done::Refused;
        for (score, member) in members {
            last = conditions.apply(zset, member, score, limits)?;
            match last {
                Done::Added(_) => added += 1,
                Done::Updated(_) => updated += 1,
                Done::Refused | Done::Same(_) => {}
            }
        }
        Ok::<_, CommandError>(last)
    })??;
    if added + updated > 0 {
        let event = if conditions.incr { "zincr" } else { "zadd" };
        ctx.db.notify(Event::ZSet, event, key);
    }
    let count = if conditions.ch {
        added + updated
    } else {
        added
    };
    Ok((Reply::Int(count), last))
}

/// ZADD of scores that are computed already.
pub(in crate::command) fn add_scored(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    conditions: Conditions,
    members: SmallVec<[(f64, &[u8]); 8]>,
) -> Outcome {
    apply_each(ctx, key, conditions, members.into_iter()).map(|(count, _)| count)
}

pub(super) fn zrem(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let removed = ctx.db.edit(argv[1], |zset: &mut ZSet| {
        argv[2..]
            .iter()
            .filter(|member| zset.remove(member).is_some())
            .count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.db.notify_taken(Event::ZSet, "zrem", argv[1]);
    }
    Ok(removed.into())
}
