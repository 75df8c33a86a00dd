//! The two steps in both languages, and whether what they let through is what the
//! rules alone would have.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sangam_store::op::testing::Twins;

use super::note::{Mark, NOTES_MAX, weight};
use super::step::{Reserve, Settle, Settlement, Taken, noted_permit};
use crate::limit::algorithm::Now;
use crate::limit::check::{Check, Hit};
use crate::limit::rule::{Algorithm, Rule};

fn rule(algorithm: Algorithm, limit: u64, millis: u64) -> Rule {
    Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
}

fn rules() -> Vec<Rule> {
    vec![
        rule(Algorithm::FixedWindow, 4, 20_000),
        rule(Algorithm::SlidingWindow, 4, 20_000),
        rule(Algorithm::SlidingLog, 4, 20_000),
        rule(Algorithm::TokenBucket, 5, 6_000)
            .with_burst(3)
            .unwrap(),
        rule(Algorithm::Gcra, 7, 90_000),
        rule(Algorithm::Concurrency, 3, 15_000),
    ]
}

const PERMIT_RULE: usize = 5;

fn key(at: usize) -> Vec<u8> {
    format!("k{at}").into_bytes()
}

fn note_key(at: usize) -> Vec<u8> {
    format!("n{at}").into_bytes()
}

fn now(twins: &Twins) -> Now {
    Now(twins.now_ms() as i64 * 1000)
}

/// A step of a story.
#[derive(Debug, Clone)]
enum Step {
    /// Reserves, or only looks for what is over where it has no token.
    Reserve {
        rules: Vec<usize>,
        cost: u64,
        permit: u8,
        token: bool,
    },
    /// Settles the reservation that was made so many before the last.
    Settle(usize, Settlement),
    Wait(u64),
    Spoil(Vec<u8>, Vec<u8>),
}

fn reserve() -> impl Strategy<Value = Step> {
    (
        vec(0usize..6, 1..4),
        1u64..4,
        0u8..3,
        proptest::bool::weighted(0.8),
    )
        .prop_map(|(mut rules, cost, permit, token)| {
            rules.sort_unstable();
            rules.dedup();
            Step::Reserve {
                rules,
                cost,
                permit,
                token,
            }
        })
}

fn settlement() -> impl Strategy<Value = Settlement> {
    prop_oneof![
        3 => Just(Settlement::Commit),
        2 => Just(Settlement::Refund),
        1 => Just(Settlement::Revoke),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => reserve(),
        4 => (0usize..3, settlement()).prop_map(|(back, how)| Step::Settle(back, how)),
        3 => prop_oneof![0u64..1_500, 1_000u64..30_000].prop_map(Step::Wait),
    ]
}

fn spoilt() -> impl Strategy<Value = Step> {
    let note = prop_oneof![
        vec(any::<u8>(), 0..30),
        "n([a-z0-9]{0,2}:[0-9]{1,6}:[0-9]{1,17}:[0-9]{1,3}:[0-9]:[a-c]{0,1},){0,3}x{0,1}"
            .prop_map(String::into_bytes),
    ];
    let count = prop_oneof![
        vec(any::<u8>(), 0..30),
        "[fsb]".prop_map(String::into_bytes),
        "[lc][0-9]{1,3};([a-c]{0,1}:?[0-9]{1,5}:[0-9],){0,3}".prop_map(String::into_bytes),
    ];
    prop_oneof![
        (0usize..6, note).prop_map(|(at, value)| Step::Spoil(note_key(at), value)),
        (0usize..6, count).prop_map(|(at, value)| Step::Spoil(key(at), value)),
    ]
}

/// A hit that stayed.
#[derive(Debug, Clone)]
struct Stayed {
    at_ms: u64,
    rules: Vec<usize>,
    cost: u64,
    permit: u8,
}

#[derive(Default)]
struct Story {
    reserved: Vec<(Vec<Taken>, Vec<u8>, Stayed)>,
    stayed: Vec<Stayed>,
}

