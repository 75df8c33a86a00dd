//! The caches of a server. Those that the settings name are there from its start; others
//! come with their first use, and the one that was used least goes where too many would
//! be, if it has nothing in memory or nobody used it for an hour. What goes is memory and
//! counts alone: the values are in the store. Where none can go, the next one is made for
//! each request and has no memory: so whoever may call can fill what caches of any name
//! may take, and never keep others from reading, writing or invalidating.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sangam::cache::{Cache, CacheError, Caches, Options, Report, Settings, check_name};
use sangam_store::Store;

use super::document::Document;
use super::metrics;
use crate::config::{CacheSettings, Config};
use crate::gateway::Page;

/// After how long without use a cache that has something in memory may go.
const IDLE: Duration = Duration::from_hours(1);

/// The caches of a server.
#[derive(Debug)]
pub struct Caching {
    caches: Caches,
    settings: CacheSettings,
    /// Bytes of a value, which is a body.
    max_value: usize,
    known: RwLock<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    cache: Cache<Document>,
    is_named: bool,
    used_us: AtomicU64,
}

impl Caching {
    /// Caches over a store, as the settings say.
    pub fn new(store: Store, config: &Config) -> Self {
        let options = Options {
            prefix: config.prefix.clone(),
            coherence: config.caches.coherence,
            heartbeat: config.caches.heartbeat,
        };
        let caching = Caching {
            caches: Caches::with_options(store, &options),
            settings: config.caches.clone(),
            max_value: config.max_request_size,
            known: RwLock::default(),
        };
        for name in config.caches.named.keys() {
            if let Err(error) = caching.cache(name) {
                tracing::warn!("cache {name:?} cannot be: {error}");
            }
        }
        caching
    }

    /// The cache of a name.
    pub(in crate::api) fn cache(&self, name: &str) -> Result<Cache<Document>, CacheError> {
        let now = self.caches.store().now();
        if let Some(known) = self.known.read().get(name) {
            known.used_us.store(now, Ordering::Relaxed);
            return Ok(known.cache.clone());
        }
        check_name(name)?;
        let mut all = self.known.write();
        // Somebody else may have been here meanwhile.
        if let Some(known) = all.get(name) {
            return Ok(known.cache.clone());
        }
        let named = self.settings.named.get(name);
        let stays = named.is_some() || self.makes_room(&mut all, now);
        let settings = named.unwrap_or(&self.settings.others);
        let settings = Settings {
            max_value: settings.max_value.min(self.max_value),
            memory: if stays { settings.memory } else { 0 },
            ..settings.clone()
        };
        let cache = self.caches.cache(name, settings)?;
        if stays {
            let known = Known {
                cache: cache.clone(),
                is_named: named.is_some(),
                used_us: AtomicU64::new(now),
            };
            all.insert(name.to_owned(), known);
        }
        Ok(cache)
    }

    /// Makes room for one more cache that the settings do not name; whether there is any.
    fn makes_room(&self, all: &mut HashMap<String, Known>, now: u64) -> bool {
        let others = all.values().filter(|known| !known.is_named).count();
        if others < self.settings.others_max {
            return true;
        }
        let idle_since = now.saturating_sub(IDLE.as_micros() as u64);
        let used = |known: &Known| known.used_us.load(Ordering::Relaxed);
        let may_go = |known: &Known| {
            !known.is_named && (used(known) < idle_since || known.cache.stats().items == 0)
        };
        let candidates = all.iter().filter(|(_, known)| may_go(known));
        let oldest = candidates.min_by_key(|(_, known)| used(known));
        let oldest = oldest.map(|(name, _)| name.clone());
        oldest.is_some_and(|name| all.remove(&name).is_some())
    }

    /// The store's time, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        self.caches.store().now()
    }

    pub(in crate::api) fn report(&self) -> Report {
        self.caches.report()
    }

    pub(crate) fn metrics(&self, page: &mut Page) {
        metrics::write(&self.report(), page);
    }
}
