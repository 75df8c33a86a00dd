//! Leases: several instances over one store never pass the limit, whatever becomes
//! of them, and ask as rarely as is promised.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam::limit::Unleased;
use sangam::limit::{Algorithm, Limit, Limiter, Mode, Policy, Rule, Ruled, Terms};
use sangam::store::{Options as StoreOptions, Store, Target};
use sangam_engine::clock::Clock;
use sangam_engine::{Engine, Options, Reply};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;

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

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
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

/// The numbers that the store has of the limit.
async fn numbers(store: &Store, rule: Rule) -> Vec<i64> {
    let letter = match rule.algorithm() {
        Algorithm::FixedWindow => "f",
        Algorithm::SlidingWindow => "s",
        _ => "b",
    };
    let window = rule.window().as_millis();
    let key = format!("limit:test:{letter}{window}:{{somebody}}");
    match store.call(&[b"GET", key.as_bytes()]).await.unwrap() {
        Reply::Bulk(value) => value
            .get(9..)
            .unwrap()
            .chunks_exact(8)
            .map(|word| i64::from_be_bytes(word.try_into().unwrap()))
            .collect(),
        _ => Vec::new(),
    }
}

/// What was really used, against the algorithm's own bound.
#[derive(Debug)]
enum Oracle {
    /// Uses in the window that began then.
    Fixed(i64, u64),
    /// The window's number, uses in the one before and in it.
    Sliding(i64, i64, i64),
    /// Microseconds until it has flowed out, as of then.
    Bucket(i64, i64),
}

