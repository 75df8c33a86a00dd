//! A stream: a log of entries, each with an id and fields, and the groups that
//! read it.
//!
//! Entries stand in blocks ([`block`]): all but the last one, which grows, in a
//! B-tree by their first id. Appending costs the copy of the texts and touches
//! nothing but the last block; finding an id is one search in the tree and a walk
//! of at most one block. Blocks begin and end where Redis' nodes do, so trimming
//! "about" leaves the same entries. Trimming by length drops whole blocks and
//! marks entries in one at most.
//!
//! A stream without entries is a value like any other: its last id and its groups
//! stay, so the key does too.

mod block;
mod build;
mod group;
mod id;
mod listpack;
mod range;
#[cfg(test)]
mod tests;
mod trim;
mod undo;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Collection, Kind, Value};
use undo::{Inverse, Undo};

pub(crate) use block::Block;
pub use block::Entry;
pub(crate) use build::{Builder, Layout};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{IdText, StreamId};
use range::Entries;
pub use trim::{Keep, References, Trim};

/// Where a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Most bytes of a block, as Redis counts them; 0 for no limit
    /// (`stream-node-max-bytes`).
    pub max_bytes: usize,
    /// Most entries, deleted ones among them; 0 for no limit
    /// (`stream-node-max-entries`).
    pub max_entries: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        StreamLimits {
            max_bytes: 4096,
            max_entries: 100,
        }
    }
}

/// What a stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The highest id that was ever given.
    pub last_id: StreamId,
    /// The highest id that was ever deleted.
    pub max_deleted: StreamId,
    /// Number of entries ever added.
    pub added: u64,
}

/// A stream; see the module.
#[derive(Debug, Default)]
pub struct Stream {
    /// All blocks but the last, by their first ids. None is empty.
    sealed: BTreeMap<StreamId, Block>,
    /// The last block, where entries are added.
    tail: Option<Block>,
    length: usize,
    header: Header,
    groups: BTreeMap<Box<[u8]>, Box<Group>>,
    /// Bytes of the buffers of all blocks.
    packed: usize,
    /// Bytes of all groups with their names.
    grouped: usize,
    edits: u64,
    undo: Option<Box<Undo>>,
}

/// An entry's texts are more than a block may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// What a block takes beside its buffer: its place in a B-tree two thirds full.
const BLOCK: usize = (size_of::<StreamId>() + size_of::<Block>()) * 3 / 2;
/// What a group takes beside itself and its name.
const GROUP: usize = size_of::<(Box<[u8]>, Box<Group>)>() * 3 / 2;

impl Stream {
    /// What it says of itself.
    pub const fn header(&self) -> Header {
        self.header
    }

    /// Sets what it says of itself; a change even where nothing differs, since
    /// Redis counts it.
    pub fn set_header(&mut self, header: Header) {
        self.header = header;
        self.edits += 1;
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.sealed.len() + usize::from(self.tail.is_some())
    }

    /// Adds an entry; its id is above every one before.
    pub fn append(
        &mut self,
        id: StreamId,
        pairs: &[[&[u8]; 2]],
        limits: StreamLimits,
    ) -> Result<(), TooLarge> {
        debug_assert!(id > self.header.last_id);
        if !Block::takes(pairs) {
            return Err(TooLarge);
        }
        let texts = pairs.iter().flatten().map(|text| text.len()).sum();
        // A deleted entry may have a higher id: XSETID goes back as far as that.
        let ends = |tail: &mut Block| tail.is_full(texts, limits) || tail.last() >= id;
        if let Some(tail) = self.tail.take_if(ends) {
            self.seal(tail);
        }
        let (is_new, tail) = match &mut self.tail {
            Some(tail) => (false, tail),
            none => (true, none.insert(Block::new(id, pairs))),
        };
        let before = if is_new { 0 } else { tail.heap_bytes() };
        let undone = tail.append(id, pairs);
        self.packed += tail.heap_bytes() - before;
        if let Some(undo) = &mut self.undo {
            undo.appended(tail.first(), (!is_new).then_some(undone));
        }
        self.length += 1;
        self.header.last_id = id;
        self.header.added = one_more(self.header.added);
        self.edits += 1;
        Ok(())
    }

    /// Puts what was the last block to the others.
    fn seal(&mut self, mut block: Block) {
        self.packed -= block.heap_bytes();
        block.seal();
        self.packed += block.heap_bytes();
        self.sealed.insert(block.first(), block);
    }

    /// The block that may hold `id`: the last one that does not begin above it.
    fn block_of(&self, id: StreamId) -> Option<&Block> {
        match &self.tail {
            Some(tail) if tail.first() <= id => Some(tail),
            _ => self.sealed.range(..=id).next_back().map(|(_, block)| block),
        }
    }

