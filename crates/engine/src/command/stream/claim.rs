//! XCLAIM and XAUTOCLAIM, and the effects of whatever hands entries out.

use smallvec::SmallVec;

use super::super::spec::Outcome;
use super::{Ctx, args, entry_reply, id_reply, ids, look_up, no_group, quoted};
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::{Reply, Room};
use crate::value::{ConsumerId, Group, IdText, Pending, Stream, StreamId, one_more};

/// Whose entries change hands, and what has come of it so far.
pub(super) struct Hand<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
    made: bool,
    /// Entries with the same time and count, in runs.
    runs: Vec<(u64, u64, Vec<IdText>)>,
    gone: Vec<IdText>,
}

impl<'a> Hand<'a> {
    pub(super) fn new(key: &'a [u8], group: &'a [u8], consumer: &'a [u8]) -> Self {
        Hand {
            key,
            group,
            consumer,
            made: false,
            runs: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// The consumer's number; it is made if need be, and has asked now.
    pub(super) fn take(&mut self, group: &mut Group, now_ms: u64) -> ConsumerId {
        let (id, made) = group.find_or_add(self.consumer, now_ms);
        self.made |= made;
        group.see(id, now_ms);
        id
    }

    /// Notes that an entry is the consumer's since then.
    pub(super) fn has(&mut self, id: StreamId, pending: Pending) {
        let Pending {
            delivered_ms,
            deliveries,
            ..
        } = pending;
        match self.runs.last_mut() {
            Some((time, count, ids)) if (*time, *count) == (delivered_ms, deliveries) => {
                ids.push(id.text());
            }
            _ => self.runs.push((delivered_ms, deliveries, vec![id.text()])),
        }
    }

    /// Notes that an entry is pending no more, since it was deleted.
    pub(super) fn lost(&mut self, id: StreamId) {
        self.gone.push(id.text());
    }

    /// Whether anything changed but when the consumer was seen.
    pub(super) fn changed(&self) -> bool {
        self.made || !self.runs.is_empty() || !self.gone.is_empty()
    }

    /// Says it all, and raises the event of a consumer that was made.
    pub(super) fn say(&self, db: &mut Db) {
        if self.made {
            db.notify(Event::Stream, "xgroup-createconsumer", self.key);
            db.effect(&[
                b"XGROUP",
                b"CREATECONSUMER",
                self.key,
                self.group,
                self.consumer,
            ]);
        }
        for (time, count, ids) in &self.runs {
            let (mut times, mut counts) = (itoa::Buffer::new(), itoa::Buffer::new());
            let mut effect: SmallVec<[&[u8]; 16]> =
                SmallVec::from_slice(&[b"XCLAIM", self.key, self.group, self.consumer, b"0"]);
            effect.extend(ids.iter().map(AsRef::as_ref));
            effect.extend([
                &b"TIME"[..],
                times.format(*time).as_bytes(),
                b"RETRYCOUNT",
                counts.format(*count).as_bytes(),
                b"FORCE",
                b"JUSTID",
            ]);
            db.effect(&effect);
        }
        if !self.gone.is_empty() {
            let mut effect: SmallVec<[&[u8]; 16]> =
                SmallVec::from_slice(&[b"XACK", self.key, self.group]);
            effect.extend(self.gone.iter().map(AsRef::as_ref));
            db.effect(&effect);
        }
    }
}

/// Says up to where a group has read.
pub(super) fn say_last(db: &mut Db, key: &[u8], name: &[u8], group: (StreamId, Option<u64>)) {
    let (last_id, read) = (group.0.text(), group.1.map_or(-1, |read| read as i64));
    let mut number = itoa::Buffer::new();
    let read = number.format(read).as_bytes();
    db.effect(&[
        b"XGROUP",
        b"SETID",
        key,
        name,
        last_id.as_ref(),
        b"ENTRIESREAD",
        read,
    ]);
}

/// Finds the group, for a command that needs one.
fn require(ctx: &mut Ctx<'_>, key: &[u8], name: &[u8]) -> Result<(), CommandError> {
    super::peek(ctx, key)?
        .and_then(|stream| stream.group(name))
        .map(drop)
        .ok_or_else(|| no_group(key, name))
}

/// What XCLAIM is told besides ids.
struct Claim {
    min_idle_ms: i64,
    delivered_ms: u64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl Claim {
    fn parse(words: &[&[u8]], min_idle_ms: i64, now_ms: u64) -> Result<Self, CommandError> {
        let now = now_ms as i64;
        let mut claim = Claim {
            min_idle_ms,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        };
        // Beyond the present, or before all time: now.
        let sane = |time: i64| if (0..=now).contains(&time) { time } else { now } as u64;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value = words.clone().next();
            match (word, value) {
                (word, _) if args::is(word, "FORCE") => claim.force = true,
                (word, _) if args::is(word, "JUSTID") => claim.just_id = true,
                (word, Some(value)) if args::is(word, "IDLE") => {
                    let idle = args::int_or(value, "ERR Invalid IDLE option argument for XCLAIM")?;
                    claim.delivered_ms = sane(now.wrapping_sub(idle));
                    words.next();
                }
                (word, Some(value)) if args::is(word, "TIME") => {
                    let time = args::int_or(value, "ERR Invalid TIME option argument for XCLAIM")?;
                    claim.delivered_ms = sane(time);
                    words.next();
                }
                (word, Some(value)) if args::is(word, "RETRYCOUNT") => {
                    let count =
                        args::int_or(value, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    claim.deliveries = u64::try_from(count).ok();
                    words.next();
                }
                (word, Some(value)) if args::is(word, "LASTID") => {
                    claim.last_id = ids::strict(value, 0)?;
                    words.next();
                }
                (word, _) => {
                    let quoted = quoted(word);
                    return Err(CommandError::Bytes(
                        [b"ERR Unrecognized XCLAIM option '", quoted, b"'"].concat(),
                    ));
                }
            }
        }
        Ok(claim)
    }

    /// How an entry is pending after the claim; `None` where it stays as it is.
    fn claimed(
        &self,
        before: Option<Pending>,
        consumer: ConsumerId,
        now_ms: u64,
    ) -> Option<Pending> {
        let deliveries = match before {
            None if !self.force => return None,
            None => 1,
            Some(pending) if self.min_idle_ms > 0 && idle(pending, now_ms) < self.min_idle_ms => {
                return None;
            }
            Some(pending) => pending.deliveries,
        };
        Some(Pending {
            consumer,
            delivered_ms: self.delivered_ms,
            deliveries: match self.deliveries {
                Some(given) => given,
                None if self.just_id => deliveries,
                None => one_more(deliveries),
            },
        })
    }
}

fn idle(pending: Pending, now_ms: u64) -> i64 {
    (now_ms as i64).wrapping_sub(pending.delivered_ms as i64)
}

/// An entry as the reply carries it, where it is there.
fn shown(stream: &Stream, id: StreamId, just_id: bool) -> Option<Reply> {
    let entry = stream.get(id)?;
    Some(if just_id {
        id_reply(id)
    } else {
        entry_reply(&entry)
    })
}

/// Whether the reply has room where ids are named again and again.
fn fits(ctx: &Ctx<'_>, key: &[u8], ids: &[StreamId]) -> Result<(), CommandError> {
    let mut sorted: SmallVec<[StreamId; 16]> = ids.into();
    sorted.sort_unstable();
    if sorted.array_windows().all(|[one, next]| one != next) {
        return Ok(());
    }
    let mut room = Room::new();
    for id in ids {
        let entry = ctx
            .db
            .view::<Stream>(key)
            .and_then(|stream| stream.get(*id));
        room.take(entry.map_or(0, |entry| entry.bytes()))?;
    }
    Ok(())
}

pub(super) fn xclaim(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, name, now_ms) = (argv[1], argv[2], ctx.now_ms());
    look_up(ctx, key);
    require(ctx, key, name)?;
    let min_idle_ms = args::int_or(argv[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids: Vec<StreamId> = argv[5..]
        .iter()
        .map_while(|text| ids::strict(text, 0).ok())
        .collect();
    let claim = Claim::parse(&argv[5 + ids.len()..], min_idle_ms, now_ms)?;
    if !claim.just_id {
        fits(ctx, key, &ids)?;
    }
    let mut hand = Hand::new(key, name, argv[3]);
    let mut replies = Vec::new();
    let mut raised = None;
    ctx.db.edit(key, |stream: &mut Stream| {
        stream.edit_group(name, |group| {
            if claim.last_id > group.last_id() {
                group.set_last(claim.last_id, group.entries_read());
                raised = Some((group.last_id(), group.entries_read()));
            }
        });
        for id in ids {
            let reply = shown(stream, id, claim.just_id);
            stream.edit_group(name, |group| {
                let before = group.pending().get(&id).copied();
                let Some(reply) = reply else {
                    if before.is_some() {
                        group.set(id, None);
                        hand.lost(id);
                    }
                    return;
                };
                if claim
                    .claimed(before, ConsumerId::default(), now_ms)
                    .is_none()
                {
                    return;
                }
                let consumer = hand.take(group, now_ms);
                if let Some(pending) = claim.claimed(before, consumer, now_ms) {
                    group.set(id, Some(pending));
                    hand.has(id, pending);
                    replies.push(reply);
                }
            });
        }
    })?;
    hand.say(ctx.db);
    if let Some(group) = raised {
        say_last(ctx.db, key, name, group);
    }
    Ok(Reply::Array(replies))
}

/// Most entries that a call may look at for each that it may claim.
const ATTEMPTS: usize = 10;

pub(super) fn xautoclaim(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (key, name, now_ms) = (argv[1], argv[2], ctx.now_ms());
    look_up(ctx, key);
    let min_idle_ms = args::int_or(argv[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = ids::start(argv[5])?;
    let (mut count, mut just_id) = (100, false);
    let mut words = argv[6..].iter();
    while let Some(word) = words.next() {
        if args::is(word, "JUSTID") {
            just_id = true;
        } else {
            let value = words
                .next()
                .filter(|_| args::is(word, "COUNT"))
                .ok_or(CommandError::Syntax)?;
            count = args::parse_i64(value)
                .filter(|count| (1..=i64::MAX / 16).contains(count))
                .ok_or(CommandError::text("ERR COUNT must be > 0"))? as usize;
        }
    }
    require(ctx, key, name)?;
    let mut hand = Hand::new(key, name, argv[3]);
    let (mut replies, mut gone, mut next) = (Vec::new(), Vec::new(), StreamId::MIN);
    ctx.db.edit(key, |stream: &mut Stream| {
        let found = stream
            .group(name)
            .map(|group| candidates(stream, group, start, count, min_idle_ms.max(0), now_ms));
        let (found, end) = found.unwrap_or_default();
        next = end;
        for (id, pending) in found {
            let reply = shown(stream, id, just_id);
            stream.edit_group(name, |group| {
                let Some(reply) = reply else {
                    group.set(id, None);
                    hand.lost(id);
                    gone.push(id_reply(id));
                    return;
                };
                let deliveries = pending.deliveries;
                let pending = Pending {
                    consumer: hand.take(group, now_ms),
                    delivered_ms: now_ms,
                    deliveries: if just_id {
                        deliveries
                    } else {
                        one_more(deliveries)
                    },
                };
                group.set(id, Some(pending));
                hand.has(id, pending);
                replies.push(reply);
            });
        }
    })?;
    hand.say(ctx.db);
    Ok(Reply::Array(vec![
        id_reply(next),
        Reply::Array(replies),
        Reply::Array(gone),
    ]))
}

/// What is to be claimed, or to be forgotten since it was deleted, and where the
/// next call goes on; 0-0 at the end.
fn candidates(
    stream: &Stream,
    group: &Group,
    start: StreamId,
    count: usize,
    min_idle_ms: i64,
    now_ms: u64,
) -> (Vec<(StreamId, Pending)>, StreamId) {
    let mut pending = group.pending().range(start..);
    let mut found = Vec::new();
    let mut attempts = count.saturating_mul(ATTEMPTS);
    while attempts > 0 && found.len() < count {
        attempts -= 1;
        let Some((id, pending)) = pending.next() else {
            break;
        };
        let ripe = min_idle_ms == 0 || idle(*pending, now_ms) >= min_idle_ms;
        if ripe || stream.get(*id).is_none() {
            found.push((*id, *pending));
        }
    }
    let next = pending.next().map_or(StreamId::MIN, |(id, _)| *id);
    (found, next)
}
