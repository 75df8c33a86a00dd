//! A rule: so much, in such a time, counted in such a way.
//!
//! A rule is checked when it is made, so that no number in a check can overflow:
//! everything that is computed from it stays below 2^53, which Lua holds exactly.

use std::time::Duration;

use sangam_store::op::INTEGER_MAX;

/// How a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A count that begins with the first hit and ends with the window. Twice the
    /// limit can pass around a window's end.
    FixedWindow,
    /// Two aligned windows, the former one weighted by what is left of it. Close to
    /// exact: it takes the former window's hits as evenly spread.
    SlidingWindow,
    /// Every hit of the last window, exactly. Memory grows with the limit.
    SlidingLog,
    /// A bucket that holds `burst` and refills evenly, `limit` in a window.
    TokenBucket,
    /// The same bucket as a single number, its theoretical arrival time: hits are
    /// spaced evenly, and `burst` may come at once.
    Gcra,
    /// So many at one time; a permit that is not returned ends with its lease, the
    /// window.
    Concurrency,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
        Algorithm::SlidingLog,
        Algorithm::TokenBucket,
        Algorithm::Gcra,
        Algorithm::Concurrency,
    ];

    /// Its name in settings, such as `sliding-window`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::FixedWindow => "fixed-window",
            Algorithm::SlidingWindow => "sliding-window",
            Algorithm::SlidingLog => "sliding-log",
            Algorithm::TokenBucket => "token-bucket",
            Algorithm::Gcra => "gcra",
            Algorithm::Concurrency => "concurrency",
        }
    }

    /// The algorithm of that name.
    pub fn named(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// Why a rule cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A limit or a burst of nothing.
    #[error("the {0} is zero: a rule lets at least one through (to refuse all, deny)")]
    Zero(&'static str),
    /// A window that is not at least a millisecond, or longer than a year.
    #[error("the window of {0:?} is not between 1 ms and 366 days")]
    Window(Duration),
    /// Numbers whose product no back end holds exactly.
    #[error(
        "a limit of {limit} in {} ms is too large to be counted exactly: at most {max}",
        window.as_millis()
    )]
    TooLarge {
        /// The limit.
        limit: u64,
        /// The window.
        window: Duration,
        /// The largest limit of this algorithm in such a window.
        max: u64,
    },
}

/// The longest window.
const WINDOW_MAX: Duration = Duration::from_hours(366 * 24);
/// Entries that a log, or a table of permits, may have: it is read whole, which is
/// some 10 ms of a server at this number.
const ENTRIES_MAX: u64 = 5_000;

/// So much, in such a time, counted in such a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    algorithm: Algorithm,
    limit: u64,
    window_ms: u64,
    burst: u64,
    /// Microseconds that one hit takes of a bucket.
    interval_us: u64,
}

impl Rule {
    /// A rule of `limit` in a `window`, whole milliseconds from 1 to 366 days.
    pub fn new(algorithm: Algorithm, limit: u64, window: Duration) -> Result<Self, RuleError> {
        if limit == 0 {
            return Err(RuleError::Zero("limit"));
        }
        if window < Duration::from_millis(1) || window > WINDOW_MAX {
            return Err(RuleError::Window(window));
        }
        let window_ms = window.as_millis() as u64;
        let window = Duration::from_millis(window_ms);
        let max = max_limit(algorithm, window);
        if limit > max {
            return Err(RuleError::TooLarge { limit, window, max });
        }
        Ok(Rule {
            algorithm,
            limit,
            window_ms,
            burst: limit,
            interval_us: (window_ms * 1000).div_ceil(limit),
        })
    }

    /// The same with another burst, for buckets: how much may come at once. It is
    /// the limit unless said.
    pub fn with_burst(mut self, burst: u64) -> Result<Self, RuleError> {
        if burst == 0 {
            return Err(RuleError::Zero("burst"));
        }
        let max = INTEGER_MAX as u64 / 4 / self.interval_us();
        if burst > max {
            return Err(RuleError::TooLarge {
                limit: burst,
                window: self.window(),
                max,
            });
        }
        self.burst = burst;
        Ok(self)
    }

    /// How it counts.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How much in a window.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The window, or the lease of a permit.
    pub const fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// How much at once.
    pub const fn burst(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket | Algorithm::Gcra => self.burst,
            _ => self.limit,
        }
    }

    /// Milliseconds of the window.
    pub(crate) const fn window_ms(&self) -> u64 {
        self.window_ms
    }

    /// Microseconds that one hit takes of a bucket, rounded up: the limit is never
    /// passed for the sake of a round number.
    pub(crate) const fn interval_us(&self) -> u64 {
        self.interval_us
    }
}

/// The largest limit whose arithmetic stays exact.
fn max_limit(algorithm: Algorithm, window: Duration) -> u64 {
    let exact = INTEGER_MAX as u64;
    match algorithm {
        Algorithm::FixedWindow => exact / 4,
        // Weights are products of a count and of milliseconds.
        Algorithm::SlidingWindow => exact / 4 / window.as_millis() as u64,
        // A hit takes at least a microsecond of a bucket.
        Algorithm::TokenBucket | Algorithm::Gcra => window.as_micros() as u64,
        Algorithm::SlidingLog | Algorithm::Concurrency => ENTRIES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_is_no_rule() {
        let second = Duration::from_secs(1);
        let rule = |algorithm, limit, window| Rule::new(algorithm, limit, window);
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.as_str()), Some(algorithm));
            assert!(rule(algorithm, 1, second).is_ok());
            assert_eq!(rule(algorithm, 0, second), Err(RuleError::Zero("limit")));
            assert!(rule(algorithm, 1, Duration::from_nanos(999_999)).is_err());
            assert!(rule(algorithm, 1, WINDOW_MAX + Duration::from_secs(1)).is_err());
            let Err(RuleError::TooLarge { max, .. }) = rule(algorithm, u64::MAX, second) else {
                panic!("{algorithm:?} takes any limit");
            };
            assert!(rule(algorithm, max, second).is_ok());
            assert!(rule(algorithm, max + 1, second).is_err());
        }
        let bucket = rule(Algorithm::Gcra, 7, Duration::from_mins(1)).unwrap();
        assert_eq!(bucket.interval_us(), 8_571_429);
        assert_eq!(bucket.with_burst(3).unwrap().burst(), 3);
        assert!(bucket.with_burst(0).is_err() && bucket.with_burst(u64::MAX).is_err());
    }
}
