//! Keys whatever their type: existence, names, copies, removal.
//!
//! There is one database, number 0: what names another is out of range.

use super::args::{at, int, is};
use super::spec::{ALL_KEYS, Acl, Command, CommandSpec, Flags, Keys, ONE_KEY, Outcome, TWO_KEYS};
use super::{Ctx, args};
use crate::error::CommandError;
use crate::glob;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Kind, Value};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("copy", -3, copy)
        .writes(TWO_KEYS, Acl::KEYSPACE)
        .denyoom()
        .flags(Flags::LONG)
        .since("6.2.0"),
    CommandSpec::new("dbsize", 1, dbsize)
        .reads(Keys::None, Acl::KEYSPACE)
        .fast(),
    CommandSpec::new("del", -2, del)
        .writes(ALL_KEYS, Acl::KEYSPACE)
        .flags(Flags::LONG),
    CommandSpec::new("exists", -2, exists)
        .reads(ALL_KEYS, Acl::KEYSPACE)
        .fast(),
    CommandSpec::new("flushall", -1, flush)
        .writes(Keys::None, Acl::KEYSPACE.and(Acl::DANGEROUS))
        .flags(Flags::LONG),
    CommandSpec::new("flushdb", -1, flush)
        .writes(Keys::None, Acl::KEYSPACE.and(Acl::DANGEROUS))
        .flags(Flags::LONG),
    CommandSpec::new("keys", 2, keys)
        .reads(Keys::None, Acl::KEYSPACE.and(Acl::DANGEROUS))
        .flags(Flags::LONG.and(Flags::FINDS_KEYS)),
    CommandSpec::new("move", 3, move_key)
        .writes(ONE_KEY, Acl::KEYSPACE)
        .fast()
        .not_upstash(),
    CommandSpec::new("randomkey", 1, randomkey)
        .reads(Keys::None, Acl::KEYSPACE)
        .flags(Flags::FINDS_KEYS),
    CommandSpec::new("rename", 3, rename).writes(TWO_KEYS, Acl::KEYSPACE),
    CommandSpec::new("renamenx", 3, renamenx)
        .writes(TWO_KEYS, Acl::KEYSPACE)
        .fast(),
    CommandSpec::new("touch", -2, touch)
        .reads(ALL_KEYS, Acl::KEYSPACE)
        .fast()
        .since("3.2.1"),
    CommandSpec::new("type", 2, kind)
        .reads(ONE_KEY, Acl::KEYSPACE)
        .fast(),
    CommandSpec::new("unlink", -2, del)
        .writes(ALL_KEYS, Acl::KEYSPACE)
        .fast()
        .flags(Flags::LONG)
        .upstash_arity(-1)
        .since("4.0.0"),
];

/// The type of a value.
pub(super) const fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Int(_) | Value::Str(_) => Kind::String,
        Value::Hash(_) => Kind::Hash,
        Value::Set(_) => Kind::Set,
        Value::ZSet(_) => Kind::ZSet,
        Value::List(_) => Kind::List,
        Value::Stream(_) => Kind::Stream,
    }
}

/// Counts a lookup that leaves the access time alone, as Redis does for
/// commands that only look at a key from outside.
pub(super) fn count_lookup(db: &mut Db, key: &[u8], found: bool) {
    if found {
        db.stats.hits += 1;
    } else {
        db.stats.misses += 1;
        db.notify(Event::Miss, "keymiss", key);
    }
}

/// A database number; only 0 exists.
pub(super) fn database(text: &[u8]) -> Result<(), CommandError> {
    match int(text)? {
        0 => Ok(()),
        number if i32::try_from(number).is_ok() => {
            Err(CommandError::text("ERR DB index is out of range"))
        }
        _ => Err(CommandError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )),
    }
}

const SAME_OBJECT: CommandError =
    CommandError::text("ERR source and destination objects are the same");

/// Removes the key and says so; whether there was one.
pub(super) fn delete(db: &mut Db, key: &[u8]) -> bool {
    let removed = db.remove(key);
    if removed {
        db.notify(Event::Generic, "del", key);
    }
    removed
}

