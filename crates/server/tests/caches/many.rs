//! Several keys at once.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sangam::cache::{CacheError, Found, Loaded, Reach, Source};

use crate::place::Place;
use crate::{HOUR, cache, ok, tiers};

type Answers = Vec<Option<Found<u32>>>;

fn plain(found: &Answers) -> Vec<Option<u32>> {
    found.iter().map(|it| it.as_deref().copied()).collect()
}

pub(crate) async fn several_keys_at_once(place: &Place) {
    for settings in tiers() {
        let (one, other) = (
            cache::<u32>(place, settings.clone()),
            cache::<u32>(place, settings),
        );
        assert_eq!(one.get_many(&[]).await.unwrap().len(), 0);
        assert_eq!(one.delete_many(&[]).await.unwrap(), Reach::Everywhere);
        one.set_many(Vec::<(String, u32)>::new()).await.unwrap();
        let keys = ["a", "b", "missing", "a", "", "c"];
        let none = one.get_many(&keys).await.unwrap();
        assert_eq!(plain(&none), [None; 6]);
        let values = [("a", 1), ("b", 2), ("", 3), ("c", 3), ("c", 4)];
        let reach = one.set_many(values).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        let all = [Some(1), Some(2), None, Some(1), Some(3), Some(4)];
        for cache in [&one, &other] {
            let found = cache.get_many(&keys).await.unwrap();
            assert_eq!(plain(&found), all);
            let alone = cache.get("c").await.unwrap().unwrap();
            assert_eq!(*alone, 4, "the last one of a key stays");
        }
        one.delete_many(&["a", "c", "missing", "a"]).await.unwrap();
        let found = one.get_many(&keys).await.unwrap();
        assert_eq!(plain(&found), [None, Some(2), None, None, Some(3), None]);
        one.delete_many(&keys).await.unwrap();

        // One that is wrong, and nothing is written.
        let tagged = Loaded::value(8).tags([""]);
        let values = [("a", Loaded::value(7)), ("b", tagged)];
        let error = one.set_many(values).await.unwrap_err();
        assert!(matches!(error, CacheError::Tag(0)), "{error}");
        assert_eq!(plain(&one.get_many(&keys).await.unwrap()), [None; 6]);

        // More than one step takes.
        let names: Vec<String> = (0..1100).map(|at| format!("many {at}")).collect();
        let values = names
            .iter()
            .zip(0u32..)
            .map(|(name, at)| (name.as_str(), at));
        one.set_many(values).await.unwrap();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fresh = cache::<u32>(place, one.settings().clone());
        let found = fresh.get_many(&names).await.unwrap();
        assert!(plain(&found).into_iter().flatten().eq(0..1100));
        one.delete_many(&names).await.unwrap();
        let found = one.get_many(&names).await.unwrap();
        assert!(found.iter().all(Option::is_none));
    }
}

pub(crate) async fn half_of_a_hundred_are_loaded_by_one_call(place: &Place) {
    for settings in tiers() {
        let cache = cache::<u32>(place, settings);
        let names: Vec<String> = (0..100).map(|at| format!("half {at}")).collect();
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        let (even, odd): (Vec<u32>, Vec<u32>) = (0..100).partition(|at| at % 2 == 0);
        cache
            .set_many(even.iter().map(|at| (format!("half {at}"), *at)))
            .await
            .unwrap();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        let load = async move |missing: Vec<String>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let asked: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
            let odd: Vec<String> = odd.iter().map(|at| format!("half {at}")).collect();
            assert_eq!(missing.len(), 50, "each is asked for once");
            assert_eq!(asked, odd.iter().map(String::as_str).collect());
            let values = missing.into_iter().map(|key| {
                let at: u32 = key.rsplit(' ').next().unwrap().parse().unwrap();
                // Some have a life of their own, some there are not, one is not kept.
                let loaded = match at {
                    1 => Loaded::nothing(),
                    3 => Loaded::value(at).ttl(std::time::Duration::ZERO),
                    _ => Loaded::value(at).ttl(2 * HOUR).tags(["odd"]),
                };
                (key, loaded)
            });
            // What it leaves out there is not; what was not asked for is not taken.
            let values = values.filter(|(key, _)| key != "half 5");
            ok(values
                .chain([("half 0".to_owned(), 77.into())])
                .collect::<Vec<_>>())
            .await
        };
        let found = cache.get_or_set_many(&keys, load).await.unwrap();
        for (at, found) in (0u32..).zip(&found) {
            let expected = (at != 1 && at != 5).then_some(at);
            assert_eq!(found.as_deref().copied(), expected);
            if let Some(found) = found {
                assert_eq!(found.source == Source::Loader, at % 2 == 1);
                assert!(!found.stale && !found.degraded);
            }
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(cache.stats().loads, 1);
        let again = cache
            .get_or_set_many(&keys, async |missing| {
                assert_eq!(missing, ["half 3"], "the others are known");
                ok(Vec::<(String, u32)>::new()).await
            })
            .await
            .unwrap();
        assert_eq!(plain(&again).into_iter().flatten().count(), 97);
        cache.invalidate_tag("odd").await.unwrap();
        let left = cache.get_many(&keys).await.unwrap();
        let left: Vec<u32> = plain(&left).into_iter().flatten().collect();
        assert_eq!(left, even);
        cache.delete_many(&keys).await.unwrap();
    }
}

pub(crate) async fn a_batch_that_fails(place: &Place) {
    for settings in tiers() {
        let cache = cache::<u32>(place, settings);
        cache.set("there", 1).await.unwrap();
        let keys = ["there", "a", "b"];
        let failed = cache.get_or_set_many(&keys, async |_| {
            Err::<Vec<(String, u32)>, _>(io::Error::other("no line"))
        });
        let error = failed.await.unwrap_err();
        assert!(matches!(error, CacheError::Loader(_)), "{error}");
        let panicked = cache.get_or_set_many(&keys, async |missing: Vec<String>| {
            assert!(missing.is_empty(), "spilt milk");
            ok(Vec::<(String, u32)>::new()).await
        });
        let error = panicked.await.unwrap_err();
        assert!(matches!(error, CacheError::Panicked(_)), "{error}");
        let found = cache.get_many(&keys).await.unwrap();
        assert_eq!(plain(&found), [Some(1), None, None]);
        let none = cache
            .get_or_set_many(&[], async |_| ok(Vec::<(String, u32)>::new()).await)
            .await
            .unwrap();
        assert!(none.is_empty());
        // The same key twice is asked for once.
        let found = cache
            .get_or_set_many(&["a", "a", "there"], async |missing| {
                assert_eq!(missing, ["a"]);
                ok([("a".to_owned(), 2)]).await
            })
            .await
            .unwrap();
        assert_eq!(plain(&found), [Some(2), Some(2), Some(1)]);
        cache.delete("a").await.unwrap();
    }
}
