//! Hits in memory.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::CacheKit;
use sangam::cache::{Cache, Caches, Options, Settings};
use sangam_rig::redis::Redis;
use tokio::runtime::Runtime;

use crate::data;
use crate::place::Place;
use crate::turns::{alternate, shown};

const KEYS: usize = 100_000;
const HITS: usize = 1 << 18;
const BYTES: usize = 256;

/// What a thread does with the keys that it draws.
type Hits<'a> = Box<dyn Fn(&[u32]) -> usize + Sync + 'a>;

pub fn measure(runtime: &Runtime) {
    let keys = data::keys(KEYS);
    let draws = data::skewed(KEYS, HITS);
    let value = "v".repeat(BYTES);

    let ours = runtime.block_on(ours(&keys, &value));
    let quick = quick_cache::sync::Cache::<String, Arc<String>>::new(2 * KEYS);
    let moka = moka::sync::Cache::<String, Arc<String>>::builder()
        .max_capacity(2 * KEYS as u64)
        .time_to_live(Duration::from_mins(60))
        .build();
    for key in &keys {
        quick.insert(key.clone(), Arc::new(value.clone()));
        moka.insert(key.clone(), Arc::new(value.clone()));
    }
    let server = runtime.block_on(Redis::start());
    let kit = runtime.block_on(kit(&server, &keys, &value));

    // Every side reads the value's length: it is there to be read.
    let key = |draw: &u32| keys[*draw as usize].as_str();
    let sides: [(&str, Hits<'_>); 5] = [
        (
            "quick_cache, `Arc` values",
            Box::new(|draws| {
                let hits = draws.iter().map(|it| quick.get(key(it)).unwrap().len());
                hits.sum()
            }),
        ),
        (
            "sangam, `get`",
            Box::new(|draws| {
                runtime.block_on(async {
                    let mut sum = 0;
                    for draw in draws {
                        sum += ours.get(key(draw)).await.unwrap().unwrap().len();
                    }
                    sum
                })
            }),
        ),
        (
            "sangam, `peek`",
            Box::new(|draws| {
                let hits = draws.iter().map(|it| ours.peek(key(it)).unwrap().len());
                hits.sum()
            }),
        ),
        (
            "moka, `Arc` values, a time to live",
            Box::new(|draws| {
                let hits = draws.iter().map(|it| moka.get(key(it)).unwrap().len());
                hits.sum()
            }),
        ),
        (
            "cachekit, `get`, which decodes",
            Box::new(|draws| {
                runtime.block_on(async {
                    let mut sum = 0;
                    for draw in draws {
                        let found: String = kit.get(key(draw)).await.unwrap().unwrap();
                        sum += found.len();
                    }
                    sum
                })
            }),
        ),
    ];
    println!("### A hit in memory\n");
    println!("| threads | cache | a hit | of quick_cache's |");
    println!("|--|--|--|--|");
    for threads in [1, 2] {
        let medians = runtime.block_on(alternate(sides.len(), async |side, _| {
            tokio::task::block_in_place(|| together(threads, &draws, &sides[side].1))
        }));
        for ((name, _), median) in sides.iter().zip(&medians) {
            println!(
                "| {threads} | {name} | {} | {:.2} |",
                shown(*median),
                median / medians[0]
            );
        }
    }
    println!();
}

/// Seconds a hit of a thread, while so many do the same, each from another draw on.
fn together(threads: usize, draws: &[u32], hits: &Hits<'_>) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let (late, early) = draws.split_at(draws.len() / threads * thread);
                let sum = hits(early) + hits(late);
                assert_eq!(black_box(sum), draws.len() * BYTES);
            });
        }
    });
    began.elapsed().as_secs_f64() / draws.len() as f64
}

async fn ours(keys: &[String], value: &str) -> Cache<String> {
    // `peek` never asks the store whether memory still holds.
    let options = Options {
        heartbeat: Some(Duration::from_hours(1)),
        ..Options::default()
    };
    let settings = Settings {
        ttl: Duration::from_hours(1),
        memory: 128 << 20,
        ..Settings::default()
    };
    let caches = Caches::with_options(Place::embedded().store, &options);
    let cache = caches.cache::<String>("memory", settings).unwrap();
    // The first comparison with the store empties memory.
    assert!(cache.get(&keys[0]).await.unwrap().is_none());
    for keys in keys.chunks(500) {
        let values = keys.iter().map(|key| (key.as_str(), value.to_owned()));
        cache.set_many(values).await.unwrap();
        // What shares a stripe with another one of its batch is left to the first read.
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        cache.get_many(&keys).await.unwrap();
    }
    assert_eq!(cache.stats().items, keys.len() as u64);
    cache
}

async fn kit(server: &Redis, keys: &[String], value: &str) -> CacheKit {
    let kit = CacheKit::minimal(&server.url()).await.unwrap();
    let kit = kit
        .l1_capacity(2 * KEYS)
        .default_ttl(Duration::from_hours(1));
    let kit = kit.build().unwrap();
    for key in keys {
        kit.set(key, &value).await.unwrap();
    }
    kit
}
