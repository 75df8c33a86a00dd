//! How long a group gathers before it is synced, under `always`.
//!
//! Callers that wait for one sync come back together, one after the other: a
//! sync at the first of them would serve it alone and keep the others waiting
//! for the next. So the writer waits for as many as came lately, at most as long
//! as a sync takes. A caller alone never waits: its groups are of one.

use std::time::Duration;

use quanta::Instant;

/// Longest wait, however slow the disk is.
const LONGEST: Duration = Duration::from_micros(250);

#[derive(Debug, Default)]
pub(super) struct Group {
    /// Frames that came in groups lately: the most of them, forgotten slowly.
    expected: u64,
    /// What a sync takes, smoothed.
    sync: Duration,
    /// When the first frame of this group was seen.
    since: Option<Instant>,
}

impl Group {
    /// Frames that make it whole.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// How much longer a group of `count` frames waits for more.
    pub(super) fn patience(&mut self, count: u64) -> Duration {
        if self.expected <= 1 || count >= self.expected {
            return Duration::ZERO;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        self.sync.min(LONGEST).saturating_sub(since.elapsed())
    }

    /// A group of `count` frames was synced.
    pub(super) fn synced(&mut self, count: u64, took: Duration) {
        let forgotten = self.expected - self.expected.div_ceil(8);
        self.expected = count.max(forgotten);
        self.sync = (self.sync * 7 + took) / 8;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_never_waits_and_many_wait_for_each_other() {
        let mut group = Group::default();
        for _ in 0..50 {
            assert_eq!(group.patience(1), Duration::ZERO);
            group.synced(1, Duration::from_micros(100));
        }
        group.synced(50, Duration::from_micros(100));
        assert!(group.patience(1) > Duration::ZERO);
        assert_eq!(group.patience(50), Duration::ZERO);
        for _ in 0..40 {
            group.synced(1, Duration::from_secs(1));
        }
        assert_eq!(group.patience(1), Duration::ZERO);
        group.synced(50, Duration::from_secs(1));
        assert!(group.patience(1) <= LONGEST);
    }
}
