//! Leases: several instances over one store never pass the limit, whatever becomes
//! of them, and ask as rarely as is promised.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bound;
mod cost;
mod story;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sangam::limit::{Algorithm, Limit, Limiter, Mode, Policy, Rule, Terms};
use sangam::store::{Options as StoreOptions, Store, Target};
use sangam_engine::clock::Clock;
use sangam_engine::{Engine, Options};
use sangam_rig::redis::Redis;

const START_US: u64 = 1_700_000_040_000_000;
const LEASED: Terms = Terms {
    policy: Policy::Closed,
    mode: Mode::Leased,
};

/// A clock that goes both ways.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Hand {
    fn advance_millis(&self, millis: u64) {
        self.0.fetch_add(millis * 1000, Ordering::SeqCst);
    }

    fn set_back_millis(&self, millis: u64) {
        self.0.fetch_sub(millis * 1000, Ordering::SeqCst);
    }
}

fn still() -> (Arc<Hand>, Store) {
    let clock = Arc::new(Hand(AtomicU64::new(START_US)));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Store::embedded(engine))
}

/// One of so many instances.
fn instance(store: &Store, of: u32) -> Limiter {
    Limiter::new(store.clone())
        .with_terms(LEASED)
        .with_instances(NonZeroU32::new(of).unwrap())
}

fn rule(algorithm: Algorithm, limit: u64, millis: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
}

const fn limit(rule: Rule) -> Limit<'static> {
    Limit {
        name: "test",
        rule,
        id: b"somebody",
    }
}

const COUNTED: [Algorithm; 3] = [
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::Gcra,
];

async fn over(server: &Redis) -> Store {
    let target = Target::new(&server.url(), None, "REDIS_URL", "").unwrap();
    Store::connect(&target, StoreOptions::default())
        .await
        .unwrap()
}
