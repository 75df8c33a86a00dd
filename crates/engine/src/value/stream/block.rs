//! A run of entries, packed into one buffer.
//!
//! ```text
//! block    = count of fields, fields, entry...
//! entry    = head, ms, seq, [count, (field, value)...] | [value...], back
//! ```
//!
//! All numbers are LEB128, texts are a length and their bytes. `head` is the
//! length from `ms` to before `back`, shifted by two, with bit 0 for an entry
//! that is deleted and bit 1 for one whose fields are those of the block. `ms`
//! is the difference to the block's first id, `seq` the difference if `ms` is 0
//! and the number itself if not. `back` is the length of the entry before it,
//! LEB128 from its last byte to its first, for walks from the end.
//!
//! A deleted entry stays, marked, until the last one of the block goes. Finding
//! an entry walks the block: a few nanoseconds for each entry before it.

use super::id::StreamId;
use super::{StreamLimits, listpack};
use crate::value::leb128::{
    number_bytes, push_back, push_number, push_text, take_back, take_number, take_number_exact,
    take_text, take_text_exact, text_bytes,
};

/// Redis' limit on a node, and on one entry's texts.
const MAX_BYTES: usize = 1 << 30;

/// Bit of an entry's head: it is deleted.
const DEAD: u8 = 1;
/// Bit of an entry's head: its fields are the block's.
const SAME: u64 = 2;

/// Entries in a row; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Id of the first entry, deleted or not.
    first: StreamId,
    bytes: Vec<u8>,
    live: u32,
    dead: u32,
    /// Where the entries begin.
    start: u32,
    /// Where the first entry stands that is not deleted.
    front: u32,
    /// What Redis' listpack would take, but for the two counts at its front.
    listpack: u32,
}

/// What an append changed, to be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    bytes: u32,
    live: u32,
    listpack: u32,
    front: u32,
}

/// One entry, read in place.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    /// Number of its fields.
    pub len: usize,
    /// The block's fields, if it has the same.
    shared: Option<&'a [u8]>,
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Whether its fields are those of its block.
    pub fn is_plain(&self) -> bool {
        self.shared.is_some()
    }

    /// No fewer bytes than its fields and values are.
    pub fn bytes(&self) -> usize {
        self.shared.map_or(0, <[u8]>::len) + self.rest.len()
    }

    /// Whether its fields are those of its block.
    pub(crate) const fn has_block_fields(&self) -> bool {
        self.shared.is_some()
    }

    /// Its fields with their values, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (mut shared, mut rest) = (self.shared, self.rest);
        (0..self.len).map_while(move |_| {
            let field = match &mut shared {
                Some(fields) => take_text(fields)?,
                None => take_text(&mut rest)?,
            };
            Some((field, take_text(&mut rest)?))
        })
    }
}

/// An entry with what surrounds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) entry: Entry<'a>,
    pub(super) dead: bool,
    /// Where it begins, and where the next one does.
    pub(super) at: usize,
    pub(super) next: usize,
}

impl Block {
    /// A block whose first entry is going to have this id, and which has these
    /// fields.
    pub(crate) fn new(first: StreamId, pairs: &[[&[u8]; 2]]) -> Self {
        let texts: usize = pairs.iter().map(|[field, _]| text_bytes(field)).sum();
        let mut bytes = Vec::with_capacity(number_bytes(pairs.len() as u64) + texts);
        let mut size = listpack::EMPTY + listpack::number(pairs.len() as i64) + listpack::number(0);
        push_number(&mut bytes, pairs.len() as u64);
        for [field, _] in pairs {
            push_text(&mut bytes, field);
            size += listpack::text(field);
        }
        let start = bytes.len() as u32;
        Block {
            first,
            bytes,
            live: 0,
            dead: 0,
            start,
            front: start,
            listpack: size as u32,
        }
    }

    /// Whether Redis would put an entry of so many bytes of text elsewhere.
    pub(super) fn is_full(&self, texts: usize, limits: StreamLimits) -> bool {
        let most = match limits.max_bytes {
            0 => MAX_BYTES,
            most => most.min(MAX_BYTES),
        };
        let counts = listpack::number(self.live.into()) + listpack::number(self.dead.into());
        self.listpack as usize + counts + texts >= most
            || (limits.max_entries > 0 && (self.live + self.dead) as usize >= limits.max_entries)
    }

