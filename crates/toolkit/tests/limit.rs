//! Limits against models: what is admitted, what a refusal costs, whether a retry is
//! true.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam::limit::{Algorithm, Decision, Limit, LimitError, Limiter, Policy, Rule, Ruled};
use sangam::store::Store;
use sangam_engine::clock::{Clock as _, ManualClock};
use sangam_engine::{Engine, Options};

const START_US: u64 = 1_700_000_000_123_456;

/// A limiter whose time stands still.
fn still() -> (Arc<ManualClock>, Limiter) {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Limiter::new(Store::embedded(engine)))
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

/// Algorithms that are checked without a permit.
fn rated() -> impl Strategy<Value = Algorithm> {
    (0usize..5).prop_map(|at| Algorithm::ALL[at])
}

fn whole_millis(time: Duration) -> u64 {
    (time.as_micros() as u64).div_ceil(1000)
}

/// What is seen of a limit without touching it.
async fn seen(limiter: &Limiter, limit: Limit<'_>) -> (bool, u64, Duration) {
    let decision = limiter.peek(&[limit], 1).await.unwrap();
    let outcome = decision.outcomes[0];
    (decision.allowed, outcome.remaining, outcome.reset_after)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A refused request leaves everything as it was, and its retry is true: a
    /// millisecond before it is refused still, then it is admitted.
    #[test]
    fn a_refusal_is_free_and_its_retry_true(
        algorithm in rated(),
        most in 1u64..8,
        window in 5u64..5_000,
        steps in vec((0u64..4_000, 1u64..4), 1..25),
    ) {
        block_on(async {
            let (clock, limiter) = still();
            let limit = limit(rule(algorithm, most, window));
            for (wait, cost) in steps {
                clock.advance_millis(wait);
                let cost = cost.min(most);
                let before = seen(&limiter, limit).await;
                let decision = limiter.check(&[limit], cost).await.unwrap();
                if decision.allowed {
                    continue;
                }
                prop_assert_eq!(seen(&limiter, limit).await, before, "a refusal took something");
                let peek = limiter.peek(&[limit], cost).await.unwrap();
                let retry = whole_millis(peek.retry_after.unwrap());
                prop_assert!(retry > 0);
                if retry > 1 {
                    clock.advance_millis(retry - 1);
                    let early = limiter.peek(&[limit], cost).await.unwrap();
                    prop_assert!(!early.allowed, "{:?} {:?}: it was free earlier", algorithm, peek);
                    clock.advance_millis(1);
                } else {
                    clock.advance_millis(retry);
                }
                let again = limiter.check(&[limit], cost).await.unwrap();
                prop_assert!(again.allowed, "{:?} {:?} {:?}", algorithm, peek, again);
            }
            Ok(())
        })?;
    }

    /// What is refused again says when it fits, too: whether or not the store was
    /// asked.
    #[test]
    fn the_retry_of_every_refusal_is_true(
        algorithm in rated(),
        most in 1u64..8,
        window in 5u64..400_000,
        steps in vec((0u64..200_000, 1u64..4), 1..40),
    ) {
        block_on(async {
            let (clock, limiter) = still();
            let limit = limit(rule(algorithm, most, window));
            for (wait, cost) in steps {
                clock.advance_millis(wait % window.max(2));
                let cost = cost.min(most);
                let decision = limiter.check(&[limit], cost).await.unwrap();
                if decision.allowed {
                    continue;
                }
                // What a look says is exact; nobody else comes.
                let retry = decision.retry_after.unwrap();
                let peek = limiter.peek(&[limit], cost).await.unwrap();
                prop_assert!(!peek.allowed && retry >= peek.retry_after.unwrap(),
                    "{:?}: {:?}, but {:?}", algorithm, decision, peek);
                let longest = 2 * Duration::from_millis(window);
                prop_assert!(retry <= longest, "{:?}: {:?}", algorithm, decision);
            }
            Ok(())
        })?;
    }

    /// No window, wherever it begins, holds more than the algorithm's bound.
    #[test]
    fn no_window_holds_more_than_its_bound(
        algorithm in rated(),
        most in 1u64..10,
        window in 10u64..3_000,
        steps in vec((0u64..600, 1u64..3), 1..120),
    ) {
        block_on(async {
            let (clock, limiter) = still();
            let limit = limit(rule(algorithm, most, window));
            let mut admitted: VecDeque<(u64, u64)> = VecDeque::new();
            for (wait, cost) in steps {
                clock.advance_millis(wait);
                let cost = cost.min(most);
                let now = clock.now_micros();
                while admitted.front().is_some_and(|(at, _)| at + window * 1000 <= now) {
                    admitted.pop_front();
                }
                let within: u64 = admitted.iter().map(|(_, cost)| cost).sum();
                let decision = limiter.check(&[limit], cost).await.unwrap();
                if algorithm == Algorithm::SlidingLog {
                    prop_assert_eq!(decision.allowed, within + cost <= most);
                }
                if decision.allowed {
                    admitted.push_back((now, cost));
                    let bound = if algorithm == Algorithm::SlidingLog { most } else { 2 * most };
                    prop_assert!(within + cost <= bound, "{:?}", algorithm);
                }
            }
            Ok(())
        })?;
    }

    /// Several rules: all or nothing.
    #[test]
    fn a_request_is_taken_from_all_rules_or_from_none(
        kinds in vec((rated(), 1u64..6), 2..5),
        steps in vec((0u64..3_000, 1u64..3), 1..40),
    ) {
        block_on(async {
            let (clock, limiter) = still();
            let names: Vec<String> = (0..kinds.len()).map(|at| format!("rule-{at}")).collect();
            let least = kinds.iter().map(|(_, most)| *most).min().unwrap();
            let limits: Vec<Limit<'_>> = kinds
                .iter()
                .zip(&names)
                .map(|((algorithm, most), name)| Limit {
                    name,
                    rule: rule(*algorithm, *most, 2_000),
                    id: b"*",
                })
                .collect();
            for (wait, cost) in steps {
                clock.advance_millis(wait);
                let cost = cost.min(least);
                let mut before = Vec::new();
                let mut fits = true;
                for limit in &limits {
                    before.push(seen(&limiter, *limit).await);
                    fits &= limiter.peek(&[*limit], cost).await.unwrap().allowed;
                }
                let decision = limiter.check(&limits, cost).await.unwrap();
                prop_assert_eq!(decision.allowed, fits);
                if !fits {
                    for (limit, before) in limits.iter().zip(before) {
                        prop_assert_eq!(seen(&limiter, *limit).await, before);
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_burst_at_a_windows_edge_does_not_double() {
    let (clock, limiter) = still();
    let sliding = limit(rule(Algorithm::SlidingWindow, 100, 60_000));
    // To the last millisecond of an aligned window.
    let into = clock.now_micros() / 1000 % 60_000;
    clock.advance_millis(60_000 - into - 1);
    let mut admitted = 0;
    for _ in 0..2 {
        for _ in 0..150 {
            admitted += u32::from(limiter.check(&[sliding], 1).await.unwrap().allowed);
        }
        clock.advance_millis(2);
    }
    assert_eq!(admitted, 100);
}

#[tokio::test]
async fn a_burst_and_its_refill() {
    let (clock, limiter) = still();
    let bucket = rule(Algorithm::TokenBucket, 60, 60_000)
        .with_burst(5)
        .unwrap();
    let admitted = async |tries: u32| {
        let mut admitted = 0;
        for _ in 0..tries {
            admitted += u32::from(limiter.check(&[limit(bucket)], 1).await.unwrap().allowed);
        }
        admitted
    };
    assert_eq!(admitted(20).await, 5);
    clock.advance_millis(3_000);
    assert_eq!(admitted(20).await, 3);
    clock.advance_millis(3_600_000);
    assert_eq!(admitted(20).await, 5, "it holds no more than its burst");
}

#[tokio::test]
async fn permits_end_with_their_lease_or_their_return() {
    let (clock, limiter) = still();
    let two = limit(rule(Algorithm::Concurrency, 2, 10_000));
    let taken = async |permit: &str| limiter.acquire(&[two], permit).await.unwrap().allowed;
    assert!(taken("a").await && taken("b").await);
    assert!(taken("a").await, "a permit that is held is renewed");
    let refused = limiter.acquire(&[two], "c").await.unwrap();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(10)));
    assert!(taken("a").await, "and where another was refused");
    assert!(limiter.release(&two, "b").await.unwrap());
    assert!(!limiter.release(&two, "b").await.unwrap());
    assert!(taken("c").await);
    clock.advance_millis(10_000);
    assert!(taken("d").await && taken("e").await);
    assert!(!taken("f").await);
    let long = "x".repeat(65);
    for bad in ["", "a:b", "ä", &long] {
        assert_eq!(limiter.acquire(&[two], bad).await, Err(LimitError::Permit));
    }
    let other = limit(rule(Algorithm::Gcra, 2, 10_000));
    assert!(limiter.acquire(&[other], "a").await.is_err());
    assert!(limiter.check(&[two], 1).await.is_err());
}

#[tokio::test]
async fn counts_can_be_given_back_charged_blocked_and_reset() {
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let (clock, limiter) = still();
        let limit = limit(rule(algorithm, 4, 60_000));
        let allowed = async |cost| limiter.check(&[limit], cost).await.unwrap().allowed;
        assert!(allowed(4).await && !allowed(1).await);
        assert!(limiter.refund(&limit, 1).await.unwrap());
        assert!(allowed(1).await && !allowed(1).await, "{algorithm:?}");
        assert!(limiter.reset(&limit).await.unwrap());
        assert!(!limiter.reset(&limit).await.unwrap());
        assert!(allowed(1).await);
        assert!(limiter.penalize(&limit, 4).await.unwrap());
        assert!(!allowed(1).await);
        limiter.reset(&limit).await.unwrap();
        assert!(
            limiter
                .block(&limit, Duration::from_hours(1))
                .await
                .unwrap()
        );
        let blocked = limiter.check(&[limit], 1).await.unwrap();
        let retry = whole_millis(blocked.retry_after.unwrap());
        assert_eq!(retry, 3_600_000, "{algorithm:?}");
        assert_eq!(blocked.outcomes[0].remaining, 0);
        assert!(limiter.unblock(&limit).await.unwrap());
        assert!(allowed(1).await);
        limiter
            .block(&limit, Duration::from_mins(10))
            .await
            .unwrap();
        clock.advance_millis(600_000);
        assert!(allowed(1).await, "{algorithm:?}: a block ends");
        assert!(
            !limiter
                .refund(
                    &Limit {
                        id: b"nobody",
                        ..limit
                    },
                    1
                )
                .await
                .unwrap()
        );
    }
}

#[tokio::test]
async fn who_is_refused_costs_nothing_until_it_may_pass() {
    let (clock, limiter) = still();
    let limit = limit(rule(Algorithm::FixedWindow, 1, 30_000));
    let ruled = async || limiter.check(&[limit], 1).await.unwrap();
    assert!(ruled().await.allowed);
    for _ in 0..2 {
        let second = ruled().await;
        assert_eq!((second.allowed, second.ruled), (false, Ruled::Remembered));
        assert_eq!(whole_millis(second.retry_after.unwrap()), 30_000);
    }
    clock.advance_millis(30_000);
    let third = ruled().await;
    assert_eq!((third.allowed, third.ruled), (true, Ruled::Store));
}

/// Two rules of different windows.
fn two(first: Rule, second: Rule) -> [Limit<'static>; 2] {
    let name = "second";
    [
        limit(first),
        Limit {
            name,
            ..limit(second)
        },
    ]
}

#[tokio::test]
async fn a_remembered_retry_is_that_of_all_rules() {
    let (_, limiter) = still();
    let both = two(
        rule(Algorithm::FixedWindow, 5, 2_000),
        rule(Algorithm::FixedWindow, 10, 60_000),
    );
    assert!(limiter.check(&both[1..], 6).await.unwrap().allowed);
    limiter.penalize(&both[0], 5).await.unwrap();
    for ruled in [Ruled::Store, Ruled::Remembered] {
        let refused = limiter.check(&both, 5).await.unwrap();
        assert_eq!((refused.allowed, refused.ruled), (false, ruled));
        assert_eq!(whole_millis(refused.retry_after.unwrap()), 60_000);
    }
}

#[tokio::test]
async fn a_rule_that_was_filled_since_counts_in_a_remembered_retry() {
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        let (_, limiter) = still();
        let both = two(
            rule(Algorithm::FixedWindow, 1, 2_000),
            rule(algorithm, 3, 60_000),
        );
        limiter.penalize(&both[0], 1).await.unwrap();
        let first = limiter.check(&both, 1).await.unwrap();
        assert_eq!(whole_millis(first.retry_after.unwrap()), 2_000);
        for _ in 0..3 {
            assert!(limiter.check(&both[1..], 1).await.unwrap().allowed);
        }
        let refused = limiter.check(&both, 1).await.unwrap();
        assert_eq!((refused.allowed, refused.ruled), (false, Ruled::Remembered));
        let told = limiter.peek(&both, 1).await.unwrap().retry_after;
        assert_eq!(refused.retry_after, told, "{algorithm:?}");
    }
}

/// Who takes the last of a limit is refused by what this process knows, exactly as
/// long as the store would; what gives back ends that.
#[tokio::test]
async fn the_last_one_refuses_the_next_until_it_fits() {
    for algorithm in Algorithm::ALL.into_iter().take(5) {
        for cost in 1..=3 {
            let (clock, limiter) = still();
            let limit = limit(rule(algorithm, 3, 20_000));
            let ask = async || limiter.check(&[limit], 1).await.unwrap();
            while limiter.peek(&[limit], 1).await.unwrap().allowed {
                let room = limiter.peek(&[limit], 1).await.unwrap().outcomes[0].remaining;
                assert!(
                    limiter
                        .check(&[limit], cost.min(room))
                        .await
                        .unwrap()
                        .allowed
                );
            }
            let next = limiter
                .peek(&[limit], 1)
                .await
                .unwrap()
                .retry_after
                .unwrap();
            assert!(!ask().await.allowed, "{algorithm:?}");
            assert!(limiter.refund(&limit, 1).await.unwrap());
            assert!(ask().await.allowed, "{algorithm:?}: it was given back");
            let refused = ask().await;
            assert_eq!((refused.allowed, refused.ruled), (false, Ruled::Remembered));
            clock.advance_millis(whole_millis(next));
            assert!(ask().await.allowed, "{algorithm:?}: it fits");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_for_its_rule_alone() {
    let (_, limiter) = still();
    let small = limit(rule(Algorithm::FixedWindow, 1, 30_000));
    let large = limit(rule(Algorithm::FixedWindow, 5, 30_000));
    assert!(limiter.check(&[small], 1).await.unwrap().allowed);
    for _ in 0..2 {
        assert!(!limiter.check(&[small], 1).await.unwrap().allowed);
    }
    let other = limiter.check(&[large], 1).await.unwrap();
    assert_eq!((other.allowed, other.ruled), (true, Ruled::Store));
}

#[tokio::test]
async fn without_a_store_the_policy_decides_and_says_so() {
    for (policy, allowed, ruled) in [
        (Policy::Open, true, Ruled::Open),
        (Policy::Closed, false, Ruled::Closed),
    ] {
        let limiter = Limiter::new(Store::disabled()).with_policy(policy);
        let limit = limit(rule(Algorithm::Gcra, 1, 1_000));
        let decision: Decision = limiter.check(&[limit], 1).await.unwrap();
        assert_eq!((decision.allowed, decision.ruled), (allowed, ruled));
        assert!(decision.ruled.is_degraded());
    }
}

#[tokio::test]
async fn bad_input_is_an_error_and_identifiers_are_anything() {
    let (_, limiter) = still();
    let one = rule(Algorithm::FixedWindow, 1, 60_000);
    assert_eq!(limiter.check(&[], 1).await, Err(LimitError::Rules(0)));
    let named = |name| Limit {
        name,
        rule: one,
        id: b"x",
    };
    let long = "n".repeat(65);
    for name in ["", "a b", "a:b", "ä", &long] {
        let error = limiter.check(&[named(name)], 1).await.unwrap_err();
        assert!(matches!(error, LimitError::Name(_)), "{error}");
    }
    let never = limiter.check(&[named("a")], 2).await.unwrap_err();
    assert_eq!(never, LimitError::Cost { cost: 2, most: 1 });
    let wider = Limit {
        rule: rule(Algorithm::FixedWindow, 2, 60_000),
        ..named("a")
    };
    let twice = [named("a"), named("b"), wider];
    let error = limiter.check(&twice, 1).await.unwrap_err();
    assert_eq!(error, LimitError::Twice("a".to_owned()));
    assert_eq!(limiter.peek(&twice, 1).await.unwrap_err(), error);
    let longer = Limit {
        rule: rule(Algorithm::FixedWindow, 2, 70_000),
        ..named("a")
    };
    let apart = [named("a"), longer, Limit { id: b"y", ..wider }];
    assert!(limiter.check(&apart, 1).await.unwrap().allowed);
    let huge = vec![b'x'; 10 << 20];
    let ids: [&[u8]; 7] = [
        b"",
        b"*",
        b"?",
        b"a}b{",
        "né 😀".as_bytes(),
        &[0xff, 0, 13],
        &huge,
    ];
    for id in ids {
        let limit = Limit { id, ..named("ids") };
        assert!(limiter.check(&[limit], 1).await.unwrap().allowed);
        assert!(!limiter.check(&[limit], 1).await.unwrap().allowed);
    }
    limiter
        .reset(&Limit {
            id: b"*",
            ..named("ids")
        })
        .await
        .unwrap();
    let others = Limit {
        id: b"?",
        ..named("ids")
    };
    assert!(
        !limiter.check(&[others], 1).await.unwrap().allowed,
        "* resets only *"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_it_may_pass_or_patience_does() {
    let limiter = Limiter::new(Store::memory());
    let limit = limit(rule(Algorithm::FixedWindow, 1, 3_600_000));
    assert!(
        limiter
            .until_allowed(&[limit], 1, Duration::ZERO)
            .await
            .unwrap()
            .allowed
    );
    let began = tokio::time::Instant::now();
    let late = limiter
        .until_allowed(&[limit], 1, Duration::from_secs(5))
        .await
        .unwrap();
    assert!(!late.allowed && began.elapsed() < Duration::from_millis(10));
    let brief = Limit {
        name: "brief",
        rule: rule(Algorithm::Gcra, 1, 20),
        id: b"",
    };
    limiter.penalize(&brief, 1).await.unwrap();
    let brief = [brief];
    let patient = limiter.until_allowed(&brief, 1, Duration::MAX).await;
    assert!(patient.unwrap().allowed, "as long as it takes");
}
