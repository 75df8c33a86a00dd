//! The oracle: an exact log of what eight instances admitted under random traffic,
//! over one real server and eight networks that fail, held against what each
//! algorithm and policy promises.
//!
//! Requests are given up in the middle, the server is stopped and goes on, lines
//! stall, lose replies and break. A reply that is lost after the store took the hit
//! means consumed and not admitted, which is allowed; more than the bound admitted
//! never is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod bounds;
mod faults;
mod instance;
mod log;
mod traffic;

use std::sync::Arc;
use std::time::Duration;

use sangam::limit::{Algorithm, Limiter, Mode, Policy, Rule, Ruled, Terms};
use sangam::store::Options;
use sangam_rig::redis::{Answer, Redis};

use instance::Instance;
use log::Log;

const INSTANCES: usize = 8;
const WINDOW: Duration = Duration::from_millis(400);
/// How long there is traffic, and how long without faults at first.
const TRAFFIC: Duration = Duration::from_millis(3_500);
const CALM: Duration = Duration::from_secs(1);

/// The rules of the traffic, one of each algorithm; shares of eight are not zero, and
/// large enough for leases where there are some.
fn rules(mode: Mode) -> [Rule; 6] {
    let times: u64 = match mode {
        Mode::Exact => 1,
        Mode::Leased => 8,
    };
    let rule = |algorithm, limit| Rule::new(algorithm, limit * times, WINDOW).unwrap();
    let burst = |rule: Rule, burst| rule.with_burst(burst * times).unwrap();
    [
        rule(Algorithm::FixedWindow, 16),
        rule(Algorithm::SlidingWindow, 20),
        rule(Algorithm::SlidingLog, 24),
        burst(rule(Algorithm::TokenBucket, 40), 16),
        burst(rule(Algorithm::Gcra, 32), 16),
        rule(Algorithm::Concurrency, 16),
    ]
}

/// What is left when it is quiet again: time to live on every key, and a
/// `Retry-After` that is true for whoever comes next.
async fn quiet(redis: &Redis, instances: &[Arc<Instance>], mode: Mode) {
    for instance in instances {
        instance.until_up().await;
        instance.limiter.close(Duration::from_secs(5)).await;
    }
    let mut client = redis.client().await;
    let Answer::Array(keys) = client.call(&["KEYS", "*"]).await.unwrap() else {
        panic!("no array of keys");
    };
    for key in keys {
        let Answer::Bulk(key) = key else {
            panic!("{key:?} is no key")
        };
        let left = client.call(&[b"PTTL".as_slice(), &key]).await.unwrap();
        let lasts = matches!(left, Answer::Int(-1));
        assert!(!lasts, "{} has no end", String::from_utf8_lossy(&key));
    }
    // Two more, who have the patience that apps have.
    let one = Limiter::new(instance::connect(&redis.url(), Options::default()).await);
    let other = Limiter::new(instance::connect(&redis.url(), Options::default()).await);
    for rule in rules(mode).into_iter().take(5) {
        retry_is_true(&one, &other, rule).await;
    }
}

async fn retry_is_true(one: &Limiter, other: &Limiter, rule: Rule) {
    let limit = traffic::limit(rule);
    // Large enough that asking is faster than what flows in.
    for cost in [rule.burst() / 8, rule.burst() / 4] {
        let refused = loop {
            let decision = one.check(&[limit], cost).await.unwrap();
            if !decision.allowed {
                break decision;
            }
        };
        let retry = refused.retry_after.unwrap();
        assert!(retry <= 2 * WINDOW, "{rule:?}: {retry:?}");
        // The time itself is what is tested.
        tokio::time::sleep(retry).await;
        let again = other.check(&[limit], cost).await.unwrap();
        assert!(again.allowed, "{rule:?}: {refused:?}, then {again:?}");
    }
}

async fn run(terms: Terms, seed: u64) -> Log {
    let redis = Redis::start().await;
    let mut instances = Vec::new();
    for _ in 0..INSTANCES {
        instances.push(Arc::new(Instance::start(&redis, terms).await));
    }
    let log = tokio::join!(
        traffic::run(&instances, rules(terms.mode), CALM, TRAFFIC, seed),
        faults::run(&redis, &instances, CALM, TRAFFIC, seed),
    );
    quiet(&redis, &instances, terms.mode).await;
    log.0
}

/// Checks the bounds of everything that `terms` promise.
async fn holds(terms: Terms, seed: u64) {
    let log = run(terms, seed).await;
    let degraded = match terms.policy {
        Policy::Open => Ruled::Open,
        Policy::Closed => Ruled::Closed,
        Policy::Local => Ruled::Local,
    };
    let mut ways = log.ways();
    assert!(ways.contains(&degraded), "no fault was felt: {ways:?}");
    let leases = ways.contains(&Ruled::Lease);
    assert_eq!(leases, terms.mode == Mode::Leased, "{ways:?}");
    ways.retain(|way| way.is_degraded() && *way != degraded);
    assert!(ways.is_empty(), "{terms:?} was decided by {ways:?}");
    for rule in rules(terms.mode) {
        bounds::check(&log, rule, INSTANCES);
    }
}

const fn exact(policy: Policy) -> Terms {
    Terms {
        policy,
        mode: Mode::Exact,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_never_admits_more_than_the_rules() {
    holds(exact(Policy::Closed), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_admits_what_the_rules_do_and_says_what_it_added() {
    holds(exact(Policy::Open), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_adds_at_most_the_shares_of_those_cut_off() {
    holds(exact(Policy::Local), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_never_admit_more_than_the_rules() {
    let leased = Terms {
        policy: Policy::Closed,
        mode: Mode::Leased,
    };
    holds(leased, 4).await;
}
