//! What has passed a proxy.

use tokio::sync::watch;

use crate::wait::DEADLINE;

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections accepted, refused ones included.
    pub accepted: u64,
    /// Connections of clients that are open now.
    pub open: u64,
    /// Bytes that the server was given.
    pub request_bytes: u64,
    /// Bytes that clients were given.
    pub reply_bytes: u64,
    /// How often a fault struck: once for each connection and fault, and each
    /// request that was answered in the server's place.
    pub faults: u64,
    /// Whole HTTP requests received ([`HttpProxy`](super::HttpProxy) only).
    pub requests: u64,
    /// Whether the port is open.
    pub listening: bool,
}

/// The counters, and who waits for them.
#[derive(Debug)]
pub(super) struct Tally(watch::Sender<Counters>);

impl Tally {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Counters {
            listening: true,
            ..Counters::default()
        }))
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut Counters)) {
        self.0.send_modify(change);
    }

    pub(super) fn get(&self) -> Counters {
        *self.0.borrow()
    }

    pub(super) async fn wait_for(&self, what: &str, mut when: impl FnMut(&Counters) -> bool) {
        let mut seen = self.0.subscribe();
        let reached = tokio::time::timeout(DEADLINE, seen.wait_for(|counters| when(counters)));
        assert!(
            reached.await.is_ok(),
            "waited {DEADLINE:?} for {what}, in vain: {:?}",
            self.get()
        );
    }
}
