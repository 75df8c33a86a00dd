//! What was written when, and how old an answer may be for it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sangam::cache::{Found, Reach};
use tokio::time::Instant;

use crate::instance::{
    DEGRADED, FAIL_SAFE, HEARTBEAT, KINDS, LASTING, PLAIN, SHORT, STALE, STORE_TIMEOUT, Value,
};

/// How old an answer may be.
pub(crate) const BOUND: Duration = HEARTBEAT.saturating_add(Duration::from_millis(50));
/// The same of one that says that it is degraded: it was loaded, and then the store took
/// all its time to refuse it.
const BOUND_DEGRADED: Duration = BOUND.saturating_add(DEGRADED).saturating_add(
    STORE_TIMEOUT
        .saturating_mul(2)
        .saturating_add(Duration::from_millis(100)),
);
/// What a busy machine may take between looking at the clock and answering.
const SLACK: Duration = Duration::from_millis(500);
pub(crate) const KEYS: usize = 10;
/// Keys that share a tag.
pub(crate) const GROUP: usize = 5;
const EVENTS: usize = 24;
const FAILURES: usize = 5;

/// A key of a kind of cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) kind: usize,
    pub(crate) place: usize,
}

impl Slot {
    pub(crate) fn key(self) -> String {
        format!("key{}", self.place)
    }

    pub(crate) fn tags(self) -> [String; 2] {
        [
            format!("group{}", self.place / GROUP),
            format!("only{}", self.place),
        ]
    }
}

pub(crate) fn slots() -> impl Iterator<Item = Slot> {
    (0..KINDS).flat_map(|kind| (0..KEYS).map(move |place| Slot { kind, place }))
}

/// What is known of a key.
#[derive(Default)]
struct Known {
    /// The origin's version.
    version: u64,
    /// The newest that each process wrote itself.
    own: HashMap<u64, u64>,
    /// What all were told, and since when.
    told: Vec<(Instant, u64)>,
    /// What a process has not sent: its number, the version, since when.
    unsent: Vec<(u64, u64, Instant)>,
    events: VecDeque<(Instant, String)>,
}

pub(crate) struct Oracle {
    began: Instant,
    known: Vec<Mutex<Known>>,
    /// Held by who writes.
    turns: Vec<tokio::sync::Mutex<()>>,
    failures: Mutex<Vec<String>>,
    reads: AtomicU64,
    stale: AtomicU64,
    degraded: AtomicU64,
    writes: AtomicU64,
    late: AtomicU64,
}

/// What is known as a read begins.
pub(crate) struct Asked {
    slot: Slot,
    at: Instant,
    own: u64,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Oracle {
            began: Instant::now(),
            known: slots().map(|_| Mutex::default()).collect(),
            turns: slots().map(|_| tokio::sync::Mutex::default()).collect(),
            failures: Mutex::default(),
            reads: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            degraded: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    fn known(&self, slot: Slot) -> &Mutex<Known> {
        &self.known[slot.kind * KEYS + slot.place]
    }

    pub(crate) async fn turn(&self, slot: Slot) -> tokio::sync::MutexGuard<'_, ()> {
        self.turns[slot.kind * KEYS + slot.place].lock().await
    }

    /// What the origin has.
    pub(crate) fn origin(&self, slot: Slot) -> u64 {
        self.known(slot).lock().version
    }

    /// Makes the origin newer.
    pub(crate) fn change(&self, slot: Slot, how: &str) -> u64 {
        let mut known = self.known(slot).lock();
        known.version += 1;
        let version = known.version;
        known.note(format!("{how}: version {version}"));
        version
    }

    pub(crate) fn note(&self, slot: Slot, text: String) {
        self.known(slot).lock().note(text);
    }

