//! Taking changes of a stream back.
//!
//! Blocks that went are kept whole, entries that were marked are unmarked, a
//! run of entries that were added to one block is cut off at once. A group
//! records for itself from its first change on.

use super::block::{Before, Block};
use super::group::Group;
use super::id::StreamId;
use super::{Collection, GROUP, Header, Stream};

/// What is needed to restore a stream.
#[derive(Debug)]
pub(super) struct Undo {
    header: Header,
    edits: u64,
    inverses: Vec<Inverse>,
}

#[derive(Debug)]
pub(super) enum Inverse {
    /// Entries were added behind this in the block that begins so.
    Appended(StreamId, Before),
    /// The block that begins so was added, with all its entries.
    Added(StreamId),
    /// The block was taken out.
    Removed(Box<Block>),
    /// The entry at `at` was marked; the first one without a mark was at `front`.
    Killed {
        block: StreamId,
        at: u32,
        front: u32,
    },
    GroupAdded(Box<[u8]>),
    GroupRemoved(Box<[u8]>, Box<Group>),
    /// The group has recorded its own inverses.
    GroupEdited(Box<[u8]>),
}

impl Undo {
    pub(super) const fn new(header: Header, edits: u64) -> Self {
        Undo {
            header,
            edits,
            inverses: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, inverse: Inverse) {
        self.inverses.push(inverse);
    }

    /// Notes an entry that was added to the block that begins with `block`,
    /// which is new without a `before`.
    pub(super) fn appended(&mut self, block: StreamId, before: Option<Before>) {
        match (self.inverses.last(), before) {
            // What takes the ones before back takes this one back.
            (Some(Inverse::Appended(last, _) | Inverse::Added(last)), _) if *last == block => {}
            (_, Some(before)) => self.push(Inverse::Appended(block, before)),
            (_, None) => self.push(Inverse::Added(block)),
        }
    }
}

impl Stream {
    /// Applies the recorded inverses, newest first, and forgets them.
    pub(super) fn revert(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for inverse in undo.inverses.into_iter().rev() {
            match inverse {
                Inverse::Appended(first, before) => {
                    if let Some(block) = self.block_mut(first) {
                        let live = block.live();
                        block.truncate(before);
                        let gone = live - block.live();
                        self.length -= gone;
                    }
                }
                Inverse::Added(first) => self.remove_block(first),
                Inverse::Removed(block) => self.put_back(*block),
                Inverse::Killed { block, at, front } => {
                    if let Some(block) = self.block_mut(block) {
                        block.revive(at as usize, front);
                        self.length += 1;
                    }
                }
                Inverse::GroupAdded(name) => {
                    self.remove_group(&name);
                }
                Inverse::GroupRemoved(name, group) => {
                    self.grouped += GROUP + name.len() + group.heap_bytes();
                    self.groups.insert(name, group);
                }
                Inverse::GroupEdited(name) => {
                    if let Some(group) = self.groups.get_mut(&name) {
                        self.grouped -= group.heap_bytes();
                        group.rollback();
                        self.grouped += group.heap_bytes();
                    }
                }
            }
        }
        self.header = undo.header;
        self.edits = undo.edits;
        debug_assert!(self.groups.values().all(|group| !group.is_recording()));
        debug_assert_eq!(self.is_empty(), self.blocks() == 0);
    }

    fn put_back(&mut self, block: Block) {
        self.packed += block.heap_bytes();
        self.length += block.live();
        let is_last = match &self.tail {
            Some(tail) => tail.first() < block.first(),
            None => true,
        };
        if !is_last {
            self.sealed.insert(block.first(), block);
        } else if let Some(tail) = self.tail.replace(block) {
            self.seal(tail);
        }
    }
}
