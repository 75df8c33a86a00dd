//! Reading through: what a loader says, what becomes of one that fails, and how often
//! one runs.

use std::future::Ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sangam::cache::{CacheError, Loaded, Settings, Source};

use crate::place::Place;
use crate::{HOUR, cache, not_loaded, ok, tiers, without_memory};

pub(crate) async fn a_miss_is_loaded_and_kept(place: &Place) {
    for (at, settings) in tiers().into_iter().enumerate() {
        let key = format!("loaded {at}");
        let remembers = settings.memory > 0;
        let one = cache::<String>(place, settings);
        let found = one
            .get_or_set(&key, |former| {
                assert!(former.value().is_none() && former.validator().is_none());
                ok("new".to_owned())
            })
            .await
            .unwrap();
        assert_eq!((found.as_str(), found.source), ("new", Source::Loader));
        assert!(!found.stale && !found.degraded);
        let again = one.get_or_set(&key, |_| not_loaded()).await.unwrap();
        let source = if remembers {
            Source::Memory
        } else {
            Source::Store
        };
        assert_eq!((again.as_str(), again.source), ("new", source));
        assert_eq!(one.peek(&key).is_some(), remembers);
        let other = cache::<String>(place, crate::usual());
        let there = other.get_or_set(&key, |_| not_loaded()).await.unwrap();
        assert_eq!((there.as_str(), there.source), ("new", Source::Store));
        let stats = one.stats();
        assert_eq!((stats.loads, stats.misses), (1, 1), "{stats:?}");
    }
}

#[expect(clippy::unused_async, reason = "it panics once it is polled")]
async fn panics(what: &str) -> io::Result<u32> {
    panic!("spilt {what}")
}

pub(crate) async fn loads_that_fail(place: &Place) {
    for settings in tiers() {
        let settings = Settings {
            hard_timeout: Duration::from_millis(200),
            ..settings
        };
        let cache = cache::<u32>(place, settings);
        let error = cache
            .get_or_set("fails", |_| async {
                Err::<u32, _>(io::Error::other("no line"))
            })
            .await
            .unwrap_err();
        assert!(matches!(&error, CacheError::Loader(it) if it.to_string() == "no line"));
        let error = cache
            .get_or_set("panics", |_| panics("milk"))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CacheError::Panicked(text) if text == "spilt milk"),
            "{error}"
        );
        let error = cache
            .get_or_set("panics at once", |_| -> Ready<io::Result<u32>> {
                panic!("at once")
            })
            .await
            .unwrap_err();
        assert!(
            matches!(&error, CacheError::Panicked(text) if text == "at once"),
            "{error}"
        );
        let error = cache
            .get_or_set("hangs", |_| std::future::pending::<io::Result<u32>>())
            .await
            .unwrap_err();
        assert!(
            matches!(error, CacheError::Timeout(_)),
            "a hanging loader: {error}"
        );
        let error = cache
            .get_or_set("not modified", |_| ok(Loaded::not_modified()))
            .await
            .unwrap_err();
        assert!(matches!(error, CacheError::NotModified), "{error}");
        for key in ["fails", "panics", "panics at once", "hangs", "not modified"] {
            assert!(!cache.exists(key).await.unwrap(), "{key}");
            let found = cache.get_or_set(key, |_| ok(7)).await.unwrap();
            assert_eq!((*found, found.source), (7, Source::Loader), "{key}");
            cache.delete(key).await.unwrap();
        }
    }
}

pub(crate) async fn nothing_is_remembered(place: &Place) {
    for (at, settings) in tiers().into_iter().enumerate() {
        let key = format!("nothing {at}");
        let one = cache::<String>(place, settings.clone());
        assert!(one.find(&key, |_| ok(None)).await.unwrap().is_none());
        let again = one.find(&key, |_| not_loaded()).await.unwrap();
        assert!(again.is_none());
        assert!(one.get(&key).await.unwrap().is_none());
        let other = cache::<String>(place, crate::usual());
        for _ in 0..2 {
            let there = other.get_or_set(&key, |_| not_loaded()).await;
            assert!(matches!(there, Err(CacheError::Nothing)), "{there:?}");
        }
        other.set(&key, "born".to_owned()).await.unwrap();
        let fresh = cache::<String>(place, settings.clone());
        assert_eq!(*fresh.get(&key).await.unwrap().unwrap(), "born");
        fresh.set(&key, None).await.unwrap();
        let fresh = cache::<String>(place, settings.clone());
        assert!(fresh.find(&key, |_| not_loaded()).await.unwrap().is_none());

        let forgetful = cache::<String>(
            place,
            Settings {
                negative_ttl: Duration::ZERO,
                ..settings
            },
        );
        let key = format!("forgotten {at}");
        assert!(forgetful.find(&key, |_| ok(None)).await.unwrap().is_none());
        let found = forgetful.find(&key, |_| ok("seen".to_owned())).await;
        assert_eq!(*found.unwrap().unwrap(), "seen");
    }
}

