//! What caches did, in numbers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What one cache did in this process since it began, and what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that found a value in memory.
    pub memory_hits: u64,
    /// Reads that found one in the store.
    pub store_hits: u64,
    /// Reads that found that there is nothing, remembered.
    pub negative_hits: u64,
    /// Reads that found none; a loader was asked, if there was one.
    pub misses: u64,
    /// Of all reads, those that got a value whose time is over.
    pub stale: u64,
    /// Of all reads, those that the store could not confirm.
    pub degraded: u64,
    /// Of all reads, those that waited for another's load.
    pub coalesced: u64,
    /// Loaders that ran.
    pub loads: u64,
    /// Of those, the ones that began while a value was served: ahead of its end, or
    /// stale.
    pub refreshes: u64,
    /// Loaders that failed or panicked.
    pub load_failures: u64,
    /// Loaders that did not end in time.
    pub load_timeouts: u64,
    /// Values that were written, or said to be nothing, by calls.
    pub sets: u64,
    /// Keys that were deleted by calls.
    pub deletes: u64,
    /// Tags that were invalidated by calls, and whole caches.
    pub invalidations: u64,
    /// Keys and tags that other instances invalidated.
    pub heard: u64,
    /// Values in the store that could not be read: of another version, type or
    /// compression, or damaged.
    pub unreadable: u64,
    /// Loaded values that were too large to be kept.
    pub oversized: u64,
    /// Loaded values that were not kept, for they were overtaken by a write.
    pub overtaken: u64,
    /// Commands that were sent to the store for this cache. Those of scripts that ran
    /// are counted as the store bills them.
    pub commands: u64,
    /// Bytes of values before compression, as they were written.
    pub bytes_plain: u64,
    /// Bytes of the same values as they were sent.
    pub bytes_sent: u64,
    /// The sum of the ages of values that were served, in milliseconds.
    pub age_ms: u64,
    /// Values in memory now.
    pub items: u64,
    /// Bytes of memory that they take now.
    pub bytes: u64,
}

impl Stats {
    /// The share of reads that found something, from 0 to 1; 0 where nothing was read.
    pub fn hit_rate(&self) -> f64 {
        let hits = self.memory_hits + self.store_hits + self.negative_hits;
        let reads = hits + self.misses;
        if reads == 0 {
            return 0.0;
        }
        hits as f64 / reads as f64
    }

    /// The mean age of values that were served, in milliseconds.
    pub fn mean_age_ms(&self) -> u64 {
        let served = self.memory_hits + self.store_hits;
        self.age_ms.checked_div(served).unwrap_or(0)
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Stats {
            memory_hits: self.memory_hits + other.memory_hits,
            store_hits: self.store_hits + other.store_hits,
            negative_hits: self.negative_hits + other.negative_hits,
            misses: self.misses + other.misses,
            stale: self.stale + other.stale,
            degraded: self.degraded + other.degraded,
            coalesced: self.coalesced + other.coalesced,
            loads: self.loads + other.loads,
            refreshes: self.refreshes + other.refreshes,
            load_failures: self.load_failures + other.load_failures,
            load_timeouts: self.load_timeouts + other.load_timeouts,
            sets: self.sets + other.sets,
            deletes: self.deletes + other.deletes,
            invalidations: self.invalidations + other.invalidations,
            heard: self.heard + other.heard,
            unreadable: self.unreadable + other.unreadable,
            oversized: self.oversized + other.oversized,
            overtaken: self.overtaken + other.overtaken,
            commands: self.commands + other.commands,
            bytes_plain: self.bytes_plain + other.bytes_plain,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            age_ms: self.age_ms + other.age_ms,
            items: self.items + other.items,
            bytes: self.bytes + other.bytes,
        }
    }

    /// Bytes that compression saved.
    pub fn bytes_saved(&self) -> u64 {
        self.bytes_plain.saturating_sub(self.bytes_sent)
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    MemoryHits,
    AgeMs,
    StoreHits,
    NegativeHits,
    Misses,
    Stale,
    Degraded,
    Coalesced,
    Loads,
    Refreshes,
    LoadFailures,
    LoadTimeouts,
    Sets,
    Deletes,
    Invalidations,
    Heard,
    Unreadable,
    Oversized,
    Overtaken,
    Commands,
    BytesPlain,
    BytesSent,
}

const COUNTS: usize = Count::BytesSent as usize + 1;
const LANES: usize = 8;

/// Counters in lanes, so that threads do not share cache lines.
#[derive(Debug, Default)]
pub(super) struct Counters(Box<[Lane; LANES]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane([AtomicU64; COUNTS]);

impl Counters {
    #[inline]
    pub(super) fn add(&self, count: Count, number: u64) {
        self.0[lane()].0[count as usize].fetch_add(number, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn one(&self, count: Count) {
        self.add(count, 1);
    }

    /// A value out of memory of such an age.
    #[inline]
    pub(super) fn hit(&self, age_ms: u64) {
        let lane = &self.0[lane()].0;
        lane[Count::MemoryHits as usize].fetch_add(1, Ordering::Relaxed);
        lane[Count::AgeMs as usize].fetch_add(age_ms, Ordering::Relaxed);
    }

    fn sum(&self, count: Count) -> u64 {
        let lanes = self.0.iter();
        lanes
            .map(|lane| lane.0[count as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// All of them; memory is not counted here.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            memory_hits: self.sum(Count::MemoryHits),
            store_hits: self.sum(Count::StoreHits),
            negative_hits: self.sum(Count::NegativeHits),
            misses: self.sum(Count::Misses),
            stale: self.sum(Count::Stale),
            degraded: self.sum(Count::Degraded),
            coalesced: self.sum(Count::Coalesced),
            loads: self.sum(Count::Loads),
            refreshes: self.sum(Count::Refreshes),
            load_failures: self.sum(Count::LoadFailures),
            load_timeouts: self.sum(Count::LoadTimeouts),
            sets: self.sum(Count::Sets),
            deletes: self.sum(Count::Deletes),
            invalidations: self.sum(Count::Invalidations),
            heard: self.sum(Count::Heard),
            unreadable: self.sum(Count::Unreadable),
            oversized: self.sum(Count::Oversized),
            overtaken: self.sum(Count::Overtaken),
            commands: self.sum(Count::Commands),
            bytes_plain: self.sum(Count::BytesPlain),
            bytes_sent: self.sum(Count::BytesSent),
            age_ms: self.sum(Count::AgeMs),
            items: 0,
            bytes: 0,
        }
    }
}

/// This thread's lane.
#[inline]
fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
    }
    MINE.with(|mine| *mine)
}