    /// A call that told of a version returned.
    pub(crate) fn told(&self, slot: Slot, process: u64, version: u64, reach: Reach) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let mut known = self.known(slot).lock();
        let now = Instant::now();
        let own = known.own.entry(process).or_default();
        *own = version.max(*own);
        match reach {
            Reach::Everywhere => known.told.push((now, version)),
            Reach::Here => {
                self.late.fetch_add(1, Ordering::Relaxed);
                known.unsent.push((process, version, now));
            }
        }
        known.note(format!(
            "version {version} by process {process} reached {reach:?}"
        ));
    }

    /// The store was seen to have a version.
    pub(crate) fn is_stored(&self, slot: Slot, version: u64) {
        let mut known = self.known(slot).lock();
        known.told.push((Instant::now(), version));
        known.note(format!("version {version} is in the store all the same"));
    }

    /// A process had nothing to send at a moment.
    pub(crate) fn sent(&self, process: u64, at: Instant) {
        for slot in slots() {
            let mut known = self.known(slot).lock();
            if known.unsent.is_empty() {
                continue;
            }
            let (sent, rest) = std::mem::take(&mut known.unsent)
                .into_iter()
                .partition(|(by, _, since)| *by == process && *since < at);
            let sent: Vec<(u64, u64, Instant)> = sent;
            known.unsent = rest;
            for (_, version, _) in sent {
                known.told.push((Instant::now(), version));
                known.note(format!("version {version} was sent by process {process}"));
            }
        }
    }

    /// A read begins.
    pub(crate) fn asked(&self, slot: Slot, process: u64) -> Asked {
        let known = self.known(slot).lock();
        Asked {
            slot,
            own: known.own.get(&process).copied().unwrap_or(0),
            at: Instant::now(),
        }
    }

    /// A read ended with an answer.
    pub(crate) fn answered(&self, asked: &Asked, who: &str, found: &Found<Value>) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let slot = asked.slot;
        let (key, version, _) = &**found;
        if *key != slot.key() {
            self.fail(
                slot,
                &format!("{who} got the value of another key: {found:?}"),
            );
        }
        if found.stale {
            self.stale.fetch_add(1, Ordering::Relaxed);
        }
        let bound = if found.degraded {
            self.degraded.fetch_add(1, Ordering::Relaxed);
            BOUND_DEGRADED
        } else {
            BOUND
        };
        if *version < asked.own {
            let text = format!("it had written {} itself", asked.own);
            self.fail(slot, &self.blame(asked, who, found, &text));
        }
        let known = self.known(slot).lock();
        let told = known
            .told
            .iter()
            .filter(|(since, _)| *since + bound <= asked.at);
        let newest = told.max_by_key(|(_, version)| *version).copied();
        drop(known);
        if let Some((since, newest)) = newest
            && *version < newest
        {
            let text = format!("{newest} was told {:?} before", asked.at - since);
            self.fail(slot, &self.blame(asked, who, found, &text));
        }
        let (ttl, window) = match slot.kind {
            LASTING => (SHORT, STALE.max(FAIL_SAFE)),
            PLAIN => (Duration::from_mins(5), Duration::ZERO),
            _ => (Duration::from_mins(5), FAIL_SAFE),
        };
        let lives = if found.stale { ttl + window } else { ttl };
        if found.age > lives + SLACK || (found.stale && window.is_zero()) {
            self.fail(slot, &self.blame(asked, who, found, "it is too old"));
        }
    }

    fn blame(&self, asked: &Asked, who: &str, found: &Found<Value>, text: &str) -> String {
        let version = found.1;
        let at = asked.at - self.began;
        format!(
            "{who}, asking at {at:?}, got {version} ({:?}, stale {}, degraded {}, age {:?}): {text}",
            found.source, found.stale, found.degraded, found.age
        )
    }

    pub(crate) fn fail(&self, slot: Slot, text: &str) {
        let mut failures = self.failures.lock();
        if failures.len() >= FAILURES {
            return;
        }
        let known = self.known(slot).lock();
        let events = known.events.iter();
        let events = events.map(|(at, event)| format!("    {:?} {event}", *at - self.began));
        let events: Vec<String> = events.collect();
        failures.push(format!("{slot:?}: {text}\n{}", events.join("\n")));
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.failures.lock().is_empty()
    }

    pub(crate) fn verdict(&self) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{} answers, of them {} stale and {} degraded; {} writes, of them {} sent later",
            count(&self.reads),
            count(&self.stale),
            count(&self.degraded),
            count(&self.writes),
            count(&self.late),
        );
        let failures = self.failures.lock();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        for (counter, what) in [
            (&self.reads, "nothing was read"),
            (&self.stale, "nothing was stale"),
            (&self.degraded, "no store was away"),
            (&self.late, "every write reached the store at once"),
        ] {
            assert!(count(counter) > 0, "{what}");
        }
    }
}

impl Known {
    fn note(&mut self, text: String) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((Instant::now(), text));
    }
}