pub(crate) async fn what_is_not_modified_is_kept(place: &Place) {
    let settings = Settings {
        fail_safe: HOUR,
        jitter: 0.0,
        ..crate::usual()
    };
    // Two that remember, and two that have only the store.
    let (one, other) = (
        cache::<String>(place, settings.clone()),
        cache::<String>(place, without_memory(settings)),
    );
    let short = Duration::from_millis(60);
    for (at, cache) in [&one, &other].into_iter().enumerate() {
        let key = format!("etag {at}");
        let first = Loaded::value("first".to_owned());
        let first = first.validator("\"v1\"").tags(["etag"]).ttl(short);
        cache.get_or_set(&key, |_| ok(first)).await.unwrap();
        tokio::time::sleep(2 * short).await;
        let found = cache
            .get_or_set(&key, |former| {
                assert_eq!(former.value().map(String::as_str), Some("first"));
                assert_eq!(former.validator(), Some("\"v1\""));
                ok(Loaded::not_modified())
            })
            .await
            .unwrap();
        assert_eq!((found.as_str(), found.source), ("first", Source::Loader));
        assert!(!found.stale);
        assert_eq!(found.validator(), Some("\"v1\""));
    }
    let fresh = cache::<String>(place, crate::usual());
    for key in ["etag 0", "etag 1"] {
        let there = fresh.get(key).await.unwrap().unwrap();
        assert_eq!(
            (there.as_str(), there.validator()),
            ("first", Some("\"v1\""))
        );
        assert!(!there.stale, "it is fresh again");
    }
    one.invalidate_tag("etag").await.unwrap();
    let fresh = cache::<String>(place, crate::usual());
    for key in ["etag 0", "etag 1"] {
        let there = fresh.get(key).await.unwrap();
        assert!(there.is_none(), "its tags stayed: {there:?}");
    }
}

pub(crate) async fn a_loader_says_for_how_long(place: &Place) {
    for (at, settings) in tiers().into_iter().enumerate() {
        let cache = cache::<u32>(place, settings);
        let key = format!("served {at}");
        for value in [1, 2] {
            let unkept = Loaded::value(value).ttl(Duration::ZERO);
            let found = cache.get_or_set(&key, |_| ok(unkept)).await.unwrap();
            assert_eq!((*found, found.source), (value, Source::Loader));
            assert!(!cache.exists(&key).await.unwrap(), "it is not kept");
        }
        let kept = Loaded::value(3).ttl(7 * HOUR).tags(["a", "b"]);
        cache.get_or_set(&key, |_| ok(kept)).await.unwrap();
        let found = cache.get(&key).await.unwrap().unwrap();
        let left = found.fresh_for(place.store.now());
        assert!(left > 6 * HOUR && left <= 7 * HOUR, "{left:?}");
        cache.invalidate_tag("b").await.unwrap();
        assert!(!cache.exists(&key).await.unwrap());
    }
}

pub(crate) async fn a_thousand_at_once_load_once(place: &Place) {
    for (at, settings) in tiers().into_iter().enumerate() {
        let cache = cache::<u32>(place, settings);
        let loads = Arc::new(AtomicU32::new(0));
        let key: Arc<str> = format!("popular {at}").into();
        let calls: Vec<_> = (0..1000)
            .map(|_| {
                let (cache, loads, key) = (cache.clone(), loads.clone(), key.clone());
                tokio::spawn(async move {
                    let found = cache.get_or_set(&key, |_| async move {
                        let number = loads.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        ok(number).await
                    });
                    *found.await.unwrap()
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), 0);
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        let stats = cache.stats();
        assert_eq!(stats.loads, 1);
        assert!(stats.coalesced > 0, "{stats:?}");
    }
}
