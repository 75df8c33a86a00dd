//! The check in both languages, on states that earlier checks and strangers left.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam_store::op::testing::Twins;

use super::adjust::{Adjust, Change};
use super::algorithm::Now;
use super::check::{Check, Hit};
use super::rule::{Algorithm, Rule};

fn rule(algorithm: Algorithm, limit: u64, millis: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
}

fn now(twins: &Twins) -> Now {
    Now(twins.now_ms() as i64 * 1000)
}

const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// A step of a story.
#[derive(Debug, Clone)]
enum Step {
    Hit {
        rules: Vec<usize>,
        cost: u64,
        peek: bool,
        idle: bool,
        permit: u8,
    },
    Change {
        rule: usize,
        kind: u8,
        amount: u64,
        permit: u8,
    },
    Wait(u64),
    /// From now on the clock of who asks is ahead by so many milliseconds.
    Ahead(u64),
    Spoil(usize, Vec<u8>),
}

fn rules() -> Vec<Rule> {
    vec![
        rule(Algorithm::FixedWindow, 5, 60_000),
        rule(Algorithm::SlidingWindow, 5, 60_000),
        rule(Algorithm::SlidingLog, 5, 60_000),
        rule(Algorithm::TokenBucket, 5, 60_000)
            .with_burst(3)
            .unwrap(),
        rule(Algorithm::Gcra, 7, 90_000),
        rule(Algorithm::Concurrency, 4, 60_000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let hit = (
        vec(0usize..6, 1..4),
        prop_oneof![Just(0u64), Just(1), Just(1), Just(1), 2u64..4],
        proptest::bool::weighted(0.2),
        any::<bool>(),
        0u8..3,
    )
        .prop_map(|(mut rules, cost, peek, idle, permit)| {
            rules.sort_unstable();
            rules.dedup();
            Step::Hit {
                rules,
                cost,
                peek,
                idle,
                permit,
            }
        });
    let spoilt = prop_oneof![
        vec(any::<u8>(), 0..40),
        "[fsb]".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..30).prop_map(|mut tail| {
            tail.insert(0, b"fsblc"[tail.len() % 5]);
            tail
        }),
        "[lc][0-9]{1,3};([a-f]{0,2}:?[0-9]{1,5}:[0-9],){0,3}".prop_map(String::into_bytes),
    ];
    prop_oneof![
        8 => hit,
        3 => (0usize..6, 0u8..5, 0u64..20, 0u8..3).prop_map(|(rule, kind, amount, permit)| {
            Step::Change { rule, kind, amount, permit }
        }),
        3 => prop_oneof![0u64..20_000, 30_000u64..200_000].prop_map(Step::Wait),
        1 => prop_oneof![
            2 => Just(0u64),
            1 => 0u64..3_000,
            1 => 0u64..400_000,
            1 => Just(YEAR_MS),
        ].prop_map(Step::Ahead),
        1 => (0usize..6, spoilt).prop_map(|(at, value)| Step::Spoil(at, value)),
    ]
}

fn play(twins: &mut Twins, story: &[Step]) -> Result<(), TestCaseError> {
    let rules = rules();
    let keys: Vec<String> = (0..rules.len()).map(|at| format!("k{at}")).collect();
    let mut ahead = 0;
    // A guess that was wrong writes the key's time to live anew, by its own clock.
    let guesses = !story.iter().any(|step| matches!(step, Step::Ahead(_)));
    for step in story {
        let now = Now(now(twins).0 + ahead as i64 * 1000);
        match step {
            Step::Ahead(millis) => ahead = *millis,
            Step::Wait(millis) => twins.advance(Duration::from_millis(*millis)),
            Step::Spoil(at, value) => {
                twins
                    .prepare(&[b"SET", keys[*at].as_bytes(), value, b"EX", b"600"])
                    .unwrap();
            }
            Step::Change {
                rule,
                kind,
                amount,
                permit,
            } => {
                let permit = [b'a' + permit];
                let adjust = Adjust {
                    key: keys[*rule].as_bytes(),
                    rule: rules[*rule],
                    now,
                    change: match kind {
                        0 => Change::Give(*amount),
                        1 => Change::Charge(*amount),
                        2 => Change::Block(now.millis() + *amount as i64 * 10_000),
                        3 => Change::Unblock,
                        _ => Change::Release(&permit),
                    },
                };
                let outcome = twins.check(&adjust).map_err(TestCaseError::fail)?;
                prop_assert!(outcome.is_ok(), "{outcome:?}");
            }
            Step::Hit {
                rules: chosen,
                cost,
                peek,
                idle,
                permit,
            } => {
                let permit = [b'a' + permit];
                let hits: Vec<Hit<'_>> = chosen
                    .iter()
                    .map(|at| Hit {
                        key: keys[*at].as_bytes(),
                        rule: rules[*at],
                        cost: (*cost).min(rules[*at].burst()),
                        permit: if *at == 5 { &permit } else { b"" },
                        idle: *idle && guesses,
                    })
                    .collect();
                let check = Check {
                    hits: &hits,
                    now,
                    peek: *peek,
                };
                let outcome = twins.check(&check).map_err(TestCaseError::fail)?;
                prop_assert!(outcome.is_ok(), "{outcome:?}");
            }
        }
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
            // Its clock goes on by itself, also between the op's time and the script:
            // a deadline that is written back is a little later then.
            story.retain(|step| !matches!(step, Step::Wait(_)));
            for step in &mut story {
                if let Step::Hit { idle, .. } = step {
                    *idle = false;
                }
            }
            story
        });
        let first = Step::Hit {
            rules: vec![3],
            cost: 1,
            peek: false,
            idle: true,
            permit: 0,
        };
        play(&mut Twins::with_server(addr).unwrap(), &[first]).unwrap();
        runner.run(&stories, |story| {
            play(&mut Twins::with_server(addr).unwrap(), &story)
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

/// A value that is too short is filled up by the script's look, on both sides.
#[test]
fn a_value_that_was_cut_short_is_filled_up() {
    let hit = |rules: &[usize]| Step::Hit {
        rules: rules.to_vec(),
        cost: 1,
        peek: false,
        idle: false,
        permit: 0,
    };
    for (at, form) in [(0, b"f"), (1, b"s"), (3, b"b"), (4, b"b")] {
        let mut story = vec![hit(&[2]); 5];
        story.push(Step::Spoil(at, form.to_vec()));
        let mut both = vec![at, 2];
        both.sort_unstable();
        story.push(hit(&both));
        play(&mut Twins::new(), &story).unwrap();
    }
}

/// What a check costs where commands are billed, as the module's table says.
#[test]
fn checks_cost_what_the_table_says() {
    let hit = |at: usize, idle| Step::Hit {
        rules: vec![at],
        cost: 1,
        peek: false,
        idle,
        permit: 0,
    };
    // Fixed window, sliding window, bucket; first, then in its window, then refused.
    for at in [0, 1, 3] {
        let mut twins = Twins::new();
        let mut cost = |step: Step| {
            play(&mut twins, &[step]).unwrap();
            twins.cost()
        };
        assert_eq!(cost(hit(at, false)), 3, "{at}: a window begins");
        assert_eq!(cost(hit(at, false)), 2, "{at}: within it");
        let room = rules()[at].burst() - 2;
        for _ in 0..room {
            assert_eq!(cost(hit(at, false)), 2);
        }
        assert_eq!(cost(hit(at, false)), 3, "{at}: refused");
    }
    let mut twins = Twins::new();
    play(&mut twins, &[hit(3, true)]).unwrap();
    assert_eq!(twins.cost(), 2, "a bucket that is full, as was guessed");
    for at in [2, 5] {
        let mut twins = Twins::new();
        play(&mut twins, &[hit(at, false)]).unwrap();
        assert_eq!(twins.cost(), 3, "{at}: a list");
    }
    // Three rules in one slot: at most 1 + 2 x 3.
    let all = Step::Hit {
        rules: vec![0, 1, 3],
        cost: 1,
        peek: false,
        idle: false,
        permit: 0,
    };
    let mut twins = Twins::new();
    play(&mut twins, std::slice::from_ref(&all)).unwrap();
    assert_eq!(twins.cost(), 7);
    play(&mut twins, &[all]).unwrap();
    assert_eq!(twins.cost(), 4);
}

#[test]
fn changes_cost_three() {
    for at in 0..5 {
        let mut twins = Twins::new();
        for kind in [1, 0, 2, 3] {
            let change = Step::Change {
                rule: at,
                kind,
                amount: 2,
                permit: 0,
            };
            play(&mut twins, &[change]).unwrap();
            assert_eq!(twins.cost(), 3, "rule {at}, change {kind}");
        }
    }
}

/// Lists of the largest limit, as they were written and with what is not taken over
/// as it stands: entries that are over, numbers spelled in another way, a permit that
/// is held already.
#[test]
fn both_languages_agree_on_long_lists() {
    for (algorithm, own) in [(Algorithm::SlidingLog, ""), (Algorithm::Concurrency, "p7")] {
        let rule = rule(algorithm, 5_000, 60_000);
        for (over, gap, count) in [(0, false, 4_998), (1_000, false, 5_000), (2, true, 4_990)] {
            for (zeros, id) in [("", "new"), ("0", "new"), ("", own)] {
                let mut twins = Twins::new();
                let now = now(&twins);
                let entry = |at: i64| {
                    let ended = at < over || gap && at == count / 2;
                    let moment = now.0 - if ended { 60_000_000 } else { count - at };
                    match algorithm {
                        Algorithm::SlidingLog => format!("{zeros}{moment}:1,"),
                        _ => format!("p{at}:{zeros}{}:1,", moment + 60_000_000),
                    }
                };
                let list: String = (0..count).map(entry).collect();
                let form = super::algorithm::letter(algorithm);
                let value = format!("{form}0;{list}");
                twins
                    .prepare(&[b"SET", b"k", value.as_bytes(), b"EX", b"600"])
                    .unwrap();
                for cost in [1, 5_000, 1] {
                    let hits = [Hit {
                        key: b"k",
                        rule,
                        cost,
                        permit: if own.is_empty() { b"" } else { id.as_bytes() },
                        idle: false,
                    }];
                    let check = Check {
                        hits: &hits,
                        now,
                        peek: false,
                    };
                    let checked = twins.check(&check).unwrap().unwrap();
                    assert_eq!(checked.admitted, cost == 1, "{algorithm:?} {over} {id}");
                }
            }
        }
    }
}

/// A clock that was a year ahead and is right again: what was counted stays, and all
/// is as ever within a window, of sliding windows two, of buckets twice their burst,
/// and a second; also if nobody stops asking.
#[test]
fn a_clock_that_was_ahead_refuses_no_longer_than_the_rule() {
    let rules = Algorithm::ALL.map(|algorithm| rule(algorithm, 4, 60_000));
    for (rule, idle) in rules.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        for hits in 1..=4 {
            let mut twins = Twins::new();
            let mut permits = 0_u8..;
            let mut ask = |twins: &mut Twins, ahead_us: i64| {
                let permit = [b'a' + permits.next().unwrap()];
                let hits = [Hit {
                    key: b"k",
                    rule,
                    cost: 1,
                    permit: if rule.algorithm() == Algorithm::Concurrency {
                        &permit
                    } else {
                        b""
                    },
                    idle,
                }];
                let check = Check {
                    hits: &hits,
                    now: Now(now(twins).0 + ahead_us),
                    peek: false,
                };
                twins.check(&check).unwrap().unwrap().admitted
            };
            let told = format!("{rule:?} {hits} {idle}");
            for _ in 0..hits {
                assert!(ask(&mut twins, YEAR_MS as i64 * 1000), "{told}");
            }
            let mut admitted = 0;
            while ask(&mut twins, 0) {
                admitted += 1;
            }
            assert!(admitted + hits <= 4, "{told}: what was counted stays");
            let windows = match rule.algorithm() {
                Algorithm::FixedWindow | Algorithm::SlidingLog | Algorithm::Concurrency => 1,
                _ => 2,
            };
            let mut since = 0;
            while !ask(&mut twins, 0) {
                assert!(since <= windows * 60 + 1, "{told}: nothing after {since} s");
                twins.advance(Duration::from_secs(2));
                since += 2;
            }
            twins.advance(Duration::from_secs(windows * 60 + 1));
            for _ in 0..4 {
                assert!(ask(&mut twins, 0), "{told}: all is as ever");
            }
            assert!(!ask(&mut twins, 0), "{told}");
        }
    }
}

/// Clocks of processes differ a little: what one has written stays as it is for
/// another whose clock is behind.
#[test]
fn a_clock_that_is_a_little_ahead_changes_nothing() {
    for algorithm in Algorithm::ALL {
        let rule = rule(algorithm, 1, 60_000);
        let mut twins = Twins::new();
        let mut ask = |ahead_us| {
            let hits = [Hit {
                key: b"k",
                rule,
                cost: 1,
                permit: b"",
                idle: false,
            }];
            let now = Now(now(&twins).0 + ahead_us);
            let peek = false;
            let check = Check {
                hits: &hits,
                now,
                peek,
            };
            twins.check(&check).unwrap().unwrap()
        };
        assert!(ask(900_000).admitted);
        let refused = ask(0);
        assert!(!refused.admitted);
        let later = refused.parts[0].room.reset_us % 60_000_000;
        let aligned = algorithm == Algorithm::SlidingWindow;
        assert!(aligned || later == 900_000, "{algorithm:?}: {later}");
    }
}
