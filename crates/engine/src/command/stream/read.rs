//! XREAD and XREADGROUP.

use smallvec::SmallVec;

use super::super::spec::Outcome;
use super::claim::{Hand, say_last};
use super::{Ctx, announce, args, entry_reply, id_reply, ids, quoted, quoting};
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::Protocol;
use crate::value::{Collection, Group, Pending, Stream, StreamId, one_more};

/// What is asked for.
struct Request<'a> {
    count: usize,
    /// Milliseconds to wait, 0 for ever.
    block: Option<u64>,
    group: Option<(&'a [u8], &'a [u8])>,
    forget: bool,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

/// Where to read on in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// What has this id or a lower one is known.
    Behind(StreamId),
    /// What nobody in the group has yet.
    New,
}

impl<'a> Request<'a> {
    fn parse(argv: &'a [&'a [u8]], grouped: bool) -> Result<Self, CommandError> {
        let (mut count, mut block, mut group, mut forget) = (0, None, None, false);
        let mut at = 1;
        while let Some(word) = argv.get(at) {
            let following = argv.get(at + 1..).unwrap_or_default();
            match following {
                [timeout, ..] if args::is(word, "BLOCK") => {
                    let timeout = args::int_or(
                        timeout,
                        "ERR timeout is not an integer or out of range",
                    )?;
                    let timeout = u64::try_from(timeout)
                        .map_err(|_| CommandError::text("ERR timeout is negative"))?;
                    block = Some(timeout);
                    at += 1;
                }
                [number, ..] if args::is(word, "COUNT") => {
                    count = args::int(number)?.max(0) as usize;
                    at += 1;
                }
                [_, ..] if args::is(word, "STREAMS") => {
                    if !following.len().is_multiple_of(2) {
                        return Err(CommandError::text(
                            "ERR Unbalanced XREAD list of streams: for each stream key an ID or \
                             '$' must be specified.",
                        ));
                    }
                    if grouped && group.is_none() {
                        return Err(CommandError::text(
                            "ERR Missing GROUP option for XREADGROUP",
                        ));
                    }
                    let (keys, ids) = following.split_at(following.len() / 2);
                    return Ok(Request {
                        count: if count == 0 { usize::MAX } else { count },
                        block,
                        group,
                        forget,
                        keys,
                        ids,
                    });
                }
                [name, consumer, ..] if args::is(word, "GROUP") => {
                    if !grouped {
                        return Err(CommandError::text(
                            "ERR The GROUP option is only supported by XREADGROUP. You called \
                             XREAD instead.",
                        ));
                    }
                    group = Some((*name, *consumer));
                    at += 2;
                }
                _ if args::is(word, "NOACK") => {
                    if !grouped {
                        return Err(CommandError::text(
                            "ERR The NOACK option is only supported by XREADGROUP. You called \
                             XREAD instead.",
                        ));
                    }
                    forget = true;
                }
                _ => return Err(CommandError::Syntax),
            }
            at += 1;
        }
        Err(CommandError::Syntax)
    }

    /// Where to read on in each stream, all of which are looked at first.
    fn starts(&self, ctx: &mut Ctx<'_>) -> Result<SmallVec<[From; 8]>, CommandError> {
        let each = self.keys.iter().zip(self.ids);
        each.map(|(key, id)| self.start(ctx, key, id)).collect()
    }

    fn start(&self, ctx: &mut Ctx<'_>, key: &[u8], id: &[u8]) -> Result<From, CommandError> {
        let stream = ctx.db.get::<Stream>(key)?;
        if let Some((name, _)) = self.group
            && stream.is_none_or(|stream| stream.group(name).is_none())
        {
            return Err(no_group_to_read(key, name));
        }
        match quoted(id) {
            b"$" if self.group.is_some() => Err(CommandError::text(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The $ ID would just return an empty result set.",
            )),
            b"$" => Ok(From::Behind(
                stream.map_or(StreamId::MIN, |stream| stream.header().last_id),
            )),
            b">" if self.group.is_none() => Err(CommandError::text(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                 <group> <consumer> option.",
            )),
            b">" => Ok(From::New),
            _ => match ids::strict(id, 0)? {
                // Redis tells the two apart by this.
                StreamId::MAX if self.group.is_some() => Ok(From::New),
                id => Ok(From::Behind(id)),
            },
        }
    }
}

fn no_group_to_read(key: &[u8], group: &[u8]) -> CommandError {
    quoting(
        [
            "NOGROUP No such key '",
            "' or consumer group '",
            "' in XREADGROUP with GROUP option",
        ],
        key,
        group,
    )
}

/// Streams with what was read of them, as the protocol has it.
fn reply(ctx: &Ctx<'_>, found: Vec<(Reply, Reply)>) -> Reply {
    if ctx.session.protocol == Protocol::Resp3 {
        return Reply::Map(found);
    }
    let pair = |(key, entries)| Reply::Array(vec![key, entries]);
    Reply::Array(found.into_iter().map(pair).collect())
}

