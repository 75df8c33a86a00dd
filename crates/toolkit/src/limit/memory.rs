//! What this process remembers of identifiers, to spare the store: refusals, so that
//! who is refused again and again costs nothing, and until when a bucket is not full,
//! so that the script can guess right (`check.lua`).
//!
//! A refusal holds until its moment, or until this process gives back, unblocks or
//! resets the identifier; it tells when what was refused fits, so that a retry after
//! that is not in vain. A larger cost than that is asked anew. What others give back
//! is seen when it is over, at the latest after [`LONGEST`]. Bounded: at
//! [`ENTRIES_MAX`] of a shard what is over goes, and where nothing is, nothing more is
//! remembered.
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
/// Facts that a shard keeps: 100,000 in all.
const ENTRIES_MAX: usize = 100_000 / SHARDS;
/// Longest time that a refusal is trusted.
const LONGEST: Duration = Duration::from_mins(1);

/// What a rule has refused; times from the moment of the refusal on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) cost: u64,
    /// When this cost fits.
    pub(super) fits: Duration,
    /// Until then not even a cost of 1 does.
    pub(super) next: Duration,
}

/// A refusal's moments, in microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Refused {
    cost: u64,
    fits: u64,
    until: u64,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: Facts<Refused>,
    filling: Facts<u64>,
}

impl Memory {
    /// When `cost` fits, while a refusal is remembered that says so.
    #[inline]
    pub(super) fn refuses(&self, key: &[u8], cost: u64, now_us: u64) -> Option<Duration> {
        let refused = self.refused.get(key)?;
        let holds = refused.until > now_us && (1..=refused.cost).contains(&cost);
        holds.then(|| Duration::from_micros(refused.fits.saturating_sub(now_us)))
    }

    /// Remembers that `key` was refused.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, refusal: Refusal) {
        let after = |time: Duration| now_us.saturating_add(time.as_micros() as u64);
        let refused = Refused {
            cost: refusal.cost,
            fits: after(refusal.fits),
            until: after(refusal.next.min(LONGEST)),
        };
        self.refused.keep(key, refused, |it| it.until > now_us);
    }

    /// Whether a bucket is full, as far as this process knows.
    pub(super) fn is_full(&self, key: &[u8], now_us: u64) -> bool {
        self.filling.get(key).is_none_or(|until| until <= now_us)
    }

    /// Remembers that a bucket is full again in so long.
    pub(super) fn fills(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.as_micros() as u64);
        self.filling.keep(key, until, |until| *until > now_us);
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

/// What is known of a part of the keys.
type Shard<T> = Mutex<HashTable<(Box<[u8]>, T)>>;

/// What is known of keys.
#[derive(Debug)]
struct Facts<T> {
    hasher: RandomState,
    count: AtomicUsize,
    shards: [Shard<T>; SHARDS],
}

impl<T> Default for Facts<T> {
    fn default() -> Self {
        Facts {
            hasher: RandomState::default(),
            count: AtomicUsize::default(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl<T: Copy> Facts<T> {
    fn shard(&self, hash: u64) -> &Shard<T> {
        // Tables go by the other bits.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    #[inline]
    fn get(&self, key: &[u8]) -> Option<T> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let shard = self.shard(hash).lock();
        let found = shard.find(hash, |(known, _)| **known == *key);
        found.map(|(_, fact)| *fact)
    }

    /// Keeps a fact, unless there are too many that still count.
    fn keep(&self, key: &[u8], fact: T, counts: impl Fn(&T) -> bool) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        if let Some((_, known)) = shard.find_mut(hash, |(known, _)| **known == *key) {
            *known = fact;
            return;
        }
        if shard.len() >= ENTRIES_MAX {
            let before = shard.len();
            shard.retain(|(_, fact)| counts(fact));
            self.count
                .fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
        if shard.len() < ENTRIES_MAX {
            self.count.fetch_add(1, Ordering::Relaxed);
            let hasher = |(key, _): &(Box<[u8]>, T)| self.hasher.hash_one(&**key);
            shard.insert_unique(hash, (key.into(), fact), hasher);
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
        let micros = Duration::from_micros;
        let refusal = |cost, fits, next| Refusal { cost, fits, next };
        memory.remember(b"k", 1_000, refusal(2, micros(700), micros(500)));
        assert_eq!(memory.refuses(b"k", 1, 1_499), Some(micros(201)));
        assert_eq!(memory.refuses(b"k", 2, 1_499), Some(micros(201)));
        assert_eq!(memory.refuses(b"k", 3, 1_499), None, "it may fit later");
        assert_eq!(memory.refuses(b"k", 0, 1_499), None, "it may fit now");
        assert_eq!(memory.refuses(b"k", 1, 1_500), None);
        let hours = Duration::from_hours(5);
        memory.remember(b"k", 0, refusal(1, hours, hours));
        assert_eq!(memory.refuses(b"k", 1, 0), Some(hours), "all of it");
        assert_eq!(memory.refuses(b"k", 1, LONGEST.as_micros() as u64), None);
        memory.forget(b"k");
        assert_eq!(memory.refuses(b"k", 1, 0), None);
        assert!(memory.is_full(b"b", 0));
        memory.fills(b"b", 10, Duration::from_micros(5));
        assert!(!memory.is_full(b"b", 14) && memory.is_full(b"b", 15));
    }

    #[test]
    fn what_is_over_makes_room_and_what_holds_does_not() {
        let facts = Facts::default();
        let keys = ENTRIES_MAX as u64 * SHARDS as u64 * 2;
        let kept = |now_us| {
            (0..keys).for_each(|key| {
                facts.keep(&key.to_be_bytes(), now_us + 10, |until| *until > now_us);
            });
            let kept = |key: &u64| facts.get(&key.to_be_bytes()) == Some(now_us + 10);
            (0..keys).filter(kept).count()
        };
        let first = kept(0);
        assert_eq!(first, ENTRIES_MAX * SHARDS);
        assert_eq!(facts.count.load(Ordering::Relaxed), first);
        // All of them are over, and the keys that found no room come first.
        assert_eq!(kept(10), first);
        assert_eq!(facts.count.load(Ordering::Relaxed), first);
    }
}