    fn block_mut(&mut self, first: StreamId) -> Option<&mut Block> {
        match &mut self.tail {
            Some(tail) if tail.first() == first => Some(tail),
            _ => self.sealed.get_mut(&first),
        }
    }

    /// The first block.
    fn front(&self) -> Option<&Block> {
        self.sealed
            .first_key_value()
            .map_or(self.tail.as_ref(), |(_, block)| Some(block))
    }

    /// Takes the block that begins with `first` out, with all its entries.
    fn remove_block(&mut self, first: StreamId) {
        let taken = match self.tail.take_if(|tail| tail.first() == first) {
            Some(tail) => {
                self.tail = self.sealed.pop_last().map(|(_, block)| block);
                Some(tail)
            }
            None => self.sealed.remove(&first),
        };
        let Some(block) = taken else { return };
        self.packed -= block.heap_bytes();
        self.length -= block.live();
        self.edits += block.live() as u64;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::Removed(Box::new(block)));
        }
    }

    /// Marks the entry at `at` of a block as deleted; the block goes with its
    /// last one.
    fn kill(&mut self, first: StreamId, at: usize) {
        let Some(block) = self.block_mut(first) else {
            return;
        };
        if block.live() == 1 {
            self.remove_block(first);
            return;
        }
        let front = block.kill(at);
        self.length -= 1;
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::Killed {
                block: first,
                at: at as u32,
                front,
            });
        }
    }

    /// Deletes an entry; whether it was there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((first, at)) = self
            .block_of(id)
            .and_then(|block| Some((block.first(), block.find(id)?.at)))
        else {
            return false;
        };
        self.kill(first, at);
        self.header.max_deleted = self.header.max_deleted.max(id);
        true
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        Some(self.block_of(id)?.find(id)?.entry)
    }

    /// The first entry.
    pub fn first(&self) -> Option<Entry<'_>> {
        self.range(StreamId::MIN, StreamId::MAX, false).next()
    }

    /// The last entry.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.range(StreamId::MIN, StreamId::MAX, true).next()
    }

    /// Id of the first entry, 0-0 where there is none.
    pub fn first_id(&self) -> StreamId {
        self.front()
            .and_then(|block| block.placed(block.front()))
            .map_or(StreamId::MIN, |placed| placed.entry.id)
    }

    // ---- groups ----

    /// The groups in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(|group| &**group)
    }

    /// Makes a group; `false` where there is one of this name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.grouped += GROUP + name.len() + group.heap_bytes();
        self.groups.insert(name.into(), Box::new(group));
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::GroupAdded(name.into()));
        }
        true
    }

    /// Removes a group with all that is pending in it; whether there was one.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some((name, group)) = self.groups.remove_entry(name) else {
            return false;
        };
        self.grouped -= GROUP + name.len() + group.heap_bytes();
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.push(Inverse::GroupRemoved(name, group));
        }
        true
    }

    /// Changes a group; `None` where there is none of this name.
    pub fn edit_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let books = Books::open(group, name, &mut self.undo);
        let result = change(group);
        books.close(group, &mut self.grouped, &mut self.edits);
        Some(result)
    }

    /// Hands out up to `count` entries behind the group's last id to a consumer,
    /// to whom they are pending afterwards unless `forget`. `None` where there
    /// is no such group.
    pub fn deliver(
        &mut self,
        name: &[u8],
        consumer: ConsumerId,
        (count, forget): (usize, bool),
        now_ms: u64,
        mut visit: impl FnMut(Entry<'_>),
    ) -> Option<()> {
        let extent = self.extent();
        let group = self.groups.get_mut(name)?;
        let books = Books::open(group, name, &mut self.undo);
        let blocks = (&self.sealed, self.tail.as_ref());
        let (mut last_id, mut entries_read) = (group.last_id(), group.entries_read());
        let entries = last_id
            .next()
            .map(|start| Entries::over(blocks, start, StreamId::MAX, false));
        let mut moved = false;
        for entry in entries.into_iter().flatten().take(count) {
            let id = entry.id;
            entries_read = match entries_read {
                Some(read) if !extent.has_gaps_from(id) => Some(one_more(read)),
                _ => extent.added_up_to(id),
            };
            (last_id, moved) = (id, true);
            if !forget {
                group.set(
                    id,
                    Some(Pending {
                        consumer,
                        delivered_ms: now_ms,
                        deliveries: 1,
                    }),
                );
            }
            visit(entry);
        }
        if moved {
            group.set_last(last_id, entries_read);
        }
        books.close(group, &mut self.grouped, &mut self.edits);
        Some(())
    }

    /// Whether a group still waits for an entry: it was not handed out there
    /// yet, or is pending.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        self.groups
            .values()
            .any(|group| id > group.last_id() || group.pending().contains_key(&id))
    }

    /// Makes an end of an entry in whatever groups it is pending.
    pub fn forget_references(&mut self, id: StreamId) {
        let holders: Vec<Box<[u8]>> = self
            .groups
            .iter()
            .filter(|(_, group)| group.pending().contains_key(&id))
            .map(|(name, _)| name.clone())
            .collect();
        for name in holders {
            self.edit_group(&name, |group| group.set(id, None));
        }
    }

    /// What its counters can tell.
    pub fn extent(&self) -> Extent {
        Extent {
            header: self.header,
            length: self.length as u64,
            first_id: self.first_id(),
        }
    }
}

