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
mod extent;
mod group;
mod groups;
mod id;
mod listpack;
mod range;
#[cfg(test)]
mod tests;
mod trim;
mod undo;

use std::collections::BTreeMap;

use super::{Collection, Kind, Value};
use undo::{Inverse, Undo};

pub(crate) use block::Block;
pub use block::Entry;
pub(crate) use build::{Builder, Layout};
pub use extent::Extent;
pub(crate) use extent::one_more;
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{IdText, StreamId};
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
