//! What recording a check for analytics costs, through the public API: one
//! identifier, ten thousand, and one that never came before each time; by one thread
//! and by four of one class; the best of five rounds.
//!
//! `cargo run --release -p sangam --example analytics_speed [checks]`
#![allow(clippy::unwrap_used, reason = "a panic is how a measurement fails")]

use std::time::Instant;

use sangam::limit::analytics::{Analytics, Options, Recorded};
use sangam::store::Store;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: [usize; 2] = [1, 4];

fn main() {
    let checks: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let analytics = Analytics::new(Store::memory(), Options::default()).unwrap();
    println!("{:<24} {:>10} {:>14}", "", "one thread", "four threads");
    for (name, ids) in [
        ("one identifier", 1),
        ("100 identifiers", 100),
        ("10,000 identifiers", 10_000),
        ("as many as checks", checks * 4),
    ] {
        let spelled: Vec<String> = (0..ids).map(|at| format!("user:{at:08}")).collect();
        for (what, recorded) in [
            ("allowed", Recorded::Allowed),
            ("refused", Recorded::Refused),
        ] {
            let mut best = [f64::MAX; 2];
            for _ in 0..5 {
                for (threads, best) in THREADS.into_iter().zip(&mut best) {
                    let began = Instant::now();
                    std::thread::scope(|scope| {
                        for thread in 0..threads {
                            let (analytics, spelled) = (&analytics, &spelled);
                            scope.spawn(move || {
                                for turn in 0..checks {
                                    let at = (thread * checks + turn * 7919) % ids;
                                    let id = spelled[at].as_bytes();
                                    analytics.record("auth", id, recorded, 1);
                                }
                            });
                        }
                    });
                    let each = began.elapsed().as_nanos() as f64 / (checks * threads) as f64;
                    *best = best.min(each);
                }
            }
            println!("{name:<18} {what} {:>7.0} ns {:>11.0} ns", best[0], best[1]);
        }
    }
}
