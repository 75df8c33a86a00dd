//! How long a store that does not answer is left alone.
//!
//! The store's own breaker opens when connections fail; here calls are given up that
//! merely take too long for a cache. After a few in a row nobody waits for the store any
//! more: it counts as away for a while, ever longer, and then one call tries again while
//! the others go on without it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Calls in a row that fail before the store is left alone.
const FAILURES: u32 = 3;
/// The first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: AtomicU32,
    /// Until when it is left alone, by the store's clock; 0 while it answers.
    until_us: AtomicU64,
}

impl Patience {
    /// Whether the store is left alone now. When its pause is over, one caller in `trial`
    /// is told that it is not.
    pub(super) fn is_over(&self, now_us: impl FnOnce() -> u64, trial: Duration) -> bool {
        let until = self.until_us.load(Ordering::Acquire);
        if until == 0 {
            return false;
        }
        let now_us = now_us();
        // A clock that was put back ends the pause.
        let longest = micros(PAUSES.1 + trial);
        if now_us < until && until - now_us <= longest {
            return true;
        }
        let next = now_us.saturating_add(micros(trial));
        let tries =
            self.until_us
                .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire);
        tries.is_err()
    }

    /// A call answered.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Acquire) > 0 {
            self.failures.store(0, Ordering::Release);
            self.until_us.store(0, Ordering::Release);
        }
    }

    /// A call did not.
    pub(super) fn failed(&self, now_us: u64) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(beyond) = failures.checked_sub(FAILURES) {
            let pause = PAUSES.0.saturating_mul(1 << beyond.min(10)).min(PAUSES.1);
            let until = now_us.saturating_add(micros(pause));
            self.until_us.store(until.max(1), Ordering::Release);
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIAL: Duration = Duration::from_secs(2);

    #[test]
    fn a_few_failures_are_borne_and_more_are_not() {
        let patience = Patience::default();
        patience.failed(1_000_000);
        patience.failed(1_000_000);
        assert!(!patience.is_over(|| 1_000_000, TRIAL));
        patience.failed(1_000_000);
        assert!(patience.is_over(|| 1_000_000, TRIAL));
        assert!(patience.is_over(|| 1_099_999, TRIAL));
        // One tries, the others go on without.
        assert!(!patience.is_over(|| 1_100_000, TRIAL));
        assert!(patience.is_over(|| 1_100_000, TRIAL));
        patience.failed(1_200_000);
        assert!(patience.is_over(|| 1_399_999, TRIAL));
        patience.answered();
        assert!(!patience.is_over(|| 1_399_999, TRIAL));
    }

    #[test]
    fn answers_between_failures_count() {
        let patience = Patience::default();
        for _ in 0..100 {
            patience.failed(7);
            patience.failed(7);
            patience.answered();
        }
        assert!(!patience.is_over(|| 7, TRIAL));
    }

    #[test]
    fn pauses_grow_to_a_longest_and_a_clock_put_back_ends_one() {
        let patience = Patience::default();
        for _ in 0..1000 {
            patience.failed(60_000_000);
        }
        assert!(patience.is_over(|| 64_999_999, TRIAL));
        assert!(!patience.is_over(|| 65_000_000, TRIAL));
        patience.failed(60_000_000);
        assert!(!patience.is_over(|| 1_000_000, TRIAL));
    }
}
