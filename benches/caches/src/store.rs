//! Hits in the store, with nothing held in memory.

use std::sync::Arc;
use std::time::Duration;

use cachekit::CacheKit;
use sangam::cache::{Caches, Settings};
use sangam::store::Ttl;

use crate::data::{self, Record, record};
use crate::place::Place;
use crate::turns::{Side, compare, shown};

const KEYS: usize = 10_000;
const HITS: usize = 64 << 10;

pub async fn measure() {
    println!("### A hit in the store\n");
    println!("| store | callers | by | a hit | of `Store::get` and decoding |");
    println!("|--|--|--|--|--|");
    for place in Place::both().await {
        let sides = sides(&place).await;
        for callers in [1, 64] {
            let hits = if callers == 1 && place.server.is_some() {
                HITS / 8
            } else {
                HITS
            };
            let medians = compare(&sides, callers, hits).await;
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

async fn sides(place: &Place) -> Vec<Side> {
    let keys: &'static [String] = data::keys(KEYS).leak();
    let key = |number: usize| keys[number * 157 % KEYS].as_str();
    let settings = Settings {
        ttl: Duration::from_hours(1),
        memory: 0,
        ..Settings::default()
    };
    let caches = Caches::new(place.store.clone());
    let cache = caches.cache::<Record>("store", settings).unwrap();
    for (id, key) in keys.iter().enumerate() {
        let value = record(id as u64);
        let json = serde_json::to_vec(&value).unwrap();
        place
            .store
            .set(key.as_bytes(), &json, Ttl::None)
            .await
            .unwrap();
        cache.set(key, value).await.unwrap();
    }
    let store = place.store.clone();
    let mut sides = vec![
        Side::new("`Store::get`, decoded", move |turn| {
            let store = store.clone();
            async move {
                for number in turn.numbers() {
                    let json = store.get(key(number).as_bytes()).await.unwrap().unwrap();
                    let value: Record = serde_json::from_slice(&json).unwrap();
                    assert_eq!(value.roles.len(), 2);
                }
            }
        }),
        Side::new("sangam, `get`", move |turn| {
            let cache = cache.clone();
            async move {
                for number in turn.numbers() {
                    let value = cache.get(key(number)).await.unwrap().unwrap();
                    assert_eq!(value.roles.len(), 2);
                }
            }
        }),
    ];
    let Some(server) = &place.server else {
        return sides;
    };
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    sides.push(Side::new("redis-rs, GET, decoded", move |turn| {
        let mut connection = connection.clone();
        async move {
            for number in turn.numbers() {
                let mut command = redis::cmd("GET");
                command.arg(key(number));
                let json: Vec<u8> = command.query_async(&mut connection).await.unwrap();
                let value: Record = serde_json::from_slice(&json).unwrap();
                assert_eq!(value.roles.len(), 2);
            }
        }
    }));
    let kit = CacheKit::minimal(&server.url()).await.unwrap();
    let kit = kit.no_l1().namespace("kit");
    let kit = Arc::new(kit.build().unwrap());
    for (id, key) in keys.iter().enumerate() {
        let ttl = Duration::from_hours(1);
        kit.set_with_ttl(key, &record(id as u64), ttl)
            .await
            .unwrap();
    }
    sides.push(Side::new("cachekit, `get` (MessagePack)", move |turn| {
        let kit = kit.clone();
        async move {
            for number in turn.numbers() {
                let value: Record = kit.get(key(number)).await.unwrap().unwrap();
                assert_eq!(value.roles.len(), 2);
            }
        }
    }));
    sides
}