pub(super) fn xread(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let request = Request::parse(argv, false)?;
    let starts = request.starts(ctx)?;
    let mut found = Vec::new();
    for (key, start) in request.keys.iter().zip(&starts) {
        if let From::Behind(id) = start
            && let Some(entries) = read_behind(ctx, key, *id, request.count)
        {
            found.push((Reply::bulk(key), entries));
        }
    }
    Ok(if found.is_empty() {
        Reply::NullArray
    } else {
        reply(ctx, found)
    })
}

/// The entries behind an id, unless there are none.
fn read_behind(ctx: &mut Ctx<'_>, key: &[u8], id: StreamId, count: usize) -> Option<Reply> {
    let stream = ctx.db.view::<Stream>(key)?;
    let start = id.next()?;
    stream.last().filter(|last| last.id >= start)?;
    announce(ctx, count.min(stream.len()));
    let entries = stream.range(start, StreamId::MAX, false).take(count);
    Some(Reply::Array(
        entries.map(|entry| entry_reply(&entry)).collect(),
    ))
}

pub(super) fn xreadgroup(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let request = Request::parse(argv, true)?;
    let starts = request.starts(ctx)?;
    let mut found = Vec::new();
    for (key, start) in request.keys.iter().zip(&starts) {
        let entries = match start {
            From::New => read_new(ctx, &request, key)?,
            From::Behind(id) => Some(read_own(ctx, &request, key, *id)?),
        };
        if let Some(entries) = entries {
            found.push((Reply::bulk(key), entries));
        }
    }
    Ok(if found.is_empty() {
        Reply::NullArray
    } else {
        reply(ctx, found)
    })
}

/// Hands new entries out, unless there are none.
fn read_new(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    key: &[u8],
) -> Result<Option<Reply>, CommandError> {
    let (Some((name, consumer)), now_ms) = (request.group, ctx.now_ms()) else {
        return Ok(None);
    };
    // Upstash makes no consumer where nothing is going to be pending.
    let anonymous = request.forget && ctx.is_upstash();
    let mut hand = Hand::new(key, name, consumer);
    let mut replies = Vec::new();
    let edited = ctx.db.edit(key, |stream: &mut Stream| {
        let last = stream.last()?.id;
        if stream.group(name).is_none_or(|group| last <= group.last_id()) {
            return None;
        }
        let consumer = stream.edit_group(name, |group| {
            if anonymous {
                return group.find(consumer).unwrap_or_default();
            }
            hand.take(group, now_ms)
        })?;
        let pending = Pending {
            consumer,
            delivered_ms: now_ms,
            deliveries: 1,
        };
        let how = (request.count, request.forget);
        stream.deliver(name, consumer, how, now_ms, |entry| {
            replies.push(entry_reply(&entry));
            if !request.forget {
                hand.has(entry.id, pending);
            }
        })?;
        let group = stream.group(name)?;
        Some((group.last_id(), group.entries_read()))
    })?;
    let Some(group) = edited.flatten() else {
        return Ok(None);
    };
    hand.say(ctx.db);
    say_last(ctx.db, key, name, group);
    Ok(Some(Reply::Array(replies)))
}

/// What the consumer has already, from behind an id on; it is delivered anew.
fn read_own(
    ctx: &mut Ctx<'_>,
    request: &Request<'_>,
    key: &[u8],
    behind: StreamId,
) -> Result<Reply, CommandError> {
    let (Some((name, consumer)), now_ms) = (request.group, ctx.now_ms()) else {
        return Ok(Reply::NullArray);
    };
    let anonymous = request.forget && ctx.is_upstash();
    let mut hand = Hand::new(key, name, consumer);
    let mut replies = Vec::new();
    ctx.db.edit(key, |stream: &mut Stream| {
        let consumer = stream.edit_group(name, |group| {
            if anonymous {
                return group.find(consumer);
            }
            Some(hand.take(group, now_ms))
        });
        let (Some(consumer), Some(start)) = (consumer.flatten(), behind.next()) else {
            return;
        };
        let own = |group: &Group| -> Vec<(StreamId, Pending)> {
            let own = group.pending_in(start..=StreamId::MAX, Some(consumer));
            own.take(request.count).collect()
        };
        for (id, pending) in stream.group(name).map(own).unwrap_or_default() {
            let Some(reply) = stream.get(id).map(|entry| entry_reply(&entry)) else {
                replies.push(Reply::Array(vec![id_reply(id), Reply::NullArray]));
                continue;
            };
            replies.push(reply);
            let pending = Pending {
                delivered_ms: now_ms,
                deliveries: one_more(pending.deliveries),
                ..pending
            };
            stream.edit_group(name, |group| group.set(id, Some(pending)));
            hand.has(id, pending);
        }
    })?;
    if hand.changed() {
        hand.say(ctx.db);
    }
    Ok(Reply::Array(replies))
}
