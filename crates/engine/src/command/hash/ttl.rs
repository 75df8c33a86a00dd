//! Deadlines of fields: setting, reading and removing them.
//!
//! Logged are deadlines as `HPEXPIREAT` in absolute time, and those that had
//! already passed as the `HDEL` that they come to. Over 8.0 an argument that is
//! wrong is told of before a missing key and after one of another type.

use super::super::args::{at, int, is, parse_i64};
use super::super::generic::kind_of;
use super::super::spec::Outcome;
use super::Ctx;
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Hash, Kind, LATEST_FIELD_DEADLINE};

/// What a command answers for a field that is not there.
const NO_FIELD: i64 = -2;
/// For one without a deadline.
const NO_DEADLINE: i64 = -1;
/// For one of which the conditions do not hold.
const REFUSED: i64 = 0;
/// For one whose deadline was set, or removed.
const DONE: i64 = 1;
/// For one that is removed, since the deadline has passed.
const REMOVED: i64 = 2;

pub(super) const FIELDS_MISSING: CommandError =
    CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position");
const COUNT_MISMATCH: CommandError =
    CommandError::text("ERR The `numfields` parameter must match the number of arguments");
pub(super) const BAD_COUNT: CommandError =
    CommandError::text("ERR Number of fields must be a positive integer");

/// An error unless there is a hash at `key`, or nothing.
pub(super) fn check_type(db: &mut Db, key: &[u8]) -> Result<(), CommandError> {
    match db.peek(key).map(|record| kind_of(&record.value)) {
        None | Some(Kind::Hash) => Ok(()),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// The fields in `FIELDS count field [field ...]`, which has to be all of `argv`.
pub(super) fn fields<'a, 'b>(
    argv: &'b [&'a [u8]],
    bad_count: CommandError,
) -> Result<&'b [&'a [u8]], CommandError> {
    let [word, rest @ ..] = argv else {
        return Err(FIELDS_MISSING);
    };
    if !is(word, "FIELDS") {
        return Err(FIELDS_MISSING);
    }
    let [count, fields @ ..] = rest else {
        return Err(bad_count);
    };
    match parse_i64(count) {
        Some(count) if count > 0 && count as u64 == fields.len() as u64 => Ok(fields),
        Some(count) if count > 0 => Err(COUNT_MISMATCH),
        _ => Err(bad_count),
    }
}

/// The moment, in milliseconds since the epoch, of `text` in units of `unit`
/// milliseconds after `base`.
pub(super) fn moment(text: &[u8], unit: i64, base: u64, name: &str) -> Result<u64, CommandError> {
    let when = int(text)?;
    if when < 0 {
        return Err(CommandError::text("ERR invalid expire time, must be >= 0"));
    }
    (when as u64)
        .checked_mul(unit as u64)
        .and_then(|when| when.checked_add(base))
        .filter(|when| *when <= LATEST_FIELD_DEADLINE)
        .ok_or_else(|| CommandError::invalid_expire(name))
}

/// What was done to a hash's fields, to be logged.
#[derive(Default)]
pub(super) struct Retimed<'a> {
    /// Fields that have the new deadline.
    timed: Vec<&'a [u8]>,
    /// Fields that are removed.
    removed: Vec<&'a [u8]>,
}

impl<'a> Retimed<'a> {
    /// Gives the field a deadline, or removes it where that has passed; answers
    /// whether it is removed.
    pub(super) fn set(&mut self, hash: &mut Hash, field: &'a [u8], when: u64, now: u64) -> bool {
        let passed = when <= now;
        if passed {
            if hash.remove(field) {
                self.removed.push(field);
            }
        } else if hash.set_deadline(field, Some(when)) {
            self.timed.push(field);
        }
        passed
    }

    /// Whether a field was removed.
    pub(super) fn removes(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Logs it, and raises its events.
    pub(super) fn log(&self, db: &mut Db, key: &[u8], when: u64) {
        if !self.timed.is_empty() {
            let when = itoa::Buffer::new().format(when).to_owned();
            let count = itoa::Buffer::new().format(self.timed.len()).to_owned();
            let mut argv: Vec<&[u8]> = vec![b"HPEXPIREAT", key, when.as_bytes()];
            argv.extend([b"FIELDS", count.as_bytes()]);
            argv.extend(&self.timed);
            db.effect(&argv);
            db.notify(Event::Hash, "hexpire", key);
        }
        if !self.removed.is_empty() {
            let mut argv: Vec<&[u8]> = vec![b"HDEL", key];
            argv.extend(&self.removed);
            db.effect(&argv);
            db.notify_taken(Event::Hash, "hexpired", key);
        }
    }
}

/// What must hold of a field's old deadline; none counts as infinitely late.
#[derive(Clone, Copy)]
enum Condition {
    Absent,
    Present,
    Greater,
    Less,
}

impl Condition {
    fn parse(text: &[u8]) -> Option<Self> {
        let all = [
            ("NX", Condition::Absent),
            ("XX", Condition::Present),
            ("GT", Condition::Greater),
            ("LT", Condition::Less),
        ];
        all.into_iter()
            .find(|(name, _)| is(text, name))
            .map(|(_, condition)| condition)
    }

    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Condition::Absent => old.is_none(),
            Condition::Present => old.is_some(),
            Condition::Greater => old.is_some_and(|old| new > old),
            Condition::Less => old.is_none_or(|old| new < old),
        }
    }
}

