//! What could not be sent, for the store was away or the outcome is unknown: it waits
//! here until it can be.
//!
//! Of a key only the newest waits. When the store answers again, everything is replayed
//! and then said on the bus ([`replay`]): a value where nothing newer stands, one that
//! ended meanwhile as deleted; a tag by a new version. Until that is done the store's
//! value of such a key, or of such a tag, is not to be believed here ([`Pending::has_key`],
//! [`Pending::has_tag`]).
//!
//! Invariants:
//!
//! - What waits goes when it was applied and said, when something newer takes its place
//!   here or comes into the store ([`Pending::settled`]), or when the store has refused
//!   it three times, which is logged and counted. A value that is refused waits as a
//!   deletion then, so that what it should have replaced does not come back.
//! - What the store refuses for good ([`passes`]) does not come to wait.
//! - There are at most 10,000 keys and tags, and 32 MiB of them. Beyond, the cache with
//!   the most of them is invalidated as a whole instead: it waits as one tag, which
//!   covers all that waited and all that comes until it is sent. In the form of other
//!   apps there is no such tag: there, what waited is dropped.
//! - It lives in this process: with it, or with the caches, what waits is dropped.
//!
//! In billed commands: 3 a value or a deletion (2 where something newer stands), 1 a tag
//! or a value in the form of other apps, and what the bus costs, once for each cache and
//! 100 of them. Nothing while nothing waits.

mod queue;
mod replay;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use sangam_store::{Error, Status, Store};

use super::bus::{Bus, Change};
use super::gate::Gate;
use super::key::TagId;
use super::value::Stamp;
use crate::background::Background;
use queue::Queue;

/// What a store answers that takes no writes for now, whatever they are.
const NOT_NOW: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "READONLY"];

/// Whether what failed by this may succeed unchanged at another time, or has already.
pub(super) fn passes(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_) | Error::Indeterminate(_))
        || error.code().is_some_and(|code| NOT_NOW.contains(&code))
}

/// What could not be sent of a key.
#[derive(Debug, Clone)]
pub(super) enum Unsent {
    /// A value, in the bytes that the store should have. Once `ends_ms` is over, the key
    /// counts as deleted.
    Value {
        stamp: Stamp,
        bytes: Vec<u8>,
        ends_ms: u64,
    },
    Deleted {
        stamp: Stamp,
    },
}

/// What replaying needs to know of a cache.
#[derive(Debug)]
pub(super) struct PendingCache {
    pub(super) name: Box<str>,
    pub(super) keys: super::key::Keys,
    /// How long the mark of a deleted value stays.
    pub(super) deleted_ms: u64,
    /// How long a tag's version lives.
    pub(super) tag_ms: u64,
    /// Whether values are in the form of other apps.
    pub(super) shared: bool,
}

/// What waits, and the task that sends it.
#[derive(Debug)]
pub(super) struct Pending {
    inner: Arc<Inner>,
    tasks: Background,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    bus: Arc<Bus>,
    queue: Mutex<Queue>,
    /// Which keys in the form of other apps are written or sent.
    gate: Arc<Gate>,
    /// How much is in the queue.
    waiting: AtomicUsize,
    /// The number of the last that came into it.
    last: AtomicU64,
    replayed: AtomicU64,
    dropped: AtomicU64,
}

impl Pending {
    pub(super) fn new(store: Store, bus: Arc<Bus>) -> Self {
        let inner = Inner {
            store,
            bus,
            queue: Mutex::default(),
            gate: Arc::default(),
            waiting: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        Pending {
            inner: Arc::new(inner),
            tasks: Background::default(),
        }
    }

    /// Where replays and writes of other apps' keys wait for each other.
    pub(super) fn gate(&self) -> &Arc<Gate> {
        &self.inner.gate
    }

    /// A key's change waits, instead of any before it.
    pub(super) fn key(&self, cache: &Arc<PendingCache>, key: &str, unsent: Unsent) {
        self.push(|queue| queue.push_key(cache, key, unsent));
    }

    /// A tag is to be invalidated.
    pub(super) fn tag(&self, cache: &Arc<PendingCache>, tag: TagId) {
        self.push(|queue| queue.push_tag(cache, tag));
    }

    /// What waits of a key is not sent any more, for something newer is on its way. Only
    /// the form of other apps needs that; elsewhere a replay sees that it is older.
    pub(super) fn forget(&self, cache: &str, key: &str) {
        if self.len() > 0 {
            self.inner.change(|queue| queue.remove_key(cache, key));
        }
    }

    /// The number of the last that came to wait: what a write ends that begins now.
    pub(super) fn last(&self) -> u64 {
        self.inner.last.load(Ordering::Acquire)
    }

    /// The store took a newer change of these than those that waited up to a number.
    pub(super) fn settled(&self, cache: &str, changes: &[Change], last: u64) {
        if self.len() > 0 {
            self.inner
                .change(|queue| queue.settled(cache, changes, last));
        }
    }

    /// Whether the store's value of a key must not be believed.
    pub(super) fn has_key(&self, cache: &str, key: &str) -> bool {
        self.len() > 0 && self.inner.queue.lock().has_key(cache, key)
    }

    /// Whether the store's version of a tag must not be believed.
    pub(super) fn has_tag(&self, cache: &str, tag: TagId) -> bool {
        self.len() > 0 && self.inner.queue.lock().has_tag(cache, tag)
    }

    /// How many keys and tags wait.
    pub(super) fn len(&self) -> usize {
        self.inner.waiting.load(Ordering::Acquire)
    }

    /// How many were sent in the end.
    pub(super) fn replayed(&self) -> u64 {
        self.inner.replayed.load(Ordering::Relaxed)
    }

    /// How many were not: the store refused them, or there were too many for the form of
    /// other apps.
    pub(super) fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, push: impl FnOnce(&mut Queue)) {
        if self.inner.store.states().borrow().status == Status::Disabled {
            return;
        }
        self.inner.change(|queue| {
            push(queue);
            let collapsed = queue.collapse();
            for (cache, lost) in collapsed {
                tracing::warn!(%cache, "too much waits for the store: all of the cache is invalidated");
                self.inner.dropped.fetch_add(lost, Ordering::Relaxed);
            }
        });
        replay::start(&self.inner, &self.tasks);
    }
}

impl Inner {
    fn change<A>(&self, change: impl FnOnce(&mut Queue) -> A) -> A {
        let mut queue = self.queue.lock();
        let outcome = change(&mut queue);
        self.waiting.store(queue.len(), Ordering::Release);
        self.last.store(queue.last(), Ordering::Release);
        outcome
    }
}
