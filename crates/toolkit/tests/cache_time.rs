//! Caches whose time stands still: to the millisecond, until when a value is fresh,
//! stale, of use where loading fails, or believed without asking.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sangam::cache::{
    Cache, CacheError, Caches, Coherence, Found, Loaded, Options, Settings, Shared, Source,
};
use sangam::store::Store;
use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options as EngineOptions};
use sangam_rig::wait::until;

const START_US: u64 = 1_700_000_000_123_456;
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// A minute but for the last millisecond, and half of one.
const NEARLY: Duration = Duration::from_millis(59_999);
const NEARLY_HALF: Duration = Duration::from_millis(29_999);

/// A store and the time there.
struct Still {
    clock: Arc<ManualClock>,
    store: Store,
}

impl Still {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START_US));
        let engine = Engine::new(EngineOptions {
            clock: clock.clone(),
            ..EngineOptions::default()
        });
        Still {
            store: Store::embedded(engine),
            clock,
        }
    }

    fn pass(&self, time: Duration) {
        self.clock.advance_millis(time.as_millis() as u64);
    }

    /// A cache of one more instance.
    fn cache(&self, settings: Settings) -> Cache<u32> {
        let caches = Caches::new(self.store.clone());
        caches.cache("things", settings).unwrap()
    }
}

/// A minute, to the millisecond.
fn minute() -> Settings {
    Settings {
        ttl: MINUTE,
        jitter: 0.0,
        ..Settings::default()
    }
}

/// In memory and in the store, and in the store alone.
fn tiers(settings: Settings) -> [Settings; 2] {
    let bare = Settings {
        memory: 0,
        ..settings.clone()
    };
    [settings, bare]
}

fn ok<V>(value: V) -> Ready<io::Result<V>> {
    ready(Ok(value))
}

fn fails() -> Ready<io::Result<u32>> {
    ready(Err(io::Error::other("no line")))
}

/// The value, whether it is stale, and whether it is degraded.
fn seen(found: Option<Found<u32>>) -> Option<(u32, bool, bool)> {
    found.map(|it| (*it, it.stale, it.degraded))
}

