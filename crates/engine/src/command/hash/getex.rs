//! HGETEX, HSETEX, HGETDEL: several fields at once, with what becomes of them
//! besides.

use super::super::args::{at, is, parse_i64};
use super::super::spec::Outcome;
use super::Ctx;
use super::ttl::{BAD_COUNT, FIELDS_MISSING, Retimed, check_type, fields, moment};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::Hash;

/// What a command asks for the deadlines of its fields.
#[derive(Clone, Copy)]
enum Deadline {
    /// They are not mentioned.
    Unsaid,
    /// They stay.
    Keep,
    /// They go.
    Persist,
    /// They become this, in milliseconds since the epoch.
    At(u64),
}

/// The deadline that the option `name` gives with its `value`; `None` where it
/// is no such option.
fn deadline_option(
    name: &[u8],
    value: Option<&[u8]>,
    now_ms: u64,
    command: &str,
) -> Result<Option<Deadline>, CommandError> {
    let kinds = [
        ("EX", 1000, now_ms),
        ("PX", 1, now_ms),
        ("EXAT", 1000, 0),
        ("PXAT", 1, 0),
    ];
    let kind = kinds.into_iter().find(|(kind, _, _)| is(name, kind));
    let Some((_, unit, base)) = kind else {
        return Ok(None);
    };
    let value = value.ok_or(CommandError::Syntax)?;
    let when = moment(value, unit, base, command)?;
    Ok(Some(Deadline::At(when)))
}

/// An error where the values are too large for one reply, before anything is
/// changed.
fn check_room(hash: &Hash, fields: &[&[u8]]) -> Result<(), CommandError> {
    let mut room = Room::new();
    fields
        .iter()
        .try_for_each(|field| room.take(hash.strlen(field)))
}

fn value(hash: &Hash, field: &[u8]) -> Reply {
    hash.get(field).map_or(Reply::Null, Reply::bulk)
}

/// The values, or nothing for each field where there is no key.
fn reply(values: Option<Result<Vec<Reply>, CommandError>>, fields: &[&[u8]]) -> Outcome {
    let values = values.unwrap_or_else(|| Ok(vec![Reply::Null; fields.len()]));
    values.map(Reply::Array)
}

pub(super) fn hgetdel(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = at(argv, 1)?;
    check_type(ctx.db, key)?;
    let fields = fields(argv.get(2..).unwrap_or_default(), BAD_COUNT)?;
    let mut removed: Vec<&[u8]> = vec![b"HDEL", key];
    let values = ctx.db.edit(key, |hash: &mut Hash| {
        check_room(hash, fields)?;
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            values.push(value(hash, field));
            if hash.remove(field) {
                removed.push(field);
            }
        }
        Ok(values)
    })?;
    if removed.len() > 2 {
        ctx.db.effect(&removed);
        ctx.db.notify_taken(Event::Hash, "hdel", key);
    }
    reply(values, fields)
}

pub(super) fn hgetex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, now) = (at(argv, 1)?, ctx.now_ms());
    check_type(ctx.db, key)?;
    let option = at(argv, 2)?;
    let (deadline, used) = if is(option, "PERSIST") {
        (Deadline::Persist, 1)
    } else {
        let value = argv.get(3).copied();
        match deadline_option(option, value, now, "hgetex")? {
            Some(deadline) => (deadline, 2),
            None => (Deadline::Unsaid, 0),
        }
    };
    let rest = argv.get(2 + used..).unwrap_or_default();
    if matches!(rest, [word] if is(word, "FIELDS")) {
        return Err(CommandError::wrong_arity("hgetex"));
    }
    let fields = fields(rest, BAD_COUNT)?;
    let mut retimed = Retimed::default();
    let mut persisted: Vec<&[u8]> = Vec::new();
    let values = ctx.db.edit(key, |hash: &mut Hash| {
        check_room(hash, fields)?;
        let mut values = Vec::with_capacity(fields.len());
        for field in fields {
            values.push(value(hash, field));
            match deadline {
                Deadline::At(when) => {
                    retimed.set(hash, field, when, now);
                }
                Deadline::Persist if hash.set_deadline(field, None) => persisted.push(field),
                Deadline::Persist | Deadline::Keep | Deadline::Unsaid => {}
            }
        }
        Ok(values)
    })?;
    if let Deadline::At(when) = deadline {
        retimed.log(ctx.db, key, when);
    }
    if !persisted.is_empty() {
        let count = itoa::Buffer::new().format(persisted.len()).to_owned();
        let head: [&[u8]; 4] = [b"HPERSIST", key, b"FIELDS", count.as_bytes()];
        ctx.db.effect(&[&head, persisted.as_slice()].concat());
        ctx.db.notify(Event::Hash, "hpersist", key);
    }
    reply(values, fields)
}

