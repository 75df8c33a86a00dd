//! Values of all types, in both tiers.

use std::collections::BTreeMap;
use std::fmt::Debug;

use sangam::cache::{CacheError, Compression, Encoding, Method, Reach, Settings, Source};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::{cache, raw, tiers, without_memory};

pub(crate) async fn what_is_written_is_read(place: &Place) {
    for settings in tiers() {
        let remembers = settings.memory > 0;
        let cache = cache::<String>(place, settings);
        assert!(cache.get("name").await.unwrap().is_none());
        assert!(!cache.exists("name").await.unwrap());
        assert_eq!(cache.delete("name").await.unwrap(), Reach::Everywhere);
        for name in ["Ann", "Bob", "Bob", ""] {
            let reach = cache.set("name", name.to_owned()).await.unwrap();
            assert_eq!(reach, Reach::Everywhere);
            let found = cache.get("name").await.unwrap().unwrap();
            let source = if remembers {
                Source::Memory
            } else {
                Source::Store
            };
            assert_eq!((found.as_str(), found.source), (name, source));
            assert!(!found.stale && !found.degraded);
            assert!(cache.exists("name").await.unwrap());
        }
        assert_eq!(cache.delete("name").await.unwrap(), Reach::Everywhere);
        assert!(cache.get("name").await.unwrap().is_none());
        assert!(!cache.exists("name").await.unwrap());
        assert!(cache.peek("name").is_none());
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    note: Option<String>,
    lines: Vec<Line>,
    state: State,
    bonus: Option<Box<Order>>,
    by_day: BTreeMap<i32, f64>,
    photo: Vec<u8>,
    pair: (char, bool),
    unit: (),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line(String, u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum State {
    Open,
    Paid { cents: i64 },
    Sent(String, u8),
    Returned(Option<u8>),
}

fn order(bonus: Option<Order>) -> Order {
    Order {
        id: u64::MAX,
        note: Some("n\u{e9}e \u{1f600}\0\"\\\r\n".to_owned()),
        lines: vec![Line("pen".to_owned(), 2), Line(String::new(), 0)],
        state: State::Paid { cents: i64::MIN },
        bonus: bonus.map(Box::new),
        by_day: [(-1, 0.5), (i32::MAX, -0.0), (0, f64::MIN_POSITIVE)].into(),
        photo: (0..=255).collect(),
        pair: ('\u{10ffff}', true),
        unit: (),
    }
}

pub(crate) async fn types_come_back_as_they_were(place: &Place) {
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        for settings in tiers() {
            let settings = Settings {
                encoding,
                ..settings
            };
            let there = There(place, &settings);
            let plain = order(None);
            there.and_back(&order(Some(plain.clone()))).await;
            there.and_back(&None::<Order>).await;
            there.and_back(&Some(plain)).await;
            let states = [
                State::Open,
                State::Sent("post".to_owned(), 0),
                State::Returned(None),
                State::Returned(Some(9)),
            ];
            there.and_back(&states.to_vec()).await;
            there.and_back(&()).await;
            there.and_back(&'x').await;
            there.and_back(&(i64::MIN, u64::MAX, true)).await;
            there.and_back(&Vec::<u8>::new()).await;
            there
                .and_back(&BTreeMap::from([(7u64, vec![None, Some(1u8)])]))
                .await;
        }
    }
}

pub(crate) async fn types_that_json_cannot_hold(place: &Place) {
    type Grid = BTreeMap<(u8, String), Option<i64>>;
    let grid: Grid = [((1, "a".to_owned()), Some(-1)), ((2, "b".to_owned()), None)].into();
    let packed = Settings {
        encoding: Encoding::MessagePack,
        ..crate::usual()
    };
    There(place, &packed).and_back(&grid).await;
    There(place, &without_memory(packed.clone()))
        .and_back(&grid)
        .await;
    let json = cache::<Grid>(place, crate::usual());
    let error = json.set("grid", grid.clone()).await.unwrap_err();
    assert!(matches!(error, CacheError::Encode(_)), "{error}");
    // A cache reads both encodings, whichever it writes.
    let writer = cache::<u64>(place, packed);
    writer.set("encoding", 5).await.unwrap();
    let reader = cache::<u64>(place, crate::usual());
    assert_eq!(*reader.get("encoding").await.unwrap().unwrap(), 5);
}

pub(crate) async fn floats_come_back_to_the_last_bit(place: &Place) {
    let floats = vec![
        0.1,
        -0.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        1.0 / 3.0,
        51.248_178_375_505_404,
        31.245_270_191_439_438,
        121.488_791_349_134_47,
        5.855_318_430_770_304e-5,
        6.9e-274,
    ];
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let settings = without_memory(Settings {
            encoding,
            ..crate::usual()
        });
        let cache = cache::<Vec<f64>>(place, settings);
        cache.set("floats", floats.clone()).await.unwrap();
        let found = cache.get("floats").await.unwrap().unwrap();
        let bits = |floats: &[f64]| floats.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&floats), "{encoding:?}: {found:?}");
    }
}

pub(crate) async fn what_is_large_is_compressed(place: &Place) {
    let text = "the same again, ".repeat(4096);
    for method in [None, Some(Method::Zstd), Some(Method::Gzip)] {
        let settings = without_memory(Settings {
            compression: Compression { method, from: 1024 },
            ..crate::usual()
        });
        let cache = cache::<String>(place, settings);
        cache.set("large", text.clone()).await.unwrap();
        let sent = raw::get(place, "large").await.unwrap().len();
        assert_eq!(
            sent < text.len() / 10,
            method.is_some(),
            "{method:?}: {sent}"
        );
        let any = crate::cache::<String>(place, without_memory(crate::usual()));
        assert_eq!(**any.get("large").await.unwrap().unwrap(), text);
        cache.set("small", "small".to_owned()).await.unwrap();
        assert!(
            raw::get(place, "small")
                .await
                .unwrap()
                .ends_with(b"\"small\"")
        );
        let stats = cache.stats();
        assert_eq!(stats.bytes_saved() > 0, method.is_some(), "{stats:?}");
    }
}

/// A place, and how its caches behave.
struct There<'a>(&'a Place, &'a Settings);

impl There<'_> {
    /// Writes a value and reads it, here and from another instance.
    async fn and_back<T>(&self, value: &T)
    where
        T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static,
    {
        let here = cache::<T>(self.0, self.1.clone());
        here.set("value", crate::Loaded::value(value.clone()))
            .await
            .unwrap();
        let found = here.get("value").await.unwrap().unwrap();
        assert_eq!(&*found, value);
        let there = cache::<T>(self.0, self.1.clone());
        let found = there.get("value").await.unwrap().unwrap();
        assert_eq!((&*found, found.source), (value, Source::Store));
        assert_eq!(&found.into_value(), value);
    }
}
