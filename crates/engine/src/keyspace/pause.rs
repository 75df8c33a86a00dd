//! CLIENT PAUSE: commands of a keyspace wait until a given time.
//!
//! Whoever takes commands in asks before it runs one and comes back later; what
//! runs already goes on. Cost while nothing is paused: one load for each command.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which commands wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Paused {
    /// Those that change data or publish.
    Writes,
    /// All.
    All,
}

/// What is paused, and until when: milliseconds since the epoch, shifted by one,
/// with 1 for all commands; 0 for nothing.
#[derive(Debug, Default)]
pub(crate) struct Pause(AtomicU64);

impl Pause {
    /// Pauses for `millis` from now. What is paused already stays so at least as
    /// long, and as strictly.
    pub(crate) fn begin(&self, what: Paused, now_ms: u64, millis: u64) {
        let until = now_ms.saturating_add(millis).min(u64::MAX >> 1);
        let (what, until) = match self.now(now_ms) {
            Some((earlier, left)) => (what.max(earlier), until.max(now_ms + left)),
            None => (what, until),
        };
        let all = u64::from(what == Paused::All);
        self.0.store(until << 1 | all, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether something may be paused.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// What is paused at `now_ms`, and for how many milliseconds more.
    pub(crate) fn now(&self, now_ms: u64) -> Option<(Paused, u64)> {
        let state = self.0.load(Ordering::Relaxed);
        let what = if state & 1 == 1 {
            Paused::All
        } else {
            Paused::Writes
        };
        let left = (state >> 1).checked_sub(now_ms).filter(|left| *left > 0);
        if left.is_none() && state != 0 {
            // Over; unless it was begun anew meanwhile.
            let _ = self
                .0
                .compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        left.map(|left| (what, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_gets_longer_and_stricter_and_ends() {
        let pause = Pause::default();
        assert!(!pause.is_on());
        pause.begin(Paused::Writes, 1000, 300);
        pause.begin(Paused::All, 1100, 100);
        assert_eq!(pause.now(1200), Some((Paused::All, 100)));
        pause.begin(Paused::Writes, 1200, 500);
        assert_eq!(pause.now(1200), Some((Paused::All, 500)));
        assert_eq!(pause.now(1700), None);
        assert!(!pause.is_on());
        pause.begin(Paused::Writes, 1000, u64::MAX);
        assert!(pause.now(u64::from(u32::MAX)).is_some());
        pause.end();
        assert_eq!(pause.now(1000), None);
    }
}