/// The options of HSETEX.
struct Setting<'a, 'b> {
    /// Whether all fields must exist, or none.
    exist: Option<bool>,
    deadline: Deadline,
    /// `FIELDS`, the count, then fields and values in turn.
    fields: &'b [&'a [u8]],
}

impl<'a, 'b> Setting<'a, 'b> {
    fn parse(argv: &'b [&'a [u8]], now_ms: u64) -> Result<Self, CommandError> {
        let mut exist = None;
        let mut deadline = Deadline::Unsaid;
        let mut rest = argv.get(2..).unwrap_or_default();
        while let [option, behind @ ..] = rest {
            rest = behind;
            if is(option, "FIELDS") {
                let [count, pairs @ ..] = behind else {
                    return Err(CommandError::wrong_arity("hsetex"));
                };
                if pairs.len() < 2 {
                    return Err(CommandError::wrong_arity("hsetex"));
                }
                let count =
                    parse_i64(count).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
                let count = count.ok_or(CommandError::text("ERR invalid number of fields"))?;
                if count as u64 * 2 != pairs.len() as u64 {
                    return Err(CommandError::wrong_arity("hsetex"));
                }
                return Ok(Setting {
                    exist,
                    deadline,
                    fields: pairs,
                });
            }
            let condition = [("FNX", false), ("FXX", true)];
            if let Some((_, wanted)) = condition.into_iter().find(|(name, _)| is(option, name)) {
                if exist.is_some() {
                    return Err(CommandError::text(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                exist = Some(wanted);
                continue;
            }
            let is_deadline = ["KEEPTTL", "EX", "PX", "EXAT", "PXAT"];
            if !is_deadline.into_iter().any(|name| is(option, name)) {
                return Err(CommandError::Bytes(
                    [b"ERR unknown argument: ", *option].concat(),
                ));
            }
            if !matches!(deadline, Deadline::Unsaid) {
                return Err(CommandError::text(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            let value = behind.first().copied();
            deadline = match deadline_option(option, value, now_ms, "hsetex")? {
                Some(deadline) => {
                    rest = behind.get(1..).unwrap_or_default();
                    deadline
                }
                None => Deadline::Keep,
            };
        }
        Err(FIELDS_MISSING)
    }
}

pub(super) fn hsetex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, now, limits) = (at(argv, 1)?, ctx.now_ms(), ctx.db.settings.hash);
    let Setting {
        exist,
        deadline,
        fields,
    } = Setting::parse(argv, now)?;
    let (pairs, _) = fields.as_chunks::<2>();
    let mut retimed = Retimed::default();
    let set = ctx.db.edit_or_create(key, |hash: &mut Hash| {
        let meets = |[field, _]: &[&[u8]; 2]| exist.is_none_or(|it| hash.contains(field) == it);
        if !pairs.iter().all(meets) {
            return false;
        }
        for [field, value] in pairs {
            match deadline {
                Deadline::At(when) if when <= now => {
                    retimed.set(hash, field, when, now);
                }
                Deadline::At(when) => {
                    hash.insert(field, value, limits);
                    hash.set_deadline(field, Some(when));
                }
                Deadline::Keep => {
                    hash.update(field, value, limits);
                }
                Deadline::Persist | Deadline::Unsaid => {
                    hash.insert(field, value, limits);
                }
            }
        }
        true
    })?;
    let past = matches!(deadline, Deadline::At(when) if when <= now);
    if set && (!past || retimed.removes()) {
        ctx.db.notify(Event::Hash, "hset", key);
        if matches!(deadline, Deadline::At(_)) {
            ctx.db.notify(Event::Hash, "hexpire", key);
        }
    }
    if let (true, Deadline::At(when)) = (set, deadline) {
        if when <= now {
            retimed.log(ctx.db, key, when);
        } else {
            let when = itoa::Buffer::new().format(when).to_owned();
            let count = itoa::Buffer::new().format(pairs.len()).to_owned();
            let head: [&[u8]; 4] = [b"HSETEX", key, b"PXAT", when.as_bytes()];
            let tail: [&[u8]; 2] = [b"FIELDS", count.as_bytes()];
            ctx.db.effect(&[&head, &tail[..], fields].concat());
        }
    }
    Ok(set.into())
}