pub(super) fn hexpire(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now = ctx.now_ms();
    set(ctx, argv, "hexpire", 1000, now)
}

pub(super) fn hpexpire(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now = ctx.now_ms();
    set(ctx, argv, "hpexpire", 1, now)
}

pub(super) fn hexpireat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set(ctx, argv, "hexpireat", 1000, 0)
}

pub(super) fn hpexpireat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set(ctx, argv, "hpexpireat", 1, 0)
}

/// Sets deadlines to `base` plus the argument in units of `unit` ms.
fn set(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &str, unit: i64, base: u64) -> Outcome {
    let (key, now) = (at(argv, 1)?, ctx.now_ms());
    check_type(ctx.db, key)?;
    let when = moment(at(argv, 2)?, unit, base, name)?;
    let condition = Condition::parse(at(argv, 3)?);
    let rest = argv.get(3 + usize::from(condition.is_some())..);
    let fields = fields(
        rest.unwrap_or_default(),
        CommandError::text("ERR Parameter `numFields` should be greater than 0"),
    )?;
    let mut retimed = Retimed::default();
    let done = ctx.db.edit(key, |hash: &mut Hash| {
        let mut done = Vec::with_capacity(fields.len());
        for field in fields {
            done.push(if !hash.contains(field) {
                NO_FIELD
            } else if condition.is_some_and(|one| !one.allows(hash.deadline(field), when)) {
                REFUSED
            } else if retimed.set(hash, field, when, now) {
                REMOVED
            } else {
                DONE
            });
        }
        done
    })?;
    retimed.log(ctx.db, key, when);
    Ok(numbers(done, fields))
}

/// An integer for each field; where there is no key, there is no field.
fn numbers(found: Option<Vec<i64>>, fields: &[&[u8]]) -> Reply {
    let found = found.unwrap_or_else(|| vec![NO_FIELD; fields.len()]);
    Reply::Array(found.into_iter().map(Reply::Int).collect())
}

pub(super) fn hpersist(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = at(argv, 1)?;
    check_type(ctx.db, key)?;
    let fields = fields(argv.get(2..).unwrap_or_default(), BAD_COUNT)?;
    let done = ctx.db.edit(key, |hash: &mut Hash| {
        let persist = |field: &&[u8]| {
            if !hash.contains(field) {
                NO_FIELD
            } else if hash.set_deadline(field, None) {
                DONE
            } else {
                NO_DEADLINE
            }
        };
        fields.iter().map(persist).collect::<Vec<_>>()
    })?;
    if done.iter().flatten().any(|done| *done == DONE) {
        ctx.db.notify(Event::Hash, "hpersist", key);
    }
    Ok(numbers(done, fields))
}

/// Answers `show` of each deadline.
fn read(ctx: &mut Ctx<'_>, argv: &[&[u8]], show: impl Fn(u64, u64) -> u64) -> Outcome {
    let (key, now) = (at(argv, 1)?, ctx.now_ms());
    let hash = ctx.db.get::<Hash>(key)?;
    let fields = fields(argv.get(2..).unwrap_or_default(), BAD_COUNT)?;
    let of = |field: &&[u8]| match hash {
        Some(hash) if hash.contains(field) => hash
            .deadline(field)
            .map_or(NO_DEADLINE, |deadline| show(deadline, now) as i64),
        _ => NO_FIELD,
    };
    Ok(Reply::Array(
        fields.iter().map(of).map(Reply::Int).collect(),
    ))
}

pub(super) fn httl(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, now| {
        deadline.saturating_sub(now).div_ceil(1000)
    })
}

pub(super) fn hpttl(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, u64::saturating_sub)
}

pub(super) fn hexpiretime(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, _| deadline.div_ceil(1000))
}

pub(super) fn hpexpiretime(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, _| deadline)
}