fn cost_of(rule: &Rule, at: usize, cost: u64) -> u64 {
    if at == PERMIT_RULE {
        1
    } else {
        cost.min(rule.burst())
    }
}

fn hits<'a>(keys: &'a [Vec<u8>], stayed: &'a Stayed, permit: &'a [u8]) -> Vec<Hit<'a>> {
    let rules = rules();
    let chosen = stayed.rules.iter().zip(keys);
    chosen
        .map(|(at, key)| Hit {
            key,
            rule: rules[*at],
            cost: cost_of(&rules[*at], *at, stayed.cost),
            permit: if *at == PERMIT_RULE { permit } else { b"" },
            idle: false,
        })
        .collect()
}

impl Story {
    fn play(&mut self, twins: &mut Twins, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Wait(millis) => twins.advance(Duration::from_millis(*millis)),
            Step::Spoil(key, value) => {
                twins.prepare(&[b"SET", key, value, b"EX", b"600"]).unwrap();
            }
            Step::Settle(back, how) => {
                let Some(at) = self.reserved.len().checked_sub(back + 1) else {
                    return Ok(());
                };
                let (taken, token, stayed) = &self.reserved[at];
                let settle = Settle {
                    hits: taken,
                    token,
                    now: now(twins),
                    how: *how,
                };
                let outcome = twins.check(&settle).map_err(TestCaseError::fail)?;
                let all = outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
                if *how == Settlement::Commit && all {
                    self.stayed.push(stayed.clone());
                }
            }
            Step::Reserve {
                rules: chosen,
                cost,
                permit,
                token,
            } => self.reserve(twins, chosen, *cost, *permit, *token)?,
        }
        Ok(())
    }

    fn reserve(
        &mut self,
        twins: &mut Twins,
        chosen: &[usize],
        cost: u64,
        permit: u8,
        noted: bool,
    ) -> Result<(), TestCaseError> {
        let stayed = Stayed {
            at_ms: twins.now_ms(),
            rules: chosen.to_vec(),
            cost,
            permit: b'a' + permit,
        };
        let keys: Vec<Vec<u8>> = chosen.iter().map(|at| key(*at)).collect();
        let notes: Vec<Vec<u8>> = chosen.iter().map(|at| note_key(*at)).collect();
        let permit = [stayed.permit];
        let hits = hits(&keys, &stayed, &permit);
        let token = format!("t{}", self.reserved.len()).into_bytes();
        let now = now(twins);
        let reserve = Reserve {
            check: Check {
                hits: &hits,
                now,
                peek: false,
            },
            notes: &notes,
            token: if noted { &token } else { b"" },
            deadline: now.0 + 1_000_000,
        };
        let outcome = twins.check(&reserve).map_err(TestCaseError::fail)?;
        let reserved = outcome.map_err(|error| TestCaseError::fail(error.to_string()))?;
        if !reserved.checked.admitted {
            return Ok(());
        }
        if !noted {
            self.stayed.push(stayed);
            return Ok(());
        }
        let taken = hits.iter().zip(notes).zip(&reserved.marks);
        let taken = taken
            .map(|((hit, note), mark)| Taken {
                key: hit.key.to_vec(),
                note,
                rule: hit.rule,
                mark: *mark,
                weight: weight(&hit.rule, hit.cost),
                permit: noted_permit(&hit.rule, hit.permit).to_vec(),
            })
            .collect();
        self.reserved.push((taken, token, stayed));
        Ok(())
    }

    /// Whether rules that know nothing of reservations let the same through.
    fn stands(mut self) -> Result<(), TestCaseError> {
        let mut twins = Twins::new();
        self.stayed.sort_by_key(|it| it.at_ms);
        for stayed in &mut self.stayed {
            // A fixed window begins with its first hit, also with one that goes again.
            stayed.rules.retain(|at| *at != 0);
            if stayed.rules.is_empty() {
                continue;
            }
            twins.advance(Duration::from_millis(stayed.at_ms - twins.now_ms()));
            let keys: Vec<Vec<u8>> = stayed.rules.iter().map(|at| key(*at)).collect();
            let permit = [stayed.permit];
            let hits = hits(&keys, stayed, &permit);
            let check = Check {
                hits: &hits,
                now: now(&twins),
                peek: false,
            };
            let checked = twins.check(&check).map_err(TestCaseError::fail)?;
            prop_assert!(checked.unwrap().admitted, "{:?} is one too many", stayed);
        }
        Ok(())
    }
}

