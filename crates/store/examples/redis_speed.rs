//! What a store over Redis costs beside bare redis-rs: SET and GET by 1 and by 64
//! callers, over one connection each, both sides in turns of one run, the best of
//! each.
//!
//! `cargo run --release -p sangam-store --example redis_speed [calls]`; it starts
//! a redis-server of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a measurement fails"
)]

use std::time::Instant;

use redis::aio::MultiplexedConnection;
use sangam_rig::redis::Redis;
use sangam_store::{Options, Store, Target};
use tokio::task::JoinSet;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;

#[derive(Clone)]
enum Side {
    Bare(MultiplexedConnection),
    Stored(Store),
}

impl Side {
    async fn run(mut self, reads: bool, caller: usize, calls: usize) {
        let value = [b'v'; 64];
        for number in 0..calls {
            let key = format!("key:{:012}", caller * 1000 + number % 1000);
            let key = key.as_bytes();
            match &mut self {
                Side::Bare(connection) if reads => {
                    let reply = redis::cmd("GET").arg(key).query_async(connection).await;
                    let _: Vec<u8> = reply.unwrap();
                }
                Side::Bare(connection) => {
                    let mut command = redis::cmd("SET");
                    command.arg(key).arg(&value[..]);
                    let reply = command.query_async(connection).await;
                    let () = reply.unwrap();
                }
                Side::Stored(store) if reads => {
                    store.call(&[b"GET", key]).await.unwrap();
                }
                Side::Stored(store) => {
                    store.call(&[b"SET", key, &value]).await.unwrap();
                }
            }
        }
    }

    /// Calls a second.
    async fn rate(&self, reads: bool, callers: usize, calls: usize) -> f64 {
        let each = calls / callers;
        let start = Instant::now();
        let mut running = JoinSet::new();
        for caller in 0..callers {
            running.spawn(self.clone().run(reads, caller, each));
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
        (each * callers) as f64 / start.elapsed().as_secs_f64()
    }
}

#[tokio::main]
async fn main() {
    let calls: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(40_000);
    let server = Redis::start().await;
    let url = server.url();
    let target = Target::new(&url, None, "url", "").unwrap();
    let store = Store::connect(&target, Options::default()).await.unwrap();
    let client = redis::Client::open(format!("{url}?protocol=resp3")).unwrap();
    let bare = client.get_multiplexed_async_connection().await.unwrap();
    let sides = [Side::Bare(bare), Side::Stored(store)];
    println!(
        "{:<16} {:>12} {:>12} {:>7}",
        "calls a second", "redis-rs", "store", "ratio"
    );
    for callers in [1, 64] {
        let calls = if callers == 1 { calls / 4 } else { calls };
        for (name, reads) in [("SET", false), ("GET", true)] {
            let mut best = [0f64; 2];
            for round in 0..ROUNDS {
                // Who begins changes, since the machine does.
                for turn in 0..2 {
                    let at = (round + turn) % 2;
                    let rate = sides[at].rate(reads, callers, calls).await;
                    best[at] = best[at].max(rate);
                }
            }
            println!(
                "{:<16} {:>12.0} {:>12.0} {:>7.3}",
                format!("{name}, {callers} callers"),
                best[0],
                best[1],
                best[1] / best[0]
            );
        }
    }
}
