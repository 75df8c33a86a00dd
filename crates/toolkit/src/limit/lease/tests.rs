//! The step in both languages, on states that others left, and what comes back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam_store::op::testing::Twins;

use super::grant::Grant;
use super::op::{Lease, Leased};
use crate::limit::adjust::{Adjust, Change};
use crate::limit::algorithm::Now;
use crate::limit::check::{Check, Hit};
use crate::limit::rule::{Algorithm, Rule};

fn rules() -> [Rule; 4] {
    let rule = |algorithm, limit, millis| {
        Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
    };
    [
        rule(Algorithm::FixedWindow, 20, 60_000),
        rule(Algorithm::SlidingWindow, 20, 60_000),
        rule(Algorithm::TokenBucket, 20, 60_000)
            .with_burst(12)
            .unwrap(),
        rule(Algorithm::Gcra, 7, 90_000),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Lease {
        least: u64,
        most: u64,
    },
    /// Returns so many tokens of the last lease, at its end or beside it, with the
    /// former window's hits or others.
    Return {
        hits: u64,
        beside: i64,
        other: i64,
    },
    Hit(u64),
    Give(u64),
    Block(u64),
    Wait(u64),
    Spoil(Vec<u8>),
}

fn beside() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0i64), 1 => -2i64..3]
}

fn step() -> impl Strategy<Value = Step> {
    let spoilt = prop_oneof![
        vec(any::<u8>(), 0..40),
        (0usize..3, vec(any::<u8>(), 0..30)).prop_map(|(at, mut tail)| {
            tail.insert(0, b"fsb"[at]);
            tail
        }),
    ];
    prop_oneof![
        6 => (1u64..8, 0u64..30).prop_map(|(least, more)| Step::Lease { least, most: least + more }),
        4 => (0u64..25, beside(), beside())
            .prop_map(|(hits, beside, other)| Step::Return { hits, beside, other }),
        4 => (0u64..6).prop_map(Step::Hit),
        1 => (0u64..20).prop_map(Step::Give),
        1 => (0u64..90_000).prop_map(Step::Block),
        3 => prop_oneof![0u64..20_000, 30_000u64..200_000].prop_map(Step::Wait),
        1 => spoilt.prop_map(Step::Spoil),
    ]
}

fn now(twins: &Twins) -> Now {
    Now(twins.now_ms() as i64 * 1000)
}