/// Counters stay within what a command can say.
pub(crate) fn one_more(count: u64) -> u64 {
    (count + 1).min(i64::MAX as u64)
}

/// What is kept for a group while it changes.
struct Books {
    bytes: usize,
    edits: u64,
}

impl Books {
    fn open(group: &mut Group, name: &[u8], undo: &mut Option<Box<Undo>>) -> Self {
        if let Some(undo) = undo
            && !group.is_recording()
        {
            group.begin_undo();
            undo.push(Inverse::GroupEdited(name.into()));
        }
        Books {
            bytes: group.heap_bytes(),
            edits: group.edits(),
        }
    }

    fn close(self, group: &Group, grouped: &mut usize, edits: &mut u64) {
        *grouped = *grouped - self.bytes + group.heap_bytes();
        *edits += group.edits() - self.edits;
    }
}

/// A stream's counters, which tell how far a group has come.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    header: Header,
    length: u64,
    first_id: StreamId,
}

impl Extent {
    /// How many entries were ever added up to `id`, where that can be known
    /// without counting.
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        let Header {
            last_id,
            max_deleted,
            added,
        } = self.header;
        if added == 0 {
            return Some(0);
        }
        if id == last_id || (self.length == 0 && id < last_id) {
            return Some(added);
        }
        let first_id = self.first_id;
        if id > last_id || (max_deleted != StreamId::MIN && max_deleted >= first_id) {
            return None;
        }
        let before = added.wrapping_sub(self.length);
        match id.cmp(&first_id) {
            Ordering::Less => Some(before),
            Ordering::Equal => Some(before.wrapping_add(1)),
            Ordering::Greater => None,
        }
    }

    /// Whether an entry at or behind `id` may have been deleted.
    pub fn has_gaps_from(&self, id: StreamId) -> bool {
        let max_deleted = self.header.max_deleted;
        self.length > 0
            && max_deleted != StreamId::MIN
            && max_deleted >= self.first_id
            && id <= max_deleted
    }

    /// How many entries a group has still before it, where that can be known.
    pub fn lag(&self, group: &Group) -> Option<u64> {
        let added = self.header.added;
        let read = match group.entries_read() {
            _ if added == 0 => return Some(0),
            Some(read) if !self.has_gaps_from(group.last_id()) => read,
            _ => self.added_up_to(group.last_id())?,
        };
        Some(added.wrapping_sub(read))
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for Stream {
    fn clone(&self) -> Self {
        let mut copy = Stream {
            sealed: self.sealed.clone(),
            tail: self.tail.clone(),
            length: self.length,
            header: self.header,
            groups: self.groups.clone(),
            packed: 0,
            grouped: 0,
            edits: self.edits,
            undo: None,
        };
        copy.measure();
        copy
    }
}

impl Stream {
    /// Counts its bytes anew: a copy's buffers have no room to spare.
    fn measure(&mut self) {
        let blocks = self.sealed.values().chain(&self.tail);
        self.packed = blocks.map(Block::heap_bytes).sum();
        self.grouped = self
            .groups
            .iter()
            .map(|(name, group)| GROUP + name.len() + group.heap_bytes())
            .sum();
    }
}

impl Collection for Stream {
    const KIND: Kind = Kind::Stream;

    fn of(value: &Value) -> Option<&Self> {
        if let Value::Stream(stream) = value {
            Some(stream)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Stream(stream) = value {
            Some(stream)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::Stream(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Its last id and its groups stay.
    fn is_spent(&self) -> bool {
        false
    }

    fn len(&self) -> usize {
        self.length
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.packed + self.blocks() * BLOCK + self.grouped
    }

    fn edits(&self) -> u64 {
        self.edits
    }

    fn begin_undo(&mut self) {
        self.undo
            .get_or_insert_with(|| Box::new(Undo::new(self.header, self.edits)));
    }

    fn is_recording(&self) -> bool {
        self.undo.is_some()
    }

    fn commit_undo(&mut self) {
        self.undo = None;
        for group in self.groups.values_mut() {
            group.commit_undo();
        }
    }

    fn rollback(&mut self) {
        self.revert();
    }
}
