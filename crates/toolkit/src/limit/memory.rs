//! What this process remembers of identifiers, to spare the store: refusals, so that
//! who is refused again and again costs nothing; that a request took the last there
//! was, so that the next is refused for nothing; and until when a bucket is not full,
//! so that the script can guess right (`check.lua`).
//!
//! A refusal holds for its rule until its moment, or until this process gives back,
//! unblocks or resets the identifier; it tells when what was refused fits, so that a
//! retry after that is not in vain. A larger cost than that is asked anew. What others
//! give back is seen when it is over, at the latest after [`LONGEST`]. What was asked
//! for before something was forgotten is not remembered after it: the answer may be
//! older ([`Memory::asks`]).
//!
//! Bounded: at [`ENTRIES_MAX`] of a shard what is over goes, looked for at most once
//! in [`SWEEP_US`]; where there is no room, nothing more is remembered.
//!
//! Cost: one load where nothing is remembered; else a hash, an uncontended lock and a
//! probe.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::rule::Rule;

/// Parts of a table with locks of their own.
const SHARDS: usize = 16;
/// Facts that a shard keeps: 100,000 in all.
const ENTRIES_MAX: usize = 100_000 / SHARDS;
/// Longest time that a refusal is trusted.
const LONGEST: Duration = Duration::from_mins(1);
/// The shortest time between two searches of a shard for what is over.
const SWEEP_US: u64 = 1_000_000;

/// What a rule has refused; times from the moment of the refusal on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) rule: Rule,
    pub(super) cost: u64,
    /// When this cost fits, for all that is known: in a request of several rules, when
    /// all of them let it through.
    pub(super) fits: Duration,
    /// Until then not even a cost of 1 does.
    pub(super) next: Duration,
}

/// What a refusal is of: two rules of one key differ by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Of {
    limit: u64,
    burst: u64,
}

impl Of {
    const fn rule(rule: &Rule) -> Self {
        Of {
            limit: rule.limit(),
            burst: rule.burst(),
        }
    }
}

/// A refusal's moments, in microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Refused {
    of: Of,
    cost: u64,
    fits: u64,
    until: u64,
}

impl Refused {
    /// Whether it is trusted. A clock that was set back makes none hold for longer.
    const fn holds(&self, now_us: u64) -> bool {
        self.until > now_us && self.until - now_us <= LONGEST.as_micros() as u64
    }
}

/// A moment between two times that something was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked(u64);

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: Facts<Refused>,
    filling: Facts<u64>,
    /// How often a refusal was forgotten.
    forgotten: AtomicU64,
}

impl Memory {
    /// Before the store is asked for what may be remembered then.
    #[inline]
    pub(super) fn asks(&self) -> Asked {
        Asked(self.forgotten.load(Ordering::Relaxed))
    }

    /// When `cost` fits, while a refusal by `rule` is remembered that says so.
    #[inline]
    pub(super) fn refuses(
        &self,
        key: &[u8],
        rule: &Rule,
        cost: u64,
        now_us: u64,
    ) -> Option<Duration> {
        let refused = self.refused.get(key)?;
        let holds = refused.holds(now_us)
            && refused.of == Of::rule(rule)
            && (1..=refused.cost).contains(&cost);
        holds.then(|| Duration::from_micros(refused.fits.saturating_sub(now_us)))
    }

    /// Remembers that `key` was refused, unless something was forgotten since the
    /// store was asked.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, refusal: Refusal, asked: Asked) {
        let after = |time: Duration| now_us.saturating_add(time.as_micros() as u64);
        let refused = Refused {
            of: Of::rule(&refusal.rule),
            cost: refusal.cost,
            fits: after(refusal.fits),
            until: after(refusal.next.min(LONGEST)),
        };
        // Looked at under the lock: who forgets counts first and removes then.
        let keeps = || self.asks() == asked;
        let holds = |it: &Refused| it.holds(now_us);
        self.refused.keep(key, refused, now_us, holds, keeps);
    }

    /// Whether a bucket is full, as far as this process knows.
    pub(super) fn is_full(&self, key: &[u8], now_us: u64) -> bool {
        self.filling.get(key).is_none_or(|until| until <= now_us)
    }

    /// Remembers that a bucket is full again in so long.
    pub(super) fn fills(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.as_micros() as u64);
        let counts = |until: &u64| *until > now_us;
        self.filling.keep(key, until, now_us, counts, || true);
    }

    /// Forgets all refusals: the rules are others now.
    pub(super) fn forget_refusals(&self) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        self.refused.clear();
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &[u8]) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
        self.refused.forget(key);
    }
}

/// What is known of a part of the keys.
#[derive(Debug)]
struct Shard<T> {
    table: HashTable<(Box<[u8]>, T)>,
    /// When there was last looked for what is over.
    swept: u64,
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Shard {
            table: HashTable::new(),
            swept: 0,
        }
    }
}

/// What is known of keys.
#[derive(Debug)]
struct Facts<T> {
    hasher: RandomState,
    count: AtomicUsize,
    shards: [Mutex<Shard<T>>; SHARDS],
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
    fn shard(&self, hash: u64) -> &Mutex<Shard<T>> {
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
        let found = shard.table.find(hash, |(known, _)| **known == *key);
        found.map(|(_, fact)| *fact)
    }

