//! Consumer groups: what was handed to whom, and is not acknowledged yet.
//!
//! A pending entry stands once in the group, by id, with its consumer's number,
//! and its id once more in that consumer's own set; [`Group::set`] is the only
//! way to change one, so the two never part. Each change costs two steps in a
//! B-tree; consumers are found by name in a third.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::id::StreamId;

/// An entry that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Number of the consumer that has it.
    pub consumer: ConsumerId,
    /// When it was handed out last, milliseconds since the epoch.
    pub delivered_ms: u64,
    /// How often it was.
    pub deliveries: u64,
}

/// A consumer's number in its group; one that is gone is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConsumerId(u32);

/// Somebody who reads for a group.
#[derive(Debug, Clone)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it asked last, milliseconds since the epoch.
    seen_ms: u64,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it asked last, milliseconds since the epoch.
    pub const fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// Ids of what it has, in order.
    pub const fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

/// A consumer group; see the module.
#[derive(Debug)]
pub struct Group {
    last_id: StreamId,
    entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: Vec<Option<Box<Consumer>>>,
    /// Numbers that nobody has.
    free: Vec<u32>,
    names: BTreeMap<Arc<[u8]>, u32>,
    /// Bytes of all names.
    named: usize,
    edits: u64,
    undo: Option<Box<Undo>>,
}

#[derive(Debug, Clone)]
struct Undo {
    last_id: StreamId,
    entries_read: Option<u64>,
    edits: u64,
    inverses: Vec<Inverse>,
}

#[derive(Debug, Clone)]
enum Inverse {
    /// What was pending under this id.
    Pending(StreamId, Option<Pending>),
    Added(u32),
    Removed(u32, Box<Consumer>),
    Seen(u32, u64),
}

/// About what a B-tree takes for so many bytes of key and value: its nodes are
/// two thirds full.
const fn in_tree(bytes: usize) -> usize {
    bytes + bytes / 2
}

const PENDING: usize = in_tree(size_of::<(StreamId, Pending)>()) + in_tree(size_of::<StreamId>());
const CONSUMER: usize =
    size_of::<Consumer>() + in_tree(size_of::<(Arc<[u8]>, u32)>()) + 2 * size_of::<usize>() + 24;

