//! Single flight: of those who miss one key at once, one loads, and the others wait for
//! what it finds.
//!
//! The one that loads is a task of its own, so that no caller's end ends it. A flight
//! may answer before it is over, with a value that was there; who comes then gets that
//! too, for as long as it may be served. A write of its key detaches it: those who wait
//! get its answer, those who come later begin another.

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

/// What a flight said so far.
#[derive(Debug)]
enum Said<T> {
    Nothing,
    /// Before it was over; `late`, for it takes longer than callers wait.
    Answer {
        landed: Landed<T>,
        late: bool,
    },
    Outcome(Outcome<T>),
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    said: watch::Receiver<Said<T>>,
}

/// The flights of one cache.
#[derive(Debug)]
pub(super) struct Flights<T> {
    shards: Arc<[Shard<T>]>,
    hasher: ahash::RandomState,
    begun: AtomicU64,
}

/// Who waits for a flight.
pub(super) struct Follower<T>(watch::Receiver<Said<T>>);

/// Who loads; dropping it ends the flight.
pub(super) struct Leader<T> {
    shards: Arc<[Shard<T>]>,
    shard: usize,
    key: Box<str>,
    number: u64,
    said: watch::Sender<Said<T>>,
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
            return (Follower(waiting.said.clone()), None);
        }
        let (sender, receiver) = watch::channel(Said::Nothing);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting {
            number,
            said: receiver.clone(),
        };
        flights.insert(key.into(), waiting);
        let leader = Leader {
            shards: self.shards.clone(),
            shard,
            key: key.into(),
            number,
            said: sender,
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
    /// What the flight found, or what it answered before, if that `fits`: it is told
    /// whether the answer came since the flight is late. And whether the flight is over.
    pub(super) async fn outcome(
        mut self,
        fits: impl Fn(&Landed<T>, bool) -> bool,
    ) -> Result<(Landed<T>, bool), CacheError> {
        let ready = |said: &Said<T>| match said {
            Said::Nothing => false,
            Said::Answer { landed, late } => fits(landed, *late),
            Said::Outcome(_) => true,
        };
        match self.0.wait_for(ready).await.as_deref() {
            Ok(Said::Answer { landed, .. }) => Ok((landed.clone(), false)),
            Ok(Said::Outcome(outcome)) => outcome.clone().map(|landed| (landed, true)),
            // Without an outcome it ended with its runtime.
            Ok(Said::Nothing) | Err(_) => Err(CacheError::Runtime),
        }
    }
}

impl<T> Leader<T> {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it answered already.
    pub(super) fn has_answered(&self) -> bool {
        !matches!(&*self.said.borrow(), Said::Nothing)
    }

    /// Tells all who wait what came of it. Who comes now begins another flight.
    pub(super) fn land(&self, outcome: Outcome<T>) {
        self.leave();
        self.said.send_replace(Said::Outcome(outcome));
    }

    /// Answers with a value that was there, before it is over.
    pub(super) fn answer(&self, landed: Landed<T>) {
        let late = false;
        self.said.send_replace(Said::Answer { landed, late });
    }

    /// The same, for it takes longer than callers wait.
    pub(super) fn answer_late(&self, landed: Landed<T>) {
        let late = true;
        self.said.send_replace(Said::Answer { landed, late });
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
