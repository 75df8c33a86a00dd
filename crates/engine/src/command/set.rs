//! Sets.
//!
//! Intersections walk the smallest set, differences the first; a union and the
//! `STORE` forms build a set. All read in place, under one look at each key.

use ahash::AHashSet;

use super::generic::delete;
use super::hash::{pick_count, repeated_picks};
use super::spec::{ALL_KEYS, Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use super::{Ctx, args};
use crate::error::CommandError;
use crate::keyspace::{Db, Expire};
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::{Collection, Member, Set, SetLimits};

type Handler = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

const fn write(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler).writes(ONE_KEY, Acl::SET)
}

const fn read(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, arity, handler).reads(ONE_KEY, Acl::SET)
}

const fn combine(name: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, -2, handler)
        .reads(ALL_KEYS, Acl::SET)
        .flags(Flags::LONG)
}

const fn store(name: &'static str, handler: Handler) -> CommandSpec {
    CommandSpec::new(name, -3, handler)
        .writes(ALL_KEYS, Acl::SET)
        .denyoom()
        .flags(Flags::LONG)
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    write("sadd", -3, sadd).denyoom().fast().adds_members(1),
    write("srem", -3, srem).fast(),
    write("smove", 4, smove).keys(TWO_KEYS).fast(),
    write("spop", -2, spop).flags(Flags::YIELDS).fast(),
    read("sismember", 3, sismember).fast(),
    read("smismember", -3, smismember).fast().since("6.2.0"),
    read("scard", 2, scard).fast(),
    read("smembers", 2, smembers).flags(Flags::LONG),
    read("srandmember", -2, srandmember),
    combine("sinter", |ctx, argv| {
        combined(ctx, &argv[1..], Operation::Inter)
    }),
    combine("sunion", |ctx, argv| {
        combined(ctx, &argv[1..], Operation::Union)
    }),
    combine("sdiff", |ctx, argv| {
        combined(ctx, &argv[1..], Operation::Diff)
    }),
    store("sinterstore", |ctx, argv| {
        stored(ctx, argv, "sinterstore", Operation::Inter)
    }),
    store("sunionstore", |ctx, argv| {
        stored(ctx, argv, "sunionstore", Operation::Union)
    }),
    store("sdiffstore", |ctx, argv| {
        stored(ctx, argv, "sdiffstore", Operation::Diff)
    }),
    CommandSpec::new("sintercard", -3, sintercard)
        .reads(Keys::Counted { at: 1 }, Acl::SET)
        .flags(Flags::MOVABLEKEYS.and(Flags::LONG))
        .since("7.0.0"),
];

#[derive(Clone, Copy)]
enum Operation {
    Inter,
    Union,
    Diff,
}

fn sadd(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let limits = ctx.db.settings.set;
    let added = ctx.db.edit_or_create(argv[1], |set: &mut Set| {
        argv[2..]
            .iter()
            .filter(|member| set.insert(member, limits))
            .count()
    })?;
    if added > 0 {
        ctx.db.notify(Event::Set, "sadd", argv[1]);
    }
    Ok(added.into())
}

fn srem(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let removed = ctx.db.edit(argv[1], |set: &mut Set| {
        argv[2..].iter().filter(|member| set.remove(member)).count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.db.notify_taken(Event::Set, "srem", argv[1]);
    }
    Ok(removed.into())
}

/// Whether the set at `key` has the member, for a command that writes: no hit or
/// miss is counted. `None` where there is no key.
fn contains(db: &mut Db, key: &[u8], member: &[u8]) -> Result<Option<bool>, CommandError> {
    db.peek(key)
        .map(|record| Set::of(&record.value).ok_or(CommandError::WrongType))
        .transpose()
        .map(|set| set.map(|set| set.contains(member)))
}

fn smove(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (source, target, member) = (argv[1], argv[2], argv[3]);
    let Some(found) = contains(ctx.db, source, member)? else {
        return Ok(false.into());
    };
    contains(ctx.db, target, member)?;
    if !found || source == target {
        return Ok(found.into());
    }
    let limits = ctx.db.settings.set;
    ctx.db.edit(source, |set: &mut Set| set.remove(member))?;
    ctx.db.notify_taken(Event::Set, "srem", source);
    let added = ctx
        .db
        .edit_or_create(target, |set: &mut Set| set.insert(member, limits))?;
    if added {
        ctx.db.notify(Event::Set, "sadd", target);
    }
    Ok(true.into())
}

fn spop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = argv[1];
    let count = match argv.get(2) {
        None => None,
        Some(_) if argv.len() > 3 => return Err(CommandError::Syntax),
        Some(count) => Some(args::positive(count)? as usize),
    };
    let mut random = ctx.db.random.fork();
    let popped = ctx.db.edit(key, |set: &mut Set| {
        let count = count.unwrap_or(1).min(Collection::len(set));
        (0..count)
            .filter_map(|_| set.pop(&mut || random.next()))
            .collect::<Vec<_>>()
    })?;
    let popped = popped.unwrap_or_default();
    if !popped.is_empty() {
        ctx.db.notify_taken(Event::Set, "spop", key);
        if ctx.db.exists(key) {
            let mut effect: Vec<&[u8]> = vec![b"SREM", key];
            effect.extend(popped.iter().map(Vec::as_slice));
            ctx.db.effect(&effect);
        } else {
            ctx.db.effect(&[b"DEL", key]);
        }
    }
    Ok(match count {
        None => Reply::from(popped.into_iter().next()),
        Some(_) => Reply::Set(popped.into_iter().map(Reply::Bulk).collect()),
    })
}

fn sismember(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get::<Set>(argv[1])?
        .is_some_and(|set| set.contains(argv[2]))
        .into())
}

