//! Caches where what they stand on fails: loaders, the store, the lines to it, and
//! instances in the middle of a load.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod across;
mod away;
mod full;
mod loading;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sangam::cache::{self, Cache, Caches, Coherence, Settings};
use sangam::store::{Options, Store, Target};
use sangam_rig::proxy::{Cut, Proxy};
use sangam_rig::wait::until;

const HEARTBEAT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_mins(10);

/// Caches over a line that soon counts as cut.
async fn caches(url: &str, coherence: Coherence) -> Caches {
    let options = Options {
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(500),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        breaker_failures: 2,
        ..Options::default()
    };
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    let store = Store::connect(&target, options).await.unwrap();
    store.ping().await.unwrap();
    let options = cache::Options {
        coherence,
        heartbeat: Some(HEARTBEAT),
        ..cache::Options::default()
    };
    Caches::with_options(store, &options)
}

fn behind(proxy: &Proxy) -> String {
    format!("redis://{}", proxy.addr())
}

async fn cut_off(proxy: &Proxy) {
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
}

/// Waits until all was sent.
async fn until_sent(caches: &Caches) {
    until("what waits to be sent", || async {
        match caches.report().unsent {
            0 => Ok(()),
            some => Err(format!("{some} wait")),
        }
    })
    .await;
}

/// Waits until a cache reads a number, or nothing.
async fn until_reads(cache: &Cache<u64>, key: &str, wanted: Option<u64>) {
    until("another's change", || async {
        let found = cache.get(key).await.map_err(|it| it.to_string())?;
        let found = found.map(|it| *it);
        (found == wanted).then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
}

/// A loader's doings.
#[derive(Debug, Clone, Default)]
struct Loads(Arc<AtomicU64>);

impl Loads {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Loads a number at once.
    async fn load(&self, cache: &Cache<u64>, key: &str, number: u64) -> cache::Found<u64> {
        let loads = self.clone();
        let loader = move |_| async move {
            loads.one();
            Ok::<_, String>(number)
        };
        cache.get_or_set(key, loader).await.unwrap()
    }

    /// Fails to load.
    async fn fail(
        &self,
        cache: &Cache<u64>,
        key: &str,
    ) -> Result<cache::Found<u64>, cache::CacheError> {
        let loads = self.clone();
        let loader = move |_| async move {
            loads.one();
            Err::<u64, _>("no origin")
        };
        cache.get_or_set(key, loader).await
    }
}

/// Values that do not end by chance.
fn settings() -> Settings {
    Settings {
        jitter: 0.0,
        store_timeout: Duration::from_millis(500),
        ..Settings::default()
    }
}
