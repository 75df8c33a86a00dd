//! Values whose time is over, or nearly.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sangam::cache::{Cache, Found, Loaded, Settings, Source};
use sangam_rig::wait::until;

use crate::place::Place;
use crate::{HOUR, Load, caches, not_loaded, ok, without_memory};

const SHORT: Duration = Duration::from_millis(300);

fn settings() -> Settings {
    Settings {
        ttl: SHORT,
        jitter: 0.0,
        ..crate::usual()
    }
}

/// All of it in one case, so that all values grow old together.
pub(crate) async fn what_is_old(place: &Place) {
    let all = caches(place);
    let cache = |name: &str, settings| all.cache::<u32>(name, settings).unwrap();
    let plain = cache("plain", settings());
    let stale = Settings {
        stale: HOUR,
        ..settings()
    };
    let fail_safe = Settings {
        fail_safe: HOUR,
        throttle: HOUR,
        ..settings()
    };
    let soft = Settings {
        fail_safe: HOUR,
        soft_timeout: Some(Duration::from_millis(20)),
        ..settings()
    };
    let eager = Settings {
        // 300 ms of an hour.
        ttl: HOUR,
        eager: Some(1.0 / 12_000.0),
        ..settings()
    };
    let bare = |settings: &Settings| without_memory(settings.clone());
    let stale = [
        cache("stale", stale.clone()),
        cache("stale-bare", bare(&stale)),
    ];
    let failing = [
        cache("failing", fail_safe.clone()),
        cache("failing-bare", bare(&fail_safe)),
    ];
    let soft = [cache("soft", soft.clone()), cache("soft-bare", bare(&soft))];
    let eager = [
        cache("eager", eager.clone()),
        cache("eager-bare", bare(&eager)),
    ];

    let together = [&stale, &failing, &soft, &eager];
    for cache in together.into_iter().flatten().chain([&plain]) {
        cache.set("key", 1).await.unwrap();
        let batch = Loaded::value(1).tags(["batch"]);
        cache.set("batch", batch).await.unwrap();
    }
    plain
        .find("none", |_| ok(Loaded::nothing().ttl(SHORT)))
        .await
        .unwrap();
    tokio::time::sleep(SHORT + Duration::from_millis(20)).await;

    assert!(plain.get("key").await.unwrap().is_none());
    assert!(plain.peek("key").is_none());
    assert_eq!(*plain.get_or_set("key", |_| ok(2)).await.unwrap(), 2);
    assert_eq!(*plain.get_or_set("none", |_| ok(2)).await.unwrap(), 2);
    for cache in &stale {
        a_stale_value_is_served_while_it_is_loaded(cache).await;
    }
    for cache in &failing {
        a_stale_value_saves_a_load_that_fails(cache).await;
    }
    for cache in &soft {
        a_slow_load_is_not_waited_for(cache).await;
    }
    for cache in &eager {
        a_value_is_loaded_ahead_of_its_end(cache).await;
    }
}

async fn becomes_two(cache: &Cache<u32>, key: &str) {
    until("the new value", async || {
        let found = cache.get(key).await.unwrap();
        match found.filter(|found| !found.stale).map(|it| *it) {
            Some(2) => Ok(()),
            other => Err(format!("{}: {other:?}", cache.name())),
        }
    })
    .await;
}

/// Who began a load behind the former value gets that, or the new one, if the load has
/// ended by the time that they look.
fn former_or_quick(cache: &Cache<u32>, found: &Found<u32>, stale: bool) {
    let former = **found == 1 && found.stale == stale && found.source != Source::Loader;
    let quick = **found == 2 && !found.stale && found.source == Source::Loader;
    assert!(former || quick, "{}: {found:?}", cache.name());
}

async fn a_stale_value_is_served_while_it_is_loaded(cache: &Cache<u32>) {
    let found = cache.get("key").await.unwrap().unwrap();
    assert!(found.stale && !found.degraded && *found == 1, "{found:?}");
    assert!(found.age >= SHORT);
    let fresh = Loaded::value(2).ttl(HOUR);
    let loading = Load::begin(cache, "key", fresh);
    let load = loading.await;
    // While one loads, the others get the stale one.
    let found = cache.get_or_set("key", |_| not_loaded()).await.unwrap();
    assert!(found.stale && *found == 1, "{found:?}");
    former_or_quick(cache, &load.end().await, true);
    becomes_two(cache, "key").await;
    until("the load to be over", async || {
        let found = cache.get_or_set("key", |_| not_loaded()).await.unwrap();
        let over = !found.stale && *found == 2;
        over.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.refreshes), (1, 1), "{stats:?}");
}

async fn a_stale_value_saves_a_load_that_fails(cache: &Cache<u32>) {
    let name = cache.name().to_owned();
    let loads = Arc::new(AtomicU32::new(0));
    for _ in 0..3 {
        let loads = loads.clone();
        let loader = move |_| async move {
            loads.fetch_add(1, Ordering::Relaxed);
            Err::<u32, _>(io::Error::other("no line"))
        };
        let found = cache.get_or_set("key", loader).await.unwrap();
        assert!(
            found.stale && !found.degraded && *found == 1,
            "{name}: {found:?}"
        );
    }
    // Without memory nobody remembers that it failed.
    let expected = if cache.settings().memory > 0 { 1 } else { 3 };
    assert_eq!(loads.load(Ordering::Relaxed), expected, "{name}");
    let found = cache
        .get_or_set_many(&["batch"], async |_| {
            Err::<Vec<(String, u32)>, _>(io::Error::other("no line"))
        })
        .await
        .unwrap();
    let found = found.into_iter().next().flatten().unwrap();
    assert!(found.stale && *found == 1, "{name}: {found:?}");
    cache.invalidate_tag("batch").await.unwrap();
    let error = cache
        .get_or_set("batch", |_| async {
            Err::<u32, _>(io::Error::other("no line"))
        })
        .await;
    assert!(error.is_err(), "{name}: what is invalidated saves nothing");
}

async fn a_slow_load_is_not_waited_for(cache: &Cache<u32>) {
    let fresh = Loaded::value(2).ttl(HOUR);
    let load = Load::begin(cache, "key", fresh).await;
    let found = cache.get_or_set("key", |_| not_loaded()).await.unwrap();
    assert!(found.stale && *found == 1, "{found:?}");
    former_or_quick(cache, &load.end().await, true);
    becomes_two(cache, "key").await;
    assert_eq!(cache.stats().loads, 1);
}

async fn a_value_is_loaded_ahead_of_its_end(cache: &Cache<u32>) {
    let load = Load::begin(cache, "key", Loaded::value(2)).await;
    let found = cache.get_or_set("key", |_| not_loaded()).await.unwrap();
    assert!(!found.stale && *found == 1, "{found:?}");
    former_or_quick(cache, &load.end().await, false);
    becomes_two(cache, "key").await;
    assert_eq!(cache.stats().loads, 1);
}
