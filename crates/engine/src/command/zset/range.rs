//! ZRANGE and its older spellings, ZRANGESTORE, ZREMRANGEBY*.
//!
//! One parser reads them all: an older name fixes what ZRANGE takes as
//! options, and then refuses the option.

use super::super::spec::Outcome;
use super::{Ctx, announce, args, building, lex_bounds, pair, put, score_bounds};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Bound, Collection, LexBound, ZSet};

/// What the ends of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A range before it meets a sorted set.
#[derive(Debug)]
enum Span {
    Rank(i64, i64),
    Score(Bound, Bound),
    Lex(LexBound, LexBound),
}

impl Span {
    fn parse(by: By, min: &[u8], max: &[u8]) -> Result<Span, CommandError> {
        Ok(match by {
            By::Rank => Span::Rank(args::int(min)?, args::int(max)?),
            By::Score => {
                let (min, max) = score_bounds(min, max)?;
                Span::Score(min, max)
            }
            By::Lex => {
                let (min, max) = lex_bounds(min, max)?;
                Span::Lex(min, max)
            }
        })
    }

    /// The first rank and the number of members, both from the low end;
    /// `reverse` counts the ranks of the span from the high end.
    fn ranks(&self, zset: &ZSet, reverse: bool) -> (usize, usize) {
        match self {
            Span::Score(min, max) => zset.score_range(*min, *max),
            Span::Lex(min, max) => zset.lex_range(min, max),
            Span::Rank(start, stop) => {
                let len = Collection::len(zset);
                let range = args::range(*start, *stop, len);
                let first = if reverse {
                    len - range.end
                } else {
                    range.start
                };
                (first, range.len())
            }
        }
    }
}

/// What one of the family's commands fixes by its name.
#[derive(Debug, Clone, Copy, Default)]
struct Fixed {
    by: Option<By>,
    reverse: Option<bool>,
    stores: bool,
}

/// A whole request.
#[derive(Debug)]
struct Query {
    span: Span,
    reverse: bool,
    offset: i64,
    /// Negative for all.
    limit: i64,
    with_scores: bool,
}

impl Query {
    /// Reads what follows the source key.
    fn parse(ctx: &Ctx<'_>, argv: &[&[u8]], fixed: Fixed) -> Result<Query, CommandError> {
        let [first, second, options @ ..] = argv else {
            return Err(CommandError::Syntax);
        };
        let Fixed {
            mut by,
            mut reverse,
            stores,
        } = fixed;
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut options = options;
        while let [option, rest @ ..] = options {
            options = rest;
            if !stores && args::is(option, "WITHSCORES") {
                with_scores = true;
            } else if let [from, count, rest @ ..] = rest
                && args::is(option, "LIMIT")
            {
                offset = args::int(from)?;
                limit = args::int(count)?;
                options = rest;
            } else if reverse.is_none() && args::is(option, "REV") {
                reverse = Some(true);
            } else if by.is_none() && args::is(option, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args::is(option, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if by == By::Rank && !ctx.is_upstash() {
            if limit != -1 {
                return Err(CommandError::text(
                    "ERR syntax error, LIMIT is only supported in combination with either BYSCORE \
                     or BYLEX",
                ));
            }
            // A limit of -1 passes as none, and then so does its offset.
            offset = 0;
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let span = if reverse && by != By::Rank {
            Span::parse(by, second, first)?
        } else {
            Span::parse(by, first, second)?
        };
        Ok(Query {
            span,
            reverse,
            offset,
            limit,
            with_scores,
        })
    }

    /// The ranks that it asks for: the first, and how many. A negative offset
    /// is beyond the end.
    fn ranks(&self, zset: &ZSet) -> (usize, usize) {
        let (first, count) = self.span.ranks(zset, self.reverse);
        let skipped = usize::try_from(self.offset).map_or(count, |offset| offset.min(count));
        let left = count - skipped;
        let taken = usize::try_from(self.limit).map_or(left, |limit| limit.min(left));
        if self.reverse {
            (first + left - taken, taken)
        } else {
            (first + skipped, taken)
        }
    }
}

fn range(ctx: &mut Ctx<'_>, argv: &[&[u8]], by: Option<By>, reverse: Option<bool>) -> Outcome {
    let fixed = Fixed {
        by,
        reverse,
        stores: false,
    };
    let query = Query::parse(ctx, &argv[2..], fixed)?;
    let engine = ctx.engine;
    let Some(zset) = ctx.db.get::<ZSet>(argv[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let (first, count) = query.ranks(zset);
    announce(engine, count);
    let members = zset.iter_range(first, count, query.reverse);
    Ok(if query.with_scores {
        Reply::Pairs(members.map(pair).collect())
    } else {
        Reply::Array(members.map(|(member, _)| Reply::bulk(member)).collect())
    })
}

pub(super) fn zrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, None, None)
}

pub(super) fn zrevrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, Some(By::Rank), Some(true))
}

pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, Some(By::Score), Some(false))
}

pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, Some(By::Score), Some(true))
}

pub(super) fn zrangebylex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, Some(By::Lex), Some(false))
}

pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, Some(By::Lex), Some(true))
}

pub(super) fn zrangestore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let fixed = Fixed {
        stores: true,
        ..Fixed::default()
    };
    let query = Query::parse(ctx, &argv[3..], fixed)?;
    let (engine, limits) = (ctx.engine, ctx.db.settings.zset);
    let mut result = ZSet::default();
    if let Some(zset) = ctx.db.get::<ZSet>(argv[2])? {
        let (first, count) = query.ranks(zset);
        announce(engine, count);
        let limits = building(limits, count <= limits.max_entries);
        for (member, score) in zset.iter_range(first, count, false) {
            result.insert(member, score, limits);
        }
    }
    Ok(put(ctx.db, argv[1], result, "zrangestore"))
}

fn remove(ctx: &mut Ctx<'_>, argv: &[&[u8]], by: By) -> Outcome {
    let span = Span::parse(by, argv[2], argv[3])?;
    let engine = ctx.engine;
    let removed = ctx.db.edit(argv[1], |zset: &mut ZSet| {
        let (first, count) = span.ranks(zset, false);
        announce(engine, count);
        zset.remove_range_by_rank(first, count, |_, _| {})
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Lex => "zremrangebylex",
        };
        ctx.db.notify_taken(Event::ZSet, event, argv[1]);
    }
    Ok(removed.into())
}

pub(super) fn zremrangebyrank(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    remove(ctx, argv, By::Rank)
}

pub(super) fn zremrangebyscore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    remove(ctx, argv, By::Score)
}

pub(super) fn zremrangebylex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    remove(ctx, argv, By::Lex)
}
