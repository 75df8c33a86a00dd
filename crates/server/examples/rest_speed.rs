//! What gathering calls brings over REST: 64 callers through a store as it is,
//! against the same store with one call a request, in one run.
//!
//! ```sh
//! cargo run --release -p sangam-server --example rest_speed [slots]
//! ```
//!
//! The gateway runs in this process, once reached directly and once over a line
//! that takes a millisecond each way, as between two machines of a data centre.
//! The sides take turns; the medians of the rounds are compared.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement may panic"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sangam_rig::proxy::{Direction, Fault, Proxy, Whom};
use sangam_server::{Config, Server};
use sangam_store::{Options, Store, Target};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const ONE_WAY: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() {
    let server = Server::start(Config::in_memory("token")).await.unwrap();
    println!("{CALLERS} callers, INCR, calls/s; median of {ROUNDS} rounds of {ROUND:?}\n");
    println!("line        one a request   gathered    ratio");
    compare("loopback", server.http()).await;

    let line = Proxy::start(server.http());
    for direction in [Direction::Request, Direction::Reply] {
        let delay = Fault::Delay {
            direction,
            least: ONE_WAY,
            most: ONE_WAY,
        };
        line.fault(delay, Whom::All);
    }
    compare("2 ms", line.addr()).await;
    server.shutdown().await;
}

async fn compare(name: &str, addr: SocketAddr) {
    let single = connect(addr, 1).await;
    let gathering = connect(addr, Options::default().rest_batch).await;
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(round(&single).await);
        together.push(round(&gathering).await);
    }
    let (alone, together) = (median(alone), median(together));
    let ratio = together / alone;
    println!("{name:<10} {alone:>14.0} {together:>10.0} {ratio:>8.1}");
}

async fn connect(addr: SocketAddr, rest_batch: usize) -> Store {
    let url = format!("http://{addr}");
    let target = Target::new(&url, Some("token"), "SANGAM_STORE", "SANGAM_STORE_TOKEN").unwrap();
    let slots = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let options = Options {
        rest_batch,
        rest_slots: slots.unwrap_or(Options::default().rest_slots),
        ..Options::default()
    };
    Store::connect(&target, options).await.unwrap()
}

/// Calls a second.
async fn round(store: &Store) -> f64 {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, key) = (store.clone(), format!("counter:{caller}"));
        callers.spawn(async move {
            let mut calls = 0_u32;
            while began.elapsed() < ROUND {
                store.call(&[b"INCR", key.as_bytes()]).await.unwrap();
                calls += 1;
            }
            calls
        });
    }
    let calls: u32 = callers.join_all().await.into_iter().sum();
    f64::from(calls) / began.elapsed().as_secs_f64()
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
