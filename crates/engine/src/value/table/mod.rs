//! An extendible hash table: the base of the keyspace and of every collection
//! that outgrows its compact encoding.
//!
//! Why not one large SwissTable: it would double in one go (tens of
//! milliseconds at a few million keys, under the keyspace's lock), and a SCAN
//! cursor into it would lose its meaning at that moment. Here the entries live
//! in small SwissTables, the segments; a directory maps the first bits of an
//! entry's *position* to its segment. A full segment splits in two and a
//! directory slot or two change: one operation moves at most one segment
//! (448 entries, some ten microseconds). Beyond that, only the directory
//! (4 bytes a slot, about two slots a segment) is copied when it doubles.
//!
//! The position of an entry is a 48-bit cut of its hash that shares no bit with
//! what a SwissTable uses of it (the low 9 to find the bucket, the top 7 as the
//! tag), so that the entries of one segment still spread well inside it.
//!
//! Invariants:
//! - a segment of depth d holds exactly the entries whose position starts with
//!   its d-bit prefix; the prefixes of all segments tile the position space;
//! - `directory` has 2^depth slots, or none while there is at most one segment;
//! - an empty table that never held anything owns no memory;
//! - hashes come from the caller, and the same value must always get the same.
//!
//! Hashes that do not spread cost speed, never correctness: a segment that no
//! sensible split would part grows instead, as a plain table does.
//!
//! Memory: a slot is one value and one byte, 44 % to 88 % of them are in use.

mod records;
mod resize;
mod sample;
mod scan;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table;

pub(super) use records::{Keyed, Records, Undo};
pub(super) use sample::{below, choose};
pub use slot::Slot;

const POSITION_BITS: u32 = 48;
const POSITION_SHIFT: u32 = 9;

/// Buckets of a full-grown segment: 4.6 KB of pointers, two pages with their tags.
const SEGMENT_BUCKETS: usize = 1 << POSITION_SHIFT;
/// Entries that such a segment takes before it splits.
const SEGMENT_ENTRIES: usize = SEGMENT_BUCKETS / 8 * 7;

/// One random key a process, so that nobody outside can choose colliding keys.
static HASH_KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The hash of a key, field or member; it differs from process to process.
#[inline]
pub(in crate::value) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = HASH_KEY.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

/// Where an entry stands in the order that SCAN follows.
#[inline]
pub(crate) const fn position(hash: u64) -> u64 {
    (hash >> POSITION_SHIFT) & ((1 << POSITION_BITS) - 1)
}

#[derive(Clone)]
struct Segment<T> {
    table: HashTable<T>,
    /// The first `depth` bits of the positions in it.
    prefix: u32,
    depth: u8,
}

impl<T> Segment<T> {
    /// The position behind its last one.
    const fn end(&self) -> u64 {
        (self.prefix as u64 + 1) << (POSITION_BITS - self.depth as u32)
    }
}

/// A hash table without rehash pauses and with a stable SCAN; see the module.
#[derive(Clone)]
pub struct Table<T> {
    segments: Vec<Segment<T>>,
    directory: Vec<u32>,
    len: usize,
    /// Bytes of all segments' buckets.
    bucket_bytes: usize,
    /// No segment has more buckets than this.
    widest: usize,
    /// Bits of a position that index the directory.
    depth: u8,
}

impl<T> Table<T> {
    /// An empty table; allocates nothing.
    pub const fn new() -> Self {
        Table {
            segments: Vec::new(),
            directory: Vec::new(),
            len: 0,
            bucket_bytes: 0,
            widest: 0,
            depth: 0,
        }
    }

    /// Number of entries.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of buckets, segments and directory; not what the entries own.
    pub const fn heap_bytes(&self) -> usize {
        self.bucket_bytes
            + self.segments.capacity() * size_of::<Segment<T>>()
            + self.directory.capacity() * size_of::<u32>()
    }

    /// The segment of this hash; out of range only while there is none at all.
    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        if self.depth == 0 {
            return 0;
        }
        let slot = position(hash) >> (POSITION_BITS - u32::from(self.depth));
        self.directory[slot as usize] as usize
    }

    /// The entry with this hash that `eq` accepts.
    #[inline]
    pub fn find(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&T> {
        let segment = self.segments.get(self.segment_of(hash))?;
        segment.table.find(hash, eq)
    }

    /// The same, to change it (not in what its hash is made of).
    #[inline]
    pub fn find_mut(&mut self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let segment = self.segment_of(hash);
        self.segments.get_mut(segment)?.table.find_mut(hash, eq)
    }

    /// Every entry that has this hash, and perhaps a few others: the caller
    /// compares. For indexes that remember hashes instead of keys.
    pub fn iter_hash(&self, hash: u64) -> impl Iterator<Item = &T> {
        let segment = self.segments.get(self.segment_of(hash));
        segment
            .into_iter()
            .flat_map(move |segment| segment.table.iter_hash(hash))
    }

    /// Adds an entry that the caller knows to be absent.
    #[inline]
    pub fn insert_unique(&mut self, hash: u64, value: T, hasher: impl Fn(&T) -> u64) -> &mut T {
        let segment = self.segment_with_room(hash, &hasher);
        self.len += 1;
        let table = &mut self.segments[segment].table;
        table.insert_unique(hash, value, hasher).into_mut()
    }

    /// The entry with this hash that `eq` accepts, else the one that `make`
    /// makes; `true` when it was made. One probe.
    #[inline]
    pub fn find_or_insert_with(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        make: impl FnOnce() -> T,
        hasher: impl Fn(&T) -> u64,
    ) -> (&mut T, bool) {
        let segment = self.segment_with_room(hash, &hasher);
        match self.segments[segment].table.entry(hash, eq, hasher) {
            hash_table::Entry::Occupied(entry) => (entry.into_mut(), false),
            hash_table::Entry::Vacant(entry) => {
                let entry = entry.insert(make());
                self.len += 1;
                (entry.into_mut(), true)
            }
        }
    }

    /// Takes out the entry with this hash that `eq` accepts.
    #[inline]
    pub fn remove(
        &mut self,
        hash: u64,
        eq: impl FnMut(&T) -> bool,
        hasher: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let segment = self.segment_of(hash);
        let table = &mut self.segments.get_mut(segment)?.table;
        let (value, _) = table.find_entry(hash, eq).ok()?.remove();
        self.len -= 1;
        self.after_removal(segment, &hasher);
        Some(value)
    }

    /// Removes everything and gives the memory back.
    pub fn clear(&mut self) {
        *self = Table::new();
    }

    /// Takes every entry out and gives the memory back.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(self)
            .segments
            .into_iter()
            .flat_map(|segment| segment.table)
    }

    /// All entries, in no order that means anything.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            segments: self.segments.iter(),
            entries: hash_table::Iter::default(),
            left: self.len,
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table::new()
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len)
            .field("segments", &self.segments.len())
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

impl<'a, T> IntoIterator for &'a Table<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Iterator over all entries of a table.
pub struct Iter<'a, T> {
    segments: std::slice::Iter<'a, Segment<T>>,
    entries: hash_table::Iter<'a, T>,
    left: usize,
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(entry) = self.entries.next() {
                self.left -= 1;
                return Some(entry);
            }
            self.entries = self.segments.next()?.table.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}
