//! What is invalidated together.

use sangam::cache::{Cache, Loaded, Reach};

use crate::place::Place;
use crate::{apart, caches, not_loaded, ok, tiers};

/// Which keys have a value in any of three reads: a word about a tag that comes while its
/// version is read may cost a read its value, and never gives it one.
async fn there<'a>(cache: &Cache<u32>, keys: &[&'a str]) -> Vec<&'a str> {
    let mut there = Vec::new();
    for _ in 0..3 {
        let found = cache.get_many(keys).await.unwrap();
        let found = keys.iter().zip(&found).filter(|(_, it)| it.is_some());
        there.extend(found.map(|(key, _)| *key));
    }
    let has = |key: &&&str| there.contains(*key);
    keys.iter().filter(has).copied().collect()
}

pub(crate) async fn tags_are_invalidated_one_by_one_and_together(place: &Place) {
    let keys = ["plain", "a", "b", "ab", "loaded"];
    for settings in tiers() {
        let (one, other) = (
            apart::<u32>(place, &settings),
            apart::<u32>(place, &settings),
        );
        let tagged = |tags: &[&str]| Loaded::value(1).tags(tags.iter().copied());
        let fill = async || {
            one.set("plain", 1).await.unwrap();
            one.set("a", tagged(&["a"])).await.unwrap();
            one.set_many([("b", tagged(&["b"])), ("ab", tagged(&["b", "a", "b"]))])
                .await
                .unwrap();
            let loaded = tagged(&["a", "c"]);
            other.find("loaded", |_| ok(loaded)).await.unwrap();
        };
        fill().await;
        assert_eq!(there(&one, &keys).await, keys);
        let reach = one.invalidate_tag("nobody has it").await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        assert_eq!(one.invalidate_tags(&[]).await.unwrap(), Reach::Everywhere);
        assert_eq!(there(&one, &keys).await, keys);
        one.invalidate_tag("a").await.unwrap();
        assert_eq!(there(&one, &keys).await, ["plain", "b"]);
        let fresh = apart::<u32>(place, one.settings());
        assert_eq!(there(&fresh, &keys).await, ["plain", "b"]);
        // What is written after an invalidation holds.
        one.set("a", tagged(&["a"])).await.unwrap();
        assert_eq!(there(&one, &keys).await, ["plain", "a", "b"]);
        let fresh = apart::<u32>(place, one.settings());
        let found = fresh.get_or_set("a", |_| not_loaded()).await.unwrap();
        assert_eq!(*found, 1);
        one.delete_many(&keys).await.unwrap();
        // The other one has heard of it by now, or asks.
        sangam_rig::wait::until("the other instance to load", async || {
            let again = tagged(&["c"]);
            let loaded = other.find("loaded", |_| ok(again)).await;
            let found = other.get("loaded").await.unwrap();
            let fresh = apart::<u32>(place, one.settings());
            let kept = fresh.exists("loaded").await.unwrap() && found.is_some();
            loaded.map_err(|error| error.to_string())?;
            kept.then_some(()).ok_or_else(|| "not kept".to_owned())
        })
        .await;
        fill().await;
        one.invalidate_tags(&["b", "c", "unknown", "b"])
            .await
            .unwrap();
        assert_eq!(there(&one, &keys).await, ["plain", "a"]);
        one.delete_many(&keys).await.unwrap();
    }
}

pub(crate) async fn all_of_a_cache_is_cleared(place: &Place) {
    for settings in tiers() {
        let caches = caches(place);
        let name = |name| format!("{name}-{}", settings.memory);
        let one = caches.cache::<u32>(&name("one"), settings.clone()).unwrap();
        let other = caches
            .cache::<u32>(&name("other"), settings.clone())
            .unwrap();
        let keys = ["a", "b", "c"];
        for cache in [&one, &other] {
            cache.set("a", 1).await.unwrap();
            cache.set("b", Loaded::value(2).tags(["t"])).await.unwrap();
            cache.get_or_set("c", |_| ok(3)).await.unwrap();
            assert_eq!(there(cache, &keys).await, keys);
        }
        assert_eq!(one.clear().await.unwrap(), Reach::Everywhere);
        assert!(there(&one, &keys).await.is_empty());
        assert_eq!(there(&other, &keys).await, keys);
        let fresh = crate::caches(place)
            .cache::<u32>(one.name(), settings)
            .unwrap();
        assert!(there(&fresh, &keys).await.is_empty());
        one.set("a", 4).await.unwrap();
        one.get_or_set("b", |_| ok(5)).await.unwrap();
        assert_eq!(there(&one, &keys).await, ["a", "b"]);
        one.clear().await.unwrap();
        assert!(there(&one, &keys).await.is_empty());
        other.clear().await.unwrap();
    }
}

pub(crate) async fn thousands_of_tags(place: &Place) {
    for settings in tiers() {
        let cache = apart::<u32>(place, &settings);
        let tags: Vec<String> = (0..2500).map(|at| format!("tag {at}")).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        let many = Loaded::value(1).tags(tags[..256].iter().copied());
        cache.set("256", many).await.unwrap();
        let last = Loaded::value(2).tags([tags[2499]]);
        cache.set("last", last).await.unwrap();
        let untouched = Loaded::value(3).tags(["another"]);
        cache.set("untouched", untouched).await.unwrap();
        let keys = ["256", "last", "untouched"];
        let fresh = apart::<u32>(place, cache.settings());
        assert_eq!(there(&fresh, &keys).await, keys);
        assert_eq!(there(&cache, &keys).await, keys);
        let reach = cache.invalidate_tags(&tags).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        assert_eq!(there(&cache, &keys).await, ["untouched"]);
        let fresh = apart::<u32>(place, cache.settings());
        assert_eq!(there(&fresh, &keys).await, ["untouched"]);
        cache.clear().await.unwrap();
    }
}
