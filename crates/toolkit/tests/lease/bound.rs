//! Never more than the limit, by what was really used; retries and returns.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam::limit::{Algorithm, Limiter, Rule, Ruled, Unleased};
use sangam::store::Store;
use sangam_engine::Reply;
use sangam_engine::clock::Clock as _;

use crate::{COUNTED, START_US, instance, limit, rule, still};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

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
            if rule.algorithm() == Algorithm::Gcra {
                let arrival = START_US as i64 + used as i64 * interval;
                prop_assert!(numbers[1] <= arrival.max(now) + interval, "{:?}", numbers);
            } else {
                prop_assert_eq!(*numbers.last().unwrap(), used as i64);
            }
            let decision = one.check(&[limit(rule)], 1).await.unwrap();
            prop_assert_eq!((decision.allowed, decision.ruled), (used < 40, Ruled::Store));
            prop_assert_eq!(one.unleased(&[limit(rule)], 1), Ok(Some(Unleased::Closed)));
            Ok(())
        })?;
    }
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