    /// Keeps a fact, unless there are too many that still count, or `keeps` says no
    /// under the lock.
    fn keep(
        &self,
        key: &[u8],
        fact: T,
        now_us: u64,
        counts: impl Fn(&T) -> bool,
        keeps: impl Fn() -> bool,
    ) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        if !keeps() {
            return;
        }
        let Shard { table, swept } = &mut *shard;
        if let Some((_, known)) = table.find_mut(hash, |(known, _)| **known == *key) {
            *known = fact;
            return;
        }
        // A clock that was set back is not waited for.
        if table.len() >= ENTRIES_MAX && now_us.abs_diff(*swept) >= SWEEP_US {
            *swept = now_us;
            let before = table.len();
            table.retain(|(_, fact)| counts(fact));
            self.count
                .fetch_sub(before - table.len(), Ordering::Relaxed);
        }
        if table.len() < ENTRIES_MAX {
            self.count.fetch_add(1, Ordering::Relaxed);
            let hasher = |(key, _): &(Box<[u8]>, T)| self.hasher.hash_one(&**key);
            table.insert_unique(hash, (key.into(), fact), hasher);
        }
    }

    fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            self.count.fetch_sub(shard.table.len(), Ordering::Relaxed);
            shard.table.clear();
        }
    }

    fn forget(&self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash).lock();
        if let Ok(entry) = shard.table.find_entry(hash, |(known, _)| **known == *key) {
            entry.remove();
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::limit::rule::Algorithm;

    fn rule(limit: u64) -> Rule {
        Rule::new(Algorithm::Gcra, limit, Duration::from_mins(1)).unwrap()
    }

    fn refusal(cost: u64, fits: Duration, next: Duration) -> Refusal {
        Refusal {
            rule: rule(9),
            cost,
            fits,
            next,
        }
    }

    #[test]
    fn a_refusal_holds_until_its_moment() {
        let memory = Memory::default();
        let micros = Duration::from_micros;
        let refuses = |cost, now_us| memory.refuses(b"k", &rule(9), cost, now_us);
        let told = refusal(2, micros(700), micros(500));
        memory.remember(b"k", 1_000, told, memory.asks());
        assert_eq!(refuses(1, 1_499), Some(micros(201)));
        assert_eq!(refuses(2, 1_499), Some(micros(201)));
        assert_eq!(refuses(3, 1_499), None, "it may fit later");
        assert_eq!(refuses(0, 1_499), None, "it may fit now");
        assert_eq!(refuses(1, 1_500), None);
        let hours = Duration::from_hours(5);
        memory.remember(b"k", 0, refusal(1, hours, hours), memory.asks());
        assert_eq!(refuses(1, 0), Some(hours), "all of it");
        assert_eq!(refuses(1, LONGEST.as_micros() as u64), None);
        memory.forget(b"k");
        assert_eq!(refuses(1, 0), None);
        assert!(memory.is_full(b"b", 0));
        memory.fills(b"b", 10, Duration::from_micros(5));
        assert!(!memory.is_full(b"b", 14) && memory.is_full(b"b", 15));
    }

    #[test]
    fn a_refusal_is_that_of_its_rule() {
        let memory = Memory::default();
        let second = Duration::from_secs(1);
        memory.remember(b"k", 0, refusal(1, second, second), memory.asks());
        assert_eq!(memory.refuses(b"k", &rule(9), 1, 0), Some(second));
        assert_eq!(memory.refuses(b"k", &rule(10), 1, 0), None);
        let smaller = rule(9).with_burst(3).unwrap();
        assert_eq!(memory.refuses(b"k", &smaller, 1, 0), None);
    }

    #[test]
    fn what_was_asked_before_it_was_forgotten_is_not_remembered() {
        let memory = Memory::default();
        let second = Duration::from_secs(1);
        let refuses = || memory.refuses(b"k", &rule(9), 1, 0).is_some();
        for forget in [&(|| memory.forget(b"k")) as &dyn Fn(), &|| {
            memory.forget_refusals();
        }] {
            let asked = memory.asks();
            forget();
            memory.remember(b"k", 0, refusal(1, second, second), asked);
            assert!(!refuses());
            memory.remember(b"k", 0, refusal(1, second, second), memory.asks());
            assert!(refuses());
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_refusal_longer() {
        let memory = Memory::default();
        let longest = LONGEST.as_micros() as u64;
        let hour = Duration::from_hours(1);
        memory.remember(b"k", 2 * longest, refusal(1, hour, hour), memory.asks());
        let refuses = |now_us| memory.refuses(b"k", &rule(9), 1, now_us).is_some();
        assert!(refuses(2 * longest));
        assert!(!refuses(2 * longest - 1) && !refuses(0));
    }

    /// Fills a table twice; how many facts found room.
    fn fill(facts: &Facts<u64>, now_us: u64, looked: &Cell<usize>) -> usize {
        let keys = ENTRIES_MAX as u64 * SHARDS as u64 * 2;
        let until = now_us + SWEEP_US;
        let counts = |until: &u64| {
            looked.set(looked.get() + 1);
            *until > now_us
        };
        for key in 0..keys {
            facts.keep(&key.to_be_bytes(), until, now_us, counts, || true);
        }
        let kept = |key: &u64| facts.get(&key.to_be_bytes()) == Some(until);
        (0..keys).filter(kept).count()
    }

    #[test]
    fn what_is_over_makes_room_and_what_holds_does_not() {
        let (facts, looked) = (Facts::default(), Cell::new(0));
        let first = fill(&facts, SWEEP_US, &looked);
        assert_eq!(first, ENTRIES_MAX * SHARDS);
        assert_eq!(facts.count.load(Ordering::Relaxed), first);
        assert_eq!(looked.get(), first, "a full shard is swept once a second");
        fill(&facts, 2 * SWEEP_US - 1, &looked);
        assert_eq!(looked.get(), first);
        // All of them are over, and the keys that found no room come first.
        assert_eq!(fill(&facts, 3 * SWEEP_US, &looked), first);
        assert_eq!(looked.get(), 2 * first);
        assert_eq!(facts.count.load(Ordering::Relaxed), first);
    }
}
