//! The store's time, as far as it is known here.
//!
//! Each look at the server's clock bounds its offset to ours from both sides.
//! Bounds of several looks are cut with each other, so that even a clock that
//! tells whole seconds (an HTTP `Date`) becomes exact to milliseconds; when they
//! no longer overlap, one of the clocks was moved, and the last look counts. Where
//! the bounds leave room for both clocks to be right, they are: most machines are
//! kept in time, and those that are agree at once.
//! Asking for the time costs a reading of our clock and an addition.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use sangam_engine::clock::Clock;

use crate::backend::ClockSample;

/// What two clocks may drift apart between two looks, in microseconds.
const DRIFT_US: i64 = 10_000;

pub(crate) struct ServerClock {
    ours: Arc<dyn Clock>,
    offset: AtomicI64,
    bounds: Mutex<Option<ClockSample>>,
}

impl ServerClock {
    pub(crate) fn new(ours: Arc<dyn Clock>) -> Self {
        ServerClock {
            ours,
            offset: AtomicI64::new(0),
            bounds: Mutex::new(None),
        }
    }

    /// Microseconds since the epoch by the server's clock.
    pub(crate) fn now_micros(&self) -> u64 {
        let offset = self.offset.load(Ordering::Relaxed);
        self.ours.now_micros().saturating_add_signed(offset)
    }

    /// The same by ours.
    pub(crate) fn local_micros(&self) -> u64 {
        self.ours.now_micros()
    }

    /// Takes a look into account.
    pub(crate) fn seen(&self, sample: ClockSample) {
        let mut bounds = self.bounds.lock();
        let cut = bounds.map_or(sample, |before| ClockSample {
            min: sample.min.max(before.min.saturating_sub(DRIFT_US)),
            max: sample.max.min(before.max.saturating_add(DRIFT_US)),
        });
        let kept = if cut.min <= cut.max { cut } else { sample };
        *bounds = Some(kept);
        self.offset.store(kept.likely(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sangam_engine::clock::ManualClock;

    #[test]
    fn looks_are_cut_with_each_other() {
        let clock = ServerClock::new(Arc::new(ManualClock::new(5_000_000)));
        assert_eq!(clock.now_micros(), 5_000_000);
        clock.seen(ClockSample {
            min: 0,
            max: 1_000_000,
        });
        assert_eq!(clock.now_micros(), 5_000_000, "both may be right");
        clock.seen(ClockSample {
            min: 700_000,
            max: 1_700_000,
        });
        assert_eq!(
            clock.now_micros(),
            5_000_000 + 855_000,
            "10 ms of drift either way"
        );
        clock.seen(ClockSample {
            min: -2_000_000,
            max: -1_999_000,
        });
        assert_eq!(clock.now_micros(), 3_000_500, "a clock was moved");
    }
}
