//! Keys and values in the form of other apps.

use std::io::{Read as _, Write as _};

use base64_simd::STANDARD;
use sangam::cache::{
    Cache, CacheError, Compression, Loaded, Method, Reach, Settings, Shared, Source,
};
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::plain::{Plain, ask};
use crate::{HOUR, Load, NAME, caches, not_loaded, ok, raw, tiers};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Creator {
    name: String,
    followers: u64,
}

fn creator(name: &str) -> Creator {
    Creator {
        name: name.to_owned(),
        followers: 7,
    }
}

/// Another app's key of this test.
fn key(place: &Place, key: &str) -> String {
    format!("{}creator:{key}", place.prefix())
}

fn cache(place: &Place, settings: &Settings) -> Cache<Creator> {
    let shared = Settings {
        shared: Some(Shared {
            prefix: key(place, ""),
        }),
        ..settings.clone()
    };
    caches(place).cache(NAME, shared).unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

pub(crate) async fn other_apps_values_are_read(place: &Place) {
    let ann = br#"{ "followers": 7, "name": "Ann", "unknown": [1] }"#;
    let packed = gzip(ann);
    let base64 = STANDARD.encode_to_string(&packed);
    let quoted = format!("\"{base64}\"");
    let long = "l".repeat(600);
    for settings in tiers() {
        let forms = [
            ("plain", ann.as_slice()),
            ("raw gzip", &packed),
            ("base64 gzip", base64.as_bytes()),
            ("quoted base64", quoted.as_bytes()),
            ("#spelled", ann),
            (&long, ann),
            ("", ann),
        ];
        for (form, bytes) in forms {
            raw::write(place, &key(place, form), bytes).await;
            let one = cache(place, &settings);
            let found = one.get_or_set(form, |_| not_loaded()).await;
            let found = found.unwrap_or_else(|error| panic!("{form}: {error}"));
            assert_eq!((&*found, found.source), (&creator("Ann"), Source::Store));
            assert!(found.fresh_for(place.store.now()) <= HOUR);
            assert!(one.exists(form).await.unwrap());
            let several = one.get_many(&[form, "missing"]).await.unwrap();
            assert_eq!(several[0].as_deref(), Some(&creator("Ann")));
            assert!(several[1].is_none());
        }
        for (at, bytes) in [
            b"".as_slice(),
            b"{}",
            b"[1]",
            b"no JSON",
            &ann[..20],
            &packed[..20],
            &base64.as_bytes()[..20],
            b"H4sI!",
            &[0xff; 20],
        ]
        .into_iter()
        .enumerate()
        {
            raw::write(place, &key(place, "bad"), bytes).await;
            let one = cache(place, &settings);
            assert!(one.get("bad").await.unwrap().is_none(), "{at}");
            let bob = creator("Bob");
            let found = one.get_or_set("bad", |_| ok(bob)).await.unwrap();
            assert_eq!(found.source, Source::Loader);
            let fresh = cache(place, &settings);
            let found = fresh.get_or_set("bad", |_| not_loaded()).await;
            assert_eq!(found.unwrap().name, "Bob", "{at}: it is loaded over");
        }
        // What another app keeps for ever is served.
        let kept = key(place, "kept");
        raw::write(place, &kept, ann).await;
        ask(&place.store, &["PERSIST", &kept]).await;
        let one = cache(place, &settings);
        assert!(one.exists("kept").await.unwrap());
        ask(&place.store, &["DEL", &kept]).await;
        let list = key(place, "list");
        ask(&place.store, &["DEL", &list]).await;
        ask(&place.store, &["RPUSH", &list, "a"]).await;
        ask(&place.store, &["EXPIRE", &list, "3600"]).await;
        let error = one.get("list").await.unwrap_err();
        assert!(matches!(error, CacheError::Store(_)), "{error}");
        let bob = creator("Bob");
        let found = one.get_or_set("list", |_| ok(bob)).await.unwrap();
        assert_eq!(found.name, "Bob");
    }
}

pub(crate) async fn other_apps_read_what_is_written(place: &Place) {
    for settings in tiers() {
        let one = cache(place, &settings);
        let long = "w".repeat(600);
        for name in ["written", "#written", &long, ""] {
            one.set(name, creator("Ann")).await.unwrap();
            let stored = raw::read(place, &key(place, name)).await;
            let stored = stored.expect("it is where other apps look for it");
            let read: Creator = serde_json::from_slice(&stored).unwrap();
            assert_eq!(read, creator("Ann"));
            let left = ask(&place.store, &["PTTL", &key(place, name)]).await;
            assert!((Plain::from(200_000)..=300_000.into()).contains(&left));
            assert_eq!(one.get(name).await.unwrap().unwrap().name, "Ann");
            one.delete(name).await.unwrap();
            assert_eq!(raw::read(place, &key(place, name)).await, None);
            assert!(one.get(name).await.unwrap().is_none());
        }
        let bob = creator("Bob");
        one.get_or_set("loaded", |_| ok(bob)).await.unwrap();
        let stored = raw::read(place, &key(place, "loaded")).await.unwrap();
        assert_eq!(stored, br#"{"name":"Bob","followers":7}"#);
        // There is no way to say that there is nothing, but that there is no key.
        assert!(one.find("none", |_| ok(None)).await.unwrap().is_none());
        assert_eq!(raw::read(place, &key(place, "none")).await, None);
        one.set("loaded", None).await.unwrap();
        assert_eq!(raw::read(place, &key(place, "loaded")).await, None);
        assert!(matches!(one.clear().await, Err(CacheError::Setting(_))));

        let packed = Compression {
            method: Some(Method::Gzip),
            from: 1024,
        };
        let packing = cache(
            place,
            &Settings {
                compression: packed,
                ..settings.clone()
            },
        );
        let long = creator(&"Ann ".repeat(1000));
        packing.set("packed", long.clone()).await.unwrap();
        packing.set("small", creator("Ann")).await.unwrap();
        let stored = raw::read(place, &key(place, "packed")).await.unwrap();
        assert!(stored.starts_with(b"H4sI"));
        let mut text = Vec::new();
        let stored = STANDARD.decode_to_vec(&stored).unwrap();
        let mut unpacked = flate2::read::GzDecoder::new(&stored[..]);
        unpacked.read_to_end(&mut text).unwrap();
        assert_eq!(serde_json::from_slice::<Creator>(&text).unwrap(), long);
        let small = raw::read(place, &key(place, "small")).await.unwrap();
        assert!(small.starts_with(b"{"));
        let fresh = cache(place, &settings);
        assert_eq!(*fresh.get("packed").await.unwrap().unwrap(), long);

        let names = ["x", "y", "z"];
        let values = names.iter().map(|name| (*name, creator(name)));
        one.set_many(values).await.unwrap();
        let loaded = one.get_or_set_many(&["x", "q"], async |missing| {
            assert_eq!(missing, ["q"]);
            ok([("q".to_owned(), creator("q"))]).await
        });
        assert!(loaded.await.unwrap().iter().all(Option::is_some));
        one.delete_many(&["x", "y", "q"]).await.unwrap();
        for (name, there) in [("x", false), ("y", false), ("z", true), ("q", false)] {
            let stored = raw::read(place, &key(place, name)).await;
            assert_eq!(stored.is_some(), there, "{name}");
        }
    }
}

pub(crate) async fn tags_are_sets(place: &Place) {
    for settings in tiers() {
        let set = key(place, "tag:list");
        let set = set.as_str();
        let one = cache(place, &settings);
        let tagged = |name: &str| Loaded::value(creator(name)).tags([set]);
        let reach = one.set("a", tagged("a")).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        let many = [("b", tagged("b")), ("c", tagged("c"))];
        let reach = one.set_many(many).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        let loaded = tagged("d");
        let found = one.find("d", |_| ok(loaded)).await.unwrap().unwrap();
        assert!(!found.degraded);
        let loaded = tagged("e");
        let found = one
            .get_or_set_many(&["e"], async |_| ok([("e".to_owned(), loaded)]).await)
            .await
            .unwrap();
        assert!(found.iter().flatten().all(|it| !it.degraded));
        let names = ["a", "b", "c", "d", "e"];
        let expected: Vec<Plain> = names
            .iter()
            .map(|name| key(place, name).as_str().into())
            .collect();
        let members = ask(&place.store, &["SMEMBERS", set]).await.sorted();
        assert_eq!(members, Plain::List(expected));
        // The set lives longer than any value that is in it.
        let week = tagged("w").ttl(168 * HOUR);
        let reach = one.set("w", week).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        let reach = one.set("a", tagged("a")).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        let left = ask(&place.store, &["TTL", set]).await;
        assert!(left >= (168 * 3600).into(), "{left:?} s");

        // Another app's value, and what it has in the set besides.
        raw::write(place, &key(place, "x"), br#"{"name":"x","followers":7}"#).await;
        let elsewhere = format!("{}elsewhere", place.prefix());
        raw::write(place, &elsewhere, b"5").await;
        ask(&place.store, &["SADD", set, &key(place, "x"), &elsewhere]).await;
        one.set("untouched", creator("u")).await.unwrap();
        assert_eq!(one.get("x").await.unwrap().unwrap().name, "x");
        one.invalidate_tag(set).await.unwrap();
        for name in ["a", "b", "c", "d", "e", "w", "x"] {
            assert!(one.get(name).await.unwrap().is_none(), "{name}");
            assert_eq!(raw::read(place, &key(place, name)).await, None, "{name}");
        }
        // What is not this cache's stays, and stays in the set.
        assert_eq!(
            raw::read(place, &elsewhere).await.as_deref(),
            Some(&b"5"[..])
        );
        assert_eq!(
            ask(&place.store, &["SMEMBERS", set]).await,
            Plain::List(vec![elsewhere.as_str().into()])
        );
        ask(&place.store, &["DEL", set]).await;
        assert!(one.exists("untouched").await.unwrap());
        one.invalidate_tags(&[set, "nobody has it"]).await.unwrap();
    }
}

pub(crate) async fn loads_that_are_overtaken(place: &Place) {
    for settings in tiers() {
        let one = cache(place, &settings);
        let set = key(place, "tag:race");
        for by in ["set", "delete", "tag"] {
            let name = format!("{by} {}", settings.memory);
            ask(&place.store, &["SADD", &set, &key(place, &name)]).await;
            ask(&place.store, &["EXPIRE", &set, "3600"]).await;
            let load = Load::begin(&one, &name, creator("old").into()).await;
            match by {
                "set" => one.set(&name, creator("new")).await,
                "delete" => one.delete(&name).await,
                _ => one.invalidate_tag(&set).await,
            }
            .unwrap();
            assert_eq!(load.end().await.name, "old");
            let expected = (by == "set").then_some("new");
            for cache in [&one, &cache(place, &settings)] {
                let found = cache.get(&name).await.unwrap();
                assert_eq!(found.as_ref().map(|it| it.name.as_str()), expected, "{by}");
            }
        }
    }
}
