//! The circuit breaker: closed while calls succeed, open after failures in a row,
//! half-open while one probe is on its way.
//!
//! Probes are pings of the store's own task, never a caller's command: no caller
//! pays for finding out. While it is closed a call costs one relaxed load.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[derive(Debug)]
pub(crate) struct Breaker {
    open: AtomicBool,
    failures: AtomicU32,
    limit: u32,
}

impl Breaker {
    /// Opens after so many failures in a row, at least one.
    pub(crate) fn new(limit: u32) -> Self {
        Breaker {
            open: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            limit: limit.max(1),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a failure; true for the caller whose failure opened it, who has to
    /// see to the probes.
    pub(crate) fn failed(&self) -> bool {
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        failures >= self.limit && self.trip()
    }

    /// Opens it; true where it was closed.
    pub(crate) fn trip(&self) -> bool {
        !self.open.swap(true, Ordering::AcqRel)
    }

    /// A probe succeeded.
    pub(crate) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.open.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_once() {
        let breaker = Breaker::new(3);
        assert!(!breaker.failed() && !breaker.failed());
        breaker.succeeded();
        assert!(!breaker.failed() && !breaker.failed());
        assert!(breaker.failed(), "the third in a row");
        assert!(
            breaker.is_open() && !breaker.failed(),
            "only one sees to the probes"
        );
        breaker.close();
        assert!(!breaker.is_open());
    }
}
