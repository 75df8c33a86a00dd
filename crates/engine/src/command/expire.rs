//! Deadlines: setting, reading and removing them.
//!
//! A deadline is logged as `PEXPIREAT` in absolute time, and one that has
//! already passed as the `DEL` that it comes to.

use super::Ctx;
use super::args::{at, int, is};
use super::generic::{count_lookup, delete};
use super::spec::{Acl, CommandSpec, ONE_KEY, Outcome};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::Reply;

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("expire", -3, expire)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast(),
    CommandSpec::new("expireat", -3, expireat)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("1.2.0"),
    CommandSpec::new("expiretime", 2, expiretime)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("7.0.0"),
    CommandSpec::new("persist", 2, persist)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("2.2.0"),
    CommandSpec::new("pexpire", -3, pexpire)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("2.6.0"),
    CommandSpec::new("pexpireat", -3, pexpireat)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("2.6.0"),
    CommandSpec::new("pexpiretime", 2, pexpiretime)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("7.0.0"),
    CommandSpec::new("pttl", 2, pttl)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .since("2.6.0"),
    CommandSpec::new("ttl", 2, ttl)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .fast(),
];

fn expire(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now = ctx.now_ms() as i64;
    set(ctx, argv, "expire", 1000, now)
}

fn pexpire(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now = ctx.now_ms() as i64;
    set(ctx, argv, "pexpire", 1, now)
}

fn expireat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set(ctx, argv, "expireat", 1000, 0)
}

fn pexpireat(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    set(ctx, argv, "pexpireat", 1, 0)
}

/// What must hold of the old deadline.
#[derive(Default)]
struct Conditions {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Self, CommandError> {
        let mut conditions = Conditions::default();
        for option in options {
            if is(option, "NX") {
                conditions.absent = true;
            } else if is(option, "XX") {
                conditions.present = true;
            } else if is(option, "GT") {
                conditions.greater = true;
            } else if is(option, "LT") {
                conditions.less = true;
            } else {
                return Err(CommandError::Bytes(
                    [b"ERR Unsupported option ", *option].concat(),
                ));
            }
        }
        if conditions.absent && (conditions.present || conditions.greater || conditions.less) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.greater && conditions.less {
            return Err(CommandError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// Whether the deadline may go from `old` to `new`; no deadline counts as
    /// infinitely late.
    fn allow(&self, old: Option<i64>, new: i64) -> bool {
        match old {
            None => !self.present && !self.greater,
            Some(old) => !(self.absent || self.greater && new <= old || self.less && new >= old),
        }
    }
}

/// Sets the deadline to `base` plus the argument in units of `unit` ms.
fn set(ctx: &mut Ctx<'_>, argv: &[&[u8]], name: &str, unit: i64, base: i64) -> Outcome {
    let key = at(argv, 1)?;
    let conditions = Conditions::parse(argv.get(3..).unwrap_or_default())?;
    let when = int(at(argv, 2)?)?
        .checked_mul(unit)
        .and_then(|when| when.checked_add(base))
        .ok_or_else(|| CommandError::invalid_expire(name))?;
    let Some(old) = ctx.db.deadline(key) else {
        return Ok(Reply::Int(0));
    };
    if !conditions.allow(old.map(|old| old as i64), when) {
        return Ok(Reply::Int(0));
    }
    put_deadline(ctx.db, key, when);
    Ok(Reply::Int(1))
}

/// Gives a key that is there a deadline, milliseconds since the epoch, and says
/// the effect; one that has passed removes the key.
pub(super) fn put_deadline(db: &mut Db, key: &[u8], when: i64) {
    match u64::try_from(when) {
        Ok(deadline) if deadline > db.now_ms => {
            db.set_deadline(key, Some(deadline));
            let mut digits = itoa::Buffer::new();
            db.effect(&[b"PEXPIREAT", key, digits.format(deadline).as_bytes()]);
            db.notify(Event::Generic, "expire", key);
        }
        _ => {
            delete(db, key);
            db.effect(&[b"DEL", key]);
        }
    }
}

fn persist(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(clear_deadline(ctx.db, at(argv, 1)?).into())
}

/// Whether there was a deadline to take away.
pub(super) fn clear_deadline(db: &mut Db, key: &[u8]) -> bool {
    let expires = matches!(db.deadline(key), Some(Some(_)));
    if expires {
        db.set_deadline(key, None);
        db.notify(Event::Generic, "persist", key);
    }
    expires
}

/// -2 without a key, -1 without a deadline, else `show` of it.
fn read(ctx: &mut Ctx<'_>, argv: &[&[u8]], show: impl FnOnce(u64, u64) -> u64) -> Outcome {
    let key = at(argv, 1)?;
    let deadline = ctx.db.deadline(key);
    count_lookup(ctx.db, key, deadline.is_some());
    Ok(Reply::Int(match deadline {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline)) => show(deadline, ctx.db.now_ms) as i64,
    }))
}

fn ttl(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, now| {
        (deadline.saturating_sub(now) + 500) / 1000
    })
}

fn pttl(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, u64::saturating_sub)
}

fn expiretime(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, _| (deadline + 500) / 1000)
}

fn pexpiretime(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    read(ctx, argv, |deadline, _| deadline)
}
