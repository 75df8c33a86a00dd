//! Loaders that fail, panic and hang.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sangam::cache::{Cache, CacheError, Caches, Settings, Source};
use sangam::store::Store;
use sangam_rig::wait::until;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::{LONG, Loads, settings};

const TTL: Duration = Duration::from_millis(30);

/// A cache whose key `k` has 1, which has ended.
async fn with_ended(settings: Settings) -> Cache<u64> {
    let settings = Settings {
        ttl: TTL,
        ..settings
    };
    let cache = Caches::new(Store::memory()).cache("c", settings).unwrap();
    cache.set("k", 1).await.unwrap();
    sleep(2 * TTL).await;
    cache
}

#[tokio::test]
async fn a_failure_is_told_and_each_call_tries_again() {
    let (cache, loads) = (with_ended(settings()).await, Loads::default());
    for round in 1..4 {
        let failed = loads.fail(&cache, "k").await.unwrap_err();
        assert!(matches!(&failed, CacheError::Loader(error) if error.to_string() == "no origin"));
        assert_eq!(loads.count(), round);
    }
    assert_eq!(cache.stats().load_failures, 3);
    assert_eq!(*loads.load(&cache, "k", 2).await, 2);
}

#[tokio::test]
async fn fail_safe_serves_what_has_ended_and_waits_before_it_tries_again() {
    let throttle = Duration::from_millis(300);
    let lasting = Settings {
        fail_safe: LONG,
        throttle,
        ..settings()
    };
    let (cache, loads) = (with_ended(lasting).await, Loads::default());
    let began = Instant::now();
    for _ in 0..5 {
        let found = loads.fail(&cache, "k").await.unwrap();
        assert_eq!((*found, found.stale, found.degraded), (1, true, false));
    }
    let tried = loads.count();
    assert!(tried == 1 || began.elapsed() >= throttle, "{tried}");
    sleep(throttle).await;
    // One that now succeeds: the stale value is not served again.
    assert_eq!(*loads.load(&cache, "k", 2).await, 2);
    assert!(loads.count() > tried);
}

#[tokio::test]
async fn fail_safe_ends() {
    let lasting = Settings {
        fail_safe: TTL,
        ..settings()
    };
    let (cache, loads) = (with_ended(lasting).await, Loads::default());
    sleep(TTL).await;
    loads.fail(&cache, "k").await.unwrap_err();
}

#[tokio::test]
async fn fail_safe_brings_back_nothing_that_was_deleted_or_invalidated() {
    let lasting = Settings {
        fail_safe: LONG,
        ..settings()
    };
    let (cache, loads) = (with_ended(lasting).await, Loads::default());
    assert_eq!(*loads.fail(&cache, "k").await.unwrap(), 1);
    cache.delete("k").await.unwrap();
    loads.fail(&cache, "k").await.unwrap_err();
    cache.set("k", 2).await.unwrap();
    sleep(2 * TTL).await;
    assert_eq!(*loads.fail(&cache, "k").await.unwrap(), 2);
    cache.clear().await.unwrap();
    loads.fail(&cache, "k").await.unwrap_err();
}

#[tokio::test]
async fn a_panic_is_an_error_and_no_more() {
    let panics = |_| async {
        if true {
            panic!("at the origin")
        } else {
            Ok::<u64, String>(0)
        }
    };
    let cache = with_ended(settings()).await;
    let failed = cache.get_or_set("k", panics).await.unwrap_err();
    assert!(matches!(&failed, CacheError::Panicked(text) if text == "at the origin"));
    let many = cache.get_or_set_many(&["a", "b"], |_| async {
        if true {
            panic!("at the origin")
        } else {
            Ok::<Vec<(String, u64)>, String>(Vec::new())
        }
    });
    assert!(matches!(many.await.unwrap_err(), CacheError::Panicked(_)));
    let lasting = Settings {
        fail_safe: LONG,
        ..settings()
    };
    let cache = with_ended(lasting).await;
    assert_eq!(*cache.get_or_set("k", panics).await.unwrap(), 1);
    assert_eq!(*Loads::default().load(&cache, "other", 3).await, 3);
}

/// A number, but for two that its code has no room for.
#[derive(Debug)]
struct Fragile(u8);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 1, "not to be written");
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert_ne!(number, 2, "not to be read");
        Ok(Fragile(number))
    }
}

