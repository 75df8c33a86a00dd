//! From registers to a number of elements.
//!
//! Otmar Ertl's estimator ("New cardinality estimation algorithms for
//! HyperLogLog sketches", 2017), which needs no tables of corrections.

use super::{Histogram, INDEX_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many elements there probably are, from how many registers have each value.
pub(super) fn estimate(histogram: &Histogram) -> u64 {
    let count = |value: usize| f64::from(histogram.get(value).copied().unwrap_or(0));
    let all = REGISTERS as f64;
    let highest = 64 - INDEX_BITS as usize;
    let mut sum = all * tau((all - count(highest + 1)) / all);
    for value in (1..=highest).rev() {
        sum += count(value);
        sum *= 0.5;
    }
    sum += all * sigma(count(0) / all);
    (ALPHA * all * all / sum).round() as u64
}

/// Corrects for registers that are full, until nothing changes any more.
fn tau(share: f64) -> f64 {
    if share == 0.0 || share == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (share, 1.0, 1.0 - share);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// Corrects for registers that are empty.
fn sigma(share: f64) -> f64 {
    if share == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (share, 1.0, share);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}
