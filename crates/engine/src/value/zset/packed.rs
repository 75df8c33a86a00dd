//! The compact encoding: one buffer with the entries in order.
//!
//! An entry is its member's length, the member, the score, and the length once
//! more for whoever comes from behind. A length is one byte below 255, else
//! five. Everything here is linear in a length that the limits keep small.

use std::cmp::Ordering;

/// Marks a length of four more bytes.
const LONG: u8 = 255;

/// What became of an insertion.
pub(super) enum Inserted {
    /// The member is new.
    New,
    /// The member had another score.
    Moved(f64),
    /// The member had this score already.
    Same(f64),
    /// The member is new and does not fit into this encoding.
    NoRoom,
}

/// Entries in one buffer; see the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    len: usize,
}

impl Packed {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// These entries, which are in order and whose members differ.
    pub(super) fn build<'a>(entries: impl Iterator<Item = (&'a [u8], f64)> + Clone) -> Self {
        let size = entries
            .clone()
            .map(|(member, _)| entry_size(member.len()))
            .sum();
        let mut built = Packed {
            bytes: Vec::with_capacity(size),
            len: 0,
        };
        for (member, score) in entries {
            built.insert_at(built.bytes.len(), member, score);
        }
        built
    }

    /// All entries in order.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter(&self.bytes)
    }

    /// The entry of a member: its place in the buffer, its rank, its score.
    fn find(&self, member: &[u8]) -> Option<(usize, usize, f64)> {
        let mut rest = self.iter();
        let mut rank = 0;
        loop {
            let at = self.bytes.len() - rest.0.len();
            let (found, score) = rest.next()?;
            if found == member {
                return Some((at, rank, score));
            }
            rank += 1;
        }
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|(_, _, score)| score)
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        self.find(member).map(|(_, rank, _)| rank)
    }

    /// Number of entries at the front that `before` accepts.
    pub(super) fn partition(&self, before: impl Fn(&[u8], f64) -> bool) -> usize {
        self.iter()
            .take_while(|(member, score)| before(member, *score))
            .count()
    }

    /// Sets a member's score, unless it is new and there is no room for it.
    pub(super) fn insert(
        &mut self,
        member: &[u8],
        score: f64,
        max_entries: usize,
        max_value: usize,
    ) -> Inserted {
        let mut rest = self.iter();
        let (mut old, mut place) = (None, None);
        while old.is_none() || place.is_none() {
            let at = self.bytes.len() - rest.0.len();
            let Some((other, other_score)) = rest.next() else {
                break;
            };
            if old.is_none() && other == member {
                if other_score == score {
                    return Inserted::Same(score);
                }
                old = Some((at, other_score));
            } else if place.is_none() && compare((score, member), (other_score, other)).is_lt() {
                place = Some(at);
            }
        }
        let mut place = place.unwrap_or(self.bytes.len());
        let Some((at, old)) = old else {
            if self.len >= max_entries || member.len() > max_value {
                return Inserted::NoRoom;
            }
            self.insert_at(place, member, score);
            return Inserted::New;
        };
        let size = entry_size(member.len());
        self.bytes.drain(at..at + size);
        self.len -= 1;
        if place > at {
            place -= size;
        }
        self.insert_at(place, member, score);
        Inserted::Moved(old)
    }

    fn insert_at(&mut self, place: usize, member: &[u8], score: f64) {
        let size = entry_size(member.len());
        let end = self.bytes.len();
        if self.bytes.capacity() - end < size {
            // An eighth of slack instead of Vec's doubling: most stay small.
            self.bytes.reserve_exact(size + end / 8);
        }
        self.bytes.resize(end + size, 0);
        self.bytes.copy_within(place..end, place + size);
        let (length, width) = length_of(member.len());
        let mut back = length;
        back[..width].reverse();
        // Minus zero is stored as zero, as a listpack stores integers.
        let score = (score + 0.0).to_le_bytes();
        let mut slot = &mut self.bytes[place..place + size];
        for part in [&length[..width], member, &score, &back[..width]] {
            let (head, tail) = slot.split_at_mut(part.len());
            head.copy_from_slice(part);
            slot = tail;
        }
        self.len += 1;
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (at, _, score) = self.find(member)?;
        self.cut(at, at + entry_size(member.len()), 1);
        Some(score)
    }

    /// Removes up to `count` entries from rank `start` on.
    pub(super) fn remove_range(
        &mut self,
        start: usize,
        count: usize,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let mut rest = self.iter();
        rest.by_ref().take(start).for_each(drop);
        let from = self.bytes.len() - rest.0.len();
        let mut done = 0;
        for (member, score) in rest.by_ref().take(count) {
            removed(member, score);
            done += 1;
        }
        let to = self.bytes.len() - rest.0.len();
        self.cut(from, to, done);
        done
    }

    fn cut(&mut self, from: usize, to: usize, count: usize) {
        self.bytes.drain(from..to);
        self.len -= count;
        if self.bytes.capacity() > 2 * self.bytes.len() + 64 {
            self.bytes.shrink_to_fit();
        }
    }
}

/// The order of a sorted set.
pub(super) fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    let scores = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
    scores.then_with(|| a.1.cmp(b.1))
}

/// A length as bytes, and how many of them.
fn length_of(len: usize) -> ([u8; 5], usize) {
    match u8::try_from(len) {
        Ok(short) if short < LONG => ([short, 0, 0, 0, 0], 1),
        _ => {
            let [a, b, c, d] = (len as u32).to_le_bytes();
            ([LONG, a, b, c, d], 5)
        }
    }
}

/// Bytes of an entry.
fn entry_size(len: usize) -> usize {
    2 * length_of(len).1 + len + size_of::<f64>()
}

/// Entries in order, from both ends.
#[derive(Debug, Clone)]
pub(super) struct Iter<'a>(&'a [u8]);

impl<'a> Iter<'a> {
    /// The member and score between the two lengths of an entry.
    fn entry(body: &'a [u8]) -> Option<(&'a [u8], f64)> {
        let (member, score) = body.split_last_chunk()?;
        Some((member, f64::from_le_bytes(*score)))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (len, width) = match *self.0 {
            [LONG, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 5),
            [len, ..] => (usize::from(len), 1),
            [] => return None,
        };
        let end = width + len + size_of::<f64>();
        let body = self.0.get(width..end)?;
        self.0 = self.0.get(end + width..)?;
        Self::entry(body)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (len, width) = match *self.0 {
            [.., d, c, b, a, LONG] => (u32::from_le_bytes([a, b, c, d]) as usize, 5),
            [.., len] => (usize::from(len), 1),
            [] => return None,
        };
        let end = self.0.len().checked_sub(width)?;
        let start = end.checked_sub(len + size_of::<f64>())?;
        let body = self.0.get(start..end)?;
        self.0 = self.0.get(..start.checked_sub(width)?)?;
        Self::entry(body)
    }
}
