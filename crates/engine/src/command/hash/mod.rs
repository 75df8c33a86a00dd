//! Hashes.

mod getex;
mod ttl;

use super::spec::{Acl, CommandSpec, Flags, ONE_KEY, Outcome};
use super::{Ctx, args};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::float::{ExtendedError, extended_add};
use crate::value::{Collection, Hash};

const fn write(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .writes(ONE_KEY, Acl::HASH)
        .fast()
        .since("2.0.0")
}

const fn read(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .reads(ONE_KEY, Acl::HASH)
        .since("2.0.0")
}

/// A writing command of Redis 8.0.
const fn newer(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    write(name, arity, handler).since("8.0.0")
}

/// One that changes deadlines of fields and answers for each of them.
const fn timed(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    write(name, arity, handler)
        .flags(Flags::YIELDS)
        .since("7.4.0")
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("hset", -4, hset).denyoom().adds_fields(),
    write("hsetnx", 4, hsetnx).denyoom().adds_fields(),
    write("hmset", -4, hmset).denyoom().adds_fields(),
    write("hincrby", 4, hincrby).denyoom().adds_fields(),
    write("hincrbyfloat", 4, hincrbyfloat)
        .flags(Flags::YIELDS)
        .denyoom()
        .adds_fields()
        .since("2.6.0"),
    write("hdel", -3, hdel),
    newer("hgetdel", -5, getex::hgetdel).flags(Flags::YIELDS),
    newer("hgetex", -5, getex::hgetex).flags(Flags::YIELDS),
    newer("hsetex", -6, getex::hsetex).denyoom().adds_fields(),
    timed("hexpire", -6, ttl::hexpire),
    timed("hexpireat", -6, ttl::hexpireat),
    timed("hpexpire", -6, ttl::hpexpire),
    timed("hpexpireat", -6, ttl::hpexpireat),
    timed("hpersist", -5, ttl::hpersist),
    read("hexpiretime", -5, ttl::hexpiretime)
        .fast()
        .since("7.4.0"),
    read("hpexpiretime", -5, ttl::hpexpiretime)
        .fast()
        .since("7.4.0"),
    read("hpttl", -5, ttl::hpttl).fast().since("7.4.0"),
    read("httl", -5, ttl::httl).fast().since("7.4.0"),
    read("hget", 3, hget).fast(),
    read("hmget", -3, hmget).fast(),
    read("hlen", 2, hlen).fast(),
    read("hstrlen", 3, hstrlen).fast().since("3.2.0"),
    read("hexists", 3, hexists).fast(),
    read("hkeys", 2, hkeys).flags(Flags::LONG),
    read("hvals", 2, hvals).flags(Flags::LONG),
    read("hgetall", 2, hgetall).flags(Flags::LONG),
    read("hrandfield", -2, hrandfield).since("6.2.0"),
];

/// Random picks with repetition that one command may ask for: it bounds the
/// reply's memory.
const MOST_REPEATED_PICKS: usize = 10_000_000;

fn hset(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set_pairs(ctx, argv, "hset").map(Reply::from)
}

fn hmset(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set_pairs(ctx, argv, "hmset").map(|_| Reply::OK)
}

fn set_pairs(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &str) -> Result<usize, CommandError> {
    let pairs = &argv[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(name));
    }
    let limits = ctx.db.settings.hash;
    let added = ctx.db.edit_or_create(argv[1], |hash: &mut Hash| {
        pairs
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[field, value]| usize::from(hash.insert(field, value, limits)))
            .sum()
    })?;
    ctx.db.notify(Event::Hash, "hset", argv[1]);
    Ok(added)
}

fn hsetnx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let limits = ctx.db.settings.hash;
    let (field, value) = (argv[2], argv[3]);
    let set = ctx.db.edit_or_create(argv[1], |hash: &mut Hash| {
        !hash.contains(field) && hash.insert(field, value, limits)
    })?;
    if set {
        ctx.db.notify(Event::Hash, "hset", argv[1]);
    }
    Ok(set.into())
}

fn hincrby(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let step = args::int(argv[3])?;
    let (field, limits) = (argv[2], ctx.db.settings.hash);
    let sum = ctx.db.edit_or_create(argv[1], |hash: &mut Hash| {
        let old = match hash.get(field) {
            None => 0,
            Some(text) => args::int_or(text, "ERR hash value is not an integer")?,
        };
        let sum = old.checked_add(step).ok_or(CommandError::Overflow)?;
        hash.update(field, itoa::Buffer::new().format(sum).as_bytes(), limits);
        Ok::<_, CommandError>(sum)
    })??;
    ctx.db.notify(Event::Hash, "hincrby", argv[1]);
    Ok(Reply::Int(sum))
}

