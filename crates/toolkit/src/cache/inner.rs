//! One cache: its two tiers, and what a read finds in each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bus::{Change, Changes};
use super::error::CacheError;
use super::flight::Flights;
use super::found::{Found, Source};
use super::hub::{Hub, Member};
use super::key::{Keys, TagId};
use super::memory::{Content, Entry, Held, Memory, Meta};
use super::pending::PendingCache;
use super::report::{Count, Counters, Stats};
use super::settings::Settings;
use super::tags::Tags;

pub(super) struct Inner<T> {
    pub(super) name: Box<str>,
    pub(super) settings: Settings,
    pub(super) keys: Keys,
    pub(super) hub: Arc<Hub>,
    pub(super) memory: Memory<T>,
    pub(super) tags: Tags,
    pub(super) flights: Flights<T>,
    pub(super) counters: Counters,
    pub(super) unsent: Arc<PendingCache>,
    itself: Weak<Inner<T>>,
}

/// What memory has of a key.
pub(super) enum Look<T> {
    /// A value that may be served.
    Fresh(Held<T>),
    /// The same, and it should be loaded anew meanwhile.
    Eager(Held<T>),
    /// A value that may be served stale while it is loaded anew.
    Stale(Held<T>),
    /// One that may be served only if there is nothing better: where loading fails, or
    /// the store is away.
    Doubtful(Held<T>),
    /// None.
    Nothing,
}

/// What a cache can hold: any type that serde reads and writes.
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

impl<T: Value> Inner<T> {
    pub(super) fn new(hub: &Arc<Hub>, name: &str, settings: Settings) -> Arc<Self> {
        let shared = settings.shared.as_ref();
        let keys = Keys::new(&hub.prefix, name, shared.map(|it| it.prefix.as_str()));
        let grace = settings.grace();
        let unsent = PendingCache {
            name: name.into(),
            keys: keys.clone(),
            deleted_ms: settings.longest_load().as_millis() as u64,
            tag_ms: tag_ttl(settings.ttl + grace).as_millis() as u64,
            shared: settings.shared.is_some(),
        };
        let inner = Arc::new_cyclic(|itself: &Weak<Self>| Inner {
            name: name.into(),
            keys,
            memory: Memory::new(settings.memory),
            tags: Tags::default(),
            flights: Flights::default(),
            counters: Counters::default(),
            unsent: Arc::new(unsent),
            itself: itself.clone(),
            hub: hub.clone(),
            settings,
        });
        let member: Weak<dyn Member> = inner.itself.clone();
        hub.enlist(member, name);
        inner
    }

    pub(super) fn now(&self) -> u64 {
        self.hub.store.now()
    }

    pub(super) fn is_shared(&self) -> bool {
        self.settings.shared.is_some()
    }

    /// A value out of memory that needs nothing else: the way that most reads take.
    #[inline]
    pub(super) fn hit(&self, key: &str) -> Option<Found<T>> {
        let Held::Value(entry) = self.memory.get(key)? else {
            return None;
        };
        let now = self.now();
        let degraded = entry.is_degraded();
        let trusted = degraded || self.hub.bus.is_fresh(now);
        if !(trusted && entry.is_fresh(now) && entry.holds(&self.tags)) {
            return None;
        }
        let age = now.saturating_sub(entry.made_us());
        if degraded {
            self.counters.one(Count::Degraded);
        }
        self.counters.hit(age / 1000);
        Some(Found {
            entry,
            source: Source::Memory,
            age: Duration::from_micros(age),
            stale: false,
            degraded,
        })
    }

    /// Whether what is in memory is known to be what the store has, within the
    /// heartbeat.
    pub(super) fn is_trusted(&self, now: u64) -> bool {
        self.hub.bus.is_trusted(now)
    }

    /// What memory has of a key, all cases told apart.
    pub(super) fn look(&self, key: &str, now: u64) -> Look<T> {
        let Some(held) = self.memory.get(key) else {
            return Look::Nothing;
        };
        let meta = held.meta();
        if !meta.holds() || now >= meta.ends_us {
            self.memory.remove(key, &held);
            return Look::Nothing;
        }
        if !meta.degraded && !self.is_trusted(now) {
            return Look::Doubtful(held);
        }
        if now < meta.serve_until_us {
            let retry_us = meta.retry_us.load(Ordering::Relaxed);
            return if now < meta.eager_us || now < retry_us {
                Look::Fresh(held)
            } else {
                Look::Eager(held)
            };
        }
        let since = now.saturating_sub(meta.fresh_until_us);
        if now < meta.fresh_until_us {
            return Look::Doubtful(held);
        }
        if since < micros(self.settings.stale) || now < meta.retry_us.load(Ordering::Relaxed) {
            return Look::Stale(held);
        }
        Look::Doubtful(held)
    }

    /// Whether a value may be served where loading fails.
    pub(super) fn saves(&self, held: &Held<T>, now: u64) -> bool {
        let meta = held.meta();
        let longest = self.settings.fail_safe.max(self.settings.stale);
        meta.holds()
            && now < meta.ends_us
            && now < meta.fresh_until_us.saturating_add(micros(longest))
    }

