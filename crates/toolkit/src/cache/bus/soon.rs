//! Comparisons in the background.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::background::Background;

/// Shortest and longest pause after comparisons that failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The time in which none begins in the background.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    /// A comparison ended.
    pub(super) fn after(&mut self, succeeded: bool) {
        if succeeded {
            *self = Pause::default();
            return;
        }
        self.length = (self.length * 2).clamp(PAUSE.0, PAUSE.1);
        self.until = Some(Instant::now() + self.length);
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }
}

/// The one comparison in the background; another may begin when it is dropped.
struct Only(Arc<Shared>);

impl Drop for Only {
    fn drop(&mut self) {
        self.0.soon.store(false, Ordering::Release);
    }
}

/// Starts one, unless one is under way.
pub(super) fn start(shared: &Arc<Shared>, tasks: &Background) {
    if !shared.pause.lock().is_over() || shared.soon.swap(true, Ordering::AcqRel) {
        return;
    }
    let only = Only(shared.clone());
    tasks.start(async move {
        loop {
            only.0.again.store(false, Ordering::Release);
            let outcome = only.0.verify().await;
            if outcome.is_err() || !only.0.again.load(Ordering::Acquire) {
                return;
            }
        }
    });
}

/// Starts one for what was said by now: after the one that is under way, if need be.
pub(super) fn start_another(shared: &Arc<Shared>, tasks: &Background) {
    shared.again.store(true, Ordering::Release);
    start(shared, tasks);
}