/// Revoking is for hits of one's own that were committed, once.
fn tame(step: &Step) -> bool {
    !matches!(step, Step::Settle(_, Settlement::Revoke))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn both_languages_agree(
        story in vec(prop_oneof![8 => step(), 1 => spoilt()], 1..30)
    ) {
        let (mut twins, mut all) = (Twins::new(), Story::default());
        for step in &story {
            all.play(&mut twins, step)?;
        }
    }

    #[test]
    fn what_stays_is_what_the_rules_let_through(story in vec(step(), 1..40)) {
        let (mut twins, mut all) = (Twins::new(), Story::default());
        for step in story.iter().filter(|step| tame(step)) {
            all.play(&mut twins, step)?;
        }
        all.stands()?;
    }
}

/// The scripts on a real redis-server.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_agrees() {
    let server = sangam_rig::redis::Redis::start().await;
    let addr = server.addr();
    let work = move || {
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 30,
            ..ProptestConfig::default()
        });
        let stories = vec(step(), 1..25).prop_map(|mut story| {
            // Its clock goes on by itself.
            story.retain(|step| !matches!(step, Step::Wait(_)));
            story
        });
        runner.run(&stories, |story| {
            let mut twins = Twins::with_server(addr).unwrap();
            let mut all = Story::default();
            for step in &story {
                all.play(&mut twins, step)?;
            }
            Ok(())
        })
    };
    tokio::task::spawn_blocking(work).await.unwrap().unwrap();
}

/// Takes from one rule at a time, and settles.
struct One {
    twins: Twins,
    story: Story,
    at: usize,
}

impl One {
    fn new(at: usize) -> Self {
        One {
            twins: Twins::new(),
            story: Story::default(),
            at,
        }
    }

    fn play(&mut self, step: &Step) -> u64 {
        self.story.play(&mut self.twins, step).unwrap();
        self.twins.cost()
    }

    fn reserve(&mut self, token: bool) -> u64 {
        let permit = self.story.reserved.len() as u8 % 20;
        self.play(&Step::Reserve {
            rules: vec![self.at],
            cost: 1,
            permit,
            token,
        })
    }

    /// Whether a hit fits, which then stays.
    fn fits(&mut self) -> bool {
        let before = self.story.stayed.len();
        self.reserve(false);
        self.story.stayed.len() > before
    }
}

#[test]
fn what_nobody_confirms_is_back_after_a_second() {
    for (at, rule) in rules().iter().enumerate() {
        let mut one = One::new(at);
        for _ in 0..rule.burst() {
            one.reserve(true);
        }
        assert!(!one.fits(), "{at}: nothing is left");
        one.play(&Step::Wait(999));
        assert!(!one.fits() || at == 3, "{at}: they stand");
        one.play(&Step::Wait(1));
        assert!(one.fits(), "{at}: they are over");
        let late = Step::Settle(0, Settlement::Commit);
        let before = one.story.stayed.len();
        one.play(&late);
        assert_eq!(one.story.stayed.len(), before, "{at}: it was given back");
    }
}

