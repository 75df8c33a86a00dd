//! Who comes most often, in bounded memory.
//!
//! Misra and Gries' summary: up to [`COUNTERS`] identifiers are counted; where there
//! would be more, all counts are lowered by the one in the middle, and those that
//! have nothing left go. So a count is never too high, and too low by at most
//! [`Sketch::missed`], which is at most 1/129 of all hits: whoever makes more than
//! that is always found. Adding costs a look-up in a hash table; lowering is spread
//! over the 128 new identifiers that have to come before it. An identifier takes at
//! most [`SPELLED_MAX`] + 1 bytes.

use std::collections::HashMap;

use ahash::RandomState;
use sha2::{Digest as _, Sha256};

/// Identifiers that are counted.
const COUNTERS: usize = 256;
/// Counts that survive when all are lowered, but for those that are alike.
const KEPT: usize = COUNTERS / 2;
/// Longest identifier that is spelled out; of others there is `#` and their SHA-256
/// in hexadecimal digits, which is one byte longer and so never taken for one.
pub(super) const SPELLED_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Sketch {
    counts: HashMap<Box<[u8]>, u64, RandomState>,
    missed: u64,
}

/// The first places of a sketch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List {
    /// By how much counts may be too low.
    pub(super) missed: u64,
    /// The highest count that is not in the list; 0 where none was left out.
    pub(super) cut: u64,
    /// Identifiers and their counts, the highest first.
    pub(super) entries: Vec<(Vec<u8>, u64)>,
}

impl Sketch {
    /// Counts one hit of an identifier, of any length.
    pub(super) fn add(&mut self, id: &[u8]) {
        if id.len() > SPELLED_MAX {
            return self.add_spelled(&hash(&[id]));
        }
        self.add_spelled(id);
    }

    fn add_spelled(&mut self, id: &[u8]) {
        if let Some(count) = self.counts.get_mut(id) {
            *count += 1;
            return;
        }
        if self.counts.len() >= COUNTERS {
            self.lower();
        }
        self.counts.insert(id.into(), 1);
    }

    /// Takes the count in the middle from all: at least [`KEPT`] + 1 lose as much,
    /// of which each hit is taken only once, so that the sum of all that is missed
    /// stays below 1/([`KEPT`] + 1) of the hits.
    #[cold]
    fn lower(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, middle, _) = counts.select_nth_unstable_by(KEPT, |one, other| other.cmp(one));
        let middle = *middle;
        self.missed += middle;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(middle);
            *count > 0
        });
    }

    /// The first `most` places.
    pub(super) fn list(&self, most: usize) -> List {
        let mut all: Vec<(&Box<[u8]>, u64)> = self.counts.iter().map(|(id, n)| (id, *n)).collect();
        all.sort_unstable_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        List {
            missed: self.missed,
            cut: all.get(most).map_or(0, |(_, count)| *count),
            entries: all
                .into_iter()
                .take(most)
                .map(|(id, count)| (id.to_vec(), count))
                .collect(),
        }
    }
}

/// `#` and the SHA-256 of these parts, one after the other.
pub(super) fn hash(parts: &[&[u8]]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let mut text = vec![b'#'];
    for byte in hasher.finalize() {
        text.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Against exact counts: never too high, too low by no more than is said,
        /// and that is within the bound.
        #[test]
        fn counts_are_as_exact_as_they_say(
            runs in vec((0u64..3_000, 1u64..40), 1..3_000),
            most in 0usize..40,
        ) {
            let mut sketch = Sketch::default();
            let mut exact: HashMap<Vec<u8>, u64> = HashMap::new();
            let mut hits = 0;
            for (id, times) in runs {
                // Few that come often among many that do not.
                let id = if times > 30 { id % 7 } else { id }.to_string().into_bytes();
                for _ in 0..times {
                    sketch.add(&id);
                }
                hits += times;
                *exact.entry(id).or_default() += times;
            }
            prop_assert!(sketch.counts.len() <= COUNTERS);
            prop_assert!(sketch.missed <= hits / (KEPT as u64 + 1));
            let list = sketch.list(most);
            prop_assert!(list.entries.len() <= most);
            for (id, true_count) in &exact {
                let (least, at_most) = match list.entries.iter().find(|(it, _)| it == id) {
                    Some((_, count)) => (*count, count + list.missed),
                    None => (0, list.cut + list.missed),
                };
                prop_assert!(
                    least <= *true_count && *true_count <= at_most,
                    "{}: {} is not in {}..={}", String::from_utf8_lossy(id), true_count, least, at_most
                );
            }
        }
    }

    #[test]
    fn a_million_identifiers_take_no_more_room_than_256() {
        let mut sketch = Sketch::default();
        for turn in 0..1_000_000u64 {
            sketch.add(&turn.to_le_bytes());
            if turn % 50 == 0 {
                sketch.add(b"the one");
            }
        }
        assert!(sketch.counts.len() <= COUNTERS);
        assert!(sketch.counts.capacity() < 4 * COUNTERS);
        let list = sketch.list(20);
        assert_eq!(list.entries[0].0, b"the one");
        let count = list.entries[0].1;
        assert!(count <= 20_000 && 20_000 <= count + list.missed, "{list:?}");
    }

    #[test]
    fn long_identifiers_are_hashed_and_short_ones_are_not() {
        let mut sketch = Sketch::default();
        sketch.add(&[b'x'; SPELLED_MAX]);
        sketch.add(&[b'x'; SPELLED_MAX + 1]);
        sketch.add(&vec![0; 10 << 20]);
        let list = sketch.list(20);
        let lengths: Vec<usize> = list.entries.iter().map(|(id, _)| id.len()).collect();
        assert_eq!(lengths, [65, 65, 64]);
        assert_eq!(
            hash(&[b"a", b"bc"]),
            b"#ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
