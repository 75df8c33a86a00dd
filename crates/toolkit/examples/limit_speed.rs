//! What a check costs in process, through the public API: one rule and three, 10,000
//! identifiers that take turns, every check admitted, the best of the rounds. A log
//! has ten entries on average; a permit is renewed. Each algorithm has a store of its
//! own, so that none measures the memory of another.
//!
//! `cargo run --release -p sangam --example limit_speed [checks] [algorithm]`
#![allow(clippy::unwrap_used, reason = "a panic is how a measurement fails")]

use std::time::{Duration, Instant};

use sangam::limit::{Algorithm, Decision, Limit, Limiter, Rule};
use sangam::store::Store;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const IDS: usize = 10_000;
const ROUNDS: usize = 7;
/// Entries of a log at most: each round begins with empty ones.
const LOG: u64 = 20;

fn main() {
    let mut args = std::env::args().skip(1);
    let checks = args.next().and_then(|text| text.parse().ok());
    let checks = checks.unwrap_or(IDS * LOG as usize);
    let only = args.next();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let ids: Vec<String> = (0..IDS).map(|at| format!("user:{at:06}")).collect();
    println!("{:<22} {:>10} {:>12}", "", "one rule", "three rules");
    let chosen = |it: &Algorithm| only.as_deref().is_none_or(|name| name == it.as_str());
    for algorithm in Algorithm::ALL.into_iter().filter(chosen) {
        let [one, three] = [1, 3].map(|rules| {
            runtime.block_on(async {
                let limiter = Limiter::new(Store::memory());
                let mut best = f64::MAX;
                for _ in 0..ROUNDS {
                    forget(&limiter, algorithm, &ids).await;
                    let began = Instant::now();
                    round(&limiter, algorithm, &ids, checks, rules).await;
                    best = best.min(began.elapsed().as_nanos() as f64 / checks as f64);
                }
                best
            })
        });
        println!("{:<22} {one:>7.0} ns {three:>9.0} ns", algorithm.as_str());
    }
    if only.is_none() {
        let refused = runtime.block_on(refusals(&ids, checks));
        println!("{:<22} {refused:>7.0} ns", "refused, remembered");
    }
}

fn rules_of(algorithm: Algorithm, id: &str) -> [Limit<'_>; 3] {
    let most = match algorithm {
        Algorithm::SlidingLog | Algorithm::Concurrency => LOG,
        _ => 1_000_000,
    };
    let rule = Rule::new(algorithm, most, Duration::from_mins(1)).unwrap();
    let id = id.as_bytes();
    ["a", "b", "c"].map(|name| Limit { name, rule, id })
}

async fn round(
    limiter: &Limiter,
    algorithm: Algorithm,
    ids: &[String],
    checks: usize,
    rules: usize,
) {
    for turn in 0..checks {
        let limits = rules_of(algorithm, &ids[turn % IDS]);
        let decision = match algorithm {
            Algorithm::Concurrency => limiter.acquire(&limits[..rules], "p").await,
            _ => limiter.check(&limits[..rules], 1).await,
        };
        assert!(decision.unwrap().allowed);
    }
}

/// Empties what fills up.
async fn forget(limiter: &Limiter, algorithm: Algorithm, ids: &[String]) {
    if algorithm == Algorithm::SlidingLog {
        for id in ids {
            for limit in rules_of(algorithm, id) {
                limiter.reset(&limit).await.unwrap();
            }
        }
    }
}

/// What a refusal costs that this process remembers.
async fn refusals(ids: &[String], checks: usize) -> f64 {
    let limiter = Limiter::new(Store::memory());
    let rule = Rule::new(Algorithm::Gcra, 1, Duration::from_hours(1)).unwrap();
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut refused = 0;
        for turn in 0..checks {
            let id = ids[turn % IDS].as_bytes();
            let limit = Limit {
                name: "a",
                rule,
                id,
            };
            let Decision { allowed, .. } = limiter.check(&[limit], 1).await.unwrap();
            refused += usize::from(!allowed);
        }
        assert!(refused + IDS >= checks);
        best = best.min(began.elapsed().as_nanos() as f64 / checks as f64);
    }
    best
}
