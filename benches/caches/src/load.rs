//! Misses: read, load, write.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use cachekit::CacheKit;
use sangam::cache::{Caches, Settings};
use sangam::store::Ttl;

use crate::data::{Record, record};
use crate::place::Place;
use crate::turns::{Side, Turn, compare, shown};

const MISSES: usize = 8 << 10;
const TTL: Duration = Duration::from_mins(1);

pub async fn measure() {
    println!("### A miss, loaded and kept\n");
    println!("| store | callers | by | a miss | of GET and SET by hand |");
    println!("|--|--|--|--|--|");
    for place in Place::both().await {
        for callers in [1, 64] {
            // Keys of their own, so that each call misses.
            let sides = sides(&place, callers).await;
            let medians = compare(&sides, callers, MISSES).await;
            for (side, median) in sides.iter().zip(&medians) {
                println!(
                    "| {} | {callers} | {} | {} | {:.2} |",
                    place.name,
                    side.name,
                    shown(*median),
                    median / medians[0]
                );
            }
        }
    }
    println!();
}

async fn sides(place: &Place, callers: usize) -> Vec<Side> {
    let key = move |turn: Turn, number: usize| format!("{callers}:{}:{number:08}", turn.round);
    let store = place.store.clone();
    let settings = Settings {
        ttl: TTL,
        ..Settings::default()
    };
    let caches = Caches::new(place.store.clone());
    let cache = caches.cache::<Record>("load", settings).unwrap();
    let mut sides = vec![
        Side::new("`Store::get`, `Store::set`", move |turn| {
            let (store, value) = (store.clone(), record(7));
            async move {
                for number in turn.numbers() {
                    let key = format!("by-hand:{}", key(turn, number));
                    let found = store.get(key.as_bytes()).await.unwrap();
                    assert!(found.is_none());
                    let json = serde_json::to_vec(&value.clone()).unwrap();
                    let ttl = Ttl::In(TTL);
                    store.set(key.as_bytes(), &json, ttl).await.unwrap();
                }
            }
        }),
        Side::new("sangam, `get_or_set`", move |turn| {
            let (cache, value) = (cache.clone(), record(7));
            async move {
                for number in turn.numbers() {
                    let key = key(turn, number);
                    let value = value.clone();
                    let load = async move |_| Ok::<_, Infallible>(value);
                    let value = cache.get_or_set(&key, load).await.unwrap();
                    assert_eq!(value.source, sangam::cache::Source::Loader);
                }
            }
        }),
    ];
    let Some(server) = &place.server else {
        return sides;
    };
    let kit = CacheKit::minimal(&server.url()).await.unwrap();
    let kit = kit.default_ttl(TTL).namespace("kit").build().unwrap();
    let kit = Arc::new(kit);
    sides.push(Side::new(
        "cachekit, `get`, `single_flight`, `set`",
        move |turn| {
            let (kit, value) = (kit.clone(), record(7));
            async move {
                for number in turn.numbers() {
                    let key = key(turn, number);
                    let found: Option<Record> = kit.get(&key).await.unwrap();
                    assert!(found.is_none());
                    let mut flight = kit.single_flight(&key).await;
                    assert!(!flight.wait_for_fill().await);
                    kit.set(&key, &value.clone()).await.unwrap();
                    flight.release().await;
                }
            }
        },
    ));
    sides
}