impl Group {
    /// A group that was given everything up to `last_id`.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Group {
            last_id,
            entries_read,
            pending: BTreeMap::new(),
            consumers: Vec::new(),
            free: Vec::new(),
            names: BTreeMap::new(),
            named: 0,
            edits: 0,
            undo: None,
        }
    }

    /// Id of the last entry that was handed out as new.
    pub const fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// Which of all entries ever added that was, if it is known.
    pub const fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    /// Sets both; a change even where nothing differs, since Redis counts it.
    pub fn set_last(&mut self, last_id: StreamId, entries_read: Option<u64>) {
        self.last_id = last_id;
        self.entries_read = entries_read;
        self.edits += 1;
    }

    // ---- consumers ----

    /// Number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.names
            .values()
            .filter_map(|number| Some((ConsumerId(*number), self.numbered(*number)?)))
    }

    fn numbered(&self, number: u32) -> Option<&Consumer> {
        self.consumers.get(number as usize)?.as_deref()
    }

    fn numbered_mut(&mut self, number: u32) -> Option<&mut Consumer> {
        self.consumers.get_mut(number as usize)?.as_deref_mut()
    }

    /// The number of the consumer with this name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied().map(ConsumerId)
    }

    /// The consumer with this number.
    pub fn consumer(&self, id: ConsumerId) -> Option<&Consumer> {
        self.numbered(id.0)
    }

    /// The name of the consumer with this number.
    pub fn name_of(&self, id: ConsumerId) -> &[u8] {
        self.numbered(id.0).map_or(&[], Consumer::name)
    }

    /// The number of the consumer with this name, made if there is none, and
    /// whether it was made.
    pub fn find_or_add(&mut self, name: &[u8], now_ms: u64) -> (ConsumerId, bool) {
        if let Some(id) = self.find(name) {
            return (id, false);
        }
        let name: Arc<[u8]> = name.into();
        let consumer = Box::new(Consumer {
            name: name.clone(),
            seen_ms: now_ms,
            pending: BTreeSet::new(),
        });
        let number = self.free.pop().unwrap_or(self.consumers.len() as u32);
        self.seat(number, consumer);
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.inverses.push(Inverse::Added(number));
        }
        (ConsumerId(number), true)
    }

    fn seat(&mut self, number: u32, consumer: Box<Consumer>) {
        self.named += consumer.name.len();
        self.names.insert(consumer.name.clone(), number);
        match self.consumers.get_mut(number as usize) {
            Some(seat) => *seat = Some(consumer),
            None => self.consumers.push(Some(consumer)),
        }
    }

    fn unseat(&mut self, number: u32) -> Option<Box<Consumer>> {
        let consumer = self.consumers.get_mut(number as usize)?.take()?;
        self.named -= consumer.name.len();
        self.names.remove(&consumer.name);
        self.free.push(number);
        Some(consumer)
    }

    /// Notes that a consumer asked. Not a change: it is lost in a crash.
    pub fn see(&mut self, id: ConsumerId, now_ms: u64) {
        let Some(consumer) = self.numbered_mut(id.0) else {
            return;
        };
        let before = std::mem::replace(&mut consumer.seen_ms, now_ms);
        if before != now_ms
            && let Some(undo) = &mut self.undo
        {
            undo.inverses.push(Inverse::Seen(id.0, before));
        }
    }

    /// Removes a consumer with all that it has; answers how much that was.
    pub fn remove(&mut self, name: &[u8]) -> Option<usize> {
        let ConsumerId(number) = self.find(name)?;
        let ids: Vec<StreamId> = self.numbered(number)?.pending.iter().copied().collect();
        for id in &ids {
            self.set(*id, None);
        }
        let consumer = self.unseat(number)?;
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.inverses.push(Inverse::Removed(number, consumer));
        }
        Some(ids.len())
    }

    // ---- what is pending ----

    /// Everything that is pending, in the order of the ids.
    pub const fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    /// What is pending of these ids, of one consumer or of all.
    pub fn pending_in(
        &self,
        ids: RangeInclusive<StreamId>,
        of: Option<ConsumerId>,
    ) -> impl Iterator<Item = (StreamId, Pending)> {
        // A B-tree panics at a range that ends before it begins.
        let ids = (ids.start() <= ids.end()).then_some(ids);
        let own = of.map(|id| self.numbered(id.0));
        let (all, own) = match own {
            None => (ids.map(|ids| self.pending.range(ids)), None),
            Some(consumer) => (
                None,
                consumer
                    .zip(ids)
                    .map(|(consumer, ids)| consumer.pending.range(ids)),
            ),
        };
        let all = all
            .into_iter()
            .flatten()
            .map(|(id, pending)| (*id, *pending));
        let own = own
            .into_iter()
            .flatten()
            .filter_map(|id| Some((*id, *self.pending.get(id)?)));
        all.chain(own)
    }

    /// Makes an entry pending, changes how it is, or makes an end of it;
    /// answers how it was.
    pub fn set(&mut self, id: StreamId, to: Option<Pending>) -> Option<Pending> {
        let from = self.set_unnoted(id, to);
        if from.is_some() || to.is_some() {
            self.edits += 1;
            if let Some(undo) = &mut self.undo {
                undo.inverses.push(Inverse::Pending(id, from));
            }
        }
        from
    }

    fn set_unnoted(&mut self, id: StreamId, to: Option<Pending>) -> Option<Pending> {
        let from = match to {
            Some(pending) => self.pending.insert(id, pending),
            None => self.pending.remove(&id),
        };
        let (owner, heir) = (from.map(|old| old.consumer), to.map(|new| new.consumer));
        if owner != heir {
            if let Some(ConsumerId(number)) = owner
                && let Some(consumer) = self.numbered_mut(number)
            {
                consumer.pending.remove(&id);
            }
            if let Some(ConsumerId(number)) = heir
                && let Some(consumer) = self.numbered_mut(number)
            {
                consumer.pending.insert(id);
            }
        }
        from
    }

    // ---- what the stream asks ----

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.pending.len() * PENDING
            + self.names.len() * CONSUMER
            + self.named
            + self.consumers.capacity() * size_of::<usize>()
            + self.free.capacity() * size_of::<u32>()
    }

    pub(super) const fn edits(&self) -> u64 {
        self.edits
    }

    pub(super) const fn is_recording(&self) -> bool {
        self.undo.is_some()
    }

    pub(super) fn begin_undo(&mut self) {
        self.undo.get_or_insert_with(|| {
            Box::new(Undo {
                last_id: self.last_id,
                entries_read: self.entries_read,
                edits: self.edits,
                inverses: Vec::new(),
            })
        });
    }

    pub(super) fn commit_undo(&mut self) {
        self.undo = None;
    }

    pub(super) fn rollback(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for inverse in undo.inverses.into_iter().rev() {
            match inverse {
                Inverse::Pending(id, pending) => {
                    self.set_unnoted(id, pending);
                }
                Inverse::Added(number) => {
                    self.unseat(number);
                }
                Inverse::Removed(number, consumer) => {
                    let freed = self.free.pop();
                    debug_assert_eq!(freed, Some(number));
                    self.seat(number, consumer);
                }
                Inverse::Seen(number, seen_ms) => {
                    if let Some(consumer) = self.numbered_mut(number) {
                        consumer.seen_ms = seen_ms;
                    }
                }
            }
        }
        self.last_id = undo.last_id;
        self.entries_read = undo.entries_read;
        self.edits = undo.edits;
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for Group {
    fn clone(&self) -> Self {
        Group {
            last_id: self.last_id,
            entries_read: self.entries_read,
            pending: self.pending.clone(),
            consumers: self.consumers.clone(),
            free: self.free.clone(),
            names: self.names.clone(),
            named: self.named,
            edits: self.edits,
            undo: None,
        }
    }
}
