//! Waiting for a condition, never for a time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Asks `probe` until it answers with a value; fails the test after
/// [`DEADLINE`], saying `what` was waited for and what `probe` said last.
pub async fn until<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        // The probe's own time is bounded too.
        let last = match tokio::time::timeout_at(end, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(last)) => last,
            Err(_) => "no answer".to_owned(),
        };
        assert!(
            Instant::now() < end,
            "waited {DEADLINE:?} for {what}, in vain: {last}"
        );
        sleep(TICK).await;
    }
}
