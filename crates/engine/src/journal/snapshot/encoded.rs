//! Records as bytes, gathered into blocks while a keyspace's lock is held and
//! written after it is free.
//!
//! A block is closed at 128 KiB; a record of more than half of that gets one
//! for itself. Blocks that were written are used again: gathering allocates
//! little and copies each record once.

use super::block::BLOCK_HEADER;
use super::record;
use crate::keyspace::Record;
use crate::value::{Collection, Value};

/// A block of this size takes no further record.
const CLOSE_AT: usize = 128 << 10;
/// A record that may be larger is alone in its block.
const ALONE: usize = 64 << 10;
/// Written blocks that are kept to be used again.
const SPARES: usize = 32;

/// Records of a block, behind room for its header.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u64,
}

impl Gathered {
    fn with_capacity(size: usize) -> Self {
        let mut gathered = Gathered {
            bytes: Vec::with_capacity(BLOCK_HEADER + size),
            records: 0,
        };
        gathered.clear();
        gathered
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(BLOCK_HEADER, 0);
        self.records = 0;
    }

    fn push(&mut self, record: &Record) {
        record::encode(record, &mut self.bytes);
        self.records += 1;
    }
}

/// Records as bytes, not written yet; see the module.
#[derive(Debug, Default)]
pub struct Encoded {
    closed: Vec<Gathered>,
    open: Option<Gathered>,
    spares: Vec<Gathered>,
    /// Bytes of all blocks that are not written.
    bytes: usize,
}

impl Encoded {
    /// Bytes that wait to be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &Record) {
        let bound = size_bound(record);
        if bound > ALONE {
            self.close();
            let mut alone = Gathered::with_capacity(bound);
            alone.push(record);
            self.bytes += alone.bytes.len() - BLOCK_HEADER;
            self.closed.push(alone);
            return;
        }
        let spares = &mut self.spares;
        let open = self.open.get_or_insert_with(|| {
            spares
                .pop()
                .unwrap_or_else(|| Gathered::with_capacity(CLOSE_AT + ALONE))
        });
        let before = open.bytes.len();
        open.push(record);
        self.bytes += open.bytes.len() - before;
        if open.bytes.len() >= CLOSE_AT {
            self.close();
        }
    }

    /// Takes everything out of `other`. Copies its open block only, which
    /// keeps blocks from becoming many and small.
    pub(crate) fn append(&mut self, other: &mut Encoded) {
        self.closed.append(&mut other.closed);
        self.bytes += std::mem::take(&mut other.bytes);
        let Some(rest) = other.open.take() else {
            return;
        };
        match &mut self.open {
            None => self.open = Some(rest),
            Some(open) => {
                let records = rest.bytes.get(BLOCK_HEADER..).unwrap_or_default();
                open.bytes.extend_from_slice(records);
                open.records += rest.records;
                if open.bytes.len() >= CLOSE_AT {
                    self.close();
                }
            }
        }
    }

    /// Closes the open block, so that it is written with the others.
    pub(crate) fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// The closed blocks, to be written and given back to [`Encoded::recycle`].
    pub(crate) fn take_closed(&mut self) -> Vec<Gathered> {
        self.bytes = self
            .open
            .as_ref()
            .map_or(0, |open| open.bytes.len() - BLOCK_HEADER);
        std::mem::take(&mut self.closed)
    }

    pub(crate) fn recycle(&mut self, mut written: Gathered) {
        if self.spares.len() < SPARES && written.bytes.capacity() < 2 * CLOSE_AT {
            written.clear();
            self.spares.push(written);
        }
    }
}

/// About the most bytes that the record takes, in constant time.
fn size_bound(record: &Record) -> usize {
    const FIXED: usize = 64;
    let value = match &record.value {
        Value::Int(_) => 0,
        Value::Str(text) => text.len(),
        Value::Hash(hash) => hash.heap_bytes(),
        // Two bytes of an integer are up to seven as text.
        Value::Set(set) => set.heap_bytes() * if set.is_compact() { 4 } else { 1 },
        Value::ZSet(zset) => zset.heap_bytes(),
        // Two bytes of an integer are up to four as text.
        Value::List(list) => list.heap_bytes() * 3,
        Value::Stream(stream) => stream.heap_bytes(),
    };
    FIXED + record.key.len() + value
}
