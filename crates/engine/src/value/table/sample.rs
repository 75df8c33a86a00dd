//! Uniform choice of entries: SPOP, RANDOMKEY, and the sampling that eviction
//! does.
//!
//! A random segment and a random bucket below the largest bucket count: every
//! entry is hit with the same probability, whatever its segment's depth, size
//! or load. A miss is drawn again. At least a fifth of the buckets are in use
//! unless hashes do not spread, so a few draws do.

use ahash::RandomState;
use std::collections::HashSet;

use super::Table;

/// Draws before an exact count takes over; reached only where hashes do not
/// spread or the generator is stuck.
const DRAWS: usize = 100;

/// A uniform number below `bound`, which is not zero.
pub(in crate::value) fn below(rng: &mut impl FnMut() -> u64, bound: usize) -> usize {
    ((u128::from(rng()) * bound as u128) >> 64) as usize
}

/// `count` of the items in random order, or all as they are if there are not
/// more.
pub(in crate::value) fn choose<X>(
    mut items: Vec<X>,
    count: usize,
    rng: &mut impl FnMut() -> u64,
) -> Vec<X> {
    if count < items.len() {
        for i in 0..count {
            let j = i + below(rng, items.len() - i);
            items.swap(i, j);
        }
        items.truncate(count);
    }
    items
}

impl<T> Table<T> {
    /// An entry, each with the same probability.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<&T> {
        let (segment, bucket) = self.random_bucket(rng)?;
        self.segments.get(segment)?.table.get_bucket(bucket)
    }

    /// Takes a random entry out.
    pub fn remove_random(
        &mut self,
        rng: &mut impl FnMut() -> u64,
        hasher: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let (segment, bucket) = self.random_bucket(rng)?;
        let table = &mut self.segments.get_mut(segment)?.table;
        let (value, _) = table.get_bucket_entry(bucket).ok()?.remove();
        self.len -= 1;
        self.after_removal(segment, &hasher);
        Some(value)
    }

    /// `count` different entries, or all of them if there are not more.
    pub fn random_distinct(&self, count: usize, rng: &mut impl FnMut() -> u64) -> Vec<&T> {
        if count > self.len / 3 {
            return choose(self.iter().collect(), count, rng);
        }
        let mut seen: HashSet<(usize, usize), RandomState> =
            HashSet::with_capacity_and_hasher(count, RandomState::new());
        let mut chosen = Vec::with_capacity(count);
        // Two thirds are always still to be had; a stuck generator is not
        // allowed to hold us.
        for _ in 0..count.saturating_mul(8).saturating_add(64) {
            if chosen.len() == count {
                return chosen;
            }
            if let Some((segment, bucket)) = self.random_bucket(rng)
                && seen.insert((segment, bucket))
            {
                chosen.extend(self.segments[segment].table.get_bucket(bucket));
            }
        }
        choose(self.iter().collect(), count, rng)
    }

    /// Segment and bucket of a random entry.
    fn random_bucket(&self, rng: &mut impl FnMut() -> u64) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        for _ in 0..DRAWS {
            let segment = below(rng, self.segments.len());
            let bucket = below(rng, self.widest);
            if self.segments[segment].table.get_bucket(bucket).is_some() {
                return Some((segment, bucket));
            }
        }
        let mut nth = below(rng, self.len);
        for (index, segment) in self.segments.iter().enumerate() {
            let entries = segment.table.len();
            if nth < entries {
                return segment
                    .table
                    .iter_buckets()
                    .nth(nth)
                    .map(|bucket| (index, bucket));
            }
            nth -= entries;
        }
        None
    }
}
