//! SET with its conditions and expiry, and the commands that are forms of it.
//!
//! What reaches the log is absolute: the condition is decided and gone, a time
//! to live has become a `PXAT`.

use super::super::Ctx;
use super::super::args::{at, int, is};
use super::super::generic::delete;
use super::super::spec::Outcome;
use super::encode;
use crate::error::CommandError;
use crate::keyspace::{Db, Expire};
use crate::notify::Event;
use crate::reply::Reply;

/// When SET takes place.
#[derive(Clone, Copy, PartialEq)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    Equals(&'a [u8]),
    Differs(&'a [u8]),
}

/// How an expiry is given.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

/// What becomes of the deadline.
#[derive(Clone, Copy, PartialEq)]
enum Lifetime<'a> {
    Unsaid,
    Keep,
    Persist,
    Given(Unit, &'a [u8]),
}

impl<'a> Lifetime<'a> {
    /// Reads one of EX, PX, EXAT, PXAT, which may follow nothing but itself;
    /// `None` where `option` is none of them.
    fn read(self, option: &[u8], value: Option<&&'a [u8]>) -> Option<Result<Self, CommandError>> {
        let unit = match option.len() {
            2 if is(option, "EX") => Unit::Seconds,
            2 if is(option, "PX") => Unit::Millis,
            4 if is(option, "EXAT") => Unit::UnixSeconds,
            4 if is(option, "PXAT") => Unit::UnixMillis,
            _ => return None,
        };
        let free = match self {
            Lifetime::Unsaid => true,
            Lifetime::Given(earlier, _) => earlier == unit,
            Lifetime::Keep | Lifetime::Persist => false,
        };
        Some(match value {
            Some(value) if free => Ok(Lifetime::Given(unit, value)),
            _ => Err(CommandError::Syntax),
        })
    }
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    lifetime: Lifetime<'a>,
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(options: &[&'a [u8]]) -> Result<Self, CommandError> {
        let mut set = SetOptions {
            condition: Condition::Always,
            lifetime: Lifetime::Unsaid,
            get: false,
        };
        let mut next = 0;
        while let Some(option) = options.get(next).copied() {
            next += 1;
            let value = options.get(next);
            if let Some(lifetime) = set.lifetime.read(option, value) {
                set.lifetime = lifetime?;
                next += 1;
                continue;
            }
            let condition = match option.len() {
                2 if is(option, "NX") => Condition::Absent,
                2 if is(option, "XX") => Condition::Present,
                3 if is(option, "GET") => {
                    set.get = true;
                    continue;
                }
                4 if is(option, "IFEQ") => Condition::Equals(at(options, next)?),
                4 if is(option, "IFNE") => Condition::Differs(at(options, next)?),
                7 if is(option, "KEEPTTL")
                    && matches!(set.lifetime, Lifetime::Unsaid | Lifetime::Keep) =>
                {
                    set.lifetime = Lifetime::Keep;
                    continue;
                }
                _ => return Err(CommandError::Syntax),
            };
            let compares = matches!(condition, Condition::Equals(_) | Condition::Differs(_));
            // NX NX is NX; everything else excludes everything else.
            if set.condition != Condition::Always && (compares || set.condition != condition) {
                return Err(CommandError::Syntax);
            }
            set.condition = condition;
            next += usize::from(compares);
        }
        Ok(set)
    }
}

/// The deadline that `text` means, in milliseconds since the epoch.
fn deadline(now_ms: u64, unit: Unit, text: &[u8], command: &str) -> Result<u64, CommandError> {
    let amount = int(text)?;
    let millis = match unit {
        Unit::Seconds | Unit::UnixSeconds => amount.checked_mul(1000),
        Unit::Millis | Unit::UnixMillis => Some(amount),
    };
    let absolute = match unit {
        _ if amount <= 0 => None,
        Unit::Seconds | Unit::Millis => millis.and_then(|millis| millis.checked_add(now_ms as i64)),
        Unit::UnixSeconds | Unit::UnixMillis => millis,
    };
    absolute
        .map(|at| at as u64)
        .ok_or_else(|| CommandError::invalid_expire(command))
}

/// Sets, and says the effect without the options that were decided here.
pub(in crate::command) fn put(db: &mut Db, key: &[u8], value: &[u8], expire: Expire) {
    let number_like = matches!(value, [b'-' | b'0'..=b'9', ..]);
    if number_like || !db.overwrite(key, value, expire) {
        db.put(key, encode(value), expire);
    }
    db.notify(Event::String, "set", key);
    match expire {
        Expire::Clear => db.effect(&[b"SET", key, value]),
        Expire::Keep => db.effect(&[b"SET", key, value, b"KEEPTTL"]),
        Expire::At(at) => {
            let mut digits = itoa::Buffer::new();
            db.effect(&[b"SET", key, value, b"PXAT", digits.format(at).as_bytes()]);
            db.notify(Event::Generic, "expire", key);
        }
    }
}

pub(super) fn set(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, value) = (argv[1], argv[2]);
    if argv.len() == 3 {
        ctx.db.put(key, encode(value), Expire::Clear);
        ctx.db.notify(Event::String, "set", key);
        return Ok(Reply::OK);
    }
    let options = SetOptions::parse(&argv[3..])?;
    let expire = match options.lifetime {
        Lifetime::Given(unit, text) => Expire::At(deadline(ctx.now_ms(), unit, text, "set")?),
        Lifetime::Keep => Expire::Keep,
        Lifetime::Unsaid | Lifetime::Persist => Expire::Clear,
    };
    let old = if options.get {
        ctx.db
            .get_str(key)?
            .map_or(Reply::Null, |text| Reply::Bulk(text.to_vec()))
    } else {
        Reply::Null
    };
    let met = match options.condition {
        Condition::Always => true,
        Condition::Absent => !ctx.db.exists(key),
        Condition::Present => ctx.db.exists(key),
        Condition::Equals(other) => ctx
            .db
            .peek_str(key)?
            .is_some_and(|text| text.with(|text| text == other)),
        Condition::Differs(other) => ctx
            .db
            .peek_str(key)?
            .is_none_or(|text| text.with(|text| text != other)),
    };
    if met {
        if expire == Expire::Keep {
            // Meeting a key that is due says its removal, before KEEPTTL is said.
            ctx.db.exists(key);
        }
        put(ctx.db, key, value, expire);
    }
    Ok(if met && !options.get { Reply::OK } else { old })
}

