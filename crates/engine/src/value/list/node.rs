//! A node: entries one behind the other in one buffer.
//!
//! The buffer may have room on both sides of the entries, so that both ends of
//! a list grow and shrink without moving what is there. It grows to twice its
//! size, at most to the limit of a node, and shrinks when three quarters are
//! unused: pushing and popping move an entry a bounded number of times. Only a
//! node of a single entry is larger than the limit.

use super::entry::{self, Element, Entry};
use super::{End, ListLimits};

/// No buffer shrinks below this.
const SMALLEST: usize = 64;

/// Entries in one buffer; see the module.
#[derive(Debug)]
pub(super) struct Node {
    /// Room, then the entries; more room is the capacity beyond.
    bytes: Vec<u8>,
    start: u32,
    count: u32,
}

/// A clone has no room: it is a copy to keep.
impl Clone for Node {
    fn clone(&self) -> Self {
        Node {
            bytes: self.entries().to_vec(),
            start: 0,
            count: self.count,
        }
    }
}

impl Node {
    /// A node of one entry.
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let mut bytes = Vec::with_capacity(entry.size().next_multiple_of(8));
        entry.append(&mut bytes);
        Node {
            bytes,
            start: 0,
            count: 1,
        }
    }

    /// The bytes of its entries.
    pub(super) fn entries(&self) -> &[u8] {
        self.bytes.get(self.start as usize..).unwrap_or_default()
    }

    /// Number of entries.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// Length of its entries.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() - self.start as usize
    }

    /// What its buffer takes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether it may hold `count` more entries of `size` bytes together.
    pub(super) fn fits(&self, count: usize, size: usize, limits: ListLimits) -> bool {
        self.size() + size <= limits.bytes() && self.count() + count <= limits.entries()
    }

    /// Adds an entry at an end; `false` where there is no room for it.
    #[inline]
    pub(super) fn push(&mut self, end: End, entry: &Entry<'_>, limits: ListLimits) -> bool {
        let size = entry.size();
        if !self.fits(1, size, limits) || !self.make_room(end, size, limits.bytes()) {
            return false;
        }
        match end {
            End::Tail => entry.append(&mut self.bytes),
            End::Head => {
                let stop = self.start as usize;
                let start = stop - size;
                if let Some(out) = self.bytes.get_mut(start..stop) {
                    entry.write(out);
                }
                self.start = start as u32;
            }
        }
        self.count += 1;
        true
    }

    /// Sees to it that `size` bytes are free at an end. A full buffer that only
    /// has a little room at its other end stays as it is.
    #[inline]
    fn make_room(&mut self, end: End, size: usize, limit: usize) -> bool {
        let free = match end {
            End::Head => self.start as usize,
            End::Tail => self.bytes.capacity() - self.bytes.len(),
        };
        free >= size || self.find_room(end, size, limit)
    }

    #[cold]
    fn find_room(&mut self, end: End, size: usize, limit: usize) -> bool {
        let (capacity, used) = (self.bytes.capacity(), self.size());
        let room = capacity - used;
        if room >= size && room >= capacity / 4 {
            // Half of it for the other end, lest pushes in turn move all each time.
            let given = size.max(room / 2);
            self.rebuild(
                capacity,
                if end == End::Head {
                    given
                } else {
                    room - given
                },
            );
            return true;
        }
        if capacity >= limit {
            return false;
        }
        let capacity = (2 * capacity).min(limit).max(used + size);
        match end {
            End::Head => self.rebuild(capacity, capacity - used),
            End::Tail if self.start == 0 => self.bytes.reserve_exact(capacity - used),
            End::Tail => self.rebuild(capacity, 0),
        }
        true
    }

    /// Moves the entries into a buffer of this capacity, behind so much room.
    fn rebuild(&mut self, capacity: usize, room: usize) {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.resize(room, 0);
        bytes.extend_from_slice(self.entries());
        self.bytes = bytes;
        self.start = room as u32;
    }

    /// The element at an end with the size of its entry.
    #[inline]
    pub(super) fn peek(&self, end: End) -> Option<(Element<'_>, usize)> {
        match end {
            End::Head => entry::first(self.entries()),
            End::Tail => {
                let entries = self.entries();
                let start = entries.len().checked_sub(entry::last_size(entries)?)?;
                entry::first(entries.get(start..)?)
            }
        }
    }

    /// Drops the entry of this size at an end.
    #[inline]
    pub(super) fn drop_entry(&mut self, end: End, size: usize) {
        match end {
            End::Head => self.start += size as u32,
            End::Tail => self.bytes.truncate(self.bytes.len() - size),
        }
        self.count -= 1;
        self.shrink();
    }

    /// Gives back most of a buffer that is nearly empty.
    #[inline]
    fn shrink(&mut self) {
        let capacity = self.bytes.capacity();
        if capacity > SMALLEST && self.size() < capacity / 4 {
            self.rebuild((2 * self.size()).max(SMALLEST), 0);
        }
    }

    /// Gives back its room, if it is worth it; for a node that is no end any
    /// more.
    pub(super) fn settle(&mut self) {
        let used = self.size();
        if self.bytes.capacity() - used > used / 8 {
            self.rebuild(used, 0);
        }
    }

    /// Where the entry of this number begins among the entries.
    pub(super) fn offset(&self, number: usize) -> usize {
        let entries = self.entries();
        if number <= self.count() / 2 {
            let mut at = 0;
            for _ in 0..number {
                let size = entries.get(at..).and_then(entry::first_size);
                at += size.unwrap_or(0);
            }
            at
        } else {
            let mut rest = entries;
            for _ in number..self.count() {
                let size = entry::last_size(rest).unwrap_or(0);
                rest = rest.get(..rest.len() - size).unwrap_or_default();
            }
            rest.len()
        }
    }

    /// Puts `entry` in place of the `count` entries, none or one, in these
    /// `old` bytes at `at`. The caller has looked whether it fits.
    pub(super) fn replace(&mut self, at: usize, old: usize, count: usize, entry: &Entry<'_>) {
        let at = self.start as usize + at;
        let size = entry.size();
        let length = self.bytes.len();
        if size > old {
            let more = size - old;
            if self.bytes.capacity() - length < more {
                let capacity = (length + more).max(length * 5 / 4);
                self.bytes.reserve_exact(capacity - length);
            }
            self.bytes.resize(length + more, 0);
        }
        self.bytes.copy_within(at + old..length, at + size);
        if size < old {
            self.bytes.truncate(length - (old - size));
        }
        if let Some(out) = self.bytes.get_mut(at..at + size) {
            entry.write(out);
        }
        self.count = self.count + 1 - count as u32;
        self.shrink();
    }

    /// A node of these `count` entries, which stand in `from..to`.
    pub(super) fn copy(&self, from: usize, to: usize, count: usize) -> Self {
        Node {
            bytes: self.entries().get(from..to).unwrap_or_default().to_vec(),
            start: 0,
            count: count as u32,
        }
    }

    /// Takes out the `count` entries in `from..to`.
    pub(super) fn remove(&mut self, from: usize, to: usize, count: usize) {
        if from == 0 {
            self.start += to as u32;
        } else {
            let start = self.start as usize;
            self.bytes.copy_within(start + to.., start + from);
            self.bytes.truncate(self.bytes.len() - (to - from));
        }
        self.count -= count as u32;
        self.shrink();
    }

    /// Takes out the entries that stand in these ranges, which are in order.
    pub(super) fn remove_all(&mut self, ranges: &[(usize, usize)]) {
        let start = self.start as usize;
        let end = self.bytes.len();
        let mut kept = ranges.first().map_or(end, |(from, _)| start + from);
        for (number, (_, to)) in ranges.iter().enumerate() {
            let next = ranges.get(number + 1).map_or(end, |(from, _)| start + from);
            self.bytes.copy_within(start + to..next, kept);
            kept += next - (start + to);
        }
        self.bytes.truncate(kept);
        self.count -= ranges.len() as u32;
        self.shrink();
    }

    /// Adds the entries of `other` behind its own.
    pub(super) fn join(&mut self, other: &Node) {
        let more = other.size();
        if self.bytes.capacity() - self.bytes.len() < more {
            self.bytes.reserve_exact(more);
        }
        self.bytes.extend_from_slice(other.entries());
        self.count += other.count;
    }

    /// Where the entries equal to `wanted` stand, from an end on, up to `most`
    /// of them; the ranges are in order.
    pub(super) fn find(&self, wanted: &Entry<'_>, end: End, most: usize) -> Vec<(usize, usize)> {
        let entries = self.entries();
        let mut found = Vec::new();
        match end {
            End::Head => {
                let mut at = 0;
                while found.len() < most
                    && let Some(rest) = entries.get(at..)
                    && let Some(size) = entry::first_size(rest)
                {
                    if wanted.begins(rest) {
                        found.push((at, at + size));
                    }
                    at += size;
                }
            }
            End::Tail => {
                let mut to = entries.len();
                while found.len() < most
                    && let Some(size) = entries.get(..to).and_then(entry::last_size)
                {
                    let from = to - size;
                    if entries.get(from..).is_some_and(|rest| wanted.begins(rest)) {
                        found.push((from, to));
                    }
                    to = from;
                }
                found.reverse();
            }
        }
        found
    }
}
