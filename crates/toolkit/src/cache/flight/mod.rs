//! Single flight: of those who miss one key at once, one loads, and the others wait for
//! what it finds.
//!
//! The one that loads is a task of its own, so that no caller's end ends it. A flight
//! may answer before it is over, with a stale value; who comes then gets that too. A
//! write of its key detaches it: those who wait get its answer, those who come later
//! begin another.

mod across;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::CacheError;
use super::found::Source;
use super::memory::Held;
pub(super) use across::{Claim, claim};

const SHARDS: usize = 16;

/// What a flight found.
#[derive(Debug)]
pub(super) struct Landed<T> {
    pub(super) held: Held<T>,
    pub(super) source: Source,
    pub(super) stale: bool,
    pub(super) degraded: bool,
}

impl<T> Clone for Landed<T> {
    fn clone(&self) -> Self {
        Landed {
            held: self.held.clone(),
            ..*self
        }
    }
}

pub(super) type Outcome<T> = Result<Landed<T>, CacheError>;
type Shard<T> = Mutex<HashMap<Box<str>, Waiting<T>, ahash::RandomState>>;

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    outcome: watch::Receiver<Option<Outcome<T>>>,
}

/// The flights of one cache.
#[derive(Debug)]
pub(super) struct Flights<T> {
    shards: Arc<[Shard<T>]>,
    hasher: ahash::RandomState,
    begun: AtomicU64,
}

/// Who waits for a flight.
pub(super) struct Follower<T>(watch::Receiver<Option<Outcome<T>>>);

/// Who loads; dropping it ends the flight.
pub(super) struct Leader<T> {
    shards: Arc<[Shard<T>]>,
    shard: usize,
    key: Box<str>,
    number: u64,
    outcome: watch::Sender<Option<Outcome<T>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights {
            shards: (0..SHARDS).map(|_| Shard::<T>::default()).collect(),
            hasher: ahash::RandomState::new(),
            begun: AtomicU64::new(0),
        }
    }
}

impl<T> Flights<T> {
    fn shard(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) as usize) % SHARDS
    }

    /// Joins the key's flight, or begins one.
    pub(super) fn join(&self, key: &str) -> (Follower<T>, Option<Leader<T>>) {
        let shard = self.shard(key);
        let mut flights = self.shards[shard].lock();
        if let Some(waiting) = flights.get(key) {
            return (Follower(waiting.outcome.clone()), None);
        }
        let (sender, receiver) = watch::channel(None);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting {
            number,
            outcome: receiver.clone(),
        };
        flights.insert(key.into(), waiting);
        let leader = Leader {
            shards: self.shards.clone(),
            shard,
            key: key.into(),
            number,
            outcome: sender,
        };
        (Follower(receiver), Some(leader))
    }

    /// Nobody joins the key's flight any more.
    pub(super) fn detach(&self, key: &str) {
        self.shards[self.shard(key)].lock().remove(key);
    }

    /// Nobody joins any flight any more.
    pub(super) fn detach_all(&self) {
        for shard in &*self.shards {
            shard.lock().clear();
        }
    }
}

impl<T> Follower<T> {
    /// What the flight found.
    pub(super) async fn outcome(mut self) -> Outcome<T> {
        let found = self.0.wait_for(Option::is_some).await;
        // Without an outcome it ended with its runtime.
        let outcome = found.ok().and_then(|found| found.clone());
        outcome.unwrap_or(Err(CacheError::Runtime))
    }
}

impl<T> Leader<T> {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether who waits was told already.
    pub(super) fn has_landed(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Tells all who wait; the first answer stays. Who comes now begins another flight.
    pub(super) fn land(&self, outcome: Outcome<T>) {
        self.leave();
        self.answer(outcome);
    }

    /// Tells all who wait, and who comes until it lands; the first answer stays.
    pub(super) fn answer(&self, outcome: Outcome<T>) {
        self.outcome.send_if_modified(|landed| {
            let first = landed.is_none();
            if first {
                *landed = Some(outcome);
            }
            first
        });
    }

    fn leave(&self) {
        let mut flights = self.shards[self.shard].lock();
        if flights
            .get(&*self.key)
            .is_some_and(|it| it.number == self.number)
        {
            flights.remove(&*self.key);
        }
    }
}

impl<T> Drop for Leader<T> {
    fn drop(&mut self) {
        self.leave();
    }
}
