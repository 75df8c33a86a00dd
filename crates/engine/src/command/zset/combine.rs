//! ZUNION, ZINTER, ZDIFF, their `STORE` forms, ZINTERCARD.
//!
//! Inputs are sorted sets and sets, whose members score 1; all are read in
//! place. An intersection walks its smallest input, a difference its first; a
//! union gathers everything in a dictionary. The result is sorted once, at the
//! end.
//!
//! Unions and intersections take their inputs from the smallest to the
//! largest, which decides how sums round: that is Redis' order.

use std::collections::hash_map::Entry;

use ahash::AHashMap;

use super::super::spec::Outcome;
use super::{Ctx, args, building, pair, put};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::reply::Reply;
use crate::value::{Collection, Member, Set, Value, ZSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What the result is for; decides which options there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Store,
    Count,
}

/// How the scores of one member become one.
#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, left: f64, right: f64) -> f64 {
        match self {
            Aggregate::Sum => number(left + right),
            Aggregate::Min if right < left => right,
            Aggregate::Max if right > left => right,
            Aggregate::Min | Aggregate::Max => left,
        }
    }
}

/// Infinity times zero, or plus minus infinity, counts as zero.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A request after its checks.
struct Request<'a> {
    keys: &'a [&'a [u8]],
    /// One for each key, or none for all 1.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0 for none.
    limit: usize,
}

impl<'a> Request<'a> {
    /// Reads what follows from the number of keys on. The keys' types are
    /// checked before the options, as in Redis.
    fn parse(
        db: &mut Db,
        argv: &'a [&'a [u8]],
        name: &str,
        operation: Operation,
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let (count, rest) = argv.split_first().ok_or(CommandError::Syntax)?;
        let count = args::int(count)?;
        if count < 1 {
            return Err(CommandError::from(format!(
                "ERR at least 1 input key is needed for '{name}' command"
            )));
        }
        let (keys, mut options) = rest
            .split_at_checked(count as usize)
            .ok_or(CommandError::Syntax)?;
        for key in keys {
            if !matches!(db.read(key), None | Some(Value::Set(_) | Value::ZSet(_))) {
                return Err(CommandError::WrongType);
            }
        }
        let mut request = Request {
            keys,
            weights: Vec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: 0,
        };
        let weighs = operation != Operation::Diff && purpose != Purpose::Count;
        while let [option, rest @ ..] = options {
            options = if weighs
                && args::is(option, "WEIGHTS")
                && let Some((weights, rest)) = rest.split_at_checked(keys.len())
            {
                request.weights = weights
                    .iter()
                    .map(|weight| args::float(weight))
                    .collect::<Result<_, _>>()
                    .map_err(|_| CommandError::text("ERR weight value is not a float"))?;
                rest
            } else if weighs
                && args::is(option, "AGGREGATE")
                && let [how, rest @ ..] = rest
            {
                request.aggregate = match how {
                    how if args::is(how, "SUM") => Aggregate::Sum,
                    how if args::is(how, "MIN") => Aggregate::Min,
                    how if args::is(how, "MAX") => Aggregate::Max,
                    _ => return Err(CommandError::Syntax),
                };
                rest
            } else if purpose == Purpose::Reply && args::is(option, "WITHSCORES") {
                request.with_scores = true;
                rest
            } else if purpose == Purpose::Count
                && args::is(option, "LIMIT")
                && let [limit, rest @ ..] = rest
            {
                let negative = "ERR LIMIT can't be negative";
                request.limit = usize::try_from(args::int_or(limit, negative)?)
                    .map_err(|_| CommandError::text(negative))?;
                rest
            } else {
                return Err(CommandError::Syntax);
            };
        }
        Ok(request)
    }

    fn inputs<'d>(&self, db: &'d Db) -> Vec<Input<'d>> {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        let inputs = self.keys.iter().zip(weights).map(|(key, weight)| Input {
            zset: db.view(key),
            set: db.view(key),
            weight,
        });
        inputs.collect()
    }

    fn combine<'d>(&self, db: &'d Db, operation: Operation) -> Vec<(Member<'d>, f64)> {
        let inputs = self.inputs(db);
        let mut result = Vec::new();
        match operation {
            Operation::Union => result = union(inputs, self.aggregate),
            Operation::Inter => intersect(inputs, self.aggregate, |member, score| {
                result.push((member, score));
                true
            }),
            Operation::Diff => result = difference(&inputs),
        }
        result.sort_unstable_by(|(left, left_score), (right, right_score)| {
            left_score
                .partial_cmp(right_score)
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| left.as_ref().cmp(right.as_ref()))
        });
        result
    }
}

