//! What somebody else wrote where a cache's value is.

use sangam::cache::{CacheError, Encoding, Settings, Source};
use sangam_store::Error;

use crate::place::Place;
use crate::plain::ask;
use crate::{cache, not_loaded, ok, raw, tiers, without_memory};

pub(crate) async fn bytes_that_are_no_value_are_loaded_over(place: &Place) {
    let writer = cache::<String>(place, crate::usual());
    writer.set("own", "a value".repeat(9)).await.unwrap();
    let own = raw::get(place, "own").await.unwrap();
    let mut flipped = own.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut newer = own.clone();
    newer[1] = 2;
    let longer = [own.as_slice(), b" "].concat();
    let random: Vec<u8> = (0..1000u32).map(|at| (at * at % 251) as u8).collect();
    let cases: [&[u8]; 15] = [
        b"",
        b"c",
        b"c\x01v",
        &own[..16],
        &own[..17],
        &own[..48],
        &own[..own.len() / 2],
        &own[..own.len() - 1],
        &longer,
        &flipped,
        &newer,
        &random,
        b"\"a value\"",
        b"H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTVWqBQA=",
        &[0xff; 64],
    ];
    for settings in tiers() {
        for (at, bytes) in cases.iter().enumerate() {
            let key = format!("foreign {at} {}", settings.memory);
            raw::put(place, &key, bytes).await;
            let one = cache::<String>(place, settings.clone());
            assert!(one.get(&key).await.unwrap().is_none(), "{at}");
            assert!(!one.exists(&key).await.unwrap(), "{at}");
            assert!(one.get_many(&[&key]).await.unwrap()[0].is_none(), "{at}");
            assert!(one.stats().unreadable > 0);
            let new = "new".to_owned();
            let found = if at % 2 == 0 {
                one.get_or_set(&key, |_| ok(new)).await.unwrap()
            } else {
                let asked = key.clone();
                let load = async move |missing| {
                    assert_eq!(missing, std::slice::from_ref(&asked));
                    ok([(asked, new)]).await
                };
                let mut found = one.get_or_set_many(&[&key], load).await.unwrap();
                found.remove(0).unwrap()
            };
            assert_eq!((found.as_str(), found.source), ("new", Source::Loader));
            let fresh = cache::<String>(place, settings.clone());
            let found = fresh.get_or_set(&key, |_| not_loaded()).await.unwrap();
            assert_eq!((found.as_str(), found.source), ("new", Source::Store));
        }
    }
}

pub(crate) async fn values_of_another_type_or_schema(place: &Place) {
    for settings in tiers() {
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let settings = Settings {
                encoding,
                ..settings.clone()
            };
            let words = cache::<Vec<String>>(place, settings.clone());
            words.set("typed", vec!["a".to_owned()]).await.unwrap();
            let numbers = cache::<u32>(place, settings.clone());
            assert!(numbers.get("typed").await.unwrap().is_none());
            let found = numbers.get_or_set("typed", |_| ok(1)).await.unwrap();
            assert_eq!((*found, found.source), (1, Source::Loader));
            let fresh = cache::<u32>(place, settings.clone());
            assert_eq!(*fresh.get("typed").await.unwrap().unwrap(), 1);

            let changed = Settings {
                schema: 2,
                ..settings.clone()
            };
            let second = cache::<u32>(place, changed.clone());
            assert!(second.get("typed").await.unwrap().is_none());
            assert!(second.stats().unreadable > 0);
            let found = second.get_or_set("typed", |_| ok(2)).await.unwrap();
            assert_eq!((*found, found.source), (2, Source::Loader));
            let fresh = cache::<u32>(place, changed);
            assert_eq!(*fresh.get("typed").await.unwrap().unwrap(), 2);
            let first = cache::<u32>(place, settings.clone());
            assert!(first.get("typed").await.unwrap().is_none());
        }
    }
}

pub(crate) async fn a_key_of_another_kind(place: &Place) {
    for settings in tiers() {
        let name = raw::key(place, "list");
        ask(&place.store, &["DEL", &name]).await;
        ask(&place.store, &["RPUSH", &name, "a", "b"]).await;
        ask(&place.store, &["EXPIRE", &name, "3600"]).await;
        let one = cache::<u32>(place, settings);
        let error = one.get("list").await.unwrap_err();
        assert!(
            matches!(&error, CacheError::Store(Error::Command(it)) if it.code() == "WRONGTYPE"),
            "{error}"
        );
        assert!(one.exists("list").await.is_err());
        let found = one.get_or_set("list", |_| ok(3)).await.unwrap();
        assert_eq!((*found, found.source), (3, Source::Loader));
        let loaded = one.get_or_set_many(&["list", "beside"], async |missing: Vec<String>| {
            let loaded: Vec<_> = missing.into_iter().map(|key| (key, 3)).collect();
            ok(loaded).await
        });
        assert!(
            loaded
                .await
                .unwrap()
                .iter()
                .all(|it| it.as_deref() == Some(&3))
        );
        // Who writes means it.
        one.set("list", 4).await.unwrap();
        assert_eq!(*one.get("list").await.unwrap().unwrap(), 4);
        let fresh = cache::<u32>(place, without_memory(crate::usual()));
        assert_eq!(*fresh.get("list").await.unwrap().unwrap(), 4);
        ask(&place.store, &["DEL", &name]).await;
        ask(&place.store, &["RPUSH", &name, "a", "b"]).await;
        ask(&place.store, &["EXPIRE", &name, "3600"]).await;
        one.delete("list").await.unwrap();
        assert!(one.get("list").await.unwrap().is_none());
    }
}
