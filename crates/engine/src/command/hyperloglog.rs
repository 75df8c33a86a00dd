//! Counting different elements by HyperLogLog, in strings.
//!
//! PFCOUNT of one key keeps its result in the string, as Redis does: a command
//! that reads changes eight bytes, and says so to the journal.

use super::spec::{ALL_KEYS, Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome};
use super::{Ctx, args};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Expire, StrRef};
use crate::notify::Event;
use crate::reply::Reply;
use crate::session::Session;
use crate::value::hyperloglog::{
    self, CACHE_AT, Corrupted, HyperLogLog, REGISTERS, Union, add, invalidate, to_dense,
};
use crate::value::{TextEdit, Value, make_raw};

const SECOND: Keys = Keys::Range {
    first: 2,
    last: 2,
    step: 1,
};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("pfadd", -2, pfadd)
        .writes(ONE_KEY, Acl::HYPERLOGLOG)
        .denyoom()
        .fast()
        .since("2.8.9"),
    CommandSpec::new("pfcount", -2, pfcount)
        .reads(ALL_KEYS, Acl::HYPERLOGLOG)
        .flags(Flags::MAY_REPLICATE)
        .since("2.8.9"),
    CommandSpec::new("pfmerge", -2, pfmerge)
        .writes(ALL_KEYS, Acl::HYPERLOGLOG)
        .denyoom()
        .since("2.8.9"),
    CommandSpec::new("pfdebug", 3, pfdebug)
        .writes(SECOND, Acl::HYPERLOGLOG)
        .denyoom()
        .flags(Flags::ADMIN.and(Flags::YIELDS))
        .since("2.8.9")
        .not_upstash(),
    CommandSpec::unlocked("pfselftest", 1, pfselftest)
        .flags(Flags::ADMIN)
        .acl(Acl::HYPERLOGLOG)
        .since("2.8.9")
        .not_upstash(),
];

const NOT_ONE: CommandError =
    CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupted> for CommandError {
    fn from(_: Corrupted) -> Self {
        CommandError::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The HyperLogLog in a string.
fn of(text: StrRef<'_>) -> Result<HyperLogLog<'_>, CommandError> {
    match text {
        StrRef::Bytes(text) => HyperLogLog::of(text).ok_or(NOT_ONE),
        StrRef::Int(_) => Err(NOT_ONE),
    }
}

/// Changes the HyperLogLog at `key`; `None` where there is no key.
fn edit<R>(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    change: impl FnOnce(&mut TextEdit<'_>) -> R,
) -> Result<Option<R>, CommandError> {
    ctx.db
        .edit_text(key, |text| {
            HyperLogLog::of(text.bytes()).ok_or(NOT_ONE)?;
            Ok(change(text))
        })?
        .transpose()
}

/// Makes one at `key`, and changes it.
fn create<R>(ctx: &mut Ctx<'_>, key: &[u8], change: impl FnOnce(&mut TextEdit<'_>) -> R) -> R {
    let mut text = hyperloglog::empty();
    let result = change(&mut TextEdit::new(&mut text, false));
    make_raw(&mut text);
    ctx.db.put(key, Value::Str(text), Expire::Clear);
    result
}

fn pfadd(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, elements) = (argv[1], &argv[2..]);
    let max_bytes = ctx.db.settings.hll_sparse_max_bytes;
    // How many elements were added before one could not be.
    let mut done = 0;
    let mut add_all = |text: &mut TextEdit<'_>, is_new: bool| {
        let mut changed = is_new;
        let outcome = elements.iter().try_for_each(|element| {
            changed |= add(text, element, max_bytes)?;
            done += 1;
            Ok::<_, Corrupted>(())
        });
        if changed {
            invalidate(text);
        }
        outcome.map(|()| changed)
    };
    let changed = match edit(ctx, key, |text| add_all(text, false))? {
        Some(changed) => changed,
        None => create(ctx, key, |text| add_all(text, true)),
    };
    if changed.is_err() {
        // What was added stays; the whole command would fail again.
        ctx.db.effect(argv.get(..2 + done).unwrap_or(argv));
    }
    let changed = changed?;
    if changed {
        ctx.db.notify(Event::String, "pfadd", key);
    }
    Ok(changed.into())
}

fn pfcount(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, key] = argv else {
        return Ok(Reply::Int(union(ctx, &argv[1..])?.0.count() as i64));
    };
    let Some(text) = ctx.db.get_str(key)? else {
        return Ok(Reply::Int(0));
    };
    let one = of(text)?;
    if let Some(count) = one.cached() {
        return Ok(Reply::Int(count as i64));
    }
    let count = one.count()?;
    // A journal that takes nothing any more does not keep anybody from reading.
    if ctx.engine.admit().is_ok() {
        ctx.db.splice(key, CACHE_AT, &count.to_le_bytes());
        ctx.db.effect(argv);
    }
    Ok(Reply::Int(count as i64))
}