    /// Until when a value out of the store may be served without a loader.
    pub(super) fn served_until(&self, held: &Held<T>) -> u64 {
        let fresh = held.meta().fresh_until_us;
        fresh.saturating_add(micros(self.settings.stale))
    }

    /// Whether a value in memory may be served though the store is away.
    pub(super) fn outlasts(&self, held: &Held<T>, now: u64) -> bool {
        let meta = held.meta();
        let until = self.hub.bus.verified_until_us();
        let until = until.saturating_add(micros(self.settings.degraded_ttl));
        let fresh = now
            < meta
                .fresh_until_us
                .saturating_add(micros(self.settings.stale));
        meta.holds() && fresh && (meta.degraded || now < until)
    }

    /// Asks the bus whether memory is still what the store has. Whether it is.
    pub(super) async fn verify(&self) -> Result<(), sangam_store::Error> {
        let verify = self.hub.bus.verify();
        self.in_time(verify).await
    }

    /// A call of the store within the time that it may take; none, while the store is
    /// left alone.
    pub(super) async fn in_time<A>(
        &self,
        call: impl Future<Output = Result<A, sangam_store::Error>>,
    ) -> Result<A, sangam_store::Error> {
        if self.hub.store.is_embedded() {
            return call.await;
        }
        let patience = self.settings.store_timeout;
        self.hub.store_is_there(patience)?;
        let called = tokio::time::timeout(patience, call).await;
        let late = sangam_store::Error::Indeterminate(sangam_store::Why::Timeout(patience));
        let outcome = called.unwrap_or(Err(late));
        self.hub.called(&outcome);
        outcome
    }

    /// A value as a caller gets it; none, where there is known to be none.
    pub(super) fn serve(
        &self,
        held: Held<T>,
        source: Source,
        stale: bool,
        degraded: bool,
    ) -> Option<Found<T>> {
        let meta = held.meta();
        let degraded = degraded || (meta.degraded && source == Source::Memory);
        if degraded {
            self.counters.one(Count::Degraded);
        }
        let Held::Value(entry) = held else {
            self.counters.one(match source {
                Source::Loader => Count::Misses,
                _ => Count::NegativeHits,
            });
            return None;
        };
        let age = self.now().saturating_sub(entry.meta.made_us);
        self.counters.one(match source {
            Source::Memory => Count::MemoryHits,
            Source::Store => Count::StoreHits,
            Source::Loader => Count::Misses,
        });
        if source != Source::Loader {
            self.counters.add(Count::AgeMs, age / 1000);
        }
        if stale {
            self.counters.one(Count::Stale);
        }
        Some(Found {
            entry,
            source,
            age: Duration::from_micros(age),
            stale,
            degraded,
        })
    }

    pub(super) fn billed(&self, commands: u64) {
        self.counters.add(Count::Commands, commands);
    }

    /// This cache, for tasks that outlive a call.
    pub(super) fn itself(&self) -> Result<Arc<Self>, CacheError> {
        self.itself.upgrade().ok_or(CacheError::Runtime)
    }

    /// Changes of this cache as the bus says them.
    pub(super) fn changes(&self, changes: Vec<Change>) -> Changes {
        Changes {
            cache: self.name.clone(),
            changes,
        }
    }

    fn forget(&self, change: &Change) {
        match change {
            Change::Key(key) => {
                self.memory.invalidate(key);
                self.flights.detach(key);
            }
            Change::Tag(tag) => self.forget_tag(*tag),
        }
    }

    /// Values of a tag do not hold any more, and nobody joins a load that began before.
    pub(super) fn forget_tag(&self, tag: TagId) {
        self.tags.invalidate(tag);
        self.flights.detach_all();
        if tag == TagId::ALL {
            self.memory.clear();
        }
    }
}

impl<T: Value> Member for Inner<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> Stats {
        Stats {
            items: self.memory.len() as u64,
            bytes: self.memory.bytes(),
            ..self.counters.stats()
        }
    }

    fn apply(&self, changes: &Changes) {
        self.counters
            .add(Count::Heard, changes.changes.len() as u64);
        for change in &changes.changes {
            self.forget(change);
        }
    }

    fn lost(&self) {
        self.tags.invalidate_all();
        self.flights.detach_all();
        self.memory.clear();
    }
}

impl<T> std::fmt::Debug for Inner<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Cache")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<T> Held<T> {
    pub(super) fn new(value: Option<Content<T>>, meta: Meta) -> Self {
        match value {
            Some(value) => Held::Value(Arc::new(Entry::new(value, meta))),
            None => Held::Nothing(Arc::new(meta)),
        }
    }
}

/// How long a tag's version is kept for values that live this long.
pub(super) fn tag_ttl(longest: Duration) -> Duration {
    (2 * longest).max(Duration::from_hours(1))
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Nothing is retried yet.
pub(super) fn never() -> AtomicU64 {
    AtomicU64::new(0)
}
