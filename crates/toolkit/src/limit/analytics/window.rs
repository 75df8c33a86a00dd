//! What an instance has counted of a class in a window, and how that is written.
//!
//! An instance has three fields of a window's hash: `<instance>#counts`,
//! `<instance>#top` and `<instance>#refused`, each a total since the window began.
//! Their text begins with a format byte: `1 ` and numbers with a blank behind each;
//! a list's are what is missed and what was cut, then for each identifier its count,
//! its length and its bytes.

use super::sketch::{List, SPELLED_MAX, Sketch};
use super::{Ids, Recorded};

const FORMAT: &[u8] = b"1 ";
/// Entries of a list that are read.
const ENTRIES_MAX: usize = 1_000;

/// How many requests came, by what became of them. Each is counted in one of the
/// first seven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The rules let them through.
    pub allowed: u64,
    /// The rules refused them.
    pub refused: u64,
    /// Let through without asking the rules: whoever is on an allow-list.
    pub exempt: u64,
    /// Refused without asking the rules: whoever is on a deny-list.
    pub denied: u64,
    /// The rules refused them, and they were let through: shadow mode.
    pub shadowed: u64,
    /// Let through by the policy, because the store could not be asked.
    pub degraded_allowed: u64,
    /// Refused by the policy, because the store could not be asked.
    pub degraded_refused: u64,
    /// The cost of all that passed: units of the limits.
    pub cost: u64,
}

impl Counts {
    /// Requests.
    pub const fn checks(&self) -> u64 {
        self.passed() + self.blocked()
    }

    /// Requests that went on, for whichever reason.
    pub const fn passed(&self) -> u64 {
        self.allowed + self.exempt + self.shadowed + self.degraded_allowed
    }

    /// Requests that did not.
    pub const fn blocked(&self) -> u64 {
        self.refused + self.denied + self.degraded_refused
    }

    /// Requests that the policy decided.
    pub const fn degraded(&self) -> u64 {
        self.degraded_allowed + self.degraded_refused
    }

    fn add(&mut self, what: Recorded, cost: u64) {
        let count = match what {
            Recorded::Allowed => &mut self.allowed,
            Recorded::Refused => &mut self.refused,
            Recorded::Exempt => &mut self.exempt,
            Recorded::Denied => &mut self.denied,
            Recorded::Shadowed => &mut self.shadowed,
            Recorded::DegradedAllowed => &mut self.degraded_allowed,
            Recorded::DegradedRefused => &mut self.degraded_refused,
        };
        *count += 1;
        if what.passes() {
            self.cost = self.cost.saturating_add(cost);
        }
    }

    const fn numbers(&self) -> [u64; 8] {
        [
            self.allowed,
            self.refused,
            self.exempt,
            self.denied,
            self.shadowed,
            self.degraded_allowed,
            self.degraded_refused,
            self.cost,
        ]
    }

    fn of(numbers: [u64; 8]) -> Self {
        let [
            allowed,
            refused,
            exempt,
            denied,
            shadowed,
            degraded_allowed,
            degraded_refused,
            cost,
        ] = numbers;
        Counts {
            allowed,
            refused,
            exempt,
            denied,
            shadowed,
            degraded_allowed,
            degraded_refused,
            cost,
        }
    }

    /// Adds another instance's, or another window's.
    pub(super) fn merge(&mut self, other: &Counts) {
        let (mut sum, other) = (self.numbers(), other.numbers());
        for (sum, other) in sum.iter_mut().zip(other) {
            *sum = sum.saturating_add(other);
        }
        *self = Counts::of(sum);
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = FORMAT.to_vec();
        for number in self.numbers() {
            push(&mut text, number);
        }
        text
    }

    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        let mut text = Text(text.strip_prefix(FORMAT)?);
        let mut numbers = [0; 8];
        for number in &mut numbers {
            *number = text.number()?;
        }
        // What nobody can have counted must not make a sum overflow.
        let sane = numbers.iter().all(|number| *number <= u64::MAX >> 16);
        (text.0.is_empty() && sane).then(|| Counts::of(numbers))
    }
}

impl List {
    fn encode(&self) -> Vec<u8> {
        let mut text = FORMAT.to_vec();
        push(&mut text, self.missed);
        push(&mut text, self.cut);
        for (id, count) in &self.entries {
            push(&mut text, *count);
            push(&mut text, id.len() as u64);
            text.extend_from_slice(id);
        }
        text
    }

