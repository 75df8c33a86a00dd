//! A count for each window. What the script adds in vain it takes back, since a check
//! that fits is the common one: two billed commands for it, three for one that does not.

use sangam_engine::command::args::parse_i64;
use sangam_engine::command::{Ttl, Tx};
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, Keys};
use sangam_store::{Error, Script};
use smallvec::smallvec;

use super::standing::{Standing, int, parts};
use crate::limit::algorithm::SLACK_MS;
use crate::limit::rule::Rule;

static CHECK: Script = Script::new("limit-upstash-fixed", include_str!("fixed.lua"));

/// Counts beyond this are all alike: over every limit. Lua holds it exactly.
const COUNT_MAX: i64 = 1 << 52;

/// A hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed<'a> {
    /// The window's count.
    pub(super) key: &'a [u8],
    pub(super) rule: Rule,
    /// From 1 to the limit.
    pub(super) cost: u64,
    /// Whether the key may be without a time to live.
    pub(super) mend: bool,
}

impl Fixed<'_> {
    /// The package's is the window; the clocks may differ by a little.
    const fn ttl_ms(&self) -> u64 {
        self.rule.window_ms() + SLACK_MS as u64
    }
}

/// A count as it was written; none is 0.
pub(super) fn count(value: Option<&[u8]>) -> Result<i64, CommandError> {
    value.map_or(Ok(0), |text| {
        parse_i64(text).ok_or(CommandError::NotInteger)
    })
}

/// Where an identifier stands with so many hits in the window of `now_ms`.
pub(super) fn standing(used: i64, rule: &Rule, now_ms: i64, cost: u64) -> Standing {
    let (limit, window) = (rule.limit() as i64, rule.window_ms() as i64);
    let end = (now_ms.div_euclid(window) + 1) * window;
    let left = limit - used.clamp(-COUNT_MAX, COUNT_MAX);
    let fits_at = |cost: u64| if cost as i64 <= left { now_ms } else { end };
    Standing {
        remaining: left.max(0) as u64,
        reset: end,
        retry: fits_at(cost),
        next: fits_at(1),
        full: if left >= limit { now_ms } else { end },
    }
}

impl AtomicOp for Fixed<'_> {
    /// Whether it fits, and the count after it.
    type Output = (bool, i64);

    fn script(&self) -> &'static Script {
        &CHECK
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        smallvec![
            self.rule.limit().to_string().into_bytes(),
            self.cost.to_string().into_bytes(),
            self.ttl_ms().to_string().into_bytes(),
            if self.mend {
                b"mend".to_vec()
            } else {
                Vec::new()
            },
        ]
    }

    fn read(&self, reply: Reply) -> Result<(bool, i64), Error> {
        let (fits, count, _) = parts(reply)?;
        Ok((fits, int(&count)?))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<(bool, i64), CommandError> {
        let cost = self.cost as i64;
        let before = match tx.get(self.key)? {
            Some(value) => value.with(|text| count(Some(text)))?,
            None => 0,
        };
        // A sum that leaves 64 bits is the store's own error.
        let sum = match before.checked_add(cost) {
            Some(sum) => sum,
            None => tx.add(self.key, cost)?,
        };
        let fits = sum <= self.rule.limit() as i64;
        if fits {
            tx.add(self.key, cost)?;
        }
        if sum == cost || self.mend {
            tx.set_ttl(self.key, Ttl::Millis(self.ttl_ms()))?;
        }
        let count = if fits { sum } else { before };
        Ok((fits, count.clamp(-COUNT_MAX, COUNT_MAX)))
    }
}
