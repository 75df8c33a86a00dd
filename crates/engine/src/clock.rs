//! Time is injected: the engine reads it from a [`Clock`], once a command.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Microseconds since the Unix epoch.
    fn now_micros(&self) -> u64;
}

/// The machine's clock, read from the CPU's counter and set after the system's
/// ten times a second.
///
/// Asking the system for the time waits for every load before it, which costs a
/// command more than the question itself (docs/benchmarks.md); the counter does
/// not. Where there is no dependable counter, the system is asked instead.
#[derive(Debug)]
pub struct SystemClock {
    counter: quanta::Clock,
    started: quanta::Instant,
    /// System time less counter time, in microseconds.
    offset: AtomicU64,
    /// Counter time at which the offset is measured anew.
    stale_at: AtomicU64,
}

const SYNC_EVERY_US: u64 = 100_000;

impl Default for SystemClock {
    fn default() -> Self {
        let counter = quanta::Clock::new();
        let started = counter.now();
        SystemClock {
            counter,
            started,
            offset: AtomicU64::new(0),
            stale_at: AtomicU64::new(0),
        }
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now_micros(&self) -> u64 {
        let elapsed = self.counter.now().duration_since(self.started).as_micros() as u64;
        if elapsed >= self.stale_at.load(Ordering::Relaxed) {
            self.synchronize(elapsed);
        }
        elapsed + self.offset.load(Ordering::Relaxed)
    }
}

impl SystemClock {
    #[cold]
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    fn synchronize(&self, elapsed: u64) {
        let system = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        self.offset
            .store(system.saturating_sub(elapsed), Ordering::Relaxed);
        self.stale_at
            .store(elapsed + SYNC_EVERY_US, Ordering::Relaxed);
    }
}

/// A clock that moves when told to; for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Starts at `micros` since the epoch.
    pub fn new(micros: u64) -> Self {
        ManualClock(AtomicU64::new(micros))
    }

    /// Moves time forward by `millis` milliseconds.
    pub fn advance_millis(&self, millis: u64) {
        self.0.fetch_add(millis * 1000, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_micros(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the time to compare with")]
    fn the_machines_clock_follows_the_system() {
        let clock = SystemClock::default();
        for _ in 0..200 {
            let system = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_micros() as u64;
            let off = clock.now_micros().abs_diff(system);
            // A preempted thread may read the two far apart; most of the time
            // they agree to the millisecond.
            assert!(off < 1_000_000, "{off} us apart");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
