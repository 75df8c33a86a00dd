//! How much is leased at once, and when it is worth it.

use std::num::NonZeroU32;

use super::Unleased;
use crate::limit::rule::{Algorithm, Rule};

/// Requests that a lease has to last for: three billed commands for as many are a
/// fifth of one each.
pub(super) const REQUESTS_MIN: u64 = 15;
/// Requests that are leased at most.
const REQUESTS_MAX: u64 = 1000;
/// Leases that an instance's share is taken in, where it is large.
const LEASES: u64 = 8;

/// Tokens of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Of a request; a lease is for whole ones.
    cost: u64,
    /// That make it worth it.
    pub(super) worth: u64,
    /// Where nothing is known of the flow.
    batch: u64,
    /// The instance's part of the limit.
    pub(super) share: u64,
    /// However fast they go.
    cap: u64,
}

impl Size {
    /// The size for requests of this cost, or why there is none.
    pub(super) fn of(rule: &Rule, cost: u64, live: Option<NonZeroU32>) -> Result<Self, Unleased> {
        let algorithm = rule.algorithm();
        if matches!(algorithm, Algorithm::SlidingLog | Algorithm::Concurrency) {
            return Err(Unleased::Algorithm(algorithm));
        }
        if cost == 0 {
            return Err(Unleased::Free);
        }
        let live = u64::from(live.ok_or(Unleased::Instances)?.get());
        let worth = REQUESTS_MIN.saturating_mul(cost);
        let least = worth.saturating_mul(live);
        if rule.burst() < least {
            return Err(Unleased::Limit { least });
        }
        let whole = |tokens: u64| tokens.div_ceil(cost) * cost;
        let share = whole(rule.burst().div_ceil(live));
        let cap = REQUESTS_MAX.saturating_mul(cost);
        let batch = (share / LEASES).clamp(worth, cap);
        // No crumb at the end: the share in equal parts.
        let batch = whole(share.div_ceil((share / batch).max(1))).min(cap);
        Ok(Size {
            cost,
            worth,
            batch,
            share,
            cap,
        })
    }

    /// The most to ask for where nothing is known of the flow.
    pub(super) fn usual(self) -> u64 {
        self.batch.min(self.share)
    }

    /// The most to ask for where so many tokens go in a window: that many and a
    /// quarter, in as few equal parts as the usual ones would be.
    pub(super) fn for_window(self, tokens: u64) -> u64 {
        let parts = (tokens / self.batch).max(1);
        self.for_flow((tokens + tokens / 4).div_ceil(parts))
    }

    /// The most to ask for where the flow calls for so much at once.
    pub(super) fn for_flow(self, tokens: u64) -> u64 {
        let tokens = tokens.min(self.cap).div_ceil(self.cost) * self.cost;
        self.batch.max(tokens).min(self.share)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn size(algorithm: Algorithm, limit: u64, cost: u64, live: u32) -> Result<Size, Unleased> {
        let rule = Rule::new(algorithm, limit, Duration::from_mins(1)).unwrap();
        Size::of(&rule, cost, NonZeroU32::new(live))
    }

    #[test]
    fn a_share_is_taken_in_eighths_of_at_least_fifteen_requests() {
        let most = |limit, cost, live| {
            let size = size(Algorithm::FixedWindow, limit, cost, live).unwrap();
            size.usual()
        };
        assert_eq!(most(15, 1, 1), 15);
        assert_eq!(most(29, 1, 1), 29, "no crumb of 14");
        assert_eq!(most(31, 1, 2), 16);
        assert_eq!(most(40, 1, 1), 20);
        assert_eq!(most(60, 2, 2), 30);
        assert_eq!(most(62, 2, 1), 32, "whole requests");
        assert_eq!(most(1600, 1, 2), 100);
        assert_eq!(most(1_000_000, 1, 1), 1000);
        let size = size(Algorithm::FixedWindow, 120, 1, 4).unwrap();
        assert_eq!((size.for_flow(20), size.for_flow(500)), (20, 30));
        let size = self::size(Algorithm::FixedWindow, 100, 1, 1).unwrap();
        for tokens in 15..80 {
            let most = size.for_window(tokens);
            assert!(3 * tokens.div_ceil(most) <= tokens.max(15) / 5, "{tokens}");
        }
    }

    #[test]
    fn below_fifteen_requests_an_instance_nothing_is_leased() {
        for (limit, cost, live) in [(14, 1, 1), (29, 1, 2), (29, 2, 1), (59, 2, 2)] {
            let least = 15 * cost * u64::from(live);
            let size = size(Algorithm::Gcra, limit, cost, live);
            assert_eq!(size, Err(Unleased::Limit { least }));
        }
        let exact = size(Algorithm::SlidingLog, 1000, 1, 1);
        assert_eq!(exact, Err(Unleased::Algorithm(Algorithm::SlidingLog)));
        assert_eq!(size(Algorithm::Gcra, 99, 1, 0), Err(Unleased::Instances));
        assert_eq!(size(Algorithm::Gcra, 99, 0, 1), Err(Unleased::Free));
    }
}
