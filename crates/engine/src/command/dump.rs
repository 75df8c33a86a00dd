//! DUMP and RESTORE: a value as bytes that Redis understands too (`rdb`).
//!
//! RESTORE is logged with its deadline in absolute time, and one that has
//! already passed as the `DEL` that it comes to; so is that of a hash of which
//! all fields are past theirs.

use super::Ctx;
use super::args::{at, int, is};
use super::dispatch::LONG_ELEMENTS;
use super::spec::{Acl, CommandSpec, Flags, ONE_KEY, Outcome};
use crate::error::CommandError;
use crate::keyspace::Expire;
use crate::notify::Event;
use crate::rdb;
use crate::reply::Reply;
use crate::value::Value;

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("dump", 2, dump)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .flags(Flags::LONG)
        .since("2.6.0"),
    CommandSpec::new("restore", -4, restore)
        .writes(ONE_KEY, Acl::KEYSPACE.and(Acl::DANGEROUS))
        .denyoom()
        .since("2.6.0"),
];

/// Bytes of a payload that take about as long to read as an element to walk.
const BYTES_PER_ELEMENT: usize = 16;

const BUSY_KEY: CommandError = CommandError::text("BUSYKEY Target key name already exists.");

fn dump(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let value = ctx.db.read(at(argv, 1)?);
    Ok(value.map_or(Reply::Null, |value| Reply::Bulk(rdb::encode(value))))
}

#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    /// Seconds since the last access.
    idle: Option<i64>,
    frequency: Option<i64>,
}

impl RestoreOptions {
    fn parse(options: &[&[u8]]) -> Result<Self, CommandError> {
        let mut restore = RestoreOptions::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if is(option, "REPLACE") {
                restore.replace = true;
            } else if is(option, "ABSTTL") {
                restore.absolute = true;
            } else if is(option, "IDLETIME") && restore.frequency.is_none() {
                let idle = int(options.next().ok_or(CommandError::Syntax)?)?;
                if idle < 0 {
                    return Err(CommandError::text(
                        "ERR Invalid IDLETIME value, must be >= 0",
                    ));
                }
                restore.idle = Some(idle);
            } else if is(option, "FREQ") && restore.idle.is_none() {
                let frequency = int(options.next().ok_or(CommandError::Syntax)?)?;
                if !(0..=255).contains(&frequency) {
                    return Err(CommandError::text(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
                restore.frequency = Some(frequency);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(restore)
    }
}

fn restore(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, payload) = (at(argv, 1)?, at(argv, 3)?);
    let options = RestoreOptions::parse(argv.get(4..).unwrap_or_default())?;
    let now_ms = ctx.now_ms();
    if !options.replace && ctx.db.exists(key) {
        ctx.db.touch_quietly(key);
        return Err(BUSY_KEY);
    }
    let ttl = int(at(argv, 2)?)?;
    if ttl < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    if payload.len() / BYTES_PER_ELEMENT > LONG_ELEMENTS {
        ctx.engine.announce_long_unit();
    }
    let settings = ctx.db.settings.clone();
    let value = rdb::decode(payload, &settings).map_err(|error| error.to_string())?;
    let expire = if ttl == 0 {
        Expire::Clear
    } else if options.absolute {
        Expire::At(ttl.cast_unsigned())
    } else {
        // What is beyond all time counts as past, as in Redis.
        let deadline = ttl.checked_add(now_ms as i64).unwrap_or(0);
        Expire::At(deadline.cast_unsigned())
    };
    let is_past = matches!(expire, Expire::At(deadline) if deadline <= now_ms);
    let is_empty = matches!(&value, Value::Hash(hash) if !hash.has_live_fields(now_ms));
    let replaced = ctx.db.remove(key);
    if is_past || is_empty {
        if replaced {
            ctx.db.notify(Event::Generic, "del", key);
            ctx.db.effect(&[b"DEL", key]);
        }
        return Ok(Reply::OK);
    }
    ctx.db.put(key, value, expire);
    ctx.db.notify(Event::Generic, "restore", key);
    if let Some(idle) = options.idle {
        ctx.db.set_idle(key, idle.cast_unsigned());
    }
    if let Some(frequency) = options.frequency {
        ctx.db.set_frequency(key, frequency as u8);
    }
    if let Expire::At(deadline) = expire
        && !options.absolute
    {
        let text = itoa::Buffer::new().format(deadline).to_owned();
        let mut effect = argv.to_vec();
        if let Some(ttl) = effect.get_mut(2) {
            *ttl = text.as_bytes();
        }
        effect.push(b"ABSTTL");
        ctx.db.effect(&effect);
    }
    Ok(Reply::OK)
}
