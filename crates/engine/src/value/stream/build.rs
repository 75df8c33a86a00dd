//! A stream as the disk has it: its blocks' buffers as they are, and its groups.

use std::collections::BTreeMap;

use super::block::Block;
use super::group::{Group, Pending};
use super::id::StreamId;
use super::{Header, Stream};

/// A stream's blocks, to be written out.
pub(crate) trait Layout {
    /// The blocks in order.
    fn block_list(&self) -> impl Iterator<Item = &Block>;
    /// Each block's first id and its buffer, in order.
    fn buffers(&self) -> impl Iterator<Item = (StreamId, &[u8])>;
}

impl Layout for Stream {
    fn block_list(&self) -> impl Iterator<Item = &Block> {
        self.sealed.values().chain(&self.tail)
    }

    fn buffers(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        self.block_list()
            .map(|block| (block.first(), block.as_bytes()))
    }
}

/// Whether a command can say the number.
const fn is_count(number: u64) -> bool {
    number <= i64::MAX as u64
}

/// Makes a stream of what was written; every step answers `None` where bytes
/// contradict themselves.
#[derive(Debug)]
pub(crate) struct Builder {
    stream: Stream,
    last: Option<StreamId>,
}

impl Builder {
    pub(crate) fn new(header: Header) -> Option<Self> {
        let stream = Stream {
            header,
            ..Stream::default()
        };
        is_count(header.added).then_some(Builder { stream, last: None })
    }

    /// The next block. Deleted entries may have higher ids than what follows.
    pub(crate) fn block(&mut self, first: StreamId, bytes: &[u8]) -> Option<()> {
        self.add(Block::parse(first, bytes)?)
    }

    /// The same for a block that was made entry by entry.
    pub(crate) fn add(&mut self, mut block: Block) -> Option<()> {
        let first = block.first();
        if first == StreamId::MIN || self.last.is_some_and(|last| last >= first) {
            return None;
        }
        block.seal();
        let last = block.last_live()?;
        self.last = Some(last);
        let stream = &mut self.stream;
        stream.length += block.live();
        if let Some(before) = stream.tail.replace(block) {
            stream.sealed.insert(before.first(), before);
        }
        (last <= stream.header.last_id && stream.length as u64 <= stream.header.added).then_some(())
    }

    /// Number of entries so far.
    pub(crate) const fn length(&self) -> usize {
        self.stream.length
    }

    /// How many entries were ever added up to `id`, as far as the blocks and the
    /// header tell.
    pub(crate) fn added_up_to(&self, id: StreamId) -> Option<u64> {
        self.stream.extent().added_up_to(id)
    }

    /// The next group: its consumers with when they were seen, in the order of
    /// their names, and what is pending with the number of its consumer in that
    /// order, then when and how often it was delivered.
    pub(crate) fn group<'a>(
        &mut self,
        name: &[u8],
        (last_id, entries_read): (StreamId, Option<u64>),
        consumers: impl Iterator<Item = (&'a [u8], u64)>,
        pending: impl Iterator<Item = (StreamId, u64, u64, u64)>,
    ) -> Option<()> {
        let groups = &mut self.stream.groups;
        if !entries_read.is_none_or(is_count) {
            return None;
        }
        if groups
            .last_key_value()
            .is_some_and(|(last, _)| **last >= *name)
        {
            return None;
        }
        let mut group = Group::new(last_id, entries_read);
        let mut numbers = BTreeMap::new();
        let mut last: Option<&[u8]> = None;
        for (name, seen_ms) in consumers {
            if last.is_some_and(|last| last >= name) {
                return None;
            }
            last = Some(name);
            let (id, _) = group.find_or_add(name, seen_ms);
            numbers.insert(numbers.len() as u64, id);
        }
        let mut last = None;
        for (id, number, delivered_ms, deliveries) in pending {
            if last.is_some_and(|last| last >= id) || !is_count(deliveries) {
                return None;
            }
            last = Some(id);
            let pending = Pending {
                consumer: *numbers.get(&number)?,
                delivered_ms,
                deliveries,
            };
            group.set(id, Some(pending));
        }
        groups.insert(name.into(), Box::new(group));
        Some(())
    }

    pub(crate) fn finish(mut self) -> Stream {
        self.stream.measure();
        self.stream
    }
}
