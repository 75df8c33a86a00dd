//! What a store may take: time, memory, tries.

use std::time::Duration;

/// Settings of a [`Store`](crate::Store) over a network. The embedded engine
/// needs none of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for a connection, handshake and `AUTH` included.
    pub connect_timeout: Duration,
    /// Longest wait for a reply: waiting in the queue and repeats included. A
    /// blocking command's own time comes on top.
    pub command_timeout: Duration,
    /// Mean latency above which the state is `slow`; below half of it, `up`.
    pub slow_after: Duration,
    /// Calls that may be on their way or wait.
    pub queue_calls: usize,
    /// Bytes of arguments that may be on their way or wait.
    pub queue_bytes: usize,
    /// Failures in a row after which the breaker opens.
    pub breaker_failures: u32,
    /// Wait before the first probe of an open breaker, and before the first
    /// repeat of a call; it doubles each time, and half of it is chance.
    pub backoff_min: Duration,
    /// Longest wait between two probes.
    pub backoff_max: Duration,
    /// How often a call that had no effect is repeated, within its time.
    pub retries: u32,
    /// How often the server's clock is read.
    pub clock_every: Duration,
    /// Messages that may wait for one subscriber; more are dropped, and it is told.
    pub subscriber_queue: usize,
    /// Requests to a REST endpoint that may be on their way at once.
    pub rest_slots: usize,
    /// Calls that leave in one request to a REST endpoint.
    pub rest_batch: usize,
    /// Largest reply that is read from a REST endpoint, in bytes.
    pub rest_reply_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(3),
            slow_after: Duration::from_millis(250),
            queue_calls: 10_000,
            queue_bytes: 64 << 20,
            breaker_failures: 5,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            retries: 2,
            clock_every: Duration::from_mins(1),
            subscriber_queue: 1024,
            rest_slots: 4,
            rest_batch: 1000,
            rest_reply_max: 128 << 20,
        }
    }
}
