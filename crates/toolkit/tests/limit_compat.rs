//! Counts shared with `@upstash/ratelimit`, by what callers of the public API see: the
//! keys are written here as the package writes them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam::limit::compat::UpstashLimiter;
use sangam::limit::{Algorithm, LimitError, Policy, Rule, Ruled};
use sangam::store::{Error, Options, Reply, Store, Target};
use sangam_engine::Engine;
use sangam_engine::clock::{Clock as _, ManualClock};

const START_US: u64 = 1_700_000_000_123_456;
const MINUTE: u64 = 60_000;

struct Still {
    clock: Arc<ManualClock>,
    store: Store,
    limiter: UpstashLimiter,
}

/// A limiter whose time stands still.
fn still() -> Still {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(sangam_engine::Options {
        clock: clock.clone(),
        ..sangam_engine::Options::default()
    });
    let store = Store::embedded(engine);
    let limiter = UpstashLimiter::new(store.clone(), "app").unwrap();
    Still {
        clock,
        store,
        limiter,
    }
}

fn rule(algorithm: Algorithm, limit: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_millis(MINUTE)).unwrap()
}

impl Still {
    fn window(&self) -> u64 {
        self.clock.now_micros() / 1000 / MINUTE
    }

    async fn call(&self, argv: &[&str]) -> Reply {
        let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
        self.store.call(&argv).await.unwrap()
    }

    async fn text(&self, argv: &[&str]) -> String {
        format!("{:?}", self.call(argv).await)
    }

