//! How a table grows and shrinks: segments split, merge, and are rebuilt.
//!
//! Every path here is cold. `bucket_bytes` and `widest` stay true because a
//! segment's inner table changes size only between `take` and `put`.

use std::mem;

use hashbrown::HashTable;

use super::{POSITION_BITS, SEGMENT_BUCKETS, SEGMENT_ENTRIES, Segment, Table, position};

/// Two buddies with no more entries than this together become one. Half of
/// what splits a segment, so that splits and merges do not chase each other.
const MERGE_ENTRIES: usize = SEGMENT_ENTRIES / 2;

/// A segment looks whether to shrink once in so many removals.
const SHRINK_INTERVAL: usize = 16;

/// Tables up to this size are not worth shrinking.
const SMALL_BUCKETS: usize = 16;

/// Most bits of a position that the directory ever looks at.
const MOST_DEPTH: u32 = 30;

/// Entries that fit in so many buckets.
const fn capacity_of(buckets: usize) -> usize {
    buckets / 8 * 7
}

/// A table for one half of a split segment: of full size at once, unless the
/// half is so small that it may never get there.
fn half<T>(entries: usize) -> HashTable<T> {
    HashTable::with_capacity(if entries >= SEGMENT_ENTRIES / 4 {
        SEGMENT_ENTRIES.max(entries)
    } else {
        entries
    })
}

/// Entries a segment that is made ahead gets on average: hashes scatter, and
/// few segments shall split all the same.
const PLANNED_ENTRIES: usize = 400;

impl<T> Table<T> {
    /// An empty table with room for `count` entries, for who knows the count
    /// ahead: filling it neither splits nor rehashes, but for a few segments
    /// that get more than their share.
    pub fn with_capacity(count: usize) -> Self {
        let mut table = Table::new();
        if count == 0 {
            return table;
        }
        let wanted = count.div_ceil(PLANNED_ENTRIES).next_power_of_two();
        if count <= SEGMENT_ENTRIES || wanted > 1 << MOST_DEPTH {
            table.add_segment(0, 0, count.min(SEGMENT_ENTRIES));
            return table;
        }
        let depth = wanted.trailing_zeros() as u8;
        table.segments.reserve_exact(wanted);
        for prefix in 0..wanted as u32 {
            table.add_segment(prefix, depth, SEGMENT_ENTRIES);
        }
        table.directory = (0..wanted as u32).collect();
        table.depth = depth;
        table
    }

    fn add_segment(&mut self, prefix: u32, depth: u8, capacity: usize) {
        let index = self.segments.len();
        self.segments.push(Segment {
            table: HashTable::new(),
            prefix,
            depth,
        });
        self.put(index, HashTable::with_capacity(capacity));
    }