/// The highest registers at `keys`, and whether one of them is dense.
fn union(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<(Union, bool), CommandError> {
    let (mut union, mut dense) = (Union::default(), false);
    for key in keys {
        if let Some(text) = ctx.db.get_str(key)? {
            let one = of(text)?;
            dense |= one.is_dense();
            union.add(one)?;
        }
    }
    Ok((union, dense))
}

fn pfmerge(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (union, dense) = union(ctx, &argv[1..])?;
    let max_bytes = ctx.db.settings.hll_sparse_max_bytes;
    let write = |text: &mut TextEdit<'_>| {
        if dense {
            to_dense(text)?;
        }
        union.write(text, max_bytes)
    };
    match edit(ctx, argv[1], write)? {
        Some(outcome) => outcome?,
        None => create(ctx, argv[1], write)?,
    }
    ctx.db.notify(Event::String, "pfadd", argv[1]);
    Ok(Reply::OK)
}

fn pfdebug(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (name, key) = (argv[1], argv[2]);
    let text = ctx
        .db
        .peek_str(key)?
        .ok_or(CommandError::text("ERR The specified key does not exist"))?;
    let one = of(text)?;
    if args::is(name, "GETREG") {
        edit(ctx, key, to_dense)?.transpose()?;
        let (union, _) = union(ctx, &[key])?;
        let registers = union.registers().iter();
        return Ok(Reply::Array(
            registers.map(|value| Reply::Int((*value).into())).collect(),
        ));
    }
    if args::is(name, "DECODE") {
        if one.is_dense() {
            return Err(CommandError::text("ERR HLL encoding is not sparse"));
        }
        return Ok(Reply::bulk(one.decoded()));
    }
    if args::is(name, "ENCODING") {
        let encoding = if one.is_dense() { "dense" } else { "sparse" };
        return Ok(Reply::status(encoding));
    }
    if args::is(name, "TODENSE") {
        let changed = edit(ctx, key, to_dense)?.transpose()?;
        return Ok(changed.unwrap_or(false).into());
    }
    Err(CommandError::Bytes(
        [b"ERR Unknown PFDEBUG subcommand '", name, b"'"].concat(),
    ))
}

/// Counts known elements in both encodings: the registers agree, and the count is
/// as near as it should be.
fn pfselftest(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    let (mut sparse, mut dense) = (hyperloglog::empty(), hyperloglog::empty());
    let mut sparse = TextEdit::new(&mut sparse, false);
    let mut dense = TextEdit::new(&mut dense, false);
    to_dense(&mut dense)?;
    let mut count = 0_u32;
    for next in [1, 10, 100, 1000, 10_000] {
        while count < next {
            let element = count.to_le_bytes();
            add(&mut sparse, &element, usize::MAX)?;
            add(&mut dense, &element, 0)?;
            count += 1;
        }
        let estimates = [&sparse, &dense].map(|text| {
            let one = HyperLogLog::of(text.bytes());
            one.and_then(|one| one.count().ok())
        });
        let error = estimates[0].map_or(u64::MAX, |seen| seen.abs_diff(next.into()));
        // Six times the standard error of 16,384 registers.
        let allowed = (6.0 * 1.04 / (REGISTERS as f64).sqrt() * f64::from(next)).ceil();
        if estimates[0] != estimates[1] || error as f64 > allowed {
            return Err(CommandError::from(format!(
                "ERR TESTFAILED of {next} elements, {estimates:?} were counted"
            )));
        }
    }
    Ok(Reply::OK)
}
