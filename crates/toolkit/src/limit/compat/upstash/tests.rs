//! The three steps in both languages, on states that the package, earlier hits and
//! strangers left.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam_store::Error;
use sangam_store::op::testing::Twins;

use super::bucket::Bucket;
use super::fixed::Fixed;
use super::sliding::Sliding;
use crate::limit::rule::{Algorithm, Rule};

const WINDOW: u64 = 60_000;

fn rule(algorithm: Algorithm) -> Rule {
    Rule::new(algorithm, 5, Duration::from_millis(WINDOW)).unwrap()
}

fn bucket() -> Rule {
    let rule = Rule::new(Algorithm::TokenBucket, 2, Duration::from_millis(WINDOW));
    rule.unwrap().with_burst(7).unwrap()
}

/// A step of a story.
#[derive(Debug, Clone)]
enum Step {
    Fixed(u64, bool),
    Sliding(u64),
    Bucket(u64),
    Wait(u64),
    Count(i8, Vec<u8>),
    /// What another client left: its clock's distance from ours, and its tokens.
    Level(i64, String),
    /// The key of a type, or with fields, of somebody else.
    Spoil(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let text = prop_oneof![
        4 => (-9i64..20).prop_map(|count| count.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|count| count.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..6),
        1 => "(-?0?[0-9]{1,20}|-0|[0-9]e3| 5)".prop_map(String::into_bytes),
    ];
    let tokens = prop_oneof![
        4 => (-3i64..12).prop_map(|tokens| tokens.to_string()),
        2 => (0.0f64..8.0).prop_map(|tokens| tokens.to_string()),
        1 => "(-?[0-9]{0,2}[.]?[0-9]{0,18}(e[+-]?[0-9]{0,3})?|0x10|inf|nan|[0-9]{400})",
    ];
    prop_oneof![
        4 => (1u64..4, any::<bool>()).prop_map(|(cost, mend)| Step::Fixed(cost, mend)),
        4 => (1u64..4).prop_map(Step::Sliding),
        4 => (1u64..4).prop_map(Step::Bucket),
        3 => prop_oneof![0u64..9_000, 20_000u64..200_000].prop_map(Step::Wait),
        1 => (-1i8..1, text).prop_map(|(window, value)| Step::Count(window, value)),
        1 => (-200_000i64..200_000, tokens).prop_map(|(at, tokens)| Step::Level(at, tokens)),
        1 => (0u8..6).prop_map(Step::Spoil),
    ]
}

/// The windows' keys, as the package spells them.
fn count_key(twins: &Twins, back: u64) -> Vec<u8> {
    format!("app:ann:{}", twins.now_ms() / WINDOW - back).into_bytes()
}

const BUCKET: &[u8] = b"app:ann";

fn play(twins: &mut Twins, story: &[Step]) -> Result<(), TestCaseError> {
    let failed = TestCaseError::fail;
    for step in story {
        let now_ms = twins.now_ms() as i64;
        let (current, previous) = (count_key(twins, 0), count_key(twins, 1));
        let outcome = match step {
            Step::Wait(millis) => {
                twins.advance(Duration::from_millis(*millis));
                continue;
            }
            Step::Count(back, value) => {
                let key = if *back == 0 { &current } else { &previous };
                let argv: &[&[u8]] = &[b"SET", key, value, b"EX", b"600"];
                twins.prepare(argv).map_err(failed)?;
                continue;
            }
            Step::Level(at, tokens) => {
                let at = (now_ms + at).to_string();
                let fields: &[&[u8]] =
                    &[b"refilledAt", at.as_bytes(), b"tokens", tokens.as_bytes()];
                twins.prepare(&[b"DEL", BUCKET]).map_err(failed)?;
                let argv = [&[&b"HSET"[..], BUCKET], fields].concat();
                twins.prepare(&argv).map_err(failed)?;
                continue;
            }
            Step::Spoil(kind) => {
                let argv: &[&[u8]] = match kind {
                    0 => &[b"SET", BUCKET, b"text"],
                    1 => &[b"HSET", BUCKET, b"tokens", b"3"],
                    2 => &[b"HDEL", BUCKET, b"tokens"],
                    3 => &[b"SADD", &current, b"member"],
                    4 => &[b"SADD", &previous, b"member"],
                    _ => &[b"DEL", BUCKET, &current, &previous],
                };
                // Of another type already: the same refusal on each side.
                twins.prepare(argv).map_err(failed)?;
                continue;
            }
            Step::Fixed(cost, mend) => {
                let hit = Fixed {
                    key: &current,
                    rule: rule(Algorithm::FixedWindow),
                    cost: *cost,
                    mend: *mend,
                };
                twins.check(&hit).map_err(failed)?.map(drop)
            }
            Step::Sliding(cost) => {
                let hit = Sliding {
                    current: &current,
                    previous: &previous,
                    rule: rule(Algorithm::SlidingWindow),
                    cost: *cost,
                    now_ms,
                };
                twins.check(&hit).map_err(failed)?.map(drop)
            }
            Step::Bucket(cost) => {
                let hit = Bucket {
                    key: BUCKET,
                    rule: bucket(),
                    cost: *cost,
                    now_ms,
                };
                twins.check(&hit).map_err(failed)?.map(drop)
            }
        };
        // A stranger's value is an error that the store would say too.
        let refused = matches!(outcome, Ok(()) | Err(Error::Command(_)));
        prop_assert!(refused, "{outcome:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn both_languages_agree(story in vec(step(), 1..30)) {
        play(&mut Twins::new(), &story)?;
    }
}

/// Nine tenths of a window leave a little less than one of ten hits: the package rounds
/// that down to none, where the exact fraction is one.
#[test]
fn a_weight_is_rounded_as_the_package_rounds_it() {
    let mut twins = Twins::new();
    let window = twins.now_ms() / 10;
    let (current, previous) = (format!("w:{window}"), format!("w:{}", window - 1));
    let argv: &[&[u8]] = &[b"SET", previous.as_bytes(), b"10", b"EX", b"600"];
    twins.prepare(argv).unwrap();
    twins.advance(Duration::from_millis(9));
    let hit = Sliding {
        current: current.as_bytes(),
        previous: previous.as_bytes(),
        rule: Rule::new(Algorithm::SlidingWindow, 5, Duration::from_millis(10)).unwrap(),
        cost: 5,
        now_ms: twins.now_ms() as i64,
    };
    let (fits, counts) = twins.check(&hit).unwrap().unwrap();
    assert!(fits && counts.current == 5, "{counts:?}");
}

/// The scripts on a real redis-server.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_agrees() {
    let server = sangam_rig::redis::Redis::start().await;
    let addr = server.addr();
    let work = move || {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 60,
            ..ProptestConfig::default()
        });
        let stories = vec(step(), 1..25).prop_map(|mut story| {
            // Its clock goes on by itself, and a hash with long values tells its
            // fields in an order of its own.
            story.retain(|step| match step {
                Step::Wait(_) => false,
                Step::Level(_, tokens) => tokens.len() <= 64,
                _ => true,
            });
            story
        });
        runner.run(&stories, |story| {
            play(&mut Twins::with_server(addr).unwrap(), &story)
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

/// What a check costs where commands are billed, as the module's table says.
#[test]
fn checks_cost_what_the_table_says() {
    let table = [
        (Step::Fixed(1, false), 5, [3, 2, 3]),
        (Step::Fixed(1, true), 5, [3, 3, 4]),
        (Step::Sliding(1), 5, [4, 3, 2]),
        (Step::Bucket(1), 7, [4, 4, 2]),
    ];
    for (step, limit, [first, within, refused]) in table {
        let mut twins = Twins::new();
        for hit in 1..=limit + 1 {
            play(&mut twins, std::slice::from_ref(&step)).unwrap();
            let expected = match hit {
                1 => first,
                _ if hit <= limit => within,
                _ => refused,
            };
            assert_eq!(twins.cost(), expected, "{step:?}, hit {hit}");
        }
    }
}
