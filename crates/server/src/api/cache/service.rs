//! The caches of a server. Those that the settings name are there from its start; others
//! come with their first use, and the one that was used least goes where too many would
//! be, if it has nothing in memory or nobody used it for an hour. What goes is memory and
//! counts alone: the values are in the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use parking_lot::RwLock;
use sangam::cache::{Cache, Caches, Options, Report, Settings, Stats, check_name};
use sangam_store::{Status, Store};

use super::document::Document;
use crate::api::problem::Problem;
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
            if let Err(problem) = caching.cache(name) {
                tracing::warn!("cache {name:?} cannot be: {}", problem.detail);
            }
        }
        caching
    }

    /// The cache of a name.
    pub(in crate::api) fn cache(&self, name: &str) -> Result<Cache<Document>, Problem> {
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
        if named.is_none() {
            self.make_room(&mut all, now)?;
        }
        let settings = named.unwrap_or(&self.settings.others);
        let settings = Settings {
            max_value: settings.max_value.min(self.max_value),
            ..settings.clone()
        };
        let known = Known {
            cache: self.caches.cache(name, settings)?,
            is_named: named.is_some(),
            used_us: AtomicU64::new(now),
        };
        let cache = known.cache.clone();
        all.insert(name.to_owned(), known);
        Ok(cache)
    }

    /// Makes room for one more cache that the settings do not name.
    fn make_room(&self, all: &mut HashMap<String, Known>, now: u64) -> Result<(), Problem> {
        let others = all.values().filter(|known| !known.is_named).count();
        let max = self.settings.others_max;
        if others < max {
            return Ok(());
        }
        let idle_since = now.saturating_sub(IDLE.as_micros() as u64);
        let used = |known: &Known| known.used_us.load(Ordering::Relaxed);
        let may_go = |known: &Known| {
            !known.is_named && (used(known) < idle_since || known.cache.stats().items == 0)
        };
        let candidates = all.iter().filter(|(_, known)| may_go(known));
        let oldest = candidates.min_by_key(|(_, known)| used(known));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else {
            let detail = format!(
                "{others} caches are in use that the settings do not name, as many as setting \
                 `others-max` of `[caches]` allows: name this one, or raise it"
            );
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail));
        };
        all.remove(&name);
        Ok(())
    }

    /// Whether the store is known to be away.
    pub(super) fn is_away(&self) -> bool {
        let state = self.caches.store().state();
        matches!(state.status, Status::Down | Status::Disabled)
    }

    /// The store's time, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        self.caches.store().now()
    }

    pub(super) fn report(&self) -> Report {
        self.caches.report()
    }

    pub(crate) fn metrics(&self, page: &mut Page) {
        let report = self.report();
        page.gauge(
            "sangam_cache_connected",
            "1 while the store answers; else values come out of memory alone.",
            &[],
            u8::from(report.connected),
        );
        page.gauge(
            "sangam_cache_unsent",
            "Keys and tags whose change waits for the store.",
            &[],
            report.unsent as f64,
        );
        page.counter(
            "sangam_cache_verify_commands_total",
            "Commands that comparing memory with the store took, as the store bills them.",
            &[],
            report.commands,
        );
        for (name, stats) in &report.caches {
            one(page, name, stats);
        }
    }
}

/// What is counted of a cache besides its hits.
const COUNTED: [(&str, &str, fn(&Stats) -> u64); 18] = [
    (
        "sangam_cache_misses_total",
        "Reads that found nothing.",
        |it| it.misses,
    ),
    ("sangam_cache_loads_total", "Loaders that ran.", |it| {
        it.loads
    }),
    (
        "sangam_cache_load_failures_total",
        "Loaders that failed, or did not end in time.",
        |it| it.load_failures + it.load_timeouts,
    ),
    (
        "sangam_cache_coalesced_total",
        "Reads that waited for another's load.",
        |it| it.coalesced,
    ),
    (
        "sangam_cache_stale_total",
        "Reads that got a value whose time is over.",
        |it| it.stale,
    ),
    (
        "sangam_cache_degraded_total",
        "Reads that the store could not confirm.",
        |it| it.degraded,
    ),
    (
        "sangam_cache_sets_total",
        "Values that were written by calls.",
        |it| it.sets,
    ),
    (
        "sangam_cache_deletes_total",
        "Keys that were deleted by calls.",
        |it| it.deletes,
    ),
    (
        "sangam_cache_invalidations_total",
        "Tags, and whole caches, that were invalidated by calls.",
        |it| it.invalidations,
    ),
    (
        "sangam_cache_heard_total",
        "Keys and tags that other instances changed.",
        |it| it.heard,
    ),
    (
        "sangam_cache_unreadable_total",
        "Values in the store that could not be read.",
        |it| it.unreadable,
    ),
    (
        "sangam_cache_oversized_total",
        "Loaded values that were too large to be kept.",
        |it| it.oversized,
    ),
    (
        "sangam_cache_overtaken_total",
        "Loaded values that a write overtook.",
        |it| it.overtaken,
    ),
    (
        "sangam_cache_commands_total",
        "Commands for the cache, as the store bills them.",
        |it| it.commands,
    ),
    (
        "sangam_cache_plain_bytes_total",
        "Bytes of values that were written, before compression.",
        |it| it.bytes_plain,
    ),
    (
        "sangam_cache_sent_bytes_total",
        "Bytes of the same values as they were sent.",
        |it| it.bytes_sent,
    ),
    (
        "sangam_cache_saved_bytes_total",
        "Bytes that compression saved.",
        Stats::bytes_saved,
    ),
    (
        "sangam_cache_refreshes_total",
        "Loaders that began while a value was served.",
        |it| it.refreshes,
    ),
];

fn one(page: &mut Page, name: &str, stats: &Stats) {
    for (tier, count) in [
        ("memory", stats.memory_hits),
        ("store", stats.store_hits),
        ("negative", stats.negative_hits),
    ] {
        page.counter(
            "sangam_cache_hits_total",
            "Reads that found something, by where; `negative` is that there is nothing.",
            &[("cache", name), ("tier", tier)],
            count,
        );
    }
    for (metric, help, count) in COUNTED {
        page.counter(metric, help, &[("cache", name)], count(stats));
    }
    page.gauge(
        "sangam_cache_items",
        "Values in memory.",
        &[("cache", name)],
        stats.items as f64,
    );
    page.gauge(
        "sangam_cache_memory_bytes",
        "Memory that they take.",
        &[("cache", name)],
        stats.bytes as f64,
    );
}
