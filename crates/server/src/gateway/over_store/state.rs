//! How the store is: for `/ready` and `/metrics`.
//!
//! `/ready` asks the store, and does not only look at what is known of it. Whoever
//! asks at the same time, or a moment later, shares that answer: the path needs no
//! token, and a ping may be a request over the internet.

use std::time::{Duration, Instant};

use sangam_store::{Error, State, Status, Store};
use tokio::sync::Mutex;

use super::super::commands::{Degraded, Place, Readiness};
use super::super::metrics::Page;
use crate::config::Timing;

/// How long the answer to a ping holds for others who ask.
const SHARED: Duration = Duration::from_millis(100);

/// The last ping.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Option<Ping>>);

#[derive(Debug, Clone)]
struct Ping {
    at: Instant,
    took: Duration,
    failure: Option<String>,
}

impl Pulse {
    pub(super) async fn readiness(&self, store: &Store, timing: &Timing) -> Readiness {
        if store.state().status == Status::Disabled {
            return Readiness {
                redis: None,
                degraded: None,
                store: Some(seen(store, store.state())),
            };
        }
        let ping = self.ping(store, timing.store_readiness).await;
        let mut state = store.state();
        if let Some(reason) = ping.failure {
            // The store has not noticed yet, or has: this is the newer word.
            if state.status != Status::Down {
                state = State {
                    status: Status::Down,
                    reason,
                    since_ms: store.now() / 1000,
                };
            }
        } else if state.status == Status::Up && ping.took > timing.readiness {
            state = State {
                status: Status::Slow,
                reason: format!("the store answered after {} ms", ping.took.as_millis()),
                since_ms: store.now() / 1000,
            };
        }
        Readiness {
            redis: Some(state.status != Status::Down),
            degraded: (state.status != Status::Up).then(|| Degraded {
                reason: state.reason.clone(),
                since_ms: Some(state.since_ms),
            }),
            store: Some(seen(store, state)),
        }
    }

    async fn ping(&self, store: &Store, patience: Duration) -> Ping {
        let mut last = self.0.lock().await;
        if let Some(ping) = last.as_ref().filter(|ping| ping.at.elapsed() < SHARED) {
            return ping.clone();
        }
        let began = Instant::now();
        let outcome = tokio::time::timeout(patience, store.ping()).await;
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(Error::Unavailable(why) | Error::Indeterminate(why))) => Some(why.to_string()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no reply within {} ms", patience.as_millis())),
        };
        let ping = Ping {
            at: Instant::now(),
            took: began.elapsed(),
            failure,
        };
        *last = Some(ping.clone());
        ping
    }
}

fn seen(store: &Store, state: State) -> Place {
    Place {
        place: store.place().to_owned(),
        status: state.status.as_str(),
        reason: state.reason,
        since_ms: state.since_ms,
    }
}

/// What the store has done, and how it is.
pub(super) fn metrics(store: &Store, page: &mut Page) {
    let (state, metrics) = (store.state(), store.metrics());
    for status in Status::ALL {
        page.gauge(
            "sangam_store_state",
            "1 for the state that the store is in.",
            &[("status", status.as_str())],
            u8::from(status == state.status),
        );
    }
    let since = Duration::from_millis(state.since_ms).as_secs_f64();
    page.gauge(
        "sangam_store_state_since_seconds",
        "Unix time at which that state began.",
        &[],
        since,
    );
    for (name, help, value) in [
        (
            "sangam_store_answered_total",
            "Calls, pipelines and transactions that the store answered.",
            metrics.answered,
        ),
        (
            "sangam_store_unavailable_total",
            "Those that certainly had no effect.",
            metrics.unavailable,
        ),
        (
            "sangam_store_indeterminate_total",
            "Those whose outcome is unknown.",
            metrics.indeterminate,
        ),
        (
            "sangam_store_repeated_total",
            "Repeats of calls that had no effect.",
            metrics.repeated,
        ),
        (
            "sangam_store_breaker_opened_total",
            "How often the store was given up until a probe succeeds.",
            metrics.opened,
        ),
    ] {
        page.counter(name, help, &[], value);
    }
    page.gauge(
        "sangam_store_in_flight",
        "Calls on their way.",
        &[],
        metrics.in_flight as f64,
    );
    page.gauge(
        "sangam_store_latency_seconds",
        "Mean latency of the last calls.",
        &[],
        Duration::from_micros(metrics.latency_us).as_secs_f64(),
    );
}
