//! What callers may say, up to each limit and beyond it.

use std::time::Duration;

use sangam::cache::{CacheError, Encoding, Loaded, Settings, Source, ttl};

use crate::place::Place;
use crate::{apart, cache, caches, not_loaded, ok, tiers, without_memory};

pub(crate) async fn keys(place: &Place) {
    let long = "k".repeat(64 << 10);
    let other = format!("{}l", &long[1..]);
    let spelled = "s".repeat(512);
    let hashed = "s".repeat(513);
    let keys = [
        "",
        " ",
        "*",
        "?",
        "[a-z]*",
        "{a}",
        "}a{",
        "a:b",
        "#",
        "##",
        "\0",
        "\r\n",
        "n\u{e9} \u{1f600}",
        &spelled,
        &hashed,
        &long,
        &other,
        &long[1..],
    ];
    for settings in tiers() {
        let one = cache::<usize>(place, settings.clone());
        for (at, key) in keys.iter().enumerate() {
            assert!(one.get(key).await.unwrap().is_none(), "{at}");
            let found = one.get_or_set(key, move |_| ok(at)).await.unwrap();
            assert_eq!((*found, found.source), (at, Source::Loader));
        }
        let fresh = cache::<usize>(place, settings.clone());
        for (at, found) in fresh.get_many(&keys).await.unwrap().iter().enumerate() {
            assert_eq!(found.as_deref(), Some(&at));
        }
        one.delete_many(&keys).await.unwrap();
        for key in keys {
            assert!(!one.exists(key).await.unwrap());
        }
    }
    let cache = cache::<usize>(place, crate::usual());
    let wrong = |error: Option<CacheError>| {
        assert!(
            matches!(error, Some(CacheError::Key(65_537..))),
            "{error:?}"
        );
    };
    let huge = "k".repeat(100 << 20);
    wrong(cache.get(&huge).await.err());
    wrong(cache.set(&huge, 1).await.err());
    wrong(cache.delete(&huge).await.err());
    let key = "k".repeat((64 << 10) + 1);
    assert!(cache.peek(&key).is_none());
    wrong(cache.get(&key).await.err());
    wrong(cache.exists(&key).await.err());
    wrong(cache.set(&key, 1).await.err());
    wrong(cache.delete(&key).await.err());
    wrong(cache.find(&key, |_| not_loaded()).await.err());
    wrong(cache.get_many(&["a", &key]).await.err());
    wrong(cache.delete_many(&["a", &key]).await.err());
    wrong(cache.set_many([("a", 1), (key.as_str(), 1)]).await.err());
    let none = async |_| ok(Vec::<(String, usize)>::new()).await;
    wrong(cache.get_or_set_many(&["a", &key], none).await.err());
    assert!(!cache.exists("a").await.unwrap());
}

pub(crate) async fn sizes_of_values(place: &Place) {
    let noise = noise(1 << 20);
    for settings in tiers() {
        let one = cache::<String>(place, settings.clone());
        for value in ["", &noise] {
            one.set("size", value.to_owned()).await.unwrap();
            assert_eq!(**one.get("size").await.unwrap().unwrap(), *value);
            let fresh = cache::<String>(place, settings.clone());
            assert_eq!(**fresh.get("size").await.unwrap().unwrap(), *value);
        }
    }
    let packed = Settings {
        encoding: Encoding::MessagePack,
        ..crate::usual()
    };
    let one = cache::<String>(place, packed);
    let huge = "x".repeat(100 << 20);
    let error = one.set("huge", huge.clone()).await.unwrap_err();
    assert!(matches!(
        error,
        CacheError::TooLarge {
            max: 0x0200_0000,
            ..
        }
    ));
    let found = one.get_or_set("huge", |_| ok(huge)).await.unwrap();
    assert_eq!(found.len(), 100 << 20, "what is too large is served");
    assert!(!one.exists("huge").await.unwrap(), "and not kept");
    assert_eq!(one.stats().oversized, 1);

    let limited = |max_value| {
        without_memory(Settings {
            max_value,
            ..crate::usual()
        })
    };
    // With its quotation marks.
    let exact = cache::<String>(place, limited(6));
    exact.set("exact", "four".to_owned()).await.unwrap();
    assert_eq!(**exact.get("exact").await.unwrap().unwrap(), *"four");
    let error = exact.set("exact", "fives".to_owned()).await.unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { bytes: 7.., max: 6 }));
    assert_eq!(**exact.get("exact").await.unwrap().unwrap(), *"four");
    // What another instance takes may be too large for this one.
    let small = cache::<String>(place, limited(5));
    assert!(small.get("exact").await.unwrap().is_none());
}

/// Text that is hard to compress.
fn noise(length: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state % 94) as u8)
    };
    (0..length).map(|_| next()).collect()
}

