//! Two windows' counts, the former one weighed by what is left of it and rounded down.
//!
//! The package weighs in floating point, and so must this: an exact fraction differs by
//! one where the float falls short of a whole number.

use sangam_engine::command::args::parse_i64;
use sangam_engine::command::{Ttl, Tx};
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::smallvec;

use super::standing::{Standing, int, parts};
use crate::limit::algorithm::SLACK_MS;
use crate::limit::rule::Rule;

static CHECK: Script = Script::new("limit-upstash-sliding", include_str!("sliding.lua"));

/// Counts beyond this are errors: a sum of two stays exact in Lua.
const COUNT_MAX: u64 = 1 << 52;

/// A hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sliding<'a> {
    /// This window's count.
    pub(super) current: &'a [u8],
    /// The count of the window before.
    pub(super) previous: &'a [u8],
    pub(super) rule: Rule,
    /// From 1 to the limit.
    pub(super) cost: u64,
    pub(super) now_ms: i64,
}

/// The counts of two windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) previous: i64,
    pub(super) current: i64,
}

impl Counts {
    /// Reads an answer of `MGET` for this window's key and the former one's, in which a
    /// key of another type is none.
    pub(super) fn of_values(reply: Reply) -> Result<Self, CommandError> {
        let count = |value: &Reply| match value {
            Reply::Bulk(text) => parse_i64(text)
                .filter(|count| count.unsigned_abs() <= COUNT_MAX)
                .ok_or(CommandError::NotInteger),
            _ => Ok(0),
        };
        match reply.unpacked() {
            Reply::Array(values) => match values.as_slice() {
                [current, previous] => Ok(Counts {
                    previous: count(previous)?,
                    current: count(current)?,
                }),
                _ => Err(CommandError::NotInteger),
            },
            Reply::Error(text) => Err(CommandError::Bytes(text)),
            _ => Err(CommandError::NotInteger),
        }
    }

    /// What counts when `elapsed` ms of this window are over.
    fn used(&self, window: i64, elapsed: i64) -> i64 {
        weighed(self.previous, window, elapsed) + self.current
    }

    /// Where an identifier stands.
    pub(super) fn standing(&self, rule: &Rule, now_ms: i64, cost: u64) -> Standing {
        let (limit, window) = (rule.limit() as i64, rule.window_ms() as i64);
        let begin = now_ms.div_euclid(window) * window;
        let elapsed = now_ms - begin;
        let left = limit - self.used(window, elapsed);
        // In the next window this one's count is the former.
        let next = Counts {
            previous: self.current,
            current: 0,
        };
        let fits_at = |cost: u64| {
            let most = limit - cost as i64;
            self.first_within(window, elapsed, most)
                .map(|elapsed| begin + elapsed)
                .or_else(|| {
                    let elapsed = next.first_within(window, 0, most)?;
                    Some(begin + window + elapsed)
                })
                .unwrap_or(begin + 2 * window)
        };
        let full = match (self.previous > 0, self.current > 0) {
            (false, false) => now_ms,
            (true, false) => begin + window,
            (_, true) => begin + 2 * window,
        };
        Standing {
            remaining: left.max(0) as u64,
            reset: begin + window,
            retry: fits_at(cost),
            next: fits_at(1),
            full,
        }
    }

    /// The first millisecond of this window, from `elapsed` on, at which no more than
    /// `most` counts. What counts never grows with time.
    fn first_within(&self, window: i64, elapsed: i64, most: i64) -> Option<i64> {
        let (mut low, mut high) = (elapsed, window);
        while low < high {
            let middle = low.midpoint(high);
            if self.used(window, middle) <= most {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low < window).then_some(low)
    }
}

fn weighed(count: i64, window: i64, elapsed: i64) -> i64 {
    ((1.0 - elapsed as f64 / window as f64) * count as f64).floor() as i64
}

impl Sliding<'_> {
    const fn ttl_ms(&self) -> u64 {
        2 * self.rule.window_ms() + SLACK_MS as u64
    }
}

impl AtomicOp for Sliding<'_> {
    /// Whether it fits, and the counts after it.
    type Output = (bool, Counts);

    fn script(&self) -> &'static Script {
        &CHECK
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.current, self.previous]
    }

    fn args(&self) -> Args {
        smallvec![
            self.rule.limit().to_string().into_bytes(),
            self.now_ms.to_string().into_bytes(),
            self.rule.window_ms().to_string().into_bytes(),
            self.cost.to_string().into_bytes(),
            self.ttl_ms().to_string().into_bytes(),
        ]
    }

    fn read(&self, reply: Reply) -> Result<(bool, Counts), Error> {
        let (fits, previous, current) = parts(reply)?;
        let (previous, current) = (int(&previous)?, int(&current)?);
        Ok((fits, Counts { previous, current }))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<(bool, Counts), CommandError> {
        let mut counts = Counts::of_values(tx.call(&[b"MGET", self.current, self.previous]))?;
        let window = self.rule.window_ms() as i64;
        let elapsed = self.now_ms.rem_euclid(window);
        let cost = self.cost as i64;
        let fits = counts.used(window, elapsed) + cost <= self.rule.limit() as i64;
        if fits {
            if tx.add(self.current, cost)? == cost {
                tx.set_ttl(self.current, Ttl::Millis(self.ttl_ms()))?;
            }
            counts.current += cost;
        }
        Ok((fits, counts))
    }
}
