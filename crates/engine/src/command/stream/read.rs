//! XREAD and XREADGROUP, at once or when there is something.
//!
//! A command that waits runs again, unchanged but for `$`, which is the last id
//! at the time when it came. Then it looks at nothing but the stream that was
//! written, and answers with that one alone.

use std::time::Duration;

use smallvec::SmallVec;

use super::super::spec::Outcome;
use super::super::{blocked, upstash};
use super::claim::{Hand, say_last};
use super::{Ctx, announce, args, entry_reply, id_reply, ids, look_up, quoted, quoting};
use crate::error::CommandError;
use crate::reply::{Reply, Room};
use crate::session::{Protocol, Wait};
use crate::value::{Collection, Group, Pending, Stream, StreamId, one_more};

/// Most entries for who has waited and named no number.
const WAITED_COUNT: usize = 1000;

/// What is asked for.
struct Request<'a> {
    count: usize,
    block: Patience,
    group: Option<(&'a [u8], &'a [u8])>,
    forget: bool,
    keys: &'a [&'a [u8]],
    ids: &'a [&'a [u8]],
}

/// Whether a command waits where there is nothing to read.
#[derive(Debug, Clone, Copy)]
enum Patience {
    None,
    For(Duration),
    Endless,
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
    fn parse(argv: &'a [&'a [u8]], grouped: bool, scripted: bool) -> Result<Self, CommandError> {
        let (mut count, mut block, mut group, mut forget) = (0, Patience::None, None, false);
        let mut at = 1;
        while let Some(word) = argv.get(at) {
            let following = argv.get(at + 1..).unwrap_or_default();
            match following {
                [..] if scripted && !following.is_empty() && args::is(word, "BLOCK") => {
                    let name = argv.first().copied().unwrap_or_default();
                    let why: &[u8] = b" command is not allowed with BLOCK option from scripts";
                    return Err(CommandError::Bytes([b"ERR ", name, why].concat()));
                }
                [timeout, ..] if args::is(word, "BLOCK") => {
                    block = match blocked::milliseconds(timeout)? {
                        Some(time) => Patience::For(time),
                        None => Patience::Endless,
                    };
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

    /// The streams to look at, by where they stand: all when the command comes,
    /// the one that was written when it runs again.
    fn wanted(&self, ctx: &Ctx<'_>) -> std::ops::Range<usize> {
        let Some(written) = &ctx.session.serving else {
            return 0..self.keys.len();
        };
        let at = self.keys.iter().position(|key| **key == **written);
        at.map_or(0..0, |at| at..at + 1)
    }

    /// The streams with where to read on; all are looked at before one is read.
    fn starts(&self, ctx: &mut Ctx<'_>) -> Result<Starts<'a>, CommandError> {
        let wanted = self.wanted(ctx);
        let each = self.keys.iter().zip(self.ids);
        each.take(wanted.end)
            .skip(wanted.start)
            .map(|(key, id)| Ok((*key, self.start(ctx, key, id)?)))
            .collect()
    }

    fn start(&self, ctx: &mut Ctx<'_>, key: &[u8], id: &[u8]) -> Result<From, CommandError> {
        let waited = ctx.session.serving.is_some() && self.group.is_some();
        let stream = match ctx.db.get::<Stream>(key) {
            Ok(None) | Err(_) if waited => {
                return Err(CommandError::text(
                    "UNBLOCKED the stream key no longer exists",
                ));
            }
            found => found?,
        };
        if let Some((name, _)) = self.group
            && stream.is_none_or(|stream| stream.group(name).is_none())
        {
            return Err(if waited {
                CommandError::text(
                    "NOGROUP the consumer group this client was blocked on no longer exists",
                )
            } else {
                no_group_to_read(key, name)
            });
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

/// Streams with where to read on.
type Starts<'a> = SmallVec<[(&'a [u8], From); 4]>;

impl Request<'_> {
    /// Streams with what was read of them, as the protocol has it; where that is
    /// nothing, the caller waits if it asked to.
    fn answer(&self, ctx: &mut Ctx<'_>, argv: &[&[u8]], found: Vec<(Reply, Reply)>) -> Reply {
        if found.is_empty() {
            return self.wait(ctx, argv);
        }
        if ctx.session.protocol == Protocol::Resp3 {
            return Reply::Map(found);
        }
        let pair = |(key, entries)| Reply::Array(vec![key, entries]);
        Reply::Array(found.into_iter().map(pair).collect())
    }

    fn wait(&self, ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Reply {
        let patience = match self.block {
            Patience::For(time) if !ctx.is_upstash() => Some(time),
            Patience::Endless if !ctx.is_upstash() => None,
            _ => return Reply::NullArray,
        };
        let wait = Wait {
            minds_removal: self.group.is_some(),
            ..Wait::for_keys(self.keys, patience)
        };
        if !self.ids.iter().any(|id| quoted(id) == b"$") {
            return ctx.wait(argv, wait);
        }
        let lasts: Vec<_> = self
            .keys
            .iter()
            .map(|key| last_of(ctx, key).text())
            .collect();
        let (before, ids) = argv.split_at(argv.len() - self.ids.len());
        let ids = ids.iter().zip(&lasts).map(|(id, last)| {
            if quoted(id) == b"$" {
                last.as_ref()
            } else {
                *id
            }
        });
        let argv: Vec<&[u8]> = before.iter().copied().chain(ids).collect();
        ctx.wait(&argv, wait)
    }

    /// How many entries it gets of a stream.
    fn count(&self, ctx: &Ctx<'_>) -> usize {
        if self.count == usize::MAX && ctx.session.serving.is_some() {
            WAITED_COUNT
        } else {
            self.count
        }
    }
}

fn last_of(ctx: &Ctx<'_>, key: &[u8]) -> StreamId {
    let stream = ctx.db.view::<Stream>(key);
    stream.map_or(StreamId::MIN, |stream| stream.header().last_id)
}

pub(super) fn xread(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let request = Request::parse(argv, false, ctx.session.scripted)?;
    let count = request.count(ctx);
    let mut room = Room::new();
    let mut found = Vec::new();
    for (key, start) in request.starts(ctx)? {
        look_again(ctx, key);
        if let From::Behind(id) = start
            && let Some(entries) = read_behind(ctx, key, id, count, &mut room)?
        {
            found.push((room.bulk(key)?, entries));
        }
    }
    Ok(request.answer(ctx, argv, found))
}

/// Redis looks each key up twice, once for its type.
fn look_again(ctx: &mut Ctx<'_>, key: &[u8]) {
    if ctx.session.serving.is_none() {
        look_up(ctx, key);
    }
}

/// The entries behind an id, unless there are none.
fn read_behind(
    ctx: &Ctx<'_>,
    key: &[u8],
    id: StreamId,
    count: usize,
    room: &mut Room,
) -> Result<Option<Reply>, CommandError> {
    let (Some(stream), Some(start)) = (ctx.db.view::<Stream>(key), id.next()) else {
        return Ok(None);
    };
    if stream.last().is_none_or(|last| last.id < start) {
        return Ok(None);
    }
    announce(ctx, count.min(stream.len()));
    let entries = stream.range(start, StreamId::MAX, false).take(count);
    let replies: Result<_, _> = entries
        .map(|entry| room.hold(entry_reply(&entry)))
        .collect();
    replies.map(|replies| Some(Reply::Array(replies)))
}

pub(super) fn xreadgroup(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let request = Request::parse(argv, true, ctx.session.scripted)?;
    let starts = request.starts(ctx)?;
    request.fits(ctx, &starts)?;
    if ctx.is_strict() {
        request.leaves_room(ctx, &starts)?;
    }
    let mut found = Vec::new();
    for (key, start) in starts {
        look_again(ctx, key);
        let entries = match start {
            From::New => read_new(ctx, &request, key)?,
            From::Behind(id) => Some(read_own(ctx, &request, key, id)?),
        };
        if let Some(entries) = entries {
            found.push((Reply::bulk(key), entries));
        }
    }
    Ok(request.answer(ctx, argv, found))
}

impl Request<'_> {
    /// Whether the consumer may have so many more entries pending, by Upstash's
    /// limit.
    fn leaves_room(&self, ctx: &Ctx<'_>, starts: &Starts<'_>) -> Result<(), CommandError> {
        let Some((name, consumer)) = self.group.filter(|_| !self.forget) else {
            return Ok(());
        };
        let most = upstash::PENDING_MAX;
        for (key, start) in starts {
            let stream = ctx.db.view::<Stream>(key);
            let Some((stream, group)) = stream.and_then(|all| Some((all, all.group(name)?))) else {
                continue;
            };
            let (From::New, Some(first)) = (start, group.last_id().next()) else {
                continue;
            };
            let found = group.find(consumer).and_then(|id| group.consumer(id));
            let pending = found.map_or(0, |found| found.pending().len());
            let new = stream.range(first, StreamId::MAX, false);
            let wanted = new.take(self.count.min(most + 1)).count();
            if wanted > 0 && pending + wanted > most {
                let place = [*key, name, consumer];
                return Err(upstash::too_many_pending(pending, wanted, place));
            }
        }
        Ok(())
    }

    /// Whether the reply has room where it may have the same entries again and
    /// again. What is new is handed out once.
    fn fits(&self, ctx: &Ctx<'_>, starts: &Starts<'_>) -> Result<(), CommandError> {
        let mut own: Vec<_> = starts
            .iter()
            .filter_map(|(key, start)| match start {
                From::Behind(id) => Some((*key, *id)),
                From::New => None,
            })
            .collect();
        own.sort_unstable();
        if own.array_windows().all(|[(one, _), (next, _)]| one != next) {
            return Ok(());
        }
        let mut room = Room::new();
        for (key, id) in own {
            let consumer = ctx.db.view::<Stream>(key).zip(self.group);
            let consumer = consumer.and_then(|(stream, (name, consumer))| {
                let group = stream.group(name)?;
                Some((stream, group.consumer(group.find(consumer)?)?))
            });
            let (Some((stream, consumer)), Some(start)) = (consumer, id.next()) else {
                continue;
            };
            for id in consumer.pending().range(start..).take(self.count) {
                room.take(stream.get(*id).map_or(0, |entry| entry.bytes()))?;
            }
        }
        Ok(())
    }
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
    let count = request.count(ctx);
    let mut hand = Hand::new(key, name, consumer);
    let mut replies = Vec::new();
    let edited = ctx.db.edit(key, |stream: &mut Stream| {
        let last = stream.last()?.id;
        if stream
            .group(name)
            .is_none_or(|group| last <= group.last_id())
        {
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
        let how = (count, request.forget);
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
