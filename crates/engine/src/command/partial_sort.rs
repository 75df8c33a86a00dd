//! Sorting of which only a range is wanted, with Redis' order among equals.
//!
//! COUNT of a geo search and LIMIT of SORT order no more than what they return.
//! Which of several equal elements that is, and in which order, is left to the
//! algorithm: Bentley and McIlroy's quicksort ("Engineering a Sort Function",
//! 1993), as Redis uses it, without the parts that nobody wants.
//!
//! Expected cost O(n + m log m) for m of n elements. Input that drives it deeper
//! than chance does is sorted by the standard library instead.

use std::cmp::Ordering;
use std::ops::Range;

/// Below, elements are sorted by insertion.
const SMALL: usize = 7;
/// Above, the pivot is the median of three medians.
const LARGE: usize = 40;

/// Sorts so that the elements of `wanted` are those that a whole sort would have
/// put there.
pub(super) fn sort_within<T>(
    items: &mut [T],
    wanted: Range<usize>,
    mut compare: impl FnMut(&T, &T) -> Ordering,
) {
    let depth = 2 * (usize::BITS - items.len().leading_zeros()) + 8;
    sort(items, &wanted, &mut compare, depth);
}

fn sort<T>(
    mut items: &mut [T],
    wanted: &Range<usize>,
    compare: &mut impl FnMut(&T, &T) -> Ordering,
    mut depth: u32,
) {
    let mut wanted = wanted.clone();
    loop {
        let len = items.len();
        if len < SMALL {
            insert_each(items, compare);
            return;
        }
        if depth == 0 {
            items.sort_by(compare);
            return;
        }
        depth -= 1;
        let pivot = pivot(items, compare);
        items.swap(0, pivot);
        let (less, greater) = partition(items, compare);
        let (head, tail) = items.split_at_mut(len - greater);
        if less > 1 && touches(&wanted, 0..less) {
            sort(head.split_at_mut(less).0, &wanted, compare, depth);
        }
        let start = len - greater;
        if greater <= 1 || !touches(&wanted, start..len) {
            return;
        }
        wanted = wanted.start.saturating_sub(start)..wanted.end - start;
        items = tail;
    }
}

/// Whether anything of `wanted` is in `part`.
fn touches(wanted: &Range<usize>, part: Range<usize>) -> bool {
    wanted.start < part.end && part.start < wanted.end
}

fn insert_each<T>(items: &mut [T], compare: &mut impl FnMut(&T, &T) -> Ordering) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            if compare(&items[at - 1], &items[at]).is_le() {
                break;
            }
            items.swap(at - 1, at);
        }
    }
}

/// Where the element stands that the others are compared with.
fn pivot<T>(items: &[T], compare: &mut impl FnMut(&T, &T) -> Ordering) -> usize {
    let len = items.len();
    let mut median = |a: usize, b: usize, c: usize| {
        let mut less = |x: usize, y: usize| compare(&items[x], &items[y]);
        if less(a, b).is_lt() {
            if less(b, c).is_lt() {
                b
            } else if less(a, c).is_lt() {
                c
            } else {
                a
            }
        } else if less(b, c).is_gt() {
            b
        } else if less(a, c).is_lt() {
            a
        } else {
            c
        }
    };
    let (mut low, mut middle, mut high) = (0, len / 2, len - 1);
    if len == SMALL {
        return middle;
    }
    if len > LARGE {
        let step = len / 8;
        low = median(low, low + step, low + 2 * step);
        middle = median(middle - step, middle, middle + step);
        high = median(high - 2 * step, high - step, high);
    }
    median(low, middle, high)
}

/// Splits around the first element: those less than it, those equal, those
/// greater. Answers how many are less and how many greater.
fn partition<T>(items: &mut [T], compare: &mut impl FnMut(&T, &T) -> Ordering) -> (usize, usize) {
    let len = items.len();
    // Equal elements gather at both ends first: `..equal_low`, `equal_high..`.
    // `high` and `equal_high` are one beyond the last element that they mean.
    let (mut equal_low, mut low) = (1, 1);
    let (mut high, mut equal_high) = (len, len);
    loop {
        while low < high {
            match compare(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_low, low);
                    equal_low += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low < high {
            match compare(&items[high - 1], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    equal_high -= 1;
                    items.swap(high - 1, equal_high);
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low >= high {
            break;
        }
        items.swap(low, high - 1);
        low += 1;
        high -= 1;
    }
    let (less, greater) = (low - equal_low, equal_high - high);
    let moved = equal_low.min(less);
    swap_blocks(items, 0, low - moved, moved);
    let moved = greater.min(len - equal_high);
    swap_blocks(items, low, len - moved, moved);
    (less, greater)
}

fn swap_blocks<T>(items: &mut [T], one: usize, other: usize, count: usize) {
    for at in 0..count {
        items.swap(one + at, other + at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_range_is_that_of_a_whole_sort() {
        let mut random = Random::new(3);
        for _ in 0..2000 {
            let len = random.below(120);
            let values = 1 + random.below(60);
            let items: Vec<usize> = (0..len).map(|_| random.below(values)).collect();
            let start = random.below(len + 1);
            let wanted = start..start + random.below(len - start + 1);
            let mut whole = items.clone();
            whole.sort_unstable();
            let mut part = items.clone();
            sort_within(&mut part, wanted.clone(), Ord::cmp);
            assert_eq!(part[wanted.clone()], whole[wanted]);
            part.sort_unstable();
            assert_eq!(part, whole, "an element was lost");
        }
    }

    #[test]
    fn an_adversary_does_not_make_it_quadratic() {
        // McIlroy's adversary: values are decided as late as possible.
        let count = 5000_usize;
        let (mut values, mut solid, mut candidate) = (vec![count; count], 0, 0);
        let mut comparisons = 0_usize;
        let mut items: Vec<usize> = (0..count).collect();
        sort_within(&mut items, 0..count, |x, y| {
            comparisons += 1;
            if values[*x] == count && values[*y] == count {
                let frozen = if *x == candidate { *x } else { *y };
                values[frozen] = solid;
                solid += 1;
            }
            if values[*x] == count {
                candidate = *x;
            } else if values[*y] == count {
                candidate = *y;
            }
            values[*x].cmp(&values[*y])
        });
        assert!(comparisons < 60 * count, "{comparisons}");
    }
}
