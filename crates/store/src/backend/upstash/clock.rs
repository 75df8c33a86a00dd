//! The server's clock, read from the `Date` of answers that come anyway.
//!
//! A `Date` is cut to whole seconds, and was written between the request's
//! leaving and the answer's coming. Bounds of many answers are cut with each
//! other: under traffic they meet within a round trip. No command is billed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;
use sangam_engine::clock::{Clock as _, SystemClock};

use crate::backend::ClockSample;

const SECOND_US: i64 = 1_000_000;

#[derive(Default)]
pub(super) struct DateClock {
    ours: SystemClock,
    /// Bounds since they were asked for last.
    bounds: Mutex<Option<ClockSample>>,
    offset: AtomicI64,
}

impl DateClock {
    /// Our time, in microseconds.
    pub(super) fn ours(&self) -> i64 {
        self.ours.now_micros() as i64
    }

    /// The server's time as it is known, in milliseconds.
    pub(super) fn server_millis(&self) -> u64 {
        let now = self.ours() + self.offset.load(Ordering::Relaxed);
        u64::try_from(now).unwrap_or_default() / 1000
    }

    /// Takes an answer's `Date` into account.
    pub(super) fn saw(&self, date: &[u8], sent: i64, received: i64) {
        let time = std::str::from_utf8(date)
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok());
        let since: Option<Duration> = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let Some(date) = since.map(|since| since.as_micros() as i64) else {
            return;
        };
        let seen = ClockSample {
            min: date - received,
            max: date + SECOND_US - sent,
        };
        let mut bounds = self.bounds.lock();
        let cut = bounds.map_or(seen, |before| ClockSample {
            min: seen.min.max(before.min),
            max: seen.max.min(before.max),
        });
        // A clock was moved, or two servers behind one name disagree.
        let kept = if cut.min <= cut.max { cut } else { seen };
        *bounds = Some(kept);
        self.offset.store(kept.likely(), Ordering::Relaxed);
    }

    /// The bounds since the last time.
    pub(super) fn take(&self) -> Option<ClockSample> {
        self.bounds.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_bound_the_offset_from_both_sides() {
        let clock = DateClock::default();
        // 1994-11-06 08:49:37 is 784111777; our clock is 5 s behind.
        let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
        let at = 784_111_777 * SECOND_US - 5 * SECOND_US;
        clock.saw(date, at + 100_000, at + 300_000);
        clock.saw(b"yesterday", 0, 0);
        let sample = clock.take().unwrap();
        assert_eq!((sample.min, sample.max), (4_700_000, 5_900_000));
        assert!(clock.take().is_none());
        // At the end of that second the other bound is close.
        clock.saw(date, at + 100_000, at + 300_000);
        clock.saw(date, at + 900_000, at + 950_000);
        let sample = clock.take().unwrap();
        assert_eq!((sample.min, sample.max), (4_700_000, 5_100_000));
        let ahead = clock.server_millis() as i64 - clock.ours() / 1000;
        assert!((4_890..=4_910).contains(&ahead), "{ahead}");
    }
}
