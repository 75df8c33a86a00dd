//! What is written while it is loaded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sangam::cache::{Cache, Loaded, Settings};
use sangam_rig::wait::until;
use tokio::sync::oneshot;

use crate::place::Place;
use crate::{Load, apart, caches, ok, tiers};

/// What overtakes a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Set,
    Delete,
    Tag,
    Tags,
    Clear,
}

impl By {
    const ALL: [By; 5] = [By::Set, By::Delete, By::Tag, By::Tags, By::Clear];

    async fn act(self, cache: &Cache<u64>, key: &str, value: u64) {
        let acted = match self {
            By::Set => cache.set(key, Loaded::value(value).tags([key])).await,
            By::Delete => cache.delete(key).await,
            By::Tag => cache.invalidate_tag(key).await,
            By::Tags => cache.invalidate_tags(&["another", key]).await,
            By::Clear => cache.clear().await,
        };
        acted.unwrap();
    }
}

const OLD: u64 = 1;
const NEW: u64 = 2;

fn old(key: &str) -> Loaded<u64> {
    Loaded::value(OLD).tags([key, "another tag"])
}

/// Nobody gets the old value; who loaded it, once he has heard.
async fn nobody_gets_the_old_one(
    place: &Place,
    case: &str,
    key: &str,
    by: By,
    (loads, acts): (&Cache<u64>, &Cache<u64>),
) {
    let expected = (by == By::Set).then_some(NEW);
    let get = async |cache: &Cache<u64>| cache.get(key).await.unwrap().map(|it| *it);
    assert_eq!(get(acts).await, expected, "{case}: who overtook it");
    for settings in tiers() {
        let fresh = caches(place).cache(acts.name(), settings).unwrap();
        assert_eq!(get(&fresh).await, expected, "{case}: somebody else");
    }
    if matches!(by, By::Set | By::Delete) {
        // The load was not written.
        assert_eq!(get(loads).await, expected, "{case}: who loaded");
    }
    until("who loaded to hear", async || match get(loads).await {
        found if found == expected => Ok(()),
        found => Err(format!("{case}: {found:?}")),
    })
    .await;
}

pub(crate) async fn a_load_that_was_overtaken_is_never_served(place: &Place) {
    for settings in tiers() {
        let (one, other) = (
            apart::<u64>(place, &settings),
            apart::<u64>(place, &settings),
        );
        for by in By::ALL {
            for (elsewhere, acts) in [(false, &one), (true, &other)] {
                // What is loaded over: no key, or a deletion's mark.
                let deleted_before = elsewhere == (settings.memory > 0);
                let memory = settings.memory;
                let case = format!("{by:?} {elsewhere} {deleted_before} {memory}");
                if deleted_before {
                    one.set(&case, old(&case)).await.unwrap();
                    one.delete(&case).await.unwrap();
                }
                let load = Load::begin(&one, &case, old(&case)).await;
                by.act(acts, &case, NEW).await;
                assert_eq!(*load.end().await, OLD, "who asked before gets it");
                nobody_gets_the_old_one(place, &case, &case, by, (&one, acts)).await;
            }
        }
    }
}

pub(crate) async fn a_batch_that_was_overtaken_is_never_served(place: &Place) {
    for settings in tiers() {
        let (one, other) = (
            apart::<u64>(place, &settings),
            apart::<u64>(place, &settings),
        );
        for by in By::ALL {
            for (elsewhere, acts) in [(false, &one), (true, &other)] {
                let key = format!("{by:?} {elsewhere} {}", settings.memory);
                let beside = format!("{key} beside");
                let (begins, begun) = oneshot::channel();
                let (go, may_go) = oneshot::channel::<()>();
                let loading = {
                    let (cache, key, beside) = (one.clone(), key.clone(), beside.clone());
                    tokio::spawn(async move {
                        let keys = [key.as_str(), beside.as_str()];
                        let loader = async move |missing: Vec<String>| {
                            begins.send(()).unwrap();
                            may_go.await.map(|()| {
                                let pairs = missing.into_iter().map(|key| {
                                    let loaded = old(&key);
                                    (key, loaded)
                                });
                                pairs.collect::<Vec<_>>()
                            })
                        };
                        cache.get_or_set_many(&keys, loader).await.unwrap()
                    })
                };
                begun.await.unwrap();
                by.act(acts, &key, NEW).await;
                go.send(()).unwrap();
                let found = loading.await.unwrap();
                assert!(found.iter().flatten().all(|it| **it == OLD));
                nobody_gets_the_old_one(place, &key, &key, by, (&one, acts)).await;
                let expected = (by != By::Clear).then_some(OLD);
                let there = acts.get(&beside).await.unwrap().map(|it| *it);
                assert_eq!(there, expected, "{key}: the one beside it");
            }
        }
    }
}

/// A source whose value only grows, a cache over it, and how far writes of it have come.
struct Source {
    cache: Cache<u64>,
    value: AtomicU64,
    written: AtomicU64,
    over: AtomicBool,
}

impl Source {
    /// Reads again and again: nothing older than what was written before.
    async fn read(self: Arc<Self>, number: usize) {
        while !self.over.load(Ordering::Acquire) {
            let floor = self.written.load(Ordering::Acquire);
            let found = if number == 0 {
                self.cache.get("key").await.unwrap()
            } else {
                let source = self.clone();
                let loader = |_| async move {
                    let value = source.value.load(Ordering::Acquire);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ok(Loaded::value(value).tags(["key"])).await
                };
                self.cache.find("key", loader).await.unwrap()
            };
            if let Some(found) = found {
                assert!(*found >= floor, "{} after {floor}", *found);
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn a_write_that_has_ended_is_what_is_read(place: &Place) {
    for settings in tiers() {
        let settings = Settings {
            jitter: 0.0,
            ..settings
        };
        let source = Arc::new(Source {
            cache: apart(place, &settings),
            value: AtomicU64::new(0),
            written: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let readers: Vec<_> = (0..3)
            .map(|number| tokio::spawn(source.clone().read(number)))
            .collect();
        for value in 1..=50 {
            source.value.store(value, Ordering::Release);
            let by = By::ALL[value as usize % By::ALL.len()];
            by.act(&source.cache, "key", value).await;
            source.written.store(value, Ordering::Release);
            let found = source.cache.get("key").await.unwrap();
            if let Some(found) = found {
                assert_eq!(*found, value, "after {by:?}");
            } else {
                assert_ne!(by, By::Set, "{value} is gone");
            }
        }
        source.over.store(true, Ordering::Release);
        for reader in readers {
            reader.await.unwrap();
        }
    }
}