fn play(twins: &mut Twins, rule: Rule, story: &[Step]) -> Result<(), TestCaseError> {
    let key = b"k";
    let (mut end, mut former) = (0, 0);
    for step in story {
        let now = now(twins);
        let change = match step {
            Step::Wait(millis) => {
                twins.advance(Duration::from_millis(*millis));
                continue;
            }
            Step::Spoil(value) => {
                twins.prepare(&[b"SET", key, value, b"EX", b"600"]).unwrap();
                continue;
            }
            Step::Lease { least, most } => {
                let (least, most) = (*least, *most);
                let lease = Lease {
                    key,
                    rule,
                    now,
                    least,
                    most,
                };
                let leased = twins.check(&lease).map_err(TestCaseError::fail)?;
                let leased = leased.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert!(leased.granted == 0 || (least..=most).contains(&leased.granted));
                if leased.granted > 0 {
                    let grant = Grant::new(&rule, leased.before, leased.granted);
                    (end, former) = (grant.end(&rule), grant.former(&rule));
                }
                continue;
            }
            Step::Hit(cost) => {
                let cost = (*cost).min(rule.burst());
                let hits = [Hit {
                    key,
                    rule,
                    cost,
                    permit: b"",
                    idle: false,
                }];
                let check = Check {
                    hits: &hits,
                    now,
                    peek: false,
                };
                let outcome = twins.check(&check).map_err(TestCaseError::fail)?;
                prop_assert!(outcome.is_ok(), "{:?}", outcome);
                continue;
            }
            Step::Return {
                hits,
                beside,
                other,
            } => Change::Return {
                hits: *hits,
                end: end + beside,
                former: former + other,
            },
            Step::Give(hits) => Change::Give(*hits),
            Step::Block(millis) => Change::Block(now.millis() + *millis as i64),
        };
        let adjust = Adjust {
            key,
            rule,
            now,
            change,
        };
        let outcome = twins.check(&adjust).map_err(TestCaseError::fail)?;
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn both_languages_agree(rule in 0usize..4, story in vec(step(), 1..30)) {
        play(&mut Twins::new(), rules()[rule], &story)?;
    }
}

/// The scripts on a real redis-server, whose clock goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_agrees() {
    let server = sangam_rig::redis::Redis::start().await;
    let addr = server.addr();
    let work = move || {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 40,
            ..ProptestConfig::default()
        });
        let stories = (0usize..4, vec(step(), 1..20)).prop_map(|(rule, mut story)| {
            story.retain(|step| !matches!(step, Step::Wait(_)));
            (rule, story)
        });
        runner.run(&stories, |(rule, story)| {
            play(
                &mut Twins::with_server(addr).unwrap(),
                rules()[rule],
                &story,
            )
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

fn lease(twins: &mut Twins, rule: Rule, least: u64, most: u64) -> Leased {
    let now = now(twins);
    let lease = Lease {
        key: b"k",
        rule,
        now,
        least,
        most,
    };
    twins.check(&lease).unwrap().unwrap()
}

#[test]
fn a_lease_costs_three_commands_and_an_ask_in_vain_two() {
    for rule in rules() {
        let mut twins = Twins::new();
        assert_eq!(lease(&mut twins, rule, 1, 5).granted, 5);
        assert_eq!(twins.cost(), 3);
        assert!(lease(&mut twins, rule, 1, 1000).granted > 0);
        assert_eq!(lease(&mut twins, rule, 1, 1000).granted, 0, "all is taken");
        assert_eq!(twins.cost(), 2);
    }
}

fn give_back(rule: &Rule, grant: Grant, hits: u64) -> Change<'static> {
    Change::Return {
        hits,
        end: grant.end(rule),
        former: grant.former(rule),
    }
}

/// What was taken of a count before a reset is not taken off the one after it.
#[test]
fn what_is_not_in_the_count_does_not_come_back() {
    for rule in rules() {
        let mut twins = Twins::new();
        lease(&mut twins, rule, 1, 5);
        twins.advance(Duration::from_millis(rule.window_ms()));
        let leased = lease(&mut twins, rule, 1, 5);
        let grant = Grant::new(&rule, leased.before, leased.granted);
        twins.prepare(&[b"DEL", b"k"]).unwrap();
        twins.advance(Duration::from_millis(1));
        let taken = lease(&mut twins, rule, 1, 20);
        let give = |twins: &mut Twins, grant, hits| {
            let adjust = Adjust {
                key: b"k",
                rule,
                now: now(twins),
                change: give_back(&rule, grant, hits),
            };
            twins.check(&adjust).unwrap().unwrap()
        };
        assert!(!give(&mut twins, grant, 5), "{rule:?}");
        let ours = Grant::new(&rule, taken.before, taken.granted);
        assert!(give(&mut twins, ours, taken.granted), "{rule:?}");
        // Of a window nothing is left to give back; a bucket's end is another now.
        assert!(!give(&mut twins, ours, 1), "{rule:?}");
    }
}

#[test]
fn what_comes_back_can_be_taken_again_by_whoever_comes_first() {
    for rule in rules() {
        let mut twins = Twins::new();
        let first = lease(&mut twins, rule, 1, 5);
        let second = lease(&mut twins, rule, 1, 1000);
        let mut give = |leased: Leased, hits| {
            let grant = Grant::new(&rule, leased.before, leased.granted);
            let change = give_back(&rule, grant, hits);
            let adjust = Adjust {
                key: b"k",
                rule,
                now: now(&twins),
                change,
            };
            twins.check(&adjust).unwrap().unwrap()
        };
        let windows = rule.burst() == 20;
        assert_eq!(give(first, 5), windows, "not from the middle of a bucket");
        assert!(give(second, second.granted));
        if !windows {
            assert!(give(first, 5), "now it is the last one");
        }
        twins.advance(Duration::from_secs(1));
        assert!(lease(&mut twins, rule, 1, 1000).granted >= rule.burst());
    }
}

/// A clock that was a year ahead and is right again: its grant is given up, and the
/// count is as ever within two windows, or twice the burst, and a second; also if
/// nobody stops asking.
#[test]
fn what_a_clock_that_was_ahead_took_is_given_up() {
    const YEAR_US: i64 = 365 * 24 * 3_600_000_000;
    for rule in rules() {
        let mut twins = Twins::new();
        let ask = |twins: &mut Twins, ahead: i64| {
            let now = Now(twins.now_ms() as i64 * 1000 + ahead);
            let (key, least, most) = (b"k".as_slice(), 1, rule.burst());
            let lease = Lease {
                key,
                rule,
                now,
                least,
                most,
            };
            (now, twins.check(&lease).unwrap().unwrap())
        };
        let (then, leased) = ask(&mut twins, YEAR_US);
        assert_eq!(leased.granted, rule.burst(), "{rule:?}");
        let grant = Grant::new(&rule, leased.before, leased.granted);
        assert_eq!(grant.rest(&rule, then), leased.granted);
        assert_eq!(
            grant.rest(&rule, Now(then.0 - 900_000)),
            leased.granted,
            "a little"
        );
        let (now, refused) = ask(&mut twins, 0);
        assert_eq!(
            (grant.rest(&rule, now), refused.granted),
            (0, 0),
            "{rule:?}"
        );
        let span = Duration::from_millis(2 * rule.window_ms() + 1_000);
        let mut granted = 0;
        for _ in 0..span.as_secs() {
            granted += ask(&mut twins, 0).1.granted;
            twins.advance(Duration::from_secs(1));
        }
        assert!(granted > 0, "{rule:?}");
        twins.advance(span);
        assert!(ask(&mut twins, 0).1.granted >= rule.burst(), "{rule:?}");
    }
}
