//! A stream as the disk has it: its blocks' buffers as they are, and its groups;
//! and as others have it, whose blocks are made entry by entry.

use std::collections::BTreeMap;

use super::block::{Block, Entry};
use super::group::{Group, Pending};
use super::id::StreamId;
use super::{Header, Stream};

/// A stream's blocks, to be written out.
pub(crate) trait Layout {
    /// Each block's first id and its buffer, in order.
    fn buffers(&self) -> impl Iterator<Item = (StreamId, &[u8])>;
    /// The blocks, to be read.
    fn views(&self) -> impl Iterator<Item = BlockView<'_>>;
}

impl Layout for Stream {
    fn buffers(&self) -> impl Iterator<Item = (StreamId, &[u8])> {
        let blocks = self.sealed.values().chain(&self.tail);
        blocks.map(|block| (block.first(), block.as_bytes()))
    }

    fn views(&self) -> impl Iterator<Item = BlockView<'_>> {
        self.sealed.values().chain(&self.tail).map(BlockView)
    }
}

/// A block, to be read.
pub(crate) struct BlockView<'a>(&'a Block);

impl<'a> BlockView<'a> {
    /// Id of its first entry, deleted or not.
    pub(crate) fn first(&self) -> StreamId {
        self.0.first()
    }

    /// Number of entries that are not deleted, and that are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.0.counts()
    }

    /// The fields that its entries share.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.fields()
    }

    /// Its entries, and whether each is deleted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Entry<'a>, bool)> + use<'a> {
        let block = self.0;
        let all = block.walk(block.start());
        all.map(|placed| (placed.entry, placed.dead))
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
    /// The last id that is not deleted.
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
        if first == StreamId::MIN || self.last.is_some_and(|last| last >= first) {
            return None;
        }
        self.take(Block::parse(first, bytes)?)
    }

    /// Begins a block whose entries share these fields.
    pub(crate) fn open(&self, first: StreamId, fields: &[&[u8]]) -> Option<Open> {
        let fields: Vec<Vec<u8>> = fields.iter().map(|field| field.to_vec()).collect();
        let before = self.last.is_none_or(|last| last < first);
        (before && first > StreamId::MIN).then(|| Open {
            block: None,
            first,
            fields,
        })
    }

    /// Adds an entry to a block; where one that is deleted stands before it with a
    /// higher id, it begins another.
    pub(crate) fn entry(
        &mut self,
        open: &mut Open,
        id: StreamId,
        pairs: &[[&[u8]; 2]],
        dead: bool,
    ) -> Option<()> {
        if id < open.first || !Block::takes(pairs) {
            return None;
        }
        if open.block.as_ref().is_some_and(|block| block.last() >= id) {
            if dead {
                return Some(());
            }
            self.close(open)?;
            open.first = id;
        }
        let (first, fields) = (open.first, &open.fields);
        let block = open.block.get_or_insert_with(|| {
            let fields: Vec<[&[u8]; 2]> = fields.iter().map(|field| [&field[..], b""]).collect();
            Block::new(first, &fields)
        });
        let at = block.end();
        block.append(id, pairs);
        if dead {
            block.kill(at);
        }
        Some(())
    }

    /// Takes a block whose entries are all there, one of them not deleted.
    pub(crate) fn close(&mut self, open: &mut Open) -> Option<()> {
        let mut block = open.block.take()?;
        block.seal();
        self.take(block)
    }

    fn take(&mut self, block: Block) -> Option<()> {
        let (last, first) = (block.last_live()?, block.first_live()?);
        if self.last.is_some_and(|last| last >= first) {
            return None;
        }
        self.last = Some(last);
        let stream = &mut self.stream;
        stream.length += block.live();
        if let Some(before) = stream.tail.replace(block) {
            stream.sealed.insert(before.first(), before);
        }
        (last <= stream.header.last_id && stream.length as u64 <= stream.header.added).then_some(())
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

    /// Number of entries so far.
    pub(crate) fn len(&self) -> usize {
        self.stream.length
    }

    /// The stream.
    pub(crate) fn finish(mut self) -> Stream {
        self.stream.measure();
        self.stream
    }
}

/// A block in the making.
#[derive(Debug)]
pub(crate) struct Open {
    block: Option<Block>,
    first: StreamId,
    fields: Vec<Vec<u8>>,
}
