//! What this process remembers of identifiers, to spare the store: refusals, so that
//! who is refused again and again costs nothing, and until when a bucket is not full,
//! so that the script can guess right (`check.lua`).
//!
//! A refusal holds until its moment, or until this process gives back, unblocks or
//! resets the identifier. What others give back is seen when it is over, at the
//! latest after [`LONGEST`]. Bounded: at [`ENTRIES_MAX`] of a shard what is over
//! goes, and where nothing is, nothing more is remembered.
//!
//! Cost: one load where nothing is remembered; else a hash, an uncontended lock and a
//! probe.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

/// Parts of a table with locks of their own.
const SHARDS: usize = 16;
/// Moments that a shard keeps: 100,000 in all.
const ENTRIES_MAX: usize = 100_000 / SHARDS;
/// Longest time that a refusal is trusted.
const LONGEST: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: Moments,
    filling: Moments,
}

impl Memory {
    /// Microseconds until a refusal that is remembered for `key` is over.
    #[inline]
    pub(super) fn refuses(&self, key: &[u8], now_us: u64) -> Option<Duration> {
        let until = self.refused.get(key)?;
        let left = until.checked_sub(now_us).filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }

    /// Remembers that `key` is refused for so long.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.min(LONGEST).as_micros() as u64);
        self.refused.keep(key, until, now_us);
    }

    /// Whether a bucket is full, as far as this process knows.
    pub(super) fn is_full(&self, key: &[u8], now_us: u64) -> bool {
        self.filling.get(key).is_none_or(|until| until <= now_us)
    }

    /// Remembers that a bucket is full again in so long.
    pub(super) fn fills(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.as_micros() as u64);
        self.filling.keep(key, until, now_us);
    }

    /// Forgets all refusals: the rules are others now.
    pub(super) fn forget_refusals(&self) {
        self.refused.clear();
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &[u8]) {
        self.refused.forget(key);
    }
}

/// Moments in microseconds since the epoch, by key.
#[derive(Debug, Default)]
struct Moments {
    hasher: RandomState,
    count: AtomicUsize,
    shards: [Mutex<HashTable<(Box<[u8]>, u64)>>; SHARDS],
}

impl Moments {
    fn shard(&self, hash: u64) -> &Mutex<HashTable<(Box<[u8]>, u64)>> {
        // Tables go by the other bits.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    #[inline]
    fn get(&self, key: &[u8]) -> Option<u64> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash).lock();
        let found = shard.find(hash, |(known, _)| **known == *key);
        found.map(|(_, until)| *until)
    }

    /// Keeps a moment, unless there are too many that still count.
    fn keep(&self, key: &[u8], until: u64, now_us: u64) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        if let Some((_, known)) = shard.find_mut(hash, |(known, _)| **known == *key) {
            *known = until;
            return;
        }
        if shard.len() >= ENTRIES_MAX {
            let before = shard.len();
            shard.retain(|(_, until)| *until > now_us);
            self.count
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
        if shard.len() < ENTRIES_MAX {
            self.count.fetch_add(1, Ordering::Relaxed);
            let hasher = |(key, _): &(Box<[u8]>, u64)| self.hasher.hash_one(&**key);
            shard.insert_unique(hash, (key.into(), until), hasher);
        }
    }

    fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            self.count.fetch_sub(shard.len(), Ordering::Relaxed);
            shard.clear();
        }
    }

    fn forget(&self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        if let Ok(entry) = shard.find_entry(hash, |(known, _)| **known == *key) {
            entry.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_its_moment() {
        let memory = Memory::default();
        memory.remember(b"k", 1_000, Duration::from_micros(500));
        assert_eq!(memory.refuses(b"k", 1_499), Some(Duration::from_micros(1)));
        assert_eq!(memory.refuses(b"k", 1_500), None);
        memory.remember(b"k", 0, Duration::from_hours(5));
        assert_eq!(memory.refuses(b"k", LONGEST.as_micros() as u64), None);
        memory.forget(b"k");
        assert_eq!(memory.refuses(b"k", 0), None);
        assert!(memory.is_full(b"b", 0));
        memory.fills(b"b", 10, Duration::from_micros(5));
        assert!(!memory.is_full(b"b", 14) && memory.is_full(b"b", 15));
    }

    #[test]
    fn what_is_over_makes_room_and_what_holds_does_not() {
        let moments = Moments::default();
        let keys = ENTRIES_MAX as u64 * SHARDS as u64 * 2;
        let kept = |now_us| {
            (0..keys).for_each(|key| moments.keep(&key.to_be_bytes(), now_us + 10, now_us));
            let kept = |key: &u64| moments.get(&key.to_be_bytes()) == Some(now_us + 10);
            (0..keys).filter(kept).count()
        };
        let first = kept(0);
        assert_eq!(first, ENTRIES_MAX * SHARDS);
        assert_eq!(moments.count.load(Ordering::Relaxed), first);
        // All of them are over, and the keys that found no room come first.
        assert_eq!(kept(10), first);
        assert_eq!(moments.count.load(Ordering::Relaxed), first);
    }
}