/// One input: at most one of the two is there.
struct Input<'d> {
    zset: Option<&'d ZSet>,
    set: Option<&'d Set>,
    weight: f64,
}

impl<'d> Input<'d> {
    fn len(&self) -> usize {
        self.zset.map_or(0, Collection::len) + self.set.map_or(0, Collection::len)
    }

    /// The member's score, not weighted.
    fn score(&self, member: &[u8]) -> Option<f64> {
        match (self.zset, self.set) {
            (Some(zset), _) => zset.score(member),
            (None, Some(set)) => set.contains(member).then_some(1.0),
            (None, None) => None,
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Member<'d>, f64)> {
        let scored = self.zset.into_iter().flat_map(ZSet::iter);
        let plain = self.set.into_iter().flat_map(Set::iter);
        scored
            .map(|(member, score)| (Member::from(member), score))
            .chain(plain.map(|member| (member, 1.0)))
    }
}

fn union(mut inputs: Vec<Input<'_>>, aggregate: Aggregate) -> Vec<(Member<'_>, f64)> {
    inputs.sort_by_key(Input::len);
    let largest = inputs.last().map_or(0, Input::len);
    let mut result: AHashMap<Member<'_>, f64> = AHashMap::with_capacity(largest);
    for input in &inputs {
        for (member, score) in input.iter() {
            let score = number(score * input.weight);
            match result.entry(member) {
                Entry::Vacant(entry) => {
                    entry.insert(score);
                }
                Entry::Occupied(mut entry) => {
                    let joined = aggregate.join(*entry.get(), score);
                    entry.insert(joined);
                }
            }
        }
    }
    result.into_iter().collect()
}

/// Visits each common member once, until `visit` has enough.
fn intersect<'d>(
    mut inputs: Vec<Input<'d>>,
    aggregate: Aggregate,
    mut visit: impl FnMut(Member<'d>, f64) -> bool,
) {
    inputs.sort_by_key(Input::len);
    let Some((smallest, others)) = inputs.split_first() else {
        return;
    };
    for (member, score) in smallest.iter() {
        let first = number(score * smallest.weight);
        let joined = others.iter().try_fold(first, |joined, input| {
            let score = input.score(&member)?;
            Some(aggregate.join(joined, score * input.weight))
        });
        if let Some(score) = joined
            && !visit(member, score)
        {
            break;
        }
    }
}

fn difference<'d>(inputs: &[Input<'d>]) -> Vec<(Member<'d>, f64)> {
    let Some((first, others)) = inputs.split_first() else {
        return Vec::new();
    };
    let elsewhere = |member: &[u8]| others.iter().any(|input| input.score(member).is_some());
    first
        .iter()
        .filter(|(member, _)| !elsewhere(member))
        .collect()
}

fn replied(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &str, operation: Operation) -> Outcome {
    let request = Request::parse(ctx.db, &argv[1..], name, operation, Purpose::Reply)?;
    let result = request.combine(ctx.db, operation).into_iter();
    Ok(if request.with_scores {
        Reply::Pairs(result.map(pair).collect())
    } else {
        Reply::Array(result.map(|(member, _)| Reply::bulk(member)).collect())
    })
}

fn stored(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &'static str, operation: Operation) -> Outcome {
    let request = Request::parse(ctx.db, &argv[2..], name, operation, Purpose::Store)?;
    let limits = ctx.db.settings.zset;
    let members = request.combine(ctx.db, operation);
    let short = |(member, _): &(Member<'_>, f64)| member.len() <= limits.max_value;
    let compact = members.len() <= limits.max_entries && members.iter().all(short);
    let limits = building(limits, compact);
    let mut result = ZSet::default();
    for (member, score) in members {
        result.insert(&member, score, limits);
    }
    Ok(put(ctx.db, argv[1], result, name))
}

pub(super) fn zunion(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    replied(ctx, argv, "zunion", Operation::Union)
}

pub(super) fn zinter(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    replied(ctx, argv, "zinter", Operation::Inter)
}

pub(super) fn zdiff(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    replied(ctx, argv, "zdiff", Operation::Diff)
}

pub(super) fn zunionstore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    stored(ctx, argv, "zunionstore", Operation::Union)
}

pub(super) fn zinterstore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    stored(ctx, argv, "zinterstore", Operation::Inter)
}

pub(super) fn zdiffstore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    stored(ctx, argv, "zdiffstore", Operation::Diff)
}

pub(super) fn zintercard(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let operation = Operation::Inter;
    let request = Request::parse(ctx.db, &argv[1..], "zintercard", operation, Purpose::Count)?;
    let mut found = 0;
    intersect(request.inputs(ctx.db), request.aggregate, |_, _| {
        found += 1;
        request.limit == 0 || found < request.limit
    });
    Ok(found.into())
}
