//! Which fault strikes which connection, decided in one place.
//!
//! A connection asks before it moves bytes, and again whenever the rules
//! change. A rule remembers whom it chose, how many bytes it let pass there,
//! and where it has struck, so that each strike is counted once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::fault::{Direction, Fault, Whom};
use crate::random::Random;

/// A connection's number, in the order of acceptance.
pub(super) type Id = u64;

/// What happens to bytes that are about to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pass,
    /// They pass, and who waits to be overtaken may go.
    PassAndRelease,
    /// So many pass, then the connection is cut.
    Cut(usize),
    /// They are lost, and all after them.
    Lose,
    /// Not now: ask again when the rules changed.
    Wait,
}

/// What happens to a connection as it is accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Serve,
    Refuse,
    BlackHole,
}

#[derive(Debug, Default)]
pub(super) struct Rules {
    list: Vec<Rule>,
    /// Strikes that the counters do not show yet.
    struck: u64,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    whom: Whom,
    random: Random,
    /// How often `Next` and `Times` may still choose.
    left: usize,
    chosen: HashSet<Id>,
    struck: HashSet<Id>,
    passed: HashMap<Id, u64>,
    held: Option<Id>,
    released: HashSet<Id>,
}

impl Rule {
    fn concerns(&self, id: Id) -> bool {
        match self.whom {
            Whom::All => true,
            Whom::Next(_) | Whom::Chance { .. } => self.chosen.contains(&id),
            Whom::Times(_) => self.left > 0 || self.chosen.contains(&id),
        }
    }

    /// Whether the connection that comes now is chosen.
    fn choose(&mut self, id: Id) {
        let chosen = match self.whom {
            Whom::All | Whom::Times(_) => false,
            Whom::Next(_) if self.left > 0 => {
                self.left -= 1;
                true
            }
            Whom::Next(_) => false,
            Whom::Chance { percent, .. } => self.random.below(100) < u64::from(percent),
        };
        if chosen {
            self.chosen.insert(id);
        }
    }

    /// The fault shows on `id`; 1 if it had not before.
    fn strike(&mut self, id: Id) -> u64 {
        if matches!(self.whom, Whom::Times(_)) && self.chosen.insert(id) {
            self.left -= 1;
        }
        u64::from(self.struck.insert(id))
    }

    /// Whether a reply of `id` waits to be overtaken.
    fn overtaken(&mut self, id: Id) -> Step {
        if self.released.remove(&id) {
            return Step::Pass;
        }
        match self.held {
            Some(other) if other != id => Step::PassAndRelease,
            _ => {
                self.held = Some(id);
                Step::Wait
            }
        }
    }
}

impl Rules {
    pub(super) fn add(&mut self, fault: Fault, whom: Whom) {
        let (left, seed) = match whom {
            Whom::Next(count) | Whom::Times(count) => (count, 0),
            Whom::Chance { seed, .. } => (0, seed),
            Whom::All => (0, 0),
        };
        self.list.push(Rule {
            fault,
            whom,
            random: Random::new(seed),
            left,
            chosen: HashSet::new(),
            struck: HashSet::new(),
            passed: HashMap::new(),
            held: None,
            released: HashSet::new(),
        });
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn take_struck(&mut self) -> u64 {
        std::mem::take(&mut self.struck)
    }

    fn concerning(&mut self, id: Id) -> impl Iterator<Item = &mut Rule> {
        self.list.iter_mut().filter(move |rule| rule.concerns(id))
    }

    pub(super) fn admit(&mut self, id: Id) -> Entry {
        for rule in &mut self.list {
            rule.choose(id);
        }
        let mut entry = Entry::Serve;
        let mut struck = 0;
        for rule in self.concerning(id) {
            entry = match rule.fault {
                Fault::Refuse => Entry::Refuse,
                Fault::BlackHole => Entry::BlackHole,
                _ => continue,
            };
            struck = rule.strike(id);
            break;
        }
        self.struck += struck;
        entry
    }

    pub(super) fn half_open(&mut self, id: Id) -> bool {
        let struck = self
            .concerning(id)
            .find(|rule| rule.fault == Fault::HalfOpen)
            .map(|rule| rule.strike(id));
        self.struck += struck.unwrap_or(0);
        struck.is_some()
    }

    pub(super) fn delay(&mut self, id: Id, way: Direction) -> Duration {
        let mut sum = Duration::ZERO;
        let mut struck = 0;
        for rule in self.concerning(id) {
            if let Fault::Delay {
                direction,
                least,
                most,
            } = rule.fault
                && direction == way
            {
                let spread = most.saturating_sub(least).as_micros() as u64 + 1;
                sum += least + Duration::from_micros(rule.random.below(spread));
                struck += rule.strike(id);
            }
        }
        self.struck += struck;
        sum
    }

    /// Bytes a tick, and the tick, if the way is thin.
    pub(super) fn pace(&mut self, id: Id, way: Direction) -> Option<(usize, Duration)> {
        let mut found = None;
        let mut struck = 0;
        for rule in self.concerning(id) {
            found = match rule.fault {
                Fault::Drip {
                    direction,
                    bytes,
                    every,
                } if direction == way => Some((bytes.max(1), every)),
                Fault::Bandwidth {
                    direction,
                    per_second,
                } if direction == way => {
                    Some(((per_second / 100).max(1), Duration::from_millis(10)))
                }
                _ => continue,
            };
            struck = rule.strike(id);
            break;
        }
        self.struck += struck;
        found
    }

    /// What becomes of `len` bytes. Waiting comes first, since a step is asked
    /// for again after it and must not count its bytes twice.
    pub(super) fn step(&mut self, id: Id, way: Direction, len: usize) -> Step {
        let mut step = Step::Pass;
        let mut struck = 0;
        for rule in self.concerning(id) {
            step = match rule.fault {
                Fault::Stall => Step::Wait,
                Fault::Overtake if way == Direction::Reply => rule.overtaken(id),
                _ => continue,
            };
            if step == Step::Wait {
                struck = rule.strike(id);
            }
            break;
        }
        if step == Step::Pass {
            for rule in self.concerning(id) {
                let after = match (rule.fault, way) {
                    (Fault::DropReplies, Direction::Reply) => {
                        struck = rule.strike(id);
                        step = Step::Lose;
                        break;
                    }
                    (Fault::CutAfterReply(after), Direction::Reply)
                    | (Fault::CutAfterRequest(after), Direction::Request) => after,
                    _ => continue,
                };
                let passed = rule.passed.entry(id).or_default();
                let left = after.saturating_sub(*passed) as usize;
                *passed += len as u64;
                if len >= left {
                    struck = rule.strike(id);
                    step = Step::Cut(left);
                    break;
                }
            }
        }
        self.struck += struck;
        step
    }

    /// A reply has overtaken the held one, which may go now.
    pub(super) fn release(&mut self) {
        for rule in &mut self.list {
            if let Some(held) = rule.held.take() {
                rule.released.insert(held);
            }
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: Id) {
        for rule in &mut self.list {
            rule.passed.remove(&id);
            rule.released.remove(&id);
            if rule.held == Some(id) {
                rule.held = None;
            }
        }
    }
}