#[test]
fn a_commit_is_for_good_and_a_refund_at_once() {
    for (at, rule) in rules().iter().enumerate() {
        let mut one = One::new(at);
        for _ in 0..rule.burst() {
            one.reserve(true);
            one.play(&Step::Settle(0, Settlement::Commit));
        }
        if at != 3 {
            one.play(&Step::Wait(5_000));
            assert!(!one.fits(), "{at}: it was committed");
        }
        let mut one = One::new(at);
        for _ in 0..rule.burst() {
            one.reserve(true);
        }
        for back in 0..rule.burst() as usize {
            one.play(&Step::Settle(back, Settlement::Refund));
        }
        for _ in 0..rule.burst() {
            assert!(one.fits(), "{at}: it was refunded");
        }
    }
}

/// A permit that was renewed in vain ends when it did before.
#[test]
fn a_renewal_that_is_taken_back_leaves_the_permit() {
    let mut one = One::new(PERMIT_RULE);
    let renew = |token| Step::Reserve {
        rules: vec![PERMIT_RULE],
        cost: 1,
        permit: 0,
        token,
    };
    one.play(&renew(false));
    one.play(&Step::Wait(10_000));
    one.play(&renew(true));
    one.play(&Step::Settle(0, Settlement::Refund));
    let held = |one: &mut One| {
        let value = one.twins.prepare(&[b"GET", &key(PERMIT_RULE)]).unwrap();
        let sangam_engine::Reply::Bulk(value) = value else {
            panic!("{value:?}");
        };
        String::from_utf8(value).unwrap()
    };
    let end = (sangam_store::op::testing::START_MS + 15_000) * 1000;
    assert_eq!(held(&mut one), format!("c0;a:{end}:1,"));
}

/// So many notes and no more.
#[test]
fn too_many_on_their_way_are_refused() {
    let mut twins = Twins::new();
    let (keys, notes) = ([key(0)], [note_key(0)]);
    let hits = [Hit {
        key: &keys[0],
        rule: rule(Algorithm::FixedWindow, 10_000, 60_000),
        cost: 1,
        permit: b"",
        idle: false,
    }];
    let deadline = (twins.now_ms() + 400) * 1000;
    let many: Vec<String> = (1..NOTES_MAX)
        .map(|at| format!("o{at}:{deadline}:1:1:0:,"))
        .collect();
    let many = format!("n{}", many.concat());
    twins
        .prepare(&[b"SET", &notes[0], many.as_bytes(), b"EX", b"60"])
        .unwrap();
    for (token, admitted) in [("a", true), ("b", false), ("", true)] {
        let now = now(&twins);
        let reserve = Reserve {
            check: Check {
                hits: &hits,
                now,
                peek: false,
            },
            notes: &notes,
            token: token.as_bytes(),
            deadline: now.0 + 1_000_000,
        };
        let reserved = twins.check(&reserve).unwrap().unwrap();
        assert_eq!(reserved.checked.admitted, admitted, "{token}");
        assert_eq!(reserved.pending[0], now.0 + 400_000);
        if token == "b" {
            let capped = super::capped(reserved, now);
            let part = capped.checked.parts[0];
            assert!(!part.fits && part.room.retry_us == Some(400_000));
        } else if token == "a" {
            assert_eq!(
                reserved.marks[0],
                Mark {
                    at: now.0 / 1000,
                    former: 0
                }
            );
        }
    }
}

/// Billed commands, as the modules say.
#[test]
fn reservations_cost_what_is_said() {
    for (at, check) in [(0, 2), (1, 2), (3, 2), (2, 3), (5, 3)] {
        let mut one = One::new(at);
        one.reserve(true);
        one.play(&Step::Settle(0, Settlement::Commit));
        assert_eq!(
            one.reserve(true),
            check + 2,
            "{at}: its notes read and written"
        );
        assert_eq!(one.play(&Step::Settle(0, Settlement::Commit)), 3, "{at}");
        one.reserve(true);
        assert_eq!(one.play(&Step::Settle(0, Settlement::Refund)), 5, "{at}");
    }
}
