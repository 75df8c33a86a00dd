//! What is known of a store's health, for people, metrics and `/ready`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It answers.
    Up,
    /// It answers late: the mean latency is above
    /// [`Options::slow_after`](crate::Options::slow_after).
    Slow,
    /// It does not answer: calls fail at once until a probe succeeds.
    Down,
    /// There is none, by choice.
    Disabled,
}

impl Status {
    /// All of them, in the order of this enum.
    pub const ALL: [Status; 4] = [Status::Up, Status::Slow, Status::Down, Status::Disabled];

    /// `up`, `slow`, `down` or `disabled`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Up => "up",
            Status::Slow => "slow",
            Status::Down => "down",
            Status::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A status, why, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How it is.
    pub status: Status,
    /// Why it is not up; empty where it is.
    pub reason: String,
    /// Milliseconds since the Unix epoch at which the status began, by this
    /// machine's clock.
    pub since_ms: u64,
}

impl State {
    pub(super) fn turn(&mut self, status: Status, reason: String, now_ms: u64) {
        if self.status != status {
            self.since_ms = now_ms;
        }
        self.status = status;
        self.reason = reason;
    }
}

/// What a store has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metrics {
    /// Calls, pipelines and transactions that got an answer of the store.
    pub answered: u64,
    /// Those that certainly had no effect.
    pub unavailable: u64,
    /// Those whose outcome is unknown.
    pub indeterminate: u64,
    /// Repeats.
    pub repeated: u64,
    /// How often the breaker opened.
    pub opened: u64,
    /// Calls on their way now.
    pub in_flight: u64,
    /// Mean latency of the last calls, in microseconds.
    pub latency_us: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answered: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) indeterminate: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) opened: AtomicU64,
    latency_us: AtomicU64,
}

/// The last calls' share in the mean: one in so many.
const SMOOTHING: i64 = 8;

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a latency to the mean, and answers the mean.
    pub(crate) fn latency(&self, micros: u64) -> u64 {
        let before = self.latency_us.load(Ordering::Relaxed);
        let step = (micros as i64 - before as i64) / SMOOTHING;
        // Two at once lose one sample of many.
        let after = before.saturating_add_signed(step);
        self.latency_us.store(after, Ordering::Relaxed);
        after
    }

    pub(crate) fn snapshot(&self, in_flight: usize) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            answered: read(&self.answered),
            unavailable: read(&self.unavailable),
            indeterminate: read(&self.indeterminate),
            repeated: read(&self.repeated),
            opened: read(&self.opened),
            in_flight: in_flight as u64,
            latency_us: read(&self.latency_us),
        }
    }
}