impl Oracle {
    fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::FixedWindow => Oracle::Fixed(0, 0),
            Algorithm::SlidingWindow => Oracle::Sliding(0, 0, 0),
            _ => Oracle::Bucket(0, 0),
        }
    }

    /// Counts a request that was admitted; whether the rule, with so much more,
    /// admits it.
    fn admits(&mut self, rule: &Rule, now_us: i64, cost: u64, slack: u64, stored: &[i64]) -> bool {
        let (limit, span) = (rule.limit() as i64, rule.window().as_millis() as i64);
        let more = slack as i64;
        match self {
            Oracle::Fixed(start, used) => {
                if *start != stored[0] {
                    (*start, *used) = (stored[0], 0);
                }
                *used += cost;
                *used <= rule.limit() + slack
            }
            Oracle::Sliding(index, former, used) => {
                let window = now_us / 1000 / span;
                if window == *index + 1 {
                    (*index, *former, *used) = (window, *used, 0);
                } else if window > *index {
                    (*index, *former, *used) = (window, 0, 0);
                }
                let left = span - (now_us / 1000 - *index * span).max(0);
                *used += cost as i64;
                *former * left <= (limit + more - *used) * span
            }
            Oracle::Bucket(level, at) => {
                let each = (span * 1000 + limit - 1) / limit;
                *level = (*level - (now_us - *at).max(0)).max(0) + cost as i64 * each;
                *at = now_us;
                *level <= each * (rule.burst() as i64 + more)
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many requests of one instance.
    Hits(usize, u64, u32),
    Wait(u64),
    /// The clock is set back.
    Back(u64),
    /// An instance ends without a word, and another begins.
    Crash(usize),
    Close(usize),
    Penalize(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..3, 1u64..4, 1u32..40).prop_map(|(at, cost, n)| Step::Hits(at, cost, n)),
        6 => prop_oneof![0u64..300, 300u64..3_000].prop_map(Step::Wait),
        1 => (0u64..2_500).prop_map(Step::Back),
        1 => (0usize..3).prop_map(Step::Crash),
        1 => (0usize..3).prop_map(Step::Close),
        1 => (0usize..3, 1u64..30).prop_map(|(at, cost)| Step::Penalize(at, cost)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Three instances, of which some end, while the clock goes as it likes.
    #[test]
    fn never_more_than_the_limit(
        kind in 0usize..3,
        most in 45u64..400,
        burst in 0u64..200,
        goes_back in proptest::bool::weighted(0.2),
        steps in vec(step(), 1..60),
    ) {
        block_on(async {
            let (clock, store) = still();
            let mut rule = rule(COUNTED[kind], most, 2_000);
            if rule.algorithm() == Algorithm::Gcra {
                rule = rule.with_burst(45 + burst).unwrap();
            }
            let limit = limit(rule);
            let mut instances: Vec<Limiter> = (0..3).map(|_| instance(&store, 3)).collect();
            let mut oracle = Oracle::of(rule.algorithm());
            let mut slack = 0;
            for step in steps {
                match step {
                    Step::Wait(millis) => clock.advance_millis(millis),
                    // What was over is not: of a lease an instance.
                    Step::Back(_) if !goes_back => {}
                    Step::Back(millis) => {
                        clock.set_back_millis(millis);
                        slack = 3 * rule.burst().div_ceil(3);
                    }
                    Step::Crash(at) => instances[at] = instance(&store, 3),
                    Step::Close(at) => {
                        instances[at].close(Duration::from_secs(5)).await;
                        instances[at] = instance(&store, 3);
                    }
                    Step::Penalize(at, cost) => {
                        instances[at].penalize(&limit, cost.min(rule.burst())).await.unwrap();
                    }
                    Step::Hits(at, cost, hits) => {
                        for _ in 0..hits {
                            let decision = instances[at].check(&[limit], cost).await.unwrap();
                            if !decision.allowed {
                                prop_assert!(decision.retry_after > Some(Duration::ZERO));
                                break;
                            }
                            let now = clock.now_micros() as i64;
                            let stored = numbers(&store, rule).await;
                            prop_assert!(
                                oracle.admits(&rule, now, cost, slack, &stored),
                                "{:?} {:?}", decision, oracle
                            );
                        }
                    }
                }
            }
            Ok(())
        })?;
    }

    /// A retry is true where nobody else comes, and a refusal takes nothing that a
    /// later request would miss.
    #[test]
    fn a_retry_is_true(
        kind in 0usize..3,
        most in 15u64..200,
        steps in vec((0u64..1_500, 1u64..3, 1u32..60), 1..25),
    ) {
        block_on(async {
            let (clock, store) = still();
            let alone = instance(&store, 1);
            let limit = limit(rule(COUNTED[kind], most, 2_000));
            for (wait, cost, hits) in steps {
                clock.advance_millis(wait);
                for _ in 0..hits {
                    let decision = alone.check(&[limit], cost).await.unwrap();
                    if decision.allowed {
                        continue;
                    }
                    let retry = decision.retry_after.unwrap();
                    clock.advance_millis((retry.as_micros() as u64).div_ceil(1000));
                    let again = alone.check(&[limit], cost).await.unwrap();
                    prop_assert!(again.allowed, "{:?} then {:?}", decision, again);
                    break;
                }
            }
            Ok(())
        })?;
    }

    /// What an instance did not use is there again when it has closed; what was
    /// refused took nothing.
    #[test]
    fn closing_returns_what_was_not_used(
        kind in 0usize..3,
        hits in 2u32..80,
        wait in 0u64..1_000,
    ) {
        block_on(async {
            let (clock, store) = still();
            let rule = rule(COUNTED[kind], 40, 120_000);
            let one = instance(&store, 1);
            let mut used = 0;
            for _ in 0..hits {
                used += u64::from(one.check(&[limit(rule)], 1).await.unwrap().allowed);
            }
            clock.advance_millis(wait);
            one.close(Duration::from_secs(5)).await;
            let numbers = numbers(&store, rule).await;
            let (now, interval) = (clock.now_micros() as i64, 3_000_000);
            match rule.algorithm() {
                Algorithm::Gcra => {
                    let arrival = START_US as i64 + used as i64 * interval;
                    prop_assert!(numbers[1] <= arrival.max(now) + interval, "{:?}", numbers);
                }
                _ => prop_assert_eq!(*numbers.last().unwrap(), used as i64),
            }
            let decision = one.check(&[limit(rule)], 1).await.unwrap();
            prop_assert_eq!((decision.allowed, decision.ruled), (used < 40, Ruled::Store));
            prop_assert_eq!(one.unleased(&[limit(rule)], 1), Ok(Some(Unleased::Closed)));
            Ok(())
        })?;
    }
}

/// An even flow of so many requests in a window and instance: billed commands a
/// check, and the share that is admitted.
async fn steady(rule: Rule, instances: u32, cost: u64, requests: u64) -> (f64, f64) {
    let (clock, store) = still();
    let window = rule.window().as_millis() as u64;
    let all: Vec<Limiter> = (0..instances)
        .map(|_| instance(&store, instances))
        .collect();
    let requests = requests * u64::from(instances);
    let (mut checks, mut asked, mut allowed) = (0_u32, 0_u32, 0_u32);
    let mut passed = 0;
    for request in 0..requests * 12 {
        let at = (request % u64::from(instances)) as usize;
        let decision = all[at].check(&[limit(rule)], cost).await.unwrap();
        // The first windows are for getting to know each other.
        if request >= requests * 4 {
            checks += 1;
            asked += u32::from(decision.ruled == Ruled::Store);
            allowed += u32::from(decision.allowed);
        }
        let next = (request + 1) * window / requests;
        clock.advance_millis(next - passed);
        passed = next;
    }
    let (checks, asked) = (f64::from(checks), f64::from(asked));
    (3.0 * asked / checks, f64::from(allowed) / checks)
}

/// At the limit: a window of 15 requests an instance, and larger ones.
#[tokio::test]
async fn a_steady_flow_costs_a_fifth_of_a_command_a_check() {
    for algorithm in COUNTED {
        for instances in [1, 2, 4] {
            for cost in [1, 2] {
                for requests in [15, 16, 31, 120, 600] {
                    let limits = requests * u64::from(instances) * cost;
                    let rule = rule(algorithm, limits, 14_880_000);
                    let (billed, allowed) = steady(rule, instances, cost, requests).await;
                    let told = format!("{algorithm:?} {limits} of {instances}, {cost}");
                    println!("{told}: {billed:.3} {allowed:.3}");
                    assert!(billed <= 0.2 + 1e-9, "{told}: {billed}");
                    let least = match algorithm {
                        // The first places of a window are whoever's came first.
                        Algorithm::SlidingWindow => 0.6,
                        _ => 0.99,
                    };
                    assert!(allowed >= least, "{told}: {allowed}");
                }
            }
        }
    }
}

/// Below it: from 15 requests in a window on; of a bucket, in the time that the
/// instance's share takes to flow in.
#[tokio::test]
async fn a_lesser_flow_costs_no_more() {
    for algorithm in COUNTED {
        for (requests, share) in [
            (15, 40),
            (16, 40),
            (17, 200),
            (29, 200),
            (36, 200),
            (47, 200),
        ] {
            for instances in [1, 2] {
                let limits = share * u64::from(instances);
                let mut rule = rule(algorithm, limits, 6_000_000);
                if algorithm == Algorithm::Gcra {
                    // Every instance's share flows in within a window.
                    rule = rule.with_burst(limits * u64::from(instances)).unwrap();
                }
                let (billed, allowed) = steady(rule, instances, 1, requests).await;
                let told = format!("{algorithm:?} {requests} of {share}, {instances}");
                println!("{told}: {billed:.3} {allowed:.3}");
                assert!(billed <= 0.2 + 1e-9, "{told}: {billed}");
                assert!(allowed >= 0.99, "{told}: {allowed}");
            }
        }
    }
}

/// A sum over the commands that a server has run, but for those of the test.
async fn billed(server: &Redis) -> u64 {
    let stats = server.call(&["INFO", "commandstats"]).await.text();
    let of_data = |line: &&str| {
        let command = line.strip_prefix("cmdstat_").unwrap_or_default();
        ["eval", "get:", "set:", "bitfield", "del:"]
            .iter()
            .any(|name| command.starts_with(name))
    };
    stats
        .lines()
        .filter(of_data)
        .map(|line| {
            let calls = line.split("calls=").nth(1).unwrap();
            calls.split(',').next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
}

async fn over(server: &Redis) -> Store {
    let target = Target::new(&server.url(), None, "REDIS_URL", "").unwrap();
    Store::connect(&target, StoreOptions::default())
        .await
        .unwrap()
}

/// On a real server, by what it counted: twice the limit, as time goes there.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_is_asked_as_rarely() {
    let server = Redis::start().await;
    for algorithm in COUNTED {
        for instances in [1_u32, 2] {
            for cost in [1_u64, 2] {
                server.call(&["FLUSHALL"]).await;
                let limits = 15 * u64::from(instances) * cost;
                let rule = rule(algorithm, limits, 300);
                let mut all = Vec::new();
                for _ in 0..instances {
                    all.push(instance(&over(&server).await, instances));
                }
                // Each is known, and the beats of the instances are over.
                for limiter in &all {
                    for _ in 0..2 {
                        limiter.check(&[limit(rule)], cost).await.unwrap();
                    }
                }
                until("the beats", async || {
                    let list = server.call(&["STRLEN", "limit-instances:{all}"]).await;
                    let beats = list.int().unwrap_or_default() / 31;
                    (beats == i64::from(instances))
                        .then_some(())
                        .ok_or(format!("{beats}"))
                })
                .await;
                let before = billed(&server).await;
                let mut tick = tokio::time::interval(Duration::from_millis(10));
                let (mut checks, mut allowed) = (0_u32, 0_u32);
                for _ in 0..150 {
                    tick.tick().await;
                    for limiter in &all {
                        let decision = limiter.check(&[limit(rule)], cost).await.unwrap();
                        checks += 1;
                        allowed += u32::from(decision.allowed);
                    }
                }
                let spent = billed(&server).await - before;
                let told = format!("{algorithm:?} {limits} of {instances}, {cost}");
                println!("{told}: {spent} for {checks}, {allowed} allowed");
                assert!(allowed > 0, "{told}");
                assert!(spent as f64 <= 0.2 * f64::from(checks), "{told}: {spent}");
                for limiter in &all {
                    limiter.close(Duration::from_secs(5)).await;
                }
            }
        }
    }
    let keys = server.call(&["KEYS", "*"]).await;
    for key in keys.items() {
        let left = server.call(&["PTTL".to_owned(), key.text()]).await;
        assert!(
            left.int().unwrap() >= -2 && left.int() != Some(-1),
            "{key:?}"
        );
    }
}

/// Below 15 requests an instance nothing is leased, and it can be asked why.
#[tokio::test]
async fn where_nothing_is_leased_the_reason_is_told() {
    let (_, store) = still();
    let two = instance(&store, 2);
    let small = limit(rule(Algorithm::FixedWindow, 29, 60_000));
    for _ in 0..5 {
        let decision = two.check(&[small], 1).await.unwrap();
        assert_eq!((decision.allowed, decision.ruled), (true, Ruled::Store));
    }
    let why = |limits: &[Limit<'_>], cost| two.unleased(limits, cost).unwrap();
    assert_eq!(why(&[small], 1), Some(Unleased::Limit { least: 30 }));
    let enough = Limit {
        name: "enough",
        ..limit(rule(Algorithm::FixedWindow, 30, 60_000))
    };
    assert_eq!(why(&[enough], 1), Some(Unleased::New));
    assert_eq!(why(&[enough], 2), Some(Unleased::Limit { least: 60 }));
    assert_eq!(why(&[enough], 0), Some(Unleased::Free));
    let ruled = async || two.check(&[enough], 1).await.unwrap().ruled;
    assert_eq!(ruled().await, Ruled::Store, "it is new");
    assert_eq!(why(&[enough], 1), None);
    assert_eq!(ruled().await, Ruled::Store, "a lease is taken");
    assert_eq!(ruled().await, Ruled::Lease);
    assert_eq!(
        why(&[enough, small], 1),
        Some(Unleased::Limit { least: 30 })
    );
    let log = limit(rule(Algorithm::SlidingLog, 1000, 60_000));
    let exact = Unleased::Algorithm(Algorithm::SlidingLog);
    assert_eq!(why(&[log], 1), Some(exact));
    let unknown = Limiter::new(store.clone()).with_terms(LEASED);
    assert_eq!(
        unknown.unleased(&[enough], 1),
        Ok(Some(Unleased::Instances))
    );
    let plain = Limiter::new(store);
    assert_eq!(plain.unleased(&[enough], 1), Ok(Some(Unleased::Mode)));
}

/// A change acts at once on what this instance holds.
#[tokio::test]
async fn changes_return_the_lease_first() {
    for algorithm in COUNTED {
        let (clock, store) = still();
        let one = instance(&store, 1);
        let limit = limit(rule(algorithm, 60, 60_000));
        let check = async || one.check(&[limit], 1).await.unwrap();
        for _ in 0..5 {
            assert!(check().await.allowed);
        }
        assert_eq!(check().await.ruled, Ruled::Lease);
        one.block(&limit, Duration::from_mins(1)).await.unwrap();
        let blocked = check().await;
        assert_eq!((blocked.allowed, blocked.outcomes[0].remaining), (false, 0));
        assert_eq!(blocked.retry_after, Some(Duration::from_mins(1)));
        assert_eq!(check().await.ruled, Ruled::Remembered);
        one.unblock(&limit).await.unwrap();
        assert_eq!(
            one.peek(&[limit], 1).await.unwrap().outcomes[0].remaining,
            54
        );
        assert!(check().await.allowed);
        one.penalize(&limit, 50).await.unwrap();
        let peek = one.peek(&[limit], 1).await.unwrap();
        assert_eq!(peek.outcomes[0].remaining, 3, "{algorithm:?}");
        one.refund(&limit, 50).await.unwrap();
        let mut rest = 0;
        while check().await.allowed {
            rest += 1;
        }
        assert_eq!(rest, 53, "{algorithm:?}");
        one.reset(&limit).await.unwrap();
        assert!(check().await.allowed, "{algorithm:?}");
        // Another limit for the same count: at once.
        let less = Limit {
            rule: rule(algorithm, 20, 60_000),
            ..limit
        };
        clock.advance_millis(600_000);
        check().await;
        check().await;
        let mut rest = 0;
        while one.check(&[less], 1).await.unwrap().allowed {
            rest += 1;
        }
        assert!((18..=20).contains(&rest), "{algorithm:?}: {rest}");
    }
}

/// All or nothing, and what the others hold stays.
#[tokio::test]
async fn several_rules_are_taken_from_all_or_from_none() {
    let (_, store) = still();
    let one = instance(&store, 1);
    let user = Limit {
        name: "user",
        ..limit(rule(Algorithm::FixedWindow, 30, 60_000))
    };
    let all = Limit {
        name: "all",
        id: b"*",
        ..limit(rule(Algorithm::Gcra, 100, 60_000))
    };
    let mut ruled = Vec::new();
    for _ in 0..30 {
        let decision = one.check(&[user, all], 1).await.unwrap();
        assert!(decision.allowed && decision.outcomes.len() == 2);
        ruled.push(decision.ruled);
    }
    let asked = ruled.iter().filter(|it| **it == Ruled::Store).count();
    assert!(asked <= 4, "{ruled:?}");
    for _ in 0..10 {
        let refused = one.check(&[user, all], 1).await.unwrap();
        assert!(!refused.allowed && refused.retry_after == Some(Duration::from_mins(1)));
        assert!(!refused.outcomes[0].fits && refused.outcomes[1].fits);
    }
    let mut rest = 0;
    while one.check(&[all], 1).await.unwrap().allowed {
        rest += 1;
    }
    assert_eq!(rest, 70);
}

/// Many at once wait for the one that asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_asks_once() {
    let server = Redis::start().await;
    let one = Arc::new(instance(&over(&server).await, 1));
    let rule = rule(Algorithm::FixedWindow, 8_000, 3_600_000);
    one.check(&[limit(rule)], 1).await.unwrap();
    let before = billed(&server).await;
    let crowd: Vec<_> = (0..500)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.check(&[limit(rule)], 1).await.unwrap() })
        })
        .collect();
    for member in crowd {
        assert!(member.await.unwrap().allowed);
    }
    // And a beat of the instances.
    assert!(billed(&server).await - before <= 3 + 3);
}