/// All who wait are told, as of any failure.
#[tokio::test]
async fn a_value_that_panics_is_an_error_and_no_more() {
    let caches = Caches::new(Store::memory());
    let storing = Settings {
        memory: 0,
        ..settings()
    };
    let cache = caches.cache::<Fragile>("c", storing).unwrap();
    let load = |number| async move |_| Ok::<_, String>(Fragile(number));
    let (one, other) = tokio::join!(
        cache.get_or_set("k", load(1)),
        cache.get_or_set("k", load(1))
    );
    let set = cache.set("k", Fragile(1)).await;
    for failed in [one.map(drop), other.map(drop), set.map(drop)] {
        let failed = failed.unwrap_err();
        assert!(
            matches!(&failed, CacheError::Panicked(text) if text.contains("not to be written")),
            "{failed}"
        );
    }
    cache.set("k", Fragile(2)).await.unwrap();
    assert!(cache.get("k").await.unwrap().is_none());
    let found = cache.get_or_set("k", load(3)).await.unwrap();
    assert_eq!((found.0, caches.report().total().unreadable), (3, 2));
}

#[tokio::test]
async fn what_a_loader_failed_with_is_the_source_of_the_error() {
    let cache = with_ended(settings()).await;
    let refuses = |_| async { Err::<u64, _>(io::Error::from(io::ErrorKind::AddrInUse)) };
    let failed = cache.get_or_set("k", refuses).await.unwrap_err();
    let source = failed.source().unwrap().downcast_ref::<io::Error>();
    assert_eq!(source.unwrap().kind(), io::ErrorKind::AddrInUse);
    let CacheError::Loader(own) = &failed else {
        panic!("{failed}")
    };
    assert!(own.downcast_ref::<io::Error>().is_some());
}

#[tokio::test]
async fn who_hangs_is_given_up_after_the_hard_time() {
    let hard_timeout = Duration::from_millis(100);
    let hangs = |_| std::future::pending::<Result<u64, String>>();
    let bounded = Settings {
        hard_timeout,
        ..settings()
    };
    let cache = with_ended(bounded.clone()).await;
    let began = Instant::now();
    let failed = cache.get_or_set("k", hangs).await.unwrap_err();
    assert!(matches!(failed, CacheError::Timeout(after) if after == hard_timeout));
    assert!(began.elapsed() >= hard_timeout);
    assert_eq!(cache.stats().load_timeouts, 1);
    // And it holds up nobody.
    assert_eq!(*Loads::default().load(&cache, "k", 2).await, 2);

    let lasting = Settings {
        fail_safe: LONG,
        ..bounded
    };
    let cache = with_ended(lasting).await;
    let began = Instant::now();
    let found = cache.get_or_set("k", hangs).await.unwrap();
    assert_eq!((*found, found.stale), (1, true));
    assert!(began.elapsed() >= hard_timeout);
}

#[tokio::test]
async fn who_is_slow_is_not_waited_for_but_heard() {
    let patient = Settings {
        fail_safe: LONG,
        soft_timeout: Some(Duration::from_millis(20)),
        ..settings()
    };
    let cache = with_ended(patient).await;
    let (go, loads) = (Arc::new(Notify::new()), Loads::default());
    let (waits, counts) = (go.clone(), loads.clone());
    let slow = move |_| async move {
        counts.one();
        waits.notified().await;
        Ok::<u64, String>(2)
    };
    let found = cache.get_or_set("k", slow).await.unwrap();
    assert_eq!(
        (*found, found.stale, found.source),
        (1, true, Source::Memory)
    );
    go.notify_one();
    until("what was loaded", || async {
        let found = loads.load(&cache, "k", 3).await;
        (*found == 2).then_some(()).ok_or(format!("{found:?}"))
    })
    .await;
    assert_eq!(loads.count(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_ends_no_load() {
    let cache = with_ended(settings()).await;
    let (go, loads) = (Arc::new(Notify::new()), Loads::default());
    let (waits, counts) = (go.clone(), loads.clone());
    let slow = move |_| async move {
        counts.one();
        waits.notified().await;
        Ok::<u64, String>(2)
    };
    let gave_up = tokio::time::timeout(TTL, cache.get_or_set("other", slow)).await;
    gave_up.unwrap_err();
    go.notify_one();
    assert_eq!(*loads.load(&cache, "other", 3).await, 2);
    assert_eq!(loads.count(), 1);
}
