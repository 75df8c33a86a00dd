//! Several instances of an app over one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sangam::cache::{Cache, Caches, Coherence, Loaded, Options, Settings, Source};
use sangam_rig::wait::until;

use crate::place::Place;
use crate::{HOUR, NAME, ok, tiers};

/// Two instances that have heartbeats of their own.
fn two(place: &Place, coherence: Coherence, heartbeat: Duration) -> [Cache<u32>; 2] {
    let options = Options {
        prefix: place.prefix(),
        coherence,
        heartbeat: Some(heartbeat),
    };
    [(); 2].map(|()| {
        let caches = Caches::with_options(place.store.clone(), &options);
        caches.cache(NAME, crate::usual()).unwrap()
    })
}

/// Ways to take a value from another instance.
const TAKES: [&str; 6] = ["set", "set many", "delete", "delete many", "tag", "clear"];

async fn take(cache: &Cache<u32>, how: &str, key: &str) {
    let taken = match how {
        "set" => cache.set(key, 2).await,
        "set many" => cache.set_many([("x", 2), (key, 2)]).await,
        "delete" => cache.delete(key).await,
        "delete many" => cache.delete_many(&["x", key]).await,
        "tag" => cache.invalidate_tag(key).await,
        _ => cache.clear().await,
    };
    taken.unwrap();
}

/// Both have the value in memory.
async fn both_have(caches: &[Cache<u32>; 2], key: &str) {
    let value = Loaded::value(1).tags([key]).ttl(HOUR);
    caches[0].set(key, value).await.unwrap();
    for cache in caches {
        until("the value to be in memory", async || {
            match cache.get(key).await.unwrap() {
                Some(found) if *found == 1 && found.source == Source::Memory => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

pub(crate) async fn a_write_here_is_pushed_there(place: &Place) {
    // Only a push comes sooner than an hour.
    let caches = two(place, Coherence::Push, HOUR);
    for (at, how) in TAKES.iter().enumerate() {
        let [here, there] = if at % 2 == 0 {
            [&caches[0], &caches[1]]
        } else {
            [&caches[1], &caches[0]]
        };
        let key = format!("pushed by {how}");
        both_have(&caches, &key).await;
        // Who has only begun to listen may miss one.
        until("it to be pushed", async || {
            take(here, how, &key).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let found = there.get(&key).await.unwrap().map(|it| *it);
            let expected = how.starts_with("set").then_some(2);
            let pushed = found == expected;
            pushed
                .then_some(())
                .ok_or_else(|| format!("{how}: {found:?}"))
        })
        .await;
    }
    assert!(caches.iter().all(|it| it.stats().heard > 0));
}

pub(crate) async fn a_write_here_is_noticed_there_within_the_heartbeat(place: &Place) {
    let heartbeat = Duration::from_millis(100);
    let caches = two(place, Coherence::Poll, heartbeat);
    for how in TAKES {
        both_have(&caches, &format!("polled by {how}")).await;
    }
    for (at, how) in TAKES.iter().enumerate() {
        take(&caches[at % 2], how, &format!("polled by {how}")).await;
    }
    // A word of one's own is not the others'.
    tokio::time::sleep(2 * heartbeat).await;
    for how in TAKES {
        for cache in &caches {
            let found = cache.get(&format!("polled by {how}")).await.unwrap();
            // `clear`, the last one, took what was set too.
            assert!(found.is_none(), "{how}: {found:?}");
        }
    }
    let [here, there] = &caches;
    here.set("again", 1).await.unwrap();
    assert_eq!(*there.get("again").await.unwrap().unwrap(), 1);
    here.set("again", 2).await.unwrap();
    tokio::time::sleep(2 * heartbeat).await;
    assert_eq!(*there.get("again").await.unwrap().unwrap(), 2);
    // The caches of one process that have one name hear each other at once.
    let alone = two(place, Coherence::Off, HOUR)[0].clone();
    alone.set("alone", 1).await.unwrap();
    assert_eq!(*alone.get("alone").await.unwrap().unwrap(), 1);
}

pub(crate) async fn instances_load_once_for_all(place: &Place) {
    for settings in tiers() {
        let settings = Settings {
            across: true,
            ..settings
        };
        let loads = Arc::new(AtomicU32::new(0));
        let instances = [(); 3].map(|()| crate::cache::<u32>(place, settings.clone()));
        let key = format!("across {}", settings.memory);
        let calls: Vec<_> = (0..30)
            .map(|at| {
                let (cache, loads, key) = (instances[at % 3].clone(), loads.clone(), key.clone());
                tokio::spawn(async move {
                    let loader = |_| async move {
                        let number = loads.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        ok(number).await
                    };
                    *cache.get_or_set(&key, loader).await.unwrap()
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), 0);
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        let all: u64 = instances.iter().map(|it| it.stats().loads).sum();
        assert_eq!(all, 1);

        // A load that fails lets the others.
        let key = format!("{key} fails");
        let mut failed = 0;
        for (at, cache) in instances.iter().enumerate() {
            let loader = move |_| async move {
                if at < 2 {
                    return Err(std::io::Error::other("no line"));
                }
                Ok(5)
            };
            match cache.get_or_set(&key, loader).await {
                Ok(found) => assert_eq!(*found, 5),
                Err(_) => failed += 1,
            }
        }
        assert_eq!(failed, 2);
        // Nobody holds a claim any more.
        let claim = format!("{}cache-flight:{NAME}:{key}", place.prefix());
        until("the claim to be given back", async || {
            let held = crate::raw::read(place, &claim).await;
            held.is_none()
                .then_some(())
                .ok_or_else(|| "held".to_owned())
        })
        .await;
    }
}