    /// Whether an entry with these texts may be kept at all.
    pub(crate) fn takes(pairs: &[[&[u8]; 2]]) -> bool {
        let texts: usize = pairs.iter().flatten().map(|text| text.len()).sum();
        // Each text and each entry has room for its lengths besides.
        texts <= MAX_BYTES && pairs.len() < MAX_BYTES >> 5
    }

    /// Adds an entry behind the others; its id is above theirs. Answers what
    /// takes it back.
    pub(super) fn append(&mut self, id: StreamId, pairs: &[[&[u8]; 2]]) -> Before {
        let before = Before {
            bytes: self.bytes.len() as u32,
            live: self.live,
            listpack: self.listpack,
            front: self.front,
        };
        if self.live == 0 {
            self.front = before.bytes;
        }
        let same = self.has_fields(pairs);
        let ms = id.ms.wrapping_sub(self.first.ms);
        let seq = if ms == 0 {
            id.seq.wrapping_sub(self.first.seq)
        } else {
            id.seq
        };
        let mut length = number_bytes(ms) + number_bytes(seq);
        // Flags, both parts of the id, and the number of elements.
        let mut size = listpack::number(0)
            + listpack::number(ms as i64)
            + listpack::number(id.seq.wrapping_sub(self.first.seq) as i64);
        let mut elements = pairs.len() + 3;
        if !same {
            length += number_bytes(pairs.len() as u64);
            size += listpack::number(pairs.len() as i64);
            elements += pairs.len() + 1;
        }
        size += listpack::number(elements as i64);
        for [field, value] in pairs {
            if !same {
                length += text_bytes(field);
                size += listpack::text(field);
            }
            length += text_bytes(value);
            size += listpack::text(value);
        }
        let head = (length as u64) << 2 | if same { SAME } else { 0 };
        let whole = number_bytes(head) + length;
        let bytes = &mut self.bytes;
        bytes.reserve(whole + number_bytes(whole as u64));
        push_number(bytes, head);
        push_number(bytes, ms);
        push_number(bytes, seq);
        if !same {
            push_number(bytes, pairs.len() as u64);
        }
        for [field, value] in pairs {
            if !same {
                push_text(bytes, field);
            }
            push_text(bytes, value);
        }
        push_back(bytes, whole as u64);
        self.live += 1;
        self.listpack = self.listpack.saturating_add(size as u32);
        before
    }

    /// Adds an entry as it was found elsewhere, where it may be deleted.
    pub(crate) fn adopt(&mut self, id: StreamId, pairs: &[[&[u8]; 2]], dead: bool) {
        let at = self.bytes.len();
        self.append(id, pairs);
        if dead {
            self.kill(at);
        }
    }

    /// Takes back what was appended since.
    pub(super) fn truncate(&mut self, before: Before) {
        self.bytes.truncate(before.bytes as usize);
        self.live = before.live;
        self.listpack = before.listpack;
        self.front = before.front;
    }

    fn has_fields(&self, pairs: &[[&[u8]; 2]]) -> bool {
        let mut fields = self.bytes.get(..self.start as usize).unwrap_or_default();
        take_number(&mut fields) == Some(pairs.len() as u64)
            && pairs
                .iter()
                .all(|[field, _]| take_text(&mut fields) == Some(*field))
    }

    /// Marks the entry at `at` as deleted; answers where the first one stood
    /// that was not. The caller has seen that it is there.
    pub(super) fn kill(&mut self, at: usize) -> u32 {
        let front = self.front;
        if let Some(head) = self.bytes.get_mut(at) {
            *head |= DEAD;
        }
        self.live -= 1;
        self.dead += 1;
        if at == front as usize {
            let next = self.walk(at).find(|placed| !placed.dead);
            self.front = next.map_or(self.bytes.len(), |placed| placed.at) as u32;
        }
        front
    }

    /// Takes [`Block::kill`] back.
    pub(super) fn revive(&mut self, at: usize, front: u32) {
        if let Some(head) = self.bytes.get_mut(at) {
            *head &= !DEAD;
        }
        self.live += 1;
        self.dead -= 1;
        self.front = front;
    }

    pub(crate) fn first(&self) -> StreamId {
        self.first
    }