/// Tokens that are held are good without the store; then the policy rules.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_given_out_while_the_store_is_away() {
    let mut server = Redis::start().await;
    let one = instance(&over(&server).await, 1);
    let rule = rule(Algorithm::SlidingWindow, 30, 3_600_000);
    for _ in 0..2 {
        one.check(&[limit(rule)], 1).await.unwrap();
    }
    server.kill();
    let mut given = 0;
    let last = loop {
        let decision = one.check(&[limit(rule)], 1).await.unwrap();
        if !decision.allowed {
            break decision;
        }
        assert_eq!(decision.ruled, Ruled::Lease);
        given += 1;
    };
    assert_eq!((given, last.ruled), (14, Ruled::Closed));
}

/// What is returned from the middle of a bucket is not given out again: the rest
/// would come late beside it.
#[tokio::test]
async fn a_bucket_is_no_deeper_after_a_return() {
    let (clock, store) = still();
    let limit = limit(rule(Algorithm::TokenBucket, 90, 90_000));
    let all: Vec<Limiter> = (0..3).map(|_| instance(&store, 3)).collect();
    let allowed = async |at: usize| all[at].check(&[limit], 1).await.unwrap().allowed;
    for at in [0, 0, 1, 1] {
        assert!(allowed(at).await);
    }
    all[0].close(Duration::from_secs(5)).await;
    clock.advance_millis(28_000);
    let mut burst = 0;
    for at in [2, 1] {
        while allowed(at).await {
            burst += 1;
        }
    }
    assert!((60..=90).contains(&burst), "{burst}");
}