    pub(super) fn decode(text: &[u8]) -> Option<Self> {
        let mut text = Text(text.strip_prefix(FORMAT)?);
        let mut list = List {
            missed: text.number()?,
            cut: text.number()?,
            entries: Vec::new(),
        };
        while !text.0.is_empty() {
            let (count, length) = (text.number()?, text.number()? as usize);
            if length > SPELLED_MAX + 1 || list.entries.len() >= ENTRIES_MAX || count < list.cut {
                return None;
            }
            let (id, rest) = text.0.split_at_checked(length)?;
            text.0 = rest;
            list.entries.push((id.to_vec(), count));
        }
        Some(list)
    }
}

/// A number and a blank.
fn push(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(number.to_string().as_bytes());
    text.push(b' ');
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn number(&mut self) -> Option<u64> {
        let end = self.0.iter().position(|byte| *byte == b' ')?;
        let (digits, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.get(1..)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

/// A window of a class, while it is counted.
#[derive(Debug)]
pub(super) struct Window {
    /// Seconds since the epoch.
    pub(super) start: u64,
    /// Which part of the instance counts: see [`super::Inner::window`].
    pub(super) part: u32,
    counts: Counts,
    top: Sketch,
    refused: Sketch,
}

/// What is written of a window.
#[derive(Debug, Clone)]
pub(super) struct Totals {
    pub(super) start: u64,
    pub(super) checks: u64,
    /// Names and values of the instance's fields.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Window {
    pub(super) fn new(start: u64, part: u32) -> Self {
        Window {
            start,
            part,
            counts: Counts::default(),
            top: Sketch::default(),
            refused: Sketch::default(),
        }
    }

    pub(super) const fn checks(&self) -> u64 {
        self.counts.checks()
    }

    pub(super) fn add(&mut self, id: &[u8], what: Recorded, cost: u64, ids: &Ids) {
        self.counts.add(what, cost);
        if matches!(ids, Ids::Off) {
            return;
        }
        self.top.add(id);
        if what.is_refusal() {
            self.refused.add(id);
        }
    }

    /// What is written of it now.
    pub(super) fn totals(&self, instance: u64, top: usize, ids: &Ids) -> Totals {
        let name = |what: &str| match self.part {
            0 => format!("{instance:016x}#{what}").into_bytes(),
            part => format!("{instance:016x}.{part}#{what}").into_bytes(),
        };
        let mut fields = vec![(name("counts"), self.counts.encode())];
        let lists = [("top", &self.top), ("refused", &self.refused)];
        // Always the same fields, so that none is new when they are written again.
        let lists = lists.into_iter().filter(|_| !matches!(ids, Ids::Off));
        for (what, sketch) in lists {
            let mut list = sketch.list(top);
            for (id, _) in &mut list.entries {
                *id = ids.shown(id);
            }
            fields.push((name(what), list.encode()));
        }
        Totals {
            start: self.start,
            checks: self.checks(),
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            missed in any::<u64>(),
            cut in any::<u64>(),
            entries in vec((vec(any::<u8>(), 0..=65), any::<u64>()), 0..30),
            numbers in any::<[u64; 8]>(),
        ) {
            let entries = entries.into_iter().map(|(id, count)| (id, count.max(cut))).collect();
            let list = List { missed, cut, entries };
            prop_assert_eq!(List::decode(&list.encode()), Some(list));
            let counts = Counts::of(numbers.map(|number| number >> 16));
            prop_assert_eq!(Counts::decode(&counts.encode()), Some(counts));
        }

        #[test]
        fn nothing_that_is_read_panics(text in vec(any::<u8>(), 0..80), digits in "1 [0-9 ]{0,60}") {
            for text in [&text[..], digits.as_bytes()] {
                let _ = (List::decode(text), Counts::decode(text));
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for text in [
            &b""[..],
            b"1 ",
            b"2 0 0 ",
            b"1 0 0",
            b"1 0 0 5 3 ab",
            b"1 0 9 5 1 a",
            b"1 +1 0 ",
            b"1 0 0 1 66 ",
        ] {
            assert_eq!(List::decode(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(List::decode(b"1 0 0 "), Some(List::default()));
        assert_eq!(Counts::decode(b"1 1 2 3 4 5 6 7 "), None);
        assert_eq!(Counts::decode(b"1 1 2 3 4 5 6 7 8 9 "), None);
        let huge = format!("1 {} 2 3 4 5 6 7 8 ", u64::MAX);
        assert_eq!(Counts::decode(huge.as_bytes()), None);
    }
}