    /// Entries that are not deleted.
    pub(crate) fn live(&self) -> usize {
        self.live as usize
    }

    /// Entries that are deleted.
    pub(crate) fn dead(&self) -> usize {
        self.dead as usize
    }

    /// The number of the block's fields, and the fields.
    pub(crate) fn fields(&self) -> (usize, impl Iterator<Item = &[u8]>) {
        let mut fields = self.bytes.get(..self.start as usize).unwrap_or_default();
        let count = take_number(&mut fields).unwrap_or_default() as usize;
        (count, (0..count).map_while(move |_| take_text(&mut fields)))
    }

    /// All entries, and whether each is deleted.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Entry<'_>, bool)> {
        self.walk(self.start as usize)
            .map(|placed| (placed.entry, placed.dead))
    }

    /// Id of the last entry, deleted or not.
    pub(crate) fn last(&self) -> StreamId {
        self.before(self.bytes.len())
            .map_or(self.first, |placed| placed.entry.id)
    }

    /// Id of the last entry that is not deleted.
    pub(super) fn last_live(&self) -> Option<StreamId> {
        let mut end = self.bytes.len();
        while let Some(placed) = self.before(end) {
            if !placed.dead {
                return Some(placed.entry.id);
            }
            end = placed.at;
        }
        None
    }

    /// Gives back room that it will not need.
    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer with the number of live entries, for the disk.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A block from [`Block::as_bytes`]; `None` unless the bytes are entries in
    /// ascending order to the last byte, one of them not deleted.
    pub(super) fn parse(first: StreamId, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES * 2 {
            return None;
        }
        let mut rest = bytes;
        let fields = take_number_exact(&mut rest)?;
        let mut size =
            listpack::EMPTY + listpack::number(i64::try_from(fields).ok()?) + listpack::number(0);
        for _ in 0..fields {
            size += listpack::text(take_text_exact(&mut rest)?);
        }
        let start = (bytes.len() - rest.len()) as u32;
        let mut block = Block {
            first,
            bytes: bytes.to_vec(),
            live: 0,
            dead: 0,
            start,
            front: bytes.len() as u32,
            listpack: 0,
        };
        let (mut at, mut last) = (start as usize, None);
        while at < bytes.len() {
            let Placed {
                entry, dead, next, ..
            } = block.checked_at(at)?;
            if last.map_or(entry.id != first, |last| last >= entry.id) {
                return None;
            }
            last = Some(entry.id);
            size += entry.listpack(first);
            if dead {
                block.dead += 1;
            } else {
                block.live += 1;
                block.front = block.front.min(at as u32);
            }
            at = next;
        }
        block.listpack = u32::try_from(size).unwrap_or(u32::MAX);
        (block.live > 0).then_some(block)
    }

    /// The entry at `at`, if it is written as [`Block::append`] writes.
    fn checked_at(&self, at: usize) -> Option<Placed<'_>> {
        let placed = self.at(at)?;
        let bytes = self.bytes.get(at..placed.next)?;
        let mut rest = bytes;
        let length = (take_number_exact(&mut rest)? >> 2) as usize;
        let body = rest.get(..length)?;
        let whole = (bytes.len() - rest.len() + length) as u64;
        let mut back = Vec::with_capacity(10);
        push_back(&mut back, whole);
        if rest.get(length..)? != back {
            return None;
        }
        let mut body = body;
        let ms = take_number_exact(&mut body)?;
        let seq = take_number_exact(&mut body)?;
        self.first.ms.checked_add(ms)?;
        if ms == 0 {
            self.first.seq.checked_add(seq)?;
        }
        let texts = match placed.entry.shared {
            Some(_) => placed.entry.len,
            None => usize::try_from(take_number_exact(&mut body)?)
                .ok()?
                .checked_mul(2)?,
        };
        for _ in 0..texts {
            take_text_exact(&mut body)?;
        }
        body.is_empty().then_some(placed)
    }

    /// The entry that begins at `at`.
    fn at(&self, at: usize) -> Option<Placed<'_>> {
        let bytes = self.bytes.get(at..)?;
        let mut rest = bytes;
        let head = take_number(&mut rest)?;
        let length = (head >> 2) as usize;
        let whole = bytes.len() - rest.len() + length;
        let mut body = rest.get(..length)?;
        let id = self.take_id(&mut body)?;
        let mut shared = self.bytes.get(..self.start as usize)?;
        let (len, shared) = if head & SAME == 0 {
            (take_number(&mut body)?, None)
        } else {
            (take_number(&mut shared)?, Some(shared))
        };
        Some(Placed {
            entry: Entry {
                id,
                len: len as usize,
                shared,
                rest: body,
            },
            dead: head & u64::from(DEAD) != 0,
            at,
            next: at + whole + number_bytes(whole as u64),
        })
    }

    fn take_id(&self, body: &mut &[u8]) -> Option<StreamId> {
        let ms = take_number(body)?;
        let seq = take_number(body)?;
        Some(if ms == 0 {
            StreamId::new(self.first.ms, self.first.seq.wrapping_add(seq))
        } else {
            StreamId::new(self.first.ms.wrapping_add(ms), seq)
        })
    }

    /// The entry that ends at `end`.
    pub(super) fn before(&self, end: usize) -> Option<Placed<'_>> {
        if end <= self.start as usize {
            return None;
        }
        let (whole, back) = take_back(self.bytes.get(..end)?)?;
        self.at(end.checked_sub(back)?.checked_sub(whole as usize)?)
    }

    /// All entries from `at` on, deleted ones among them.
    pub(super) fn walk(&self, at: usize) -> impl Iterator<Item = Placed<'_>> {
        let mut next = at;
        std::iter::from_fn(move || {
            let placed = self.at(next)?;
            next = placed.next;
            Some(placed)
        })
    }

    /// Where the first entry stands that is not deleted.
    pub(super) fn front(&self) -> usize {
        self.front as usize
    }

    /// Where its entries end.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Where the first entry begins whose id is not below `id`, deleted or not,
    /// from the first on that is not deleted. Walks from the end where that
    /// seems nearer.
    pub(super) fn seek(&self, id: StreamId) -> usize {
        let front = self.front as usize;
        if id <= self.first {
            return front;
        }
        let end = self.bytes.len();
        let Some(last) = self.before(end).map(|placed| placed.entry.id) else {
            return front;
        };
        if id > last {
            return end;
        }
        let (first, ms) = (self.first, last.ms - self.first.ms);
        let near_end = if ms > 0 {
            id.ms - first.ms > ms / 2
        } else {
            id.seq - first.seq > (last.seq - first.seq) / 2
        };
        if near_end {
            self.seek_back(id, end)
        } else {
            self.seek_on(id, front)
        }
    }

    fn seek_on(&self, id: StreamId, mut at: usize) -> usize {
        while let Some(bytes) = self.bytes.get(at..) {
            let mut rest = bytes;
            let Some(head) = take_number(&mut rest) else {
                break;
            };
            let length = (head >> 2) as usize;
            let whole = bytes.len() - rest.len() + length;
            if self.take_id(&mut rest).is_none_or(|found| found >= id) {
                break;
            }
            at += whole + number_bytes(whole as u64);
        }
        at
    }

    fn seek_back(&self, id: StreamId, mut at: usize) -> usize {
        while at > self.front as usize
            && let Some(placed) = self.before(at)
            && placed.entry.id >= id
        {
            at = placed.at;
        }
        at
    }

    /// The entry with this id, unless it is deleted.
    pub(super) fn find(&self, id: StreamId) -> Option<Placed<'_>> {
        self.at(self.seek(id))
            .filter(|placed| placed.entry.id == id && !placed.dead)
    }

    /// The entry at `at` as it is, deleted or not.
    pub(super) fn placed(&self, at: usize) -> Option<Placed<'_>> {
        self.at(at)
    }
}

impl Entry<'_> {
    /// What Redis' listpack takes for it in a block that begins with `first`.
    fn listpack(&self, first: StreamId) -> usize {
        let mut elements = self.len + 3;
        let mut size = listpack::number(0)
            + listpack::number(self.id.ms.wrapping_sub(first.ms) as i64)
            + listpack::number(self.id.seq.wrapping_sub(first.seq) as i64);
        if self.shared.is_none() {
            elements += self.len + 1;
            size += listpack::number(self.len as i64);
        }
        for (field, value) in self.pairs() {
            if self.shared.is_none() {
                size += listpack::text(field);
            }
            size += listpack::text(value);
        }
        size + listpack::number(elements as i64)
    }
}