fn del(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(argv
        .iter()
        .skip(1)
        .filter(|key| delete(ctx.db, key))
        .count()
        .into())
}

fn exists(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let exists = |key: &&&[u8]| {
        let found = ctx.db.exists(key);
        count_lookup(ctx.db, key, found);
        found
    };
    Ok(argv.iter().skip(1).filter(exists).count().into())
}

fn touch(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(argv
        .iter()
        .skip(1)
        .filter(|key| ctx.db.touch(key))
        .count()
        .into())
}

fn kind(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let key = at(argv, 1)?;
    let kind = ctx.db.peek(key).map(|record| kind_of(&record.value));
    count_lookup(ctx.db, key, kind.is_some());
    Ok(Reply::status(kind.map_or("none", Kind::name)))
}

fn keys(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let pattern = at(argv, 1)?;
    let wanted = |key: &[u8]| pattern == b"*" || glob::matches(pattern, key);
    let found = ctx.db.iter().filter(|record| wanted(&record.key));
    Ok(Reply::Array(
        found.map(|record| Reply::bulk(&record.key)).collect(),
    ))
}

fn randomkey(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    Ok(ctx.db.random_key().into())
}

fn dbsize(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    Ok(ctx.db.len().into())
}

fn rename(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (from, to) = (at(argv, 1)?, at(argv, 2)?);
    if !ctx.db.exists(from) {
        return Err(CommandError::NoSuchKey);
    }
    if from != to {
        move_to(ctx.db, from, to);
    }
    Ok(Reply::OK)
}

fn renamenx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (from, to) = (at(argv, 1)?, at(argv, 2)?);
    if !ctx.db.exists(from) {
        return Err(CommandError::NoSuchKey);
    }
    if from == to || ctx.db.exists(to) {
        return Ok(Reply::Int(0));
    }
    move_to(ctx.db, from, to);
    Ok(Reply::Int(1))
}

fn move_to(db: &mut Db, from: &[u8], to: &[u8]) {
    db.rename(from, to);
    db.notify(Event::Generic, "rename_from", from);
    db.notify(Event::Generic, "rename_to", to);
}

/// COPY's options: whether it replaces.
fn copy_replaces(argv: &[&[u8]]) -> Result<bool, CommandError> {
    let mut replace = false;
    let mut options = argv.iter().skip(3);
    while let Some(option) = options.next() {
        if is(option, "REPLACE") {
            replace = true;
        } else if is(option, "DB") {
            database(options.next().ok_or(CommandError::Syntax)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(replace)
}

/// Refuses a request that names another database than the only one, before it is
/// passed on to a store that may have several.
pub(super) fn check_database(command: &Command, argv: &[&[u8]]) -> Result<(), CommandError> {
    match command.spec.name {
        "copy" => copy_replaces(argv).map(drop),
        "move" => no_other_database(argv).map(drop),
        _ => Ok(()),
    }
}

fn copy(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (from, to) = (at(argv, 1)?, at(argv, 2)?);
    let replace = copy_replaces(argv)?;
    if from == to {
        return if ctx.is_upstash() {
            Ok(Reply::Int(0))
        } else {
            Err(SAME_OBJECT)
        };
    }
    let found = ctx.db.touch(from);
    if !found || (!replace && ctx.db.exists(to)) {
        return Ok(Reply::Int(0));
    }
    if let Some((value, expire)) = ctx.db.copy_of(from) {
        ctx.db.remove(to);
        ctx.db.put(to, value, expire);
        ctx.db.notify(Event::Generic, "copy_to", to);
    }
    Ok(Reply::Int(1))
}

fn move_key(_: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    no_other_database(argv)
}

/// With a single database there is nowhere to move to.
fn no_other_database(argv: &[&[u8]]) -> Outcome {
    database(at(argv, 2)?)?;
    Err(SAME_OBJECT)
}

fn flush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    match argv {
        [_] => {}
        [_, mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    ctx.db.clear();
    Ok(Reply::OK)
}