pub(super) fn setnx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    if ctx.db.exists(argv[1]) {
        return Ok(Reply::Int(0));
    }
    ctx.db.put(argv[1], encode(argv[2]), Expire::Clear);
    ctx.db.notify(Event::String, "set", argv[1]);
    Ok(Reply::Int(1))
}

pub(super) fn setex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let deadline = deadline(ctx.now_ms(), Unit::Seconds, argv[2], "setex")?;
    put(ctx.db, argv[1], argv[3], Expire::At(deadline));
    Ok(Reply::OK)
}

pub(super) fn psetex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let deadline = deadline(ctx.now_ms(), Unit::Millis, argv[2], "psetex")?;
    put(ctx.db, argv[1], argv[3], Expire::At(deadline));
    Ok(Reply::OK)
}

pub(super) fn getset(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let old = ctx
        .db
        .get_str(argv[1])?
        .map_or(Reply::Null, |text| Reply::Bulk(text.to_vec()));
    put(ctx.db, argv[1], argv[2], Expire::Clear);
    Ok(old)
}

pub(super) fn getdel(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let Some(old) = ctx
        .db
        .get_str(argv[1])?
        .map(|text| Reply::Bulk(text.to_vec()))
    else {
        return Ok(Reply::Null);
    };
    delete(ctx.db, argv[1]);
    ctx.db.effect(&[b"DEL", argv[1]]);
    Ok(old)
}

pub(super) fn getex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = argv[1];
    let mut lifetime = Lifetime::Unsaid;
    let mut next = 2;
    while let Some(option) = argv.get(next) {
        next += 1;
        if let Some(given) = lifetime.read(option, argv.get(next)) {
            lifetime = given?;
            next += 1;
        } else if is(option, "PERSIST") && matches!(lifetime, Lifetime::Unsaid | Lifetime::Persist)
        {
            lifetime = Lifetime::Persist;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let Some(value) = ctx.db.get_str(key)?.map(|text| Reply::Bulk(text.to_vec())) else {
        return Ok(Reply::Null);
    };
    match lifetime {
        Lifetime::Given(unit, text) => {
            let now_ms = ctx.now_ms();
            let deadline = deadline(now_ms, unit, text, "getex")?;
            if deadline <= now_ms {
                delete(ctx.db, key);
                ctx.db.effect(&[b"DEL", key]);
            } else {
                ctx.db.set_deadline(key, Some(deadline));
                let mut digits = itoa::Buffer::new();
                ctx.db
                    .effect(&[b"PEXPIREAT", key, digits.format(deadline).as_bytes()]);
                ctx.db.notify(Event::Generic, "expire", key);
            }
        }
        Lifetime::Persist if ctx.db.deadline(key).flatten().is_some() => {
            ctx.db.set_deadline(key, None);
            ctx.db.effect(&[b"PERSIST", key]);
            ctx.db.notify(Event::Generic, "persist", key);
        }
        Lifetime::Persist | Lifetime::Keep | Lifetime::Unsaid => {}
    }
    Ok(value)
}
