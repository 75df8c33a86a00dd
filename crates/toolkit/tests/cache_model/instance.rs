//! An instance of an app: its caches, over a store of its own, on a line of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sangam::cache::{self, Cache, Caches, Coherence, Policy, Settings};
use sangam::store::{Options, Store, Target};
use sangam_rig::proxy::Proxy;
use sangam_rig::redis::Redis;

/// What the store may take before it counts as away.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_millis(200);
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(150);
pub(crate) const DEGRADED: Duration = Duration::from_millis(400);
/// Of the caches whose values are soon stale.
pub(crate) const SHORT: Duration = Duration::from_millis(60);
pub(crate) const STALE: Duration = Duration::from_millis(150);
pub(crate) const FAIL_SAFE: Duration = Duration::from_millis(500);

/// The key, its version, and what makes the value larger.
pub(crate) type Value = (String, u64, String);

/// The kinds of caches.
pub(crate) const PLAIN: usize = 0;
pub(crate) const LASTING: usize = 1;
pub(crate) const CLOSED: usize = 2;
pub(crate) const KINDS: usize = 3;

/// An app's process, until it is started anew.
pub(crate) struct Live {
    /// No two have the same.
    pub(crate) number: u64,
    pub(crate) caches: Caches,
    pub(crate) kinds: [Cache<Value>; KINDS],
}

pub(crate) struct Instance {
    pub(crate) proxy: Proxy,
    place: usize,
    live: RwLock<Arc<Live>>,
}

impl Live {
    async fn start(url: &str, coherence: Coherence, memory: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let options = Options {
            connect_timeout: Duration::from_millis(150),
            command_timeout: STORE_TIMEOUT,
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(40),
            breaker_failures: 2,
            ..Options::default()
        };
        let target = Target::new(url, None, "REDIS_URL", "").unwrap();
        let store = Store::connect(&target, options).await.unwrap();
        let options = cache::Options {
            coherence,
            heartbeat: Some(HEARTBEAT),
            ..cache::Options::default()
        };
        let caches = Caches::with_options(store, &options);
        let settings = Settings {
            memory,
            degraded_ttl: DEGRADED,
            hard_timeout: Duration::from_secs(1),
            store_timeout: STORE_TIMEOUT,
            throttle: Duration::from_millis(50),
            ..Settings::default()
        };
        let plain = settings.clone();
        let lasting = Settings {
            ttl: SHORT,
            stale: STALE,
            fail_safe: FAIL_SAFE,
            eager: Some(0.7),
            soft_timeout: Some(Duration::from_millis(10)),
            store_soft_timeout: Some(Duration::from_millis(40)),
            ..settings.clone()
        };
        let closed = Settings {
            policy: Policy::Closed,
            across: true,
            lease: Duration::from_millis(300),
            fail_safe: FAIL_SAFE,
            ..settings
        };
        Live {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            kinds: [
                caches.cache("plain", plain).unwrap(),
                caches.cache("lasting", lasting).unwrap(),
                caches.cache("closed", closed).unwrap(),
            ],
            caches,
        }
    }

    pub(crate) async fn judge(url: &str) -> Self {
        Live::start(url, Coherence::Poll, 0).await
    }
}

impl Instance {
    pub(crate) async fn start(redis: &Redis, place: usize) -> Self {
        let proxy = Proxy::start(redis.addr());
        let live = launch(&proxy, place).await;
        Instance {
            proxy,
            place,
            live: RwLock::new(Arc::new(live)),
        }
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        self.live.read().clone()
    }

    /// What it had in memory is gone, and what it had not sent.
    pub(crate) async fn start_anew(&self) {
        let live = launch(&self.proxy, self.place).await;
        *self.live.write() = Arc::new(live);
    }
}

async fn launch(proxy: &Proxy, place: usize) -> Live {
    let coherence = match place % 2 {
        0 => Coherence::Push,
        _ => Coherence::Poll,
    };
    // The last ones have room for a few values only.
    let memory = if place < 3 { 1 << 20 } else { 6 << 10 };
    Live::start(&format!("redis://{}", proxy.addr()), coherence, memory).await
}
