//! The caches of an app.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sangam_store::{Dialect, Status, Store};

use super::bus::Coherence;
use super::cache::Cache;
use super::error::CacheError;
use super::hub::Hub;
use super::inner::Value;
use super::key;
use super::report::Stats;
use super::settings::Settings;

/// What all caches of an app have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What all keys begin with: the app's name, or none.
    pub prefix: String,
    /// How instances hear of each other's writes: by `Push`.
    pub coherence: Coherence,
    /// Within which time a word that was lost is noticed: 5 s, over Upstash, where
    /// commands are billed, 60 s. From a millisecond to an hour.
    pub heartbeat: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            prefix: String::new(),
            coherence: Coherence::Push,
            heartbeat: None,
        }
    }
}

impl Options {
    pub(super) fn heartbeat_over(&self, store: &Store) -> Duration {
        let billed = store.dialect() == Dialect::Upstash;
        let usual = Duration::from_secs(if billed { 60 } else { 5 });
        let longest = Duration::from_hours(1);
        self.heartbeat
            .unwrap_or(usual)
            .clamp(Duration::from_millis(1), longest)
    }
}

/// The caches of an app in this process. Cloning it costs a reference count.
#[derive(Clone)]
pub struct Caches(Arc<Hub>);

impl Caches {
    /// Caches over a store, with the usual options.
    pub fn new(store: Store) -> Self {
        Caches::with_options(store, &Options::default())
    }

    /// Caches over a store.
    pub fn with_options(store: Store, options: &Options) -> Self {
        Caches(Arc::new(Hub::new(store, options)))
    }

    /// The cache of a name. Instances and caches that use one name share its values,
    /// and should have the same settings. Each call makes one with memory of its own: keep
    /// it, and clone it.
    pub fn cache<T: Value>(&self, name: &str, settings: Settings) -> Result<Cache<T>, CacheError> {
        key::check_name(name)?;
        settings.check()?;
        Ok(Cache::new(&self.0, name, settings))
    }

    /// The store that they are over.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Waits until all that could not be sent is, but no longer than `patience`; whether
    /// it is. What is not sent goes with the process.
    pub async fn flush(&self, patience: Duration) -> bool {
        let all_sent = async {
            while self.0.pending.len() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, all_sent).await.is_ok()
    }

    /// What they did and hold.
    pub fn report(&self) -> Report {
        let state = self.0.store.state();
        Report {
            connected: matches!(state.status, Status::Up | Status::Slow),
            reason: state.reason,
            unsent: self.0.pending.len() as u64,
            replayed: self.0.pending.replayed(),
            dropped: self.0.pending.dropped(),
            commands: self.0.bus.commands(),
            caches: self.0.stats(),
        }
    }
}

impl fmt::Debug for Caches {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Caches").field(&self.0).finish()
    }
}

/// How the caches of a process are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the store answers. Where it does not, values come out of memory and
    /// from loaders.
    pub connected: bool,
    /// Why it does not.
    pub reason: String,
    /// Keys and tags whose change waits to be sent.
    pub unsent: u64,
    /// Those that were sent later.
    pub replayed: u64,
    /// Those that never were, for the store refused them, or for there were too many.
    pub dropped: u64,
    /// Commands that comparing memory with the store took.
    pub commands: u64,
    /// Each cache, by name.
    pub caches: Vec<(String, Stats)>,
}

impl Report {
    /// All caches together.
    pub fn total(&self) -> Stats {
        let all = self.caches.iter().map(|(_, stats)| stats);
        let mut total = all.fold(Stats::default(), |sum, stats| sum.plus(stats));
        total.commands += self.commands;
        total
    }
}