fn smismember(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let set = ctx.db.get::<Set>(argv[1])?;
    let found = argv[2..]
        .iter()
        .map(|member| set.is_some_and(|set| set.contains(member)).into());
    Ok(Reply::Array(found.collect()))
}

fn scard(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(ctx
        .db
        .get::<Set>(argv[1])?
        .map_or(0, Collection::len)
        .into())
}

fn smembers(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let set = ctx.db.get::<Set>(argv[1])?;
    Ok(Reply::Set(
        set.iter()
            .flat_map(|set| set.iter())
            .map(Reply::bulk)
            .collect(),
    ))
}

fn srandmember(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut random = ctx.db.random.fork();
    let rng = &mut || random.next();
    let Some(count) = argv.get(2) else {
        let set = ctx.db.get::<Set>(argv[1])?;
        return Ok(set
            .and_then(|set| set.random(rng))
            .map_or(Reply::Null, Reply::bulk));
    };
    if argv.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let (count, _) = pick_count(count, &[], "")?;
    let Some(set) = ctx.db.get::<Set>(argv[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let mut room = Room::new();
    Ok(Reply::Array(if count < 0 {
        (0..repeated_picks(count)?)
            .filter_map(|_| set.random(rng))
            .map(|member| room.bulk(&member))
            .collect::<Result<_, _>>()?
    } else if count as usize >= Collection::len(set) {
        set.iter().map(Reply::bulk).collect()
    } else {
        set.random_distinct(count as usize, rng)
            .into_iter()
            .map(Reply::bulk)
            .collect()
    }))
}

fn combined(ctx: &mut Ctx<'_>, keys: &[&[u8]], operation: Operation) -> Outcome {
    let mut members = Vec::new();
    walk(ctx, keys, operation, |member| {
        members.push(member.to_vec());
        true
    })?;
    if !matches!(operation, Operation::Inter) {
        sort_small_integers(&mut members, ctx.db.settings.set);
    }
    Ok(Reply::Set(members.into_iter().map(Reply::Bulk).collect()))
}

/// Redis gathers unions and differences in a set of their own: while that is
/// small and all of integers, they come out in order.
fn sort_small_integers(members: &mut [Vec<u8>], limits: SetLimits) {
    let integer = |member: &Vec<u8>| args::parse_i64(member);
    if members.len() <= limits.max_intset_entries
        && members.iter().all(|member| integer(member).is_some())
    {
        members.sort_by_key(integer);
    }
}

fn stored(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &'static str, operation: Operation) -> Outcome {
    let limits = ctx.db.settings.set;
    let mut result = Set::default();
    walk(ctx, &argv[2..], operation, |member| {
        result.insert(member, limits);
        true
    })?;
    let count = Collection::len(&result);
    if count == 0 {
        delete(ctx.db, argv[1]);
    } else {
        ctx.db.put(argv[1], result.into_value(), Expire::Clear);
        ctx.db.notify(Event::Set, name, argv[1]);
    }
    Ok(count.into())
}

fn sintercard(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let bad_count = "ERR numkeys should be greater than 0";
    let count = args::int_or(argv[1], bad_count)?;
    if count <= 0 {
        return Err(CommandError::text(bad_count));
    }
    let Some((keys, mut options)) = argv[2..].split_at_checked(count as usize) else {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    };
    let mut limit = 0;
    while let [option, rest @ ..] = options {
        let [number, rest @ ..] = rest else {
            return Err(CommandError::Syntax);
        };
        if !args::is(option, "LIMIT") {
            return Err(CommandError::Syntax);
        }
        let negative = "ERR LIMIT can't be negative";
        limit = args::int_or(number, negative)?;
        if limit < 0 {
            return Err(CommandError::text(negative));
        }
        options = rest;
    }
    let mut found = 0i64;
    walk(ctx, keys, Operation::Inter, |_| {
        found += 1;
        limit == 0 || found < limit
    })?;
    Ok(Reply::Int(found))
}

/// Visits each member of the combination once, until `visit` has enough.
fn walk(
    ctx: &mut Ctx<'_>,
    keys: &[&[u8]],
    operation: Operation,
    mut visit: impl FnMut(&[u8]) -> bool,
) -> Result<(), CommandError> {
    for key in keys {
        ctx.db.get::<Set>(key)?;
    }
    let mut sets: Vec<Option<&Set>> = keys.iter().map(|key| ctx.db.view::<Set>(key)).collect();
    match operation {
        Operation::Inter => {
            sets.sort_by_key(|set| set.map_or(0, Collection::len));
            let Some((Some(smallest), others)) = sets.split_first() else {
                return Ok(());
            };
            // A key that is named again is not asked again.
            let mut others: Vec<&Set> = others.iter().flatten().copied().collect();
            others.retain(|set| !std::ptr::eq(*set, *smallest));
            others.sort_by_key(|set| (Collection::len(*set), std::ptr::from_ref(*set).addr()));
            others.dedup_by(|one, other| std::ptr::eq(*one, *other));
            for member in *smallest {
                let everywhere = others.iter().all(|set| set.contains(&member));
                if everywhere && !visit(&member) {
                    break;
                }
            }
        }
        Operation::Diff => {
            let Some((Some(first), others)) = sets.split_first() else {
                return Ok(());
            };
            for member in *first {
                let elsewhere = others.iter().flatten().any(|set| set.contains(&member));
                if !elsewhere && !visit(&member) {
                    break;
                }
            }
        }
        Operation::Union => {
            let mut seen: AHashSet<Member<'_>> = AHashSet::new();
            for member in sets.into_iter().flatten().flat_map(Set::iter) {
                if seen.insert(member) && !visit(&member) {
                    break;
                }
            }
        }
    }
    Ok(())
}
