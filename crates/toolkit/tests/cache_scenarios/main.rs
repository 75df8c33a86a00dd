//! What chat and creator apps cache, told twice over a real redis-server: as such apps
//! write it by hand, and by this crate. Both see the same requests; printed are hit
//! ratio, loads of the database and billed commands of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod chat;
mod creators;
mod older;

use std::time::Duration;

use sangam::store::{Options, Store, Target};
use sangam_rig::redis::Redis;

async fn store(redis: &Redis) -> Store {
    let target = Target::new(&redis.url(), None, "REDIS_URL", "").unwrap();
    Store::connect(&target, Options::default()).await.unwrap()
}

/// Commands that a server has run and anybody bills.
async fn billed(redis: &Redis) -> u64 {
    let stats = redis.call(&["INFO", "commandstats"]).await.text();
    let free = [
        "auth",
        "hello",
        "select",
        "command",
        "config",
        "info",
        "ping",
        "reset",
        "quit",
        "client",
        "time",
        "subscribe",
        "multi",
        "exec",
    ];
    let mut sum = 0;
    for line in stats.lines() {
        let Some((name, rest)) = line
            .strip_prefix("cmdstat_")
            .and_then(|line| line.split_once(":calls="))
        else {
            continue;
        };
        let command = name.split('|').next().unwrap();
        if free.contains(&command) {
            continue;
        }
        let calls: u64 = rest.split(',').next().unwrap().parse().unwrap();
        sum += calls;
    }
    sum
}

/// Each key has a time to live.
async fn nothing_stays_for_ever(redis: &Redis) {
    let keys = redis.call(&["KEYS", "*"]).await;
    for key in keys.items() {
        let key = key.text();
        let ttl = redis.call(&["TTL", key.as_str()]).await.int();
        assert_ne!(ttl, Some(-1), "{key} stays for ever");
    }
}

/// What one telling came to.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    reads: u64,
    loads: u64,
    billed: u64,
}

impl Told {
    fn hit_ratio(&self) -> f64 {
        1.0 - self.loads as f64 / self.reads as f64
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} reads, hit ratio {:.1} %, {} loads, {} billed commands ({:.2} a read)",
            self.reads,
            100.0 * self.hit_ratio(),
            self.loads,
            self.billed,
            self.billed as f64 / self.reads as f64,
        );
    }
}

/// The longest that a word between two instances of a test takes.
const PATIENCE: Duration = Duration::from_secs(5);
