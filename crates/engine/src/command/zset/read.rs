//! Scores, ranks, counts and random members.

use super::super::hash::{pick_count, repeated_picks};
use super::super::spec::Outcome;
use super::{Ctx, announce, args, lex_bounds, pair, score_bounds};
use crate::error::CommandError;
use crate::reply::{Reply, Room};
use crate::value::{Collection, ZSet};

pub(super) fn zcard(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let zset = ctx.db.get::<ZSet>(argv[1])?;
    Ok(zset.map_or(0, Collection::len).into())
}

pub(super) fn zscore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(score_of(ctx.db.get::<ZSet>(argv[1])?, argv[2]))
}

pub(super) fn zmscore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let zset = ctx.db.get::<ZSet>(argv[1])?;
    let scores = argv[2..].iter().map(|member| score_of(zset, member));
    Ok(Reply::Array(scores.collect()))
}

fn score_of(zset: Option<&ZSet>, member: &[u8]) -> Reply {
    zset.and_then(|zset| zset.score(member))
        .map_or(Reply::Null, Reply::Double)
}

pub(super) fn zrank(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    ranked(ctx, argv, false)
}

pub(super) fn zrevrank(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    ranked(ctx, argv, true)
}

/// `WITHSCORE` came with Redis 7.2; the arity of 7.0's dialect keeps it out.
fn ranked(ctx: &mut Ctx<'_>, argv: &[&[u8]], reverse: bool) -> Outcome {
    let with_score = match argv.get(3..) {
        None | Some([]) => false,
        Some([option]) if args::is(option, "WITHSCORE") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let member = argv[2];
    let found = ctx.db.get::<ZSet>(argv[1])?.and_then(|zset| {
        let rank = zset.rank(member)?;
        let rank = if reverse {
            Collection::len(zset) - 1 - rank
        } else {
            rank
        };
        Some((zset, rank))
    });
    Ok(match found {
        None if with_score => Reply::NullArray,
        None => Reply::Null,
        Some((zset, rank)) if with_score => {
            Reply::Array(vec![rank.into(), score_of(Some(zset), member)])
        }
        Some((_, rank)) => rank.into(),
    })
}

pub(super) fn zcount(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (min, max) = score_bounds(argv[2], argv[3])?;
    let zset = ctx.db.get::<ZSet>(argv[1])?;
    Ok(zset.map_or(0, |zset| zset.score_range(min, max).1).into())
}

pub(super) fn zlexcount(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (min, max) = lex_bounds(argv[2], argv[3])?;
    let zset = ctx.db.get::<ZSet>(argv[1])?;
    Ok(zset.map_or(0, |zset| zset.lex_range(&min, &max).1).into())
}

pub(super) fn zrandmember(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let engine = ctx.engine;
    let mut random = ctx.db.random.fork();
    let rng = &mut || random.next();
    let Some(count) = argv.get(2) else {
        let zset = ctx.db.get::<ZSet>(argv[1])?;
        let picked = zset.and_then(|zset| zset.random(rng));
        return Ok(picked.map_or(Reply::Null, |(member, _)| Reply::bulk(member)));
    };
    let (count, with_scores) = pick_count(count, &argv[3..], "WITHSCORES")?;
    let Some(zset) = ctx.db.get::<ZSet>(argv[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let picked: Vec<(&[u8], f64)> = if count < 0 {
        let picks = repeated_picks(count)?;
        announce(engine, picks);
        let mut room = Room::new();
        let mut picked = Vec::new();
        for _ in 0..picks {
            let Some((member, score)) = zset.random(rng) else {
                break;
            };
            room.take(member.len())?;
            picked.push((member, score));
        }
        picked
    } else {
        let picks = (count as usize).min(Collection::len(zset));
        announce(engine, picks);
        if picks == Collection::len(zset) {
            zset.iter().collect()
        } else {
            zset.random_distinct(picks, rng)
        }
    };
    Ok(if with_scores {
        Reply::Pairs(picked.into_iter().map(pair).collect())
    } else {
        let members = picked.into_iter().map(|(member, _)| Reply::bulk(member));
        Reply::Array(members.collect())
    })
}