    async fn keys(&self) -> Vec<String> {
        let keys = match self.call(&["KEYS", "*"]).await.unpacked() {
            Reply::Array(keys) => keys,
            other => panic!("KEYS answered {other:?}"),
        };
        let mut keys: Vec<String> = keys
            .into_iter()
            .map(|key| match key {
                Reply::Bulk(key) => String::from_utf8(key).unwrap(),
                other => panic!("a key is {other:?}"),
            })
            .collect();
        keys.sort();
        keys
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

#[tokio::test]
async fn keys_and_values_are_the_packages() {
    let still = still();
    let limiter = &still.limiter;
    let bucket = rule(Algorithm::TokenBucket, 2).with_burst(7).unwrap();
    let fixed = rule(Algorithm::FixedWindow, 5);
    let sliding = rule(Algorithm::SlidingWindow, 5);
    assert_eq!(limiter.check(&fixed, b"ann", 2).await.unwrap().remaining, 3);
    assert_eq!(
        limiter.check(&sliding, b"bob", 1).await.unwrap().remaining,
        4
    );
    assert_eq!(
        limiter.check(&bucket, b"cat", 3).await.unwrap().remaining,
        4
    );
    let window = still.window();
    let (ann, bob) = (format!("app:ann:{window}"), format!("app:bob:{window}"));
    assert_eq!(still.keys().await, [&ann, &bob, "app:cat"]);
    assert_eq!(
        still.store.get(ann.as_bytes()).await.unwrap(),
        Some(b"2".to_vec())
    );
    assert_eq!(
        still.store.get(bob.as_bytes()).await.unwrap(),
        Some(b"1".to_vec())
    );
    let now = (START_US / 1000).to_string();
    let argv = ["HMGET", "app:cat", "refilledAt", "tokens"];
    let fields = still.call(&argv).await.unpacked();
    let expected = [now.as_bytes(), b"4"].map(|field| Reply::Bulk(field.into()));
    assert_eq!(fields, Reply::Array(expected.to_vec()));
    assert_eq!(still.text(&["HLEN", "app:cat"]).await, "Int(2)");
    for (key, life) in [(&*ann, 61_000), (&*bob, 121_000), ("app:cat", 120_000)] {
        assert_eq!(
            still.text(&["PTTL", key]).await,
            format!("Int({life})"),
            "{key}"
        );
    }
    let reset = (window + 1) * MINUTE;
    let peek = limiter.peek(&fixed, b"ann", 1).await.unwrap();
    assert_eq!((peek.limit, peek.remaining, peek.reset_ms), (5, 3, reset));
    let peek = limiter.peek(&bucket, b"cat", 1).await.unwrap();
    let reset = START_US / 1000 + MINUTE;
    assert_eq!((peek.limit, peek.remaining, peek.reset_ms), (7, 4, reset));
}

/// What the package wrote counts, also what it burnt by refusing, and a count that it
/// left without a time to live gets one, whether it is full or not.
#[tokio::test]
async fn what_the_package_left_counts() {
    for (used, allowed) in [("3", true), ("9", false)] {
        let still = still();
        let key = format!("app:ann:{}", still.window());
        still.call(&["SET", &key, used]).await;
        let fixed = rule(Algorithm::FixedWindow, 5);
        let decision = still.limiter.check(&fixed, b"ann", 2).await.unwrap();
        assert_eq!(decision.allowed, allowed);
        assert_eq!(still.text(&["PTTL", &key]).await, "Int(61000)");
        let count = if allowed { "5" } else { used };
        let found = still.store.get(key.as_bytes()).await.unwrap();
        assert_eq!(
            found,
            Some(count.as_bytes().to_vec()),
            "a refusal took something"
        );
    }
    // A credit: the package's negative rate.
    let still = still();
    let key = format!("app:ann:{}", still.window());
    still.call(&["SET", &key, "-2", "EX", "60"]).await;
    let sliding = rule(Algorithm::SlidingWindow, 5);
    let peek = still.limiter.peek(&sliding, b"ann", 1).await.unwrap();
    assert_eq!(peek.remaining, 7);
    // What is no count is the store's error, and stays.
    still.call(&["SET", &key, "text", "EX", "60"]).await;
    for rule in [rule(Algorithm::FixedWindow, 5), sliding] {
        for outcome in [
            still.limiter.check(&rule, b"ann", 1).await,
            still.limiter.peek(&rule, b"ann", 1).await,
        ] {
            let Err(LimitError::Store(Error::Command(text))) = outcome else {
                panic!("{rule:?}: {outcome:?}");
            };
            assert_eq!(
                text.as_bytes(),
                b"ERR value is not an integer or out of range"
            );
        }
    }
}

fn shared() -> impl Strategy<Value = Rule> {
    (0usize..3, 1u64..8, 1u64..8, 5u64..5_000).prop_map(|(kind, limit, burst, window)| {
        let algorithm = [
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
            Algorithm::TokenBucket,
        ][kind];
        let rule = Rule::new(algorithm, limit, Duration::from_millis(window)).unwrap();
        rule.with_burst(burst).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A refused request leaves everything as it was, and its retry is true: a
    /// millisecond before it is refused still, then it is admitted.
    #[test]
    fn a_refusal_is_free_and_its_retry_true(
        rule in shared(),
        steps in vec((0u64..4_000, 1u64..4), 1..25),
    ) {
        block_on(async {
            let still = still();
            let (clock, limiter) = (&still.clock, &still.limiter);
            for (wait, cost) in steps {
                clock.advance_millis(wait);
                let cost = cost.min(rule.burst());
                let before = limiter.peek(&rule, b"ann", cost).await.unwrap();
                let decision = limiter.check(&rule, b"ann", cost).await.unwrap();
                prop_assert_eq!(decision.allowed, before.allowed);
                let after = limiter.peek(&rule, b"ann", cost).await.unwrap();
                if decision.allowed {
                    prop_assert_eq!(after.remaining, before.remaining - cost);
                    prop_assert_eq!(decision.remaining, after.remaining);
                    continue;
                }
                prop_assert_eq!(after, before, "a refusal took something");
                let retry = before.retry_after.unwrap().as_millis() as u64;
                prop_assert!(retry > 0);
                clock.advance_millis(retry - 1);
                if retry > 1 {
                    let early = limiter.peek(&rule, b"ann", cost).await.unwrap();
                    prop_assert!(!early.allowed, "{:?} {:?}: free earlier", rule, before);
                }
                clock.advance_millis(1);
                let again = limiter.check(&rule, b"ann", cost).await.unwrap();
                prop_assert!(again.allowed, "{:?} {:?} {:?}", rule, before, again);
            }
            for key in still.keys().await {
                let life = still.text(&["PTTL", &key]).await;
                prop_assert!(life != "Int(-1)", "{} lives for ever", key);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn who_is_refused_again_asks_nothing() {
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
        Algorithm::TokenBucket,
    ] {
        let still = still();
        let rule = rule(algorithm, 1);
        assert!(still.limiter.check(&rule, b"ann", 1).await.unwrap().allowed);
        let refused = still.limiter.check(&rule, b"ann", 1).await.unwrap();
        assert_eq!((refused.allowed, refused.ruled), (false, Ruled::Store));
        // Without the keys it would be admitted: the answer is not the store's.
        still.call(&["FLUSHALL"]).await;
        let again = still.limiter.check(&rule, b"ann", 1).await.unwrap();
        assert_eq!((again.allowed, again.ruled), (false, Ruled::Remembered));
        assert_eq!(again.reset_ms, refused.reset_ms, "{algorithm:?}");
        assert!(!again.decision().outcomes[0].fits);
        // Another limit on the same key has a memory of its own.
        let wider = self::rule(algorithm, 2);
        assert!(
            still
                .limiter
                .check(&wider, b"ann", 1)
                .await
                .unwrap()
                .allowed
        );
        // A reset by this process ends it.
        assert!(still.limiter.reset(&rule, b"ann").await.unwrap());
        assert!(!still.limiter.reset(&rule, b"ann").await.unwrap());
        assert!(still.limiter.check(&rule, b"ann", 1).await.unwrap().allowed);
    }
}

/// An identifier is no pattern, whatever it is.
#[tokio::test]
async fn a_reset_of_a_star_is_of_the_star_alone() {
    let still = still();
    let rules = [
        rule(Algorithm::FixedWindow, 5),
        rule(Algorithm::SlidingWindow, 5),
        rule(Algorithm::TokenBucket, 5),
    ];
    for rule in rules {
        for id in ["*", "a?", "[ab]", "ab"] {
            still.limiter.check(&rule, id.as_bytes(), 1).await.unwrap();
        }
        for id in ["*", "a?", "[ab]"] {
            let keys = still.keys().await;
            assert!(still.limiter.reset(&rule, id.as_bytes()).await.unwrap());
            let gone: Vec<String> = {
                let left = still.keys().await;
                keys.into_iter().filter(|key| !left.contains(key)).collect()
            };
            assert_eq!(gone.len(), 1, "{id}: {gone:?}");
            assert!(gone[0].starts_with(&format!("app:{id}")), "{id}: {gone:?}");
        }
        assert_eq!(still.keys().await.len(), 1);
        still.call(&["FLUSHALL"]).await;
    }
}

#[tokio::test]
async fn without_a_store_the_policy_decides() {
    let fixed = rule(Algorithm::FixedWindow, 5);
    let limiter = || UpstashLimiter::new(Store::disabled(), "app").unwrap();
    for (policy, allowed, ruled) in [
        (Policy::Open, true, Ruled::Open),
        (Policy::Closed, false, Ruled::Closed),
        (Policy::Local, false, Ruled::Closed),
    ] {
        let decision = limiter().with_policy(policy).check(&fixed, b"ann", 1).await;
        let decision = decision.unwrap();
        assert_eq!((decision.allowed, decision.ruled), (allowed, ruled));
        assert_eq!(decision.retry_after, allowed.then_some(Duration::ZERO));
        assert_eq!(decision.decision().ruled, ruled);
    }
    let peek = limiter().peek(&fixed, b"ann", 1).await;
    assert!(matches!(
        peek,
        Err(LimitError::Store(Error::Unavailable(_)))
    ));
}

#[tokio::test]
async fn what_cannot_be_shared_is_an_error() {
    let still = still();
    for algorithm in [
        Algorithm::SlidingLog,
        Algorithm::Gcra,
        Algorithm::Concurrency,
    ] {
        let outcome = still.limiter.check(&rule(algorithm, 5), b"ann", 1).await;
        assert!(
            matches!(outcome, Err(LimitError::Algorithm { .. })),
            "{outcome:?}"
        );
    }
    let fixed = rule(Algorithm::FixedWindow, 5);
    let outcome = still.limiter.check(&fixed, b"ann", 6).await;
    assert_eq!(outcome, Err(LimitError::Cost { cost: 6, most: 5 }));
    assert!(
        still
            .limiter
            .check(&fixed, b"ann", 0)
            .await
            .unwrap()
            .allowed
    );
    assert_eq!(still.keys().await, [""; 0], "a check of no cost wrote");
}

/// Its keys would lie in two slots: said before anything is asked, of a cluster that is
/// down too.
#[tokio::test]
async fn a_cluster_is_refused() {
    let url = "redis-cluster://127.0.0.1:1";
    let target = Target::new(url, None, "STORE", "TOKEN").unwrap();
    let store = Store::connect(&target, Options::default()).await.unwrap();
    let outcome = UpstashLimiter::new(store, "app");
    assert!(
        matches!(outcome, Err(LimitError::Cluster(_))),
        "{outcome:?}"
    );
}
