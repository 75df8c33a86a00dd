//! What was applied of each instance's messages, so that none is applied twice without
//! need, and a missing one is noticed before the next comparison.
//!
//! For each instance it holds one run of numbers, and a few beyond it. All of them were
//! applied, in whatever order they came; of others nothing is known.

use std::collections::{BTreeSet, HashMap};

use super::message::Instance;

/// Instances that are remembered; with more, all are forgotten.
const INSTANCES: usize = 1024;
/// Numbers beyond a run.
const AHEAD: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Heard(HashMap<Instance, Run, ahash::RandomState>);

#[derive(Debug)]
struct Run {
    first: u64,
    last: u64,
    /// Beyond what is missing.
    ahead: BTreeSet<u64>,
}

impl Run {
    const fn of(number: u64) -> Self {
        Run {
            first: number,
            last: number,
            ahead: BTreeSet::new(),
        }
    }

    fn add(&mut self, number: u64) {
        if number.checked_add(1) == Some(self.first) {
            self.first = number;
        } else if number > self.last {
            self.ahead.insert(number);
            while let Some(next) = self.last.checked_add(1)
                && self.ahead.remove(&next)
            {
                self.last = next;
            }
            if self.ahead.len() > AHEAD {
                *self = Run::of(number);
            }
        }
    }
}

impl Heard {
    /// Whether a message was applied.
    pub(super) fn has(&self, instance: &Instance, number: u64) -> bool {
        self.0.get(instance).is_some_and(|run| {
            (run.first..=run.last).contains(&number) || run.ahead.contains(&number)
        })
    }

    /// A message was applied; whether one before it is missing.
    pub(super) fn add(&mut self, instance: Instance, number: u64) -> bool {
        if self.0.len() >= INSTANCES && !self.0.contains_key(&instance) {
            self.0.clear();
        }
        let run = self.0.entry(instance).or_insert_with(|| Run::of(number));
        run.add(number);
        !run.ahead.is_empty()
    }

    /// Whether any is missing.
    pub(super) fn is_missing(&self) -> bool {
        self.0.values().any(|run| !run.ahead.is_empty())
    }

    /// None that is missing is waited for any longer.
    pub(super) fn settle(&mut self) {
        for run in self.0.values_mut() {
            if let Some(last) = run.ahead.last() {
                *run = Run::of(*last);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order they come, and however often: what counts as applied was.
        #[test]
        fn only_what_was_applied_counts(
            steps in vec((0u8..3, 1u64..40, prop::bool::weighted(0.1)), 1..200),
        ) {
            let mut heard = Heard::default();
            let mut applied = BTreeSet::new();
            for (who, number, settles) in steps {
                heard.add([who; 16], number);
                applied.insert((who, number));
                prop_assert!(heard.has(&[who; 16], number) || number < 40);
                if settles {
                    heard.settle();
                }
                for who in 0..3 {
                    for number in 0..42 {
                        let has = heard.has(&[who; 16], number);
                        prop_assert!(!has || applied.contains(&(who, number)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_missing_one_is_noticed_until_it_comes() {
        let (mut heard, one) = (Heard::default(), [1; 16]);
        assert!(!heard.add(one, 5));
        assert!(!heard.add(one, 6));
        assert!(heard.add(one, 9));
        assert!(heard.add(one, 8));
        assert!(heard.has(&one, 9) && !heard.has(&one, 7));
        assert!(!heard.add(one, 7));
        assert!(!heard.is_missing());
        heard.settle();
        assert!((5..=9).all(|number| heard.has(&one, number)));
        assert!(heard.add(one, 11));
        assert!(heard.is_missing());
        heard.settle();
        assert!(!heard.is_missing());
        assert!(!heard.add(one, 12));
        assert!(!heard.has(&one, 10));
    }

    #[test]
    fn it_is_bounded() {
        let mut heard = Heard::default();
        for who in 0..5000_u128 {
            heard.add(who.to_be_bytes(), 1);
            assert!(heard.0.len() <= INSTANCES);
        }
        let one = 4999_u128.to_be_bytes();
        for number in 0..1000 {
            heard.add(one, 10 + 2 * number);
            assert!(heard.0.values().all(|run| run.ahead.len() <= AHEAD));
        }
        assert!(heard.has(&one, 10 + 2 * 999));
        assert!(!heard.has(&one, u64::MAX));
        heard.add(one, u64::MAX);
        assert!(heard.has(&one, u64::MAX));
    }
}
