//! XINFO.

use super::super::object;
use super::super::spec::Outcome;
use super::{Ctx, args, entry_reply, id_reply, no_group_of, unknown_options};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::Session;
use crate::value::{Collection, Extent, Group, Stream, StreamId};

fn map<const N: usize>(entries: [(&'static str, Reply); N]) -> Reply {
    Reply::Map(
        entries
            .into_iter()
            .map(|(name, value)| (Reply::bulk(name), value))
            .collect(),
    )
}

fn known(number: Option<u64>) -> Reply {
    number.map_or(Reply::Null, |number| Reply::Int(number as i64))
}

fn stream_at<'a>(ctx: &'a mut Ctx<'_>, key: &[u8]) -> Result<&'a Stream, CommandError> {
    ctx.db.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)
}

pub(super) fn consumers(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let now_ms = ctx.now_ms();
    let group = stream_at(ctx, argv[2])?
        .group(argv[3])
        .ok_or_else(|| no_group_of(argv[3], argv[2]))?;
    let rows = group.consumers().map(|(_, consumer)| {
        map([
            ("name", Reply::bulk(consumer.name())),
            ("pending", consumer.pending().len().into()),
            (
                "idle",
                Reply::Int(now_ms.saturating_sub(consumer.seen_ms()) as i64),
            ),
        ])
    });
    Ok(Reply::Array(rows.collect()))
}

pub(super) fn groups(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let stream = stream_at(ctx, argv[2])?;
    let extent = stream.extent();
    let rows = stream.groups().map(|(name, group)| {
        map([
            ("name", Reply::bulk(name)),
            ("consumers", group.consumer_count().into()),
            ("pending", group.pending().len().into()),
            ("last-delivered-id", id_reply(group.last_id())),
            ("entries-read", known(group.entries_read())),
            ("lag", known(extent.lag(group))),
        ])
    });
    Ok(Reply::Array(rows.collect()))
}

pub(super) fn stream(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let stream = stream_at(ctx, argv[2])?;
    let full = match &argv[3..] {
        [] => None,
        [full] if args::is(full, "FULL") => Some(10),
        [full, count, number] if args::is(full, "FULL") && args::is(count, "COUNT") => {
            Some(match args::int(number)? {
                ..0 => 10,
                0 => usize::MAX,
                count => count as usize,
            })
        }
        _ => return Err(unknown_options("XINFO", argv[1])),
    };
    let header = stream.header();
    let mut entries = vec![
        ("length", stream.len().into()),
        // Redis' tree, in terms of our blocks.
        ("radix-tree-keys", stream.blocks().into()),
        ("radix-tree-nodes", (stream.blocks() + 1).into()),
        ("last-generated-id", id_reply(header.last_id)),
        ("max-deleted-entry-id", id_reply(header.max_deleted)),
        ("entries-added", Reply::Int(header.added as i64)),
        ("recorded-first-entry-id", id_reply(stream.first_id())),
    ];
    if let Some(count) = full {
        let extent = stream.extent();
        let found = stream.range(StreamId::MIN, StreamId::MAX, false);
        let found = found.take(count).map(|entry| entry_reply(&entry));
        entries.push(("entries", Reply::Array(found.collect())));
        let groups = stream
            .groups()
            .map(|(name, group)| full_group(name, group, extent, count));
        entries.push(("groups", Reply::Array(groups.collect())));
    } else {
        let edge = |entry: Option<_>| entry.map_or(Reply::Null, |entry| entry_reply(&entry));
        entries.push(("groups", stream.groups().len().into()));
        entries.push(("first-entry", edge(stream.first())));
        entries.push(("last-entry", edge(stream.last())));
    }
    let entries = entries.into_iter();
    Ok(Reply::Map(
        entries
            .map(|(name, value)| (Reply::bulk(name), value))
            .collect(),
    ))
}

fn full_group(name: &[u8], group: &Group, extent: Extent, count: usize) -> Reply {
    let pending = group.pending().iter().take(count).map(|(id, pending)| {
        Reply::Array(vec![
            id_reply(*id),
            Reply::bulk(group.name_of(pending.consumer)),
            Reply::Int(pending.delivered_ms as i64),
            Reply::Int(pending.deliveries as i64),
        ])
    });
    let consumers = group.consumers().map(|(number, consumer)| {
        let own = group.pending_in(StreamId::MIN..=StreamId::MAX, Some(number));
        let own = own.take(count).map(|(id, pending)| {
            Reply::Array(vec![
                id_reply(id),
                Reply::Int(pending.delivered_ms as i64),
                Reply::Int(pending.deliveries as i64),
            ])
        });
        map([
            ("name", Reply::bulk(consumer.name())),
            ("seen-time", Reply::Int(consumer.seen_ms() as i64)),
            ("pel-count", consumer.pending().len().into()),
            ("pending", Reply::Array(own.collect())),
        ])
    });
    map([
        ("name", Reply::bulk(name)),
        ("last-delivered-id", id_reply(group.last_id())),
        ("entries-read", known(group.entries_read())),
        ("lag", known(extent.lag(group))),
        ("pel-count", group.pending().len().into()),
        ("pending", Reply::Array(pending.collect())),
        ("consumers", Reply::Array(consumers.collect())),
    ])
}

pub(super) fn help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(object::help(
        "XINFO",
        &[
            "CONSUMERS <key> <group>",
            "    The consumers of a group.",
            "GROUPS <key>",
            "    The groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]]",
            "    The stream itself; FULL with entries and what is pending.",
        ],
    ))
}
