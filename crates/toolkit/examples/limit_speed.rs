//! What a check costs in process, through the public API: one rule and three, 10,000
//! identifiers, the best of five rounds.
//!
//! `cargo run --release -p sangam --example limit_speed [checks]`
#![allow(clippy::unwrap_used, reason = "a panic is how a measurement fails")]

use std::time::{Duration, Instant};

use sangam::limit::{Algorithm, Limit, Limiter, Rule};
use sangam::store::Store;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IDS: usize = 10_000;

fn main() {
    let checks: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(300_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let ids: Vec<String> = (0..IDS).map(|at| format!("user:{at:06}")).collect();
    let limiter = runtime.block_on(async { Limiter::new(Store::memory()) });
    println!("{:<16} {:>10} {:>12}", "", "one rule", "three rules");
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let most = if algorithm == Algorithm::SlidingLog {
            20
        } else {
            1_000_000
        };
        let rule = Rule::new(algorithm, most, Duration::from_mins(1)).unwrap();
        let limit = |name, id| Limit { name, rule, id };
        let mut best = [f64::MAX; 2];
        for _ in 0..5 {
            for (three, best) in best.iter_mut().enumerate() {
                let began = Instant::now();
                runtime.block_on(async {
                    for turn in 0..checks {
                        let id = ids[turn % IDS].as_bytes();
                        let limits = [limit("a", id), limit("b", id), limit("c", id)];
                        let limits = if three == 1 {
                            &limits[..]
                        } else {
                            &limits[..1]
                        };
                        limiter.check(limits, 1).await.unwrap();
                    }
                });
                *best = best.min(began.elapsed().as_nanos() as f64 / checks as f64);
            }
        }
        println!(
            "{:<16} {:>7.0} ns {:>9.0} ns",
            algorithm.as_str(),
            best[0],
            best[1]
        );
    }
}
