//! Invalidating many values by one tag.

use std::time::{Duration, Instant};

use sangam::cache::{Cache, Caches, Loaded, Settings};
use sangam::store::Store;

use crate::data;
use crate::place::{Place, connect};
use crate::turns::{median, shown};

const ROUNDS: usize = 5;
const BYTES: usize = 256;

pub async fn measure() {
    println!("### Invalidating a tag\n");
    println!(
        "| store | values that have it | `invalidate_tag`, median | longest | values that hold after, here, in another instance |"
    );
    println!("|--|--|--|--|--|");
    for place in Place::both().await {
        let other = match &place.server {
            Some(server) => connect(&server.url()).await,
            None => place.store.clone(),
        };
        for count in [100, 100_000] {
            invalidate(&place, other.clone(), count).await;
        }
    }
    println!();
}

async fn invalidate(place: &Place, other: Store, count: usize) {
    let keys = data::keys(count);
    let settings = Settings {
        ttl: Duration::from_hours(1),
        memory: 256 << 20,
        ..Settings::default()
    };
    let instance = |store: Store| {
        let caches = Caches::new(store);
        let cache = caches.cache::<String>("tags", settings.clone());
        (caches, cache.unwrap())
    };
    let (_caches, cache) = instance(place.store.clone());
    let (_others, other) = instance(other);
    let mut times = Vec::new();
    let mut left = (0, 0);
    for _ in 0..ROUNDS {
        for keys in keys.chunks(500) {
            let value = || Loaded::value("v".repeat(BYTES)).tags(["all"]);
            let values = keys.iter().map(|key| (key.as_str(), value()));
            cache.set_many(values).await.unwrap();
        }
        assert_eq!(holding(&cache, &keys).await, count);
        assert_eq!(holding(&other, &keys).await, count);
        assert_eq!(cache.stats().items, count as u64);
        assert_eq!(other.stats().items, count as u64);
        let began = Instant::now();
        cache.invalidate_tag("all").await.unwrap();
        times.push(began.elapsed().as_secs_f64());
        left.0 += holding(&cache, &keys).await;
        // Until it heard of it.
        let began = Instant::now();
        while other.peek(&keys[0]).is_some() && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        left.1 += holding(&other, &keys).await;
    }
    let longest = times.iter().copied().fold(0.0, f64::max);
    println!(
        "| {} | {count} | {} | {} | {}, {} |",
        place.name,
        shown(median(times)),
        shown(longest),
        left.0,
        left.1
    );
}

async fn holding(cache: &Cache<String>, keys: &[String]) -> usize {
    let mut holding = 0;
    for keys in keys.chunks(500) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let found = cache.get_many(&keys).await.unwrap();
        holding += found.iter().flatten().count();
    }
    holding
}