/// Until a load in the background has ended.
async fn becomes(cache: &Cache<u32>, value: u32) {
    until("the new value", async || {
        let found = seen(cache.get("key").await.unwrap());
        let came = found == Some((value, false, false));
        came.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_value_is_fresh_for_its_time_and_gone_after_it() {
    for settings in tiers(minute()) {
        let still = Still::new();
        let cache = still.cache(settings);
        cache.set("key", 1).await.unwrap();
        cache.find("none", |_| ok(None)).await.unwrap();
        still.pass(NEARLY_HALF);
        let found = cache.get("key").await.unwrap().unwrap();
        assert_eq!(found.age, NEARLY_HALF);
        // What the store has is told in milliseconds.
        let left = found.fresh_for(still.store.now());
        assert!(left <= 30 * SECOND + MS && left >= 30 * SECOND, "{left:?}");
        let none = cache.find("none", |_| fails()).await.unwrap();
        assert!(none.is_none());
        still.pass(2 * MS);
        assert!(matches!(
            cache.find("none", |_| fails()).await,
            Err(CacheError::Loader(_))
        ));
        still.pass(Duration::from_millis(29_998));
        assert_eq!(
            seen(cache.get("key").await.unwrap()),
            Some((1, false, false))
        );
        still.pass(MS);
        assert_eq!(seen(cache.get("key").await.unwrap()), None);
        assert!(cache.get_or_set("key", |_| fails()).await.is_err());
    }
}

#[tokio::test]
async fn a_stale_value_is_served_for_its_time_while_it_is_loaded() {
    let settings = Settings {
        stale: MINUTE,
        ..minute()
    };
    for settings in tiers(settings) {
        let still = Still::new();
        let cache = still.cache(settings);
        cache.set("key", 1).await.unwrap();
        still.pass(NEARLY);
        assert_eq!(
            seen(cache.get("key").await.unwrap()),
            Some((1, false, false))
        );
        still.pass(MS);
        assert_eq!(
            seen(cache.get("key").await.unwrap()),
            Some((1, true, false))
        );
        still.pass(NEARLY);
        let found = cache.get_or_set("key", |_| ok(2)).await.unwrap();
        // Out of memory at once; out of the store, unless the load is as quick.
        let at_once = seen(Some(found));
        let quick = at_once == Some((2, false, false)) && cache.settings().memory == 0;
        assert!(quick || at_once == Some((1, true, false)), "{at_once:?}");
        becomes(&cache, 2).await;
        still.pass(2 * MINUTE);
        assert_eq!(seen(cache.get("key").await.unwrap()), None);
        let found = cache.get_or_set("key", |_| ok(3)).await.unwrap();
        assert_eq!(seen(Some(found)), Some((3, false, false)));
    }
}

#[tokio::test]
async fn a_load_that_fails_is_tried_again_after_a_while() {
    let settings = Settings {
        fail_safe: 10 * MINUTE,
        ..minute()
    };
    let still = Still::new();
    let cache = still.cache(settings);
    cache.set("key", 1).await.unwrap();
    still.pass(MINUTE);
    // Nobody loads: it is only there for when that fails.
    assert_eq!(seen(cache.get("key").await.unwrap()), None);
    let loads = Arc::new(AtomicU32::new(0));
    let ask = async || {
        let loads = loads.clone();
        let loader = move |_| {
            loads.fetch_add(1, Ordering::Relaxed);
            fails()
        };
        let found = cache.find("key", loader).await;
        found.map(seen).map_err(|error| error.to_string())
    };
    for (passes, expected) in [(0, 1), (15, 1), (14, 1), (2, 2), (1, 2), (60, 3)] {
        still.pass(passes * SECOND);
        assert_eq!(ask().await, Ok(Some((1, true, false))));
        // What is served stale meanwhile is loaded behind it.
        until("the load", async || match loads.load(Ordering::Relaxed) {
            count if count == expected => Ok(()),
            count => Err(format!("{count} instead of {expected}")),
        })
        .await;
    }
    still.pass(10 * MINUTE);
    assert!(ask().await.is_err(), "its time is over");
    let found = cache.get_or_set("key", |_| ok(2)).await.unwrap();
    assert_eq!(seen(Some(found)), Some((2, false, false)));
}

#[tokio::test]
async fn a_value_is_loaded_ahead_from_its_share_on() {
    let settings = Settings {
        eager: Some(0.9),
        ..minute()
    };
    for settings in tiers(settings) {
        let still = Still::new();
        let cache = still.cache(settings);
        cache.set("key", 1).await.unwrap();
        still.pass(53 * SECOND);
        let found = cache.get_or_set("key", |_| fails()).await.unwrap();
        assert_eq!(seen(Some(found)), Some((1, false, false)));
        assert_eq!(cache.stats().loads, 0);
        still.pass(2 * SECOND);
        let found = cache.get_or_set("key", |_| ok(2)).await.unwrap();
        // Out of memory at once; out of the store, unless the load is as quick.
        let at_once = seen(Some(found));
        let quick = at_once == Some((2, false, false)) && cache.settings().memory == 0;
        assert!(quick || at_once == Some((1, false, false)), "{at_once:?}");
        becomes(&cache, 2).await;
        assert_eq!(cache.stats().loads, 1);
        let found = cache.get("key").await.unwrap().unwrap();
        assert_eq!(found.age, Duration::ZERO);
    }
}

#[tokio::test]
async fn memory_is_asked_for_as_long_as_settings_say() {
    let still = Still::new();
    let shortly = still.cache(Settings {
        memory_ttl: Some(10 * SECOND),
        ..minute()
    });
    let shared = still.cache(Settings {
        shared: Some(Shared {
            prefix: "apart:".to_owned(),
        }),
        ..minute()
    });
    for cache in [&shortly, &shared] {
        assert!(!cache.exists("key").await.unwrap());
        cache.set("key", 1).await.unwrap();
        let source = async || cache.get("key").await.unwrap().unwrap().source;
        still.pass(Duration::from_millis(9_999));
        assert_eq!(source().await, Source::Memory, "{:?}", cache.settings());
        still.pass(MS);
        assert_eq!(source().await, Source::Store);
        assert_eq!(source().await, Source::Memory);
        still.pass(10 * SECOND);
        assert_eq!(source().await, Source::Store);
    }
}

#[tokio::test]
async fn memory_is_believed_for_a_heartbeat() {
    let still = Still::new();
    let instance = |coherence| {
        let options = Options {
            coherence,
            heartbeat: Some(5 * SECOND),
            ..Options::default()
        };
        let caches = Caches::with_options(still.store.clone(), &options);
        caches.cache::<u32>("things", minute()).unwrap()
    };
    let (here, there, apart) = (
        instance(Coherence::Poll),
        instance(Coherence::Poll),
        instance(Coherence::Off),
    );
    let tagged = |value| Loaded::value(value).tags(["tag"]);
    here.set("key", tagged(1)).await.unwrap();
    for cache in [&here, &there, &apart] {
        for _ in 0..2 {
            assert_eq!(*cache.get("key").await.unwrap().unwrap(), 1);
        }
    }
    here.set("key", tagged(2)).await.unwrap();
    assert_eq!(*here.get("key").await.unwrap().unwrap(), 2);
    still.pass(5 * SECOND);
    assert_eq!(*there.get("key").await.unwrap().unwrap(), 2);
    here.invalidate_tag("tag").await.unwrap();
    still.pass(5 * SECOND);
    assert_eq!(seen(there.get("key").await.unwrap()), None);
    // Who does not listen has it until its end.
    assert_eq!(*apart.get("key").await.unwrap().unwrap(), 1);
    still.pass(MINUTE);
    assert_eq!(seen(apart.get("key").await.unwrap()), None);
}

#[tokio::test]
async fn chance_takes_off_what_settings_say_and_no_more() {
    let still = Still::new();
    let cache = still.cache(Settings {
        jitter: 0.5,
        ..minute()
    });
    let mut shortest = MINUTE;
    let mut longest = Duration::ZERO;
    for at in 0..200 {
        let key = format!("{at}");
        cache.set(&key, at).await.unwrap();
        let left = cache.get(&key).await.unwrap().unwrap();
        let left = left.fresh_for(still.store.now());
        (shortest, longest) = (shortest.min(left), longest.max(left));
        let exact = Loaded::value(at).ttl(MINUTE);
        cache.set(&key, exact).await.unwrap();
        let left = cache.get(&key).await.unwrap().unwrap();
        let left = left.fresh_for(still.store.now());
        // Two writings are a microsecond apart at least.
        assert!(left >= MINUTE && left < MINUTE + MS, "{left:?}");
    }
    assert!(shortest >= 30 * SECOND && longest < MINUTE + MS);
    assert!(longest > shortest + 10 * SECOND, "{shortest:?} {longest:?}");
}

/// What was loaded for so long that its place may be free by the time it is written,
/// whoever deleted it meanwhile, is served and not kept.
#[tokio::test]
async fn what_took_too_long_to_load_is_not_kept() {
    // Twice the hard timeout, the store's once, and 5 s.
    let longest = Duration::from_secs(2 * 30 + 2 + 5);
    for (took, kept) in [(Duration::from_millis(66_999), true), (longest, false)] {
        let still = Still::new();
        let (one, other) = (still.cache(minute()), still.cache(minute()));
        let clock = still.clock.clone();
        let slow = async move |_| {
            clock.advance_millis(took.as_millis() as u64);
            Ok::<_, io::Error>(1)
        };
        assert_eq!(*one.get_or_set("k", slow).await.unwrap(), 1);
        assert_eq!(other.get("k").await.unwrap().is_some(), kept, "{took:?}");
        assert_eq!(one.stats().overtaken, u64::from(!kept));
    }
}
