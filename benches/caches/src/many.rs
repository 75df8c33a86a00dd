//! A hundred keys at once, of which half miss: round trips and time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use sangam::cache::{Cache, Caches, Settings};
use sangam_rig::proxy::{Direction, Fault, Proxy, Whom};

use crate::data::{Record, record};
use crate::place::{Place, connect};
use crate::turns::{ROUNDS, Side, compare, shown};

const MANY: usize = 100;
const CALLS: usize = 20;
/// How late answers are where round trips are counted.
const LATE: Duration = Duration::from_millis(40);

pub async fn measure() {
    println!("### {MANY} keys at once, {} of them missing\n", MANY / 2);
    count().await;
    println!("\n| store | by | {MANY} keys | of `get_or_set_many` |");
    println!("|--|--|--|--|");
    for place in Place::both().await {
        let sides = sides(&place).await;
        let medians = compare(&sides, 1, CALLS).await;
        for (side, median) in sides.iter().zip(&medians) {
            println!(
                "| {} | {} | {} | {:.1} |",
                place.name,
                side.name,
                shown(*median),
                median / medians[0]
            );
        }
    }
    println!();
}

fn keys(side: &str, round: usize, call: usize) -> Vec<String> {
    let key = |at| format!("{side}:{round}:{call}:{at}");
    (0..MANY).map(key).collect()
}

/// Writes every other key.
async fn half(cache: &Cache<Record>, keys: &[String]) {
    let values = keys.iter().step_by(2).enumerate();
    let values = values.map(|(id, key)| (key.as_str(), record(id as u64)));
    cache.set_many(values).await.unwrap();
}

async fn at_once(cache: &Cache<Record>, keys: &[String]) -> usize {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let load = async |missing: Vec<String>| {
        let loaded = missing.into_iter().map(|key| (key, record(1)));
        Ok::<_, Infallible>(loaded.collect::<HashMap<_, _>>())
    };
    let found = cache.get_or_set_many(&keys, load).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    let sources = found.iter().flatten().map(|it| it.source);
    sources
        .filter(|it| *it == sangam::cache::Source::Loader)
        .count()
}

/// Another instance wrote half of the keys; this one is behind a line on which every
/// answer is late.
async fn count() {
    let place = Place::redis().await;
    let server = place.server.as_ref().unwrap();
    let proxy = Proxy::start(server.addr());
    let far = connect(&format!("redis://{}", proxy.addr())).await;
    let far = Caches::new(far);
    let far = far.cache::<Record>("many", Settings::default()).unwrap();
    let writer = Caches::new(place.store.clone());
    let writer = writer.cache::<Record>("many", Settings::default()).unwrap();
    println!("Over a line on which every answer takes {LATE:?}:\n");
    println!("| | time | answers waited for | GET, MGET and SET |");
    println!("|--|--|--|--|");
    let fault = Fault::Delay {
        direction: Direction::Reply,
        least: LATE,
        most: LATE,
    };
    for (call, name) in ["the first call of a process", "a later one", "another"]
        .into_iter()
        .enumerate()
    {
        let keys = keys("count", 0, call);
        half(&writer, &keys).await;
        proxy.fault(fault, Whom::All);
        server.call(&["CONFIG", "RESETSTAT"]).await;
        let began = Instant::now();
        let missed = at_once(&far, &keys).await;
        let took = began.elapsed();
        let stats = server.call(&["INFO", "commandstats"]).await.text();
        proxy.clear();
        assert_eq!(missed, MANY / 2);
        let calls = |name: &str| {
            let begins = format!("cmdstat_{name}:calls=");
            let line = stats.lines().find_map(|it| it.strip_prefix(&begins));
            line.and_then(|it| it.split(',').next())
                .unwrap_or("0")
                .to_owned()
        };
        println!(
            "| {name} | {} | {:.1} | {}, {}, {} |",
            shown(took.as_secs_f64()),
            took.as_secs_f64() / LATE.as_secs_f64(),
            calls("get"),
            calls("mget"),
            calls("set"),
        );
    }
}

async fn sides(place: &Place) -> Vec<Side> {
    let instance = || {
        let caches = Caches::new(place.store.clone());
        caches.cache::<Record>("many", Settings::default()).unwrap()
    };
    // Half of the keys are there, from another instance.
    let writer = instance();
    for side in ["many", "single", "joined"] {
        for round in 0..=ROUNDS {
            for call in 0..CALLS {
                half(&writer, &keys(side, round, call)).await;
            }
        }
    }
    let (many, single, joined) = (instance(), instance(), instance());
    let load = async |_| Ok::<_, Infallible>(record(1));
    vec![
        Side::new("`get_or_set_many`", move |turn| {
            let cache = many.clone();
            async move {
                for number in turn.numbers() {
                    let keys = keys("many", turn.round, number);
                    assert_eq!(at_once(&cache, &keys).await, MANY / 2);
                }
            }
        }),
        Side::new("`get_or_set`, one after the other", move |turn| {
            let cache = single.clone();
            async move {
                for number in turn.numbers() {
                    for key in keys("single", turn.round, number) {
                        cache.get_or_set(&key, load).await.unwrap();
                    }
                }
            }
        }),
        Side::new("`get_or_set`, all at once", move |turn| {
            let cache = joined.clone();
            async move {
                for number in turn.numbers() {
                    let mut tasks = tokio::task::JoinSet::new();
                    for key in keys("joined", turn.round, number) {
                        let cache = cache.clone();
                        tasks.spawn(async move { cache.get_or_set(&key, load).await.unwrap() });
                    }
                    tasks.join_all().await;
                }
            }
        }),
    ]
}