pub(crate) async fn times_to_live(place: &Place) {
    let year = Duration::from_hours(366 * 24);
    for settings in tiers() {
        let one = cache::<u32>(place, settings.clone());
        for wrong in [
            Duration::ZERO,
            year + Duration::from_micros(1),
            300 * year,
            Duration::MAX,
        ] {
            let value = move || Loaded::value(1).ttl(wrong);
            let error = one.set("ttl", value()).await.unwrap_err();
            assert!(matches!(error, CacheError::Ttl(it) if it == wrong));
            let values = [("a", Loaded::value(1)), ("ttl", value())];
            let error = one.set_many(values).await.unwrap_err();
            assert!(matches!(error, CacheError::Ttl(it) if it == wrong));
            let loaded = one.get_or_set("ttl", move |_| ok(value())).await;
            if wrong.is_zero() {
                assert_eq!(*loaded.unwrap(), 1);
            } else {
                let error = loaded.unwrap_err();
                assert!(matches!(error, CacheError::Ttl(it) if it == wrong));
            }
            assert!(!one.exists("ttl").await.unwrap());
            assert!(!one.exists("a").await.unwrap());
        }
        // The shortest and the longest.
        let short = Loaded::value(1).ttl(Duration::from_nanos(1));
        one.set("ttl", short).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!one.exists("ttl").await.unwrap());
        let long = Loaded::value(1).ttl(ttl::LONGEST).tags(["long"]);
        one.set("ttl", long).await.unwrap();
        let fresh = cache::<u32>(place, settings);
        let found = fresh.get("ttl").await.unwrap().unwrap();
        assert!(found.fresh_for(place.store.now()) > Duration::from_hours(365 * 24));
        one.invalidate_tag("long").await.unwrap();
        assert!(!one.exists("ttl").await.unwrap());
    }
}

pub(crate) async fn tags(place: &Place) {
    let long = "t".repeat(1024);
    for settings in tiers() {
        let cache = apart::<u32>(place, &settings);
        let too_long = "t".repeat(1025);
        let huge = "t".repeat(10 << 20);
        for wrong in ["", &too_long, &huge] {
            let tagged = || Loaded::value(1).tags(["good", wrong]);
            let is_wrong = |error: Option<CacheError>| {
                assert!(matches!(error, Some(CacheError::Tag(it)) if it == wrong.len()));
            };
            is_wrong(cache.set("tags", tagged()).await.err());
            let loaded = tagged();
            is_wrong(cache.find("tags", |_| ok(loaded)).await.err());
            is_wrong(cache.invalidate_tag(wrong).await.err());
            is_wrong(cache.invalidate_tags(&["good", wrong]).await.err());
        }
        let many = |count: usize| {
            let names = (0..count).map(|at| format!("tag {at}"));
            Loaded::value(1).tags(names)
        };
        let error = cache.set("tags", many(257)).await.unwrap_err();
        assert!(matches!(error, CacheError::Tags(257)), "{error}");
        let loaded = many(100_000);
        let error = cache.find("tags", |_| ok(loaded)).await.unwrap_err();
        assert!(matches!(error, CacheError::Tags(100_000)), "{error}");
        assert!(!cache.exists("tags").await.unwrap());
        for tag in [long.as_str(), "\0", "*", "{a}", "\u{1f600}", " "] {
            cache
                .set("tags", Loaded::value(1).tags([tag]))
                .await
                .unwrap();
            assert!(cache.exists("tags").await.unwrap());
            cache.invalidate_tag(tag).await.unwrap();
            assert!(!cache.exists("tags").await.unwrap(), "{tag:?}");
        }
    }
}

pub(crate) async fn names(place: &Place) {
    let caches = caches(place);
    let long = "n".repeat(64);
    for name in ["a", "A.b_c-9", &long] {
        let cache = caches.cache::<u32>(name, crate::usual()).unwrap();
        assert_eq!(cache.name(), name);
        cache.set("name", 1).await.unwrap();
        assert!(cache.exists("name").await.unwrap());
    }
    let longer = "n".repeat(65);
    let huge = "n".repeat(100 << 20);
    for name in [
        "", " ", "a b", "a:b", "{a}", "\u{e9}", "a\0", "*", &longer, &huge,
    ] {
        let error = caches.cache::<u32>(name, crate::usual()).unwrap_err();
        assert!(
            matches!(&error, CacheError::Name(it) if it.len() <= 64),
            "{error}"
        );
    }
    let usual = Settings::default;
    let year = Duration::from_hours(367 * 24);
    for wrong in [
        Settings {
            ttl: Duration::ZERO,
            ..usual()
        },
        Settings {
            ttl: year,
            ..usual()
        },
        Settings {
            jitter: 1.1,
            ..usual()
        },
        Settings {
            jitter: f64::NAN,
            ..usual()
        },
        Settings {
            eager: Some(-0.1),
            ..usual()
        },
        Settings {
            negative_ttl: year,
            ..usual()
        },
        Settings {
            stale: year,
            ..usual()
        },
        Settings {
            fail_safe: year,
            ..usual()
        },
        Settings {
            hard_timeout: Duration::ZERO,
            ..usual()
        },
        Settings {
            store_timeout: year,
            ..usual()
        },
        Settings {
            lease: Duration::ZERO,
            ..usual()
        },
        Settings {
            max_value: usize::MAX,
            ..usual()
        },
    ] {
        let error = caches.cache::<u32>("wrong", wrong).unwrap_err();
        assert!(matches!(error, CacheError::Setting(_)), "{error}");
    }
    // Times that mean for ever, one of 2^64 microseconds among them.
    let endless = Settings {
        memory_ttl: Some(Duration::new(18_446_744_073_709, 551_616_000)),
        degraded_ttl: Duration::MAX,
        throttle: Duration::MAX,
        memory: u64::MAX,
        ..usual()
    };
    let cache = caches.cache::<u32>("endless", endless).unwrap();
    cache.set("key", 1).await.unwrap();
    let found = cache.get("key").await.unwrap().unwrap();
    assert_eq!(found.source, Source::Memory, "it is remembered");
}
