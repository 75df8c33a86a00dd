//! What a store adds to a call of the engine: GET and SET on 100,000 keys, both
//! sides in turns of one run, the best of each.
//!
//! `cargo run --release -p sangam-store --example engine_speed [calls]`
#![allow(clippy::unwrap_used, reason = "a panic is how a measurement fails")]

use std::time::Instant;

use sangam_engine::Engine;
use sangam_engine::random::Random;
use sangam_store::Store;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 100_000;
const ROUNDS: usize = 9;

/// The key of this number: 16 bytes.
fn key(mut number: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    for digit in key.iter_mut().rev().take(12) {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    key
}

fn nanos(start: Instant, calls: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn main() {
    let calls: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(500_000);
    let engine = Engine::default();
    let store = Store::embedded(engine.clone());
    let mut session = engine.session();
    let value = [b'v'; 16];
    for number in 0..KEYS {
        engine.call(&mut session, &[b"SET", &key(number), &value]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    println!("{:<6} {:>10} {:>10} {:>10}", "", "engine", "store", "added");
    for name in ["GET", "SET"] {
        let reads = name == "GET";
        let (mut bare, mut stored) = (f64::MAX, f64::MAX);
        for round in 0..ROUNDS {
            let mut random = Random::new(round as u64);
            let start = Instant::now();
            for _ in 0..calls {
                let key = key(random.below(KEYS));
                if reads {
                    engine.call(&mut session, &[b"GET", &key]);
                } else {
                    engine.call(&mut session, &[b"SET", &key, &value]);
                }
            }
            bare = bare.min(nanos(start, calls));
            let mut random = Random::new(round as u64);
            let start = Instant::now();
            runtime.block_on(async {
                for _ in 0..calls {
                    let key = key(random.below(KEYS));
                    if reads {
                        store.call(&[b"GET", &key]).await.unwrap();
                    } else {
                        store.call(&[b"SET", &key, &value]).await.unwrap();
                    }
                }
            });
            stored = stored.min(nanos(start, calls));
        }
        let added = stored - bare;
        println!("{name:<6} {bare:>7.0} ns {stored:>7.0} ns {added:>7.0} ns");
    }
}