fn hincrbyfloat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let step = argv[3];
    // The step alone first, so that a bad one is told from a bad value.
    extended_add(b"0", step).map_err(|error| match error {
        ExtendedError::NotAFloat => CommandError::NotFloat,
        ExtendedError::NanOrInfinity => CommandError::text("ERR value is NaN or Infinity"),
    })?;
    let (field, limits) = (argv[2], ctx.db.settings.hash);
    let sum = ctx.db.edit_or_create(argv[1], |hash: &mut Hash| {
        let old = hash.get(field).unwrap_or(b"0");
        let sum = extended_add(old, step).map_err(|error| match error {
            ExtendedError::NotAFloat => CommandError::text("ERR hash value is not a float"),
            ExtendedError::NanOrInfinity => CommandError::NotFinite,
        })?;
        hash.update(field, &sum, limits);
        Ok::<_, CommandError>(sum)
    })??;
    ctx.db.effect(&[b"HSET", argv[1], field, &sum]);
    ctx.db.notify(Event::Hash, "hincrbyfloat", argv[1]);
    Ok(Reply::Bulk(sum))
}

fn hdel(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let removed = ctx.db.edit(argv[1], |hash: &mut Hash| {
        argv[2..].iter().filter(|field| hash.remove(field)).count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.db.notify_taken(Event::Hash, "hdel", argv[1]);
    }
    Ok(removed.into())
}

fn hget(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let hash = ctx.db.get::<Hash>(argv[1])?;
    Ok(hash
        .and_then(|hash| hash.get(argv[2]))
        .map_or(Reply::Null, Reply::bulk))
}

fn hmget(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let hash = ctx.db.get::<Hash>(argv[1])?;
    let mut room = Room::new();
    let mut values = Vec::with_capacity(argv.len() - 2);
    for field in &argv[2..] {
        values.push(match hash.and_then(|hash| hash.get(field)) {
            Some(value) => room.bulk(value)?,
            None => Reply::Null,
        });
    }
    Ok(Reply::Array(values))
}

fn hlen(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get::<Hash>(argv[1])?
        .map_or(0, Collection::len)
        .into())
}

fn hstrlen(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get::<Hash>(argv[1])?
        .map_or(0, |hash| hash.strlen(argv[2]))
        .into())
}

fn hexists(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get::<Hash>(argv[1])?
        .is_some_and(|hash| hash.contains(argv[2]))
        .into())
}

fn hkeys(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let hash = ctx.db.get::<Hash>(argv[1])?;
    Ok(Reply::Array(
        hash.iter()
            .flat_map(|hash| hash.iter())
            .map(|(f, _)| Reply::bulk(f))
            .collect(),
    ))
}

fn hvals(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let hash = ctx.db.get::<Hash>(argv[1])?;
    Ok(Reply::Array(
        hash.iter()
            .flat_map(|hash| hash.iter())
            .map(|(_, v)| Reply::bulk(v))
            .collect(),
    ))
}

fn hgetall(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let hash = ctx.db.get::<Hash>(argv[1])?;
    Ok(Reply::Map(
        hash.iter()
            .flat_map(|hash| hash.iter())
            .map(bulks)
            .collect(),
    ))
}

fn bulks((field, value): (&[u8], &[u8])) -> (Reply, Reply) {
    (Reply::bulk(field), Reply::bulk(value))
}

fn hrandfield(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut random = ctx.db.random.fork();
    let rng = &mut || random.next();
    let Some(count) = argv.get(2) else {
        let hash = ctx.db.get::<Hash>(argv[1])?;
        let picked = hash.and_then(|hash| hash.random(rng));
        return Ok(picked.map_or(Reply::Null, |(field, _)| Reply::bulk(field)));
    };
    let (count, with_values) = pick_count(count, &argv[3..], "WITHVALUES")?;
    let Some(hash) = ctx.db.get::<Hash>(argv[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let picked: Vec<(&[u8], &[u8])> = if count < 0 {
        let mut room = Room::new();
        let mut picked = Vec::new();
        for _ in 0..repeated_picks(count)? {
            let Some((field, value)) = hash.random(rng) else {
                break;
            };
            room.take(field.len())?;
            if with_values {
                room.take(value.len())?;
            }
            picked.push((field, value));
        }
        picked
    } else if count as usize >= Collection::len(hash) {
        hash.iter().collect()
    } else {
        hash.random_distinct(count as usize, rng)
    };
    Ok(if with_values {
        Reply::Pairs(picked.into_iter().map(bulks).collect())
    } else {
        Reply::Array(
            picked
                .into_iter()
                .map(|(field, _)| Reply::bulk(field))
                .collect(),
        )
    })
}

/// How many random elements are asked for, negative with repetition, and
/// whether the one option that may follow is there.
pub(super) fn pick_count(
    count: &[u8],
    options: &[&[u8]],
    with: &str,
) -> Result<(i64, bool), CommandError> {
    let count = args::int(count)?;
    if count == i64::MIN {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ));
    }
    match options {
        [] => Ok((count, false)),
        [option] if args::is(option, with) => {
            if count.unsigned_abs() > i64::MAX as u64 / 2 {
                return Err(CommandError::text("ERR value is out of range"));
            }
            Ok((count, true))
        }
        _ => Err(CommandError::Syntax),
    }
}

/// The number of picks with repetition for a negative `count`, within bounds.
pub(super) fn repeated_picks(count: i64) -> Result<usize, CommandError> {
    usize::try_from(count.unsigned_abs())
        .ok()
        .filter(|picks| *picks <= MOST_REPEATED_PICKS)
        .ok_or(CommandError::text("ERR value is out of range"))
}