    /// The segment of this hash, with room for one more entry.
    #[inline]
    pub(super) fn segment_with_room(&mut self, hash: u64, hasher: &impl Fn(&T) -> u64) -> usize {
        let index = self.segment_of(hash);
        match self.segments.get(index) {
            Some(Segment { table, .. }) if table.len() < table.capacity() => index,
            _ => self.make_room(hash, hasher),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, hash: u64, hasher: &impl Fn(&T) -> u64) -> usize {
        if self.segments.is_empty() {
            self.segments.reserve_exact(1);
            self.segments.push(Segment {
                table: HashTable::new(),
                prefix: 0,
                depth: 0,
            });
        }
        loop {
            let index = self.segment_of(hash);
            let table = &self.segments[index].table;
            let (entries, buckets) = (table.len(), table.num_buckets());
            if entries < table.capacity() {
                return index;
            }
            let capacity = capacity_of(buckets);
            if buckets > SMALL_BUCKETS && entries <= capacity / 4 * 3 {
                // A quarter or more are tombstones; growing would waste memory.
                let old = self.take(index);
                self.put(index, rebuilt(old, capacity, hasher));
            } else if buckets >= SEGMENT_BUCKETS {
                self.split(index, hasher);
            } else {
                let mut table = self.take(index);
                table.reserve(1, hasher);
                self.put(index, table);
            }
        }
    }

    /// Splits a segment by the next bit of the positions in it, or lets it grow
    /// when that would not part them.
    fn split(&mut self, index: usize, hasher: &impl Fn(&T) -> u64) {
        let deepest = self.deepest_allowed();
        let entries: Vec<(u64, T)> = self
            .take(index)
            .into_iter()
            .map(|value| (hasher(&value), value))
            .collect();
        let first = entries.first().map_or(0, |(hash, _)| position(*hash));
        let differing = entries
            .iter()
            .fold(0, |bits, (hash, _)| bits | (position(*hash) ^ first));
        let common = differing.leading_zeros() - (u64::BITS - POSITION_BITS);
        if common >= deepest {
            let mut table = HashTable::with_capacity(entries.len() + 1);
            for (hash, value) in entries {
                table.insert_unique(hash, value, hasher);
            }
            self.put(index, table);
            return;
        }

        let Segment { prefix, depth, .. } = self.segments[index];
        let bit = 1 << (POSITION_BITS - 1 - u32::from(depth));
        let is_high = |hash: u64| position(hash) & bit != 0;
        let high_entries = entries.iter().filter(|(hash, _)| is_high(*hash)).count();
        let mut low = half(entries.len() - high_entries);
        let mut high = half(high_entries);
        for (hash, value) in entries {
            let table = if is_high(hash) { &mut high } else { &mut low };
            table.insert_unique(hash, value, hasher);
        }

        let (prefix, depth) = (prefix << 1, depth + 1);
        if depth > self.depth {
            self.double_directory();
        }
        self.segments[index].prefix = prefix;
        self.segments[index].depth = depth;
        self.put(index, low);
        let new = self.segments.len();
        self.segments.push(Segment {
            table: HashTable::new(),
            prefix: prefix | 1,
            depth,
        });
        self.put(new, high);
        self.point_to(new);
    }

    /// The directory may have a slot for each 16 entries: hashes that spread
    /// need a tenth of that, and others cannot make it explode.
    fn deepest_allowed(&self) -> u32 {
        self.len
            .checked_ilog2()
            .unwrap_or(0)
            .saturating_sub(4)
            .min(MOST_DEPTH)
    }

    fn double_directory(&mut self) {
        self.directory = if self.depth == 0 {
            vec![0, 0]
        } else {
            let mut doubled = Vec::with_capacity(self.directory.len() * 2);
            doubled.extend(
                self.directory
                    .iter()
                    .flat_map(|&segment| [segment, segment]),
            );
            doubled
        };
        self.depth += 1;
    }

    /// Lets the directory's slots for this segment name it.
    fn point_to(&mut self, index: usize) {
        if self.directory.is_empty() {
            return;
        }
        let Segment { prefix, depth, .. } = self.segments[index];
        let free_bits = self.depth - depth;
        let start = (prefix as usize) << free_bits;
        self.directory[start..start + (1 << free_bits)].fill(index as u32);
    }

    /// Called after each removal: shrinks what has become too large.
    #[inline]
    pub(super) fn after_removal(&mut self, index: usize, hasher: &impl Fn(&T) -> u64) {
        let Segment { table, depth, .. } = &self.segments[index];
        let entries = table.len();
        if entries.is_multiple_of(SHRINK_INTERVAL)
            && (entries * 8 < table.num_buckets() || (*depth > 0 && entries <= MERGE_ENTRIES))
        {
            self.shrink(index, hasher);
        }
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self, mut index: usize, hasher: &impl Fn(&T) -> u64) {
        while let Some(merged) = self.merge(index, hasher) {
            index = merged;
        }
        let table = &self.segments[index].table;
        let (entries, buckets) = (table.len(), table.num_buckets());
        if buckets <= SMALL_BUCKETS || entries * 8 >= buckets {
            return;
        }
        let mut table = self.take(index);
        table.shrink_to(entries * 2, hasher);
        self.put(index, table);
        if buckets == self.widest && (buckets != SEGMENT_BUCKETS || self.segments.len() == 1) {
            let all = self
                .segments
                .iter()
                .map(|segment| segment.table.num_buckets());
            self.widest = all.max().unwrap_or(0);
        }
    }

    /// Makes one segment of this and its buddy, if both are sparse; says where
    /// it is then.
    fn merge(&mut self, index: usize, hasher: &impl Fn(&T) -> u64) -> Option<usize> {
        let Segment {
            ref table,
            prefix,
            depth,
        } = self.segments[index];
        if depth == 0 {
            return None;
        }
        let slot = ((prefix ^ 1) as usize) << (self.depth - depth);
        let other = self.directory[slot] as usize;
        let buddy = &self.segments[other];
        if buddy.depth != depth || table.len() + buddy.table.len() > MERGE_ENTRIES {
            return None;
        }
        let (kept, gone) = if table.len() >= buddy.table.len() {
            (index, other)
        } else {
            (other, index)
        };
        let moving = self.take(gone);
        let mut table = self.take(kept);
        table.reserve(moving.len(), hasher);
        for value in moving {
            table.insert_unique(hasher(&value), value, hasher);
        }
        self.put(kept, table);
        self.segments[kept].prefix = prefix >> 1;
        self.segments[kept].depth = depth - 1;

        self.segments.swap_remove(gone);
        let kept = if kept == self.segments.len() {
            gone
        } else {
            kept
        };
        self.shrink_directory();
        if gone < self.segments.len() {
            self.point_to(gone);
        }
        self.point_to(kept);
        Some(kept)
    }

    fn shrink_directory(&mut self) {
        let segments = self.segments.len();
        if self.segments.capacity() > segments * 4 {
            self.segments.shrink_to(segments * 2);
        }
        if segments == 1 {
            self.directory = Vec::new();
            self.depth = 0;
        } else if self.directory.len() > segments * 8 {
            let deepest = self.segments.iter().map(|segment| segment.depth).max();
            let needed = deepest.unwrap_or(0);
            if needed < self.depth {
                let step = 1 << (self.depth - needed);
                self.directory = self.directory.iter().copied().step_by(step).collect();
                self.depth = needed;
            }
        }
    }

    fn take(&mut self, index: usize) -> HashTable<T> {
        let table = mem::take(&mut self.segments[index].table);
        self.bucket_bytes -= table.allocation_size();
        table
    }

    fn put(&mut self, index: usize, table: HashTable<T>) {
        self.bucket_bytes += table.allocation_size();
        self.widest = self.widest.max(table.num_buckets());
        self.segments[index].table = table;
    }
}

fn rebuilt<T>(old: HashTable<T>, capacity: usize, hasher: &impl Fn(&T) -> u64) -> HashTable<T> {
    let mut table = HashTable::with_capacity(capacity);
    for value in old {
        table.insert_unique(hasher(&value), value, hasher);
    }
    table
}
