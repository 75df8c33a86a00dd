//! The compact encoding of a set of integers: sorted, each in as few bytes as
//! the widest one ever in it needed.

use std::mem;

/// The integer whose decimal text is exactly `text`.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Sorted integers.
#[derive(Debug, Clone)]
pub(super) enum IntSet {
    Two(Vec<i16>),
    Four(Vec<i32>),
    Eight(Vec<i64>),
}

impl Default for IntSet {
    fn default() -> Self {
        IntSet::Two(Vec::new())
    }
}

fn add<I: Ord>(integers: &mut Vec<I>, integer: I) -> bool {
    let Err(at) = integers.binary_search(&integer) else {
        return false;
    };
    if integers.len() == integers.capacity() {
        // An eighth more than needed: there may be millions of these.
        integers.reserve_exact(1 + integers.len() / 8);
    }
    integers.insert(at, integer);
    true
}

fn take<I: Ord>(integers: &mut Vec<I>, integer: &I) -> bool {
    let Ok(at) = integers.binary_search(integer) else {
        return false;
    };
    integers.remove(at);
    if integers.capacity() > 2 * integers.len() + 16 {
        integers.shrink_to(integers.len() * 5 / 4);
    }
    true
}

/// All of them in one exact allocation.
fn narrowed<I: TryFrom<i64>>(integers: impl Iterator<Item = i64> + Clone) -> Vec<I> {
    let mut narrow = Vec::with_capacity(integers.clone().count());
    narrow.extend(integers.filter_map(|integer| I::try_from(integer).ok()));
    narrow
}

impl IntSet {
    /// These integers, which are ascending: the first and the last of them
    /// tell the width.
    pub(super) fn build(integers: impl Iterator<Item = i64> + Clone) -> Self {
        let (first, last) = (integers.clone().next(), integers.clone().last());
        let fits = |low: i64, high: i64| {
            first.is_none_or(|first| first >= low) && last.is_none_or(|last| last <= high)
        };
        if fits(i64::from(i16::MIN), i64::from(i16::MAX)) {
            IntSet::Two(narrowed(integers))
        } else if fits(i64::from(i32::MIN), i64::from(i32::MAX)) {
            IntSet::Four(narrowed(integers))
        } else {
            IntSet::Eight(narrowed(integers))
        }
    }

    pub(super) const fn len(&self) -> usize {
        match self {
            IntSet::Two(integers) => integers.len(),
            IntSet::Four(integers) => integers.len(),
            IntSet::Eight(integers) => integers.len(),
        }
    }

    /// Bytes that each integer is kept in.
    pub(super) const fn width(&self) -> usize {
        match self {
            IntSet::Two(_) => 2,
            IntSet::Four(_) => 4,
            IntSet::Eight(_) => 8,
        }
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        match self {
            IntSet::Two(integers) => integers.capacity() * 2,
            IntSet::Four(integers) => integers.capacity() * 4,
            IntSet::Eight(integers) => integers.capacity() * 8,
        }
    }

    /// The `index`-th smallest.
    pub(super) fn get(&self, index: usize) -> Option<i64> {
        match self {
            IntSet::Two(integers) => integers.get(index).copied().map(i64::from),
            IntSet::Four(integers) => integers.get(index).copied().map(i64::from),
            IntSet::Eight(integers) => integers.get(index).copied(),
        }
    }

    pub(super) fn contains(&self, integer: i64) -> bool {
        match self {
            IntSet::Two(integers) => {
                i16::try_from(integer).is_ok_and(|integer| integers.binary_search(&integer).is_ok())
            }
            IntSet::Four(integers) => {
                i32::try_from(integer).is_ok_and(|integer| integers.binary_search(&integer).is_ok())
            }
            IntSet::Eight(integers) => integers.binary_search(&integer).is_ok(),
        }
    }

    /// Adds it; says whether it is new.
    pub(super) fn insert(&mut self, integer: i64) -> bool {
        loop {
            match self {
                IntSet::Two(integers) => {
                    if let Ok(integer) = i16::try_from(integer) {
                        return add(integers, integer);
                    }
                }
                IntSet::Four(integers) => {
                    if let Ok(integer) = i32::try_from(integer) {
                        return add(integers, integer);
                    }
                }
                IntSet::Eight(integers) => return add(integers, integer),
            }
            self.widen();
        }
    }

    /// Removes it; says whether it was there.
    pub(super) fn remove(&mut self, integer: i64) -> bool {
        match self {
            IntSet::Two(integers) => {
                i16::try_from(integer).is_ok_and(|integer| take(integers, &integer))
            }
            IntSet::Four(integers) => {
                i32::try_from(integer).is_ok_and(|integer| take(integers, &integer))
            }
            IntSet::Eight(integers) => take(integers, &integer),
        }
    }

    fn widen(&mut self) {
        *self = match self {
            IntSet::Two(integers) => {
                IntSet::Four(integers.iter().copied().map(i32::from).collect())
            }
            IntSet::Four(integers) => {
                IntSet::Eight(integers.iter().copied().map(i64::from).collect())
            }
            IntSet::Eight(integers) => IntSet::Eight(mem::take(integers)),
        };
    }

    /// From the smallest to the largest.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = i64> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}
