//! XGROUP and XSETID.

use super::super::object;
use super::super::spec::Outcome;
use super::{Ctx, args, ids, no_group_of, quoted, unknown_options};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::session::Session;
use crate::value::{Collection, Group, Header, Stream, StreamId};

const NO_KEY: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to \
     use the MKSTREAM option to create an empty stream automatically.",
);

/// What may follow the id.
#[derive(Debug, Default)]
struct Options {
    make: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(argv: &[&[u8]], creates: bool) -> Result<Self, CommandError> {
        let mut options = Options::default();
        let mut words = argv[5..].iter();
        while let Some(word) = words.next() {
            if creates && args::is(word, "MKSTREAM") {
                options.make = true;
                continue;
            }
            let value = words
                .next()
                .filter(|_| args::is(word, "ENTRIESREAD"))
                .ok_or_else(|| unknown_options("XGROUP", argv[1]))?;
            options.entries_read = match args::int(value)? {
                -1 => None,
                read => Some(u64::try_from(read).map_err(|_| {
                    CommandError::text("ERR value for ENTRIESREAD must be positive or -1")
                })?),
            };
        }
        Ok(options)
    }
}

/// The stream's last id, and whether it has the group.
fn look(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<Option<(StreamId, bool)>, CommandError> {
    let stream = super::peek(ctx, key)?;
    Ok(stream.map(|stream| (stream.header().last_id, stream.group(group).is_some())))
}

/// The stream's last id, where there is the stream and the group.
fn require(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Result<StreamId, CommandError> {
    match look(ctx, argv[2], argv[3])? {
        None => Err(NO_KEY),
        Some((_, false)) => Err(no_group_of(argv[3], argv[2])),
        Some((last_id, true)) => Ok(last_id),
    }
}

pub(super) fn create(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let options = Options::parse(argv, true)?;
    let (key, name) = (argv[2], argv[3]);
    let found = look(ctx, key, name)?;
    if found.is_none() && !options.make {
        return Err(NO_KEY);
    }
    if argv.len() > 8 {
        return Err(unknown_options("XGROUP", argv[1]));
    }
    let id = match quoted(argv[4]) {
        b"$" => found.map_or(StreamId::MIN, |(last_id, _)| last_id),
        _ => ids::strict(argv[4], 0)?,
    };
    let added = ctx.db.edit_or_create(key, |stream: &mut Stream| {
        stream.add_group(name, Group::new(id, options.entries_read))
    })?;
    if added {
        ctx.db.notify(Event::Stream, "xgroup-create", key);
        Ok(Reply::OK)
    } else {
        Err(CommandError::text(
            "BUSYGROUP Consumer Group name already exists",
        ))
    }
}

pub(super) fn setid(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let options = Options::parse(argv, false)?;
    let last_id = require(ctx, argv)?;
    if argv.len() > 7 {
        return Err(unknown_options("XGROUP", argv[1]));
    }
    let id = match quoted(argv[4]) {
        b"$" => last_id,
        _ => ids::lenient(argv[4], 0)?,
    };
    super::edit_group(ctx.db, argv[2], argv[3], |group| {
        group.set_last(id, options.entries_read);
    })?;
    ctx.db.notify(Event::Stream, "xgroup-setid", argv[2]);
    Ok(Reply::OK)
}

pub(super) fn destroy(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let removed = ctx
        .db
        .edit(argv[2], |stream: &mut Stream| stream.remove_group(argv[3]))?;
    let removed = removed.ok_or(NO_KEY)?;
    if removed {
        ctx.db.notify(Event::Stream, "xgroup-destroy", argv[2]);
    }
    Ok(removed.into())
}

pub(super) fn createconsumer(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    require(ctx, argv)?;
    let now_ms = ctx.now_ms();
    let (_, made) = super::edit_group(ctx.db, argv[2], argv[3], |group| {
        group.find_or_add(argv[4], now_ms)
    })?;
    if made {
        ctx.db
            .notify(Event::Stream, "xgroup-createconsumer", argv[2]);
    }
    Ok(made.into())
}

pub(super) fn delconsumer(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    require(ctx, argv)?;
    let pending = super::edit_group(ctx.db, argv[2], argv[3], |group| group.remove(argv[4]))?;
    if pending.is_some() {
        ctx.db.notify(Event::Stream, "xgroup-delconsumer", argv[2]);
    }
    Ok(pending.unwrap_or(0).into())
}

pub(super) fn xsetid(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let last_id = ids::strict(argv[2], 0)?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let mut words = argv[3..].iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(CommandError::Syntax)?;
        if args::is(word, "ENTRIESADDED") {
            let number = u64::try_from(args::int(value)?)
                .map_err(|_| CommandError::text("ERR entries_added must be positive"))?;
            added = Some(number);
        } else if args::is(word, "MAXDELETEDID") {
            max_deleted = ids::strict(value, 0)?;
            if last_id < max_deleted {
                return Err(CommandError::text(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let set = ctx.db.edit(argv[1], |stream: &mut Stream| {
        if stream.last().is_some_and(|last| last_id < last.id) {
            return Err(CommandError::text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(CommandError::text(
                "ERR The entries_added specified in XSETID is smaller than the target stream \
                 length",
            ));
        }
        let before = stream.header();
        stream.set_header(Header {
            last_id,
            max_deleted: if max_deleted == StreamId::MIN {
                before.max_deleted
            } else {
                max_deleted
            },
            added: added.unwrap_or(before.added),
        });
        Ok(())
    })?;
    set.ok_or(CommandError::NoSuchKey)??;
    ctx.db.notify(Event::Stream, "xsetid", argv[1]);
    Ok(Reply::OK)
}

pub(super) fn help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(object::help(
        "XGROUP",
        &[
            "CREATE <key> <group> <id|$> [MKSTREAM] [ENTRIESREAD <count>]",
            "    Makes a group that has read up to an id; MKSTREAM makes the stream too.",
            "CREATECONSUMER <key> <group> <consumer>",
            "    Makes a consumer.",
            "DELCONSUMER <key> <group> <consumer>",
            "    Removes a consumer with what is pending for it.",
            "DESTROY <key> <group>",
            "    Removes a group.",
            "SETID <key> <group> <id|$> [ENTRIESREAD <count>]",
            "    Sets up to where a group has read.",
        ],
    ))
}
