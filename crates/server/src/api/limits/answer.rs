//! What a check is answered with.

use axum::response::{IntoResponse, Response};
use sangam::limit::Verdict;
use serde::Serialize;
use utoipa::ToSchema;

/// What becomes of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// Whether it may go on. What may not has consumed nothing.
    allowed: bool,
    /// The class that it was checked against.
    #[schema(example = "auth")]
    class: String,
    /// Who decided: `store`, `remembered`, `lease`, or a policy, `local`, `open` or
    /// `closed`, where the store could not be asked.
    ruled: &'static str,
    /// Milliseconds after which to ask again; 0 where it is allowed, null where
    /// nobody knows.
    retry_after_ms: Option<u64>,
    /// What each rule says; empty where none was asked.
    tiers: Vec<TierAnswer>,
}

/// What a rule of the class says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TierAnswer {
    /// Its name in the class.
    name: String,
    /// How much it lets through in its window.
    limit: u64,
    /// Requests of cost 1 that it would let through now.
    remaining: u64,
    /// Milliseconds until all of the limit is there again if nobody comes.
    reset_after_ms: u64,
    /// Milliseconds until a request of this cost fits if nobody else comes.
    retry_after_ms: u64,
    /// Whether this rule would let the request through.
    fits: bool,
}

/// Milliseconds, rounded up: a retry after them passes.
pub(super) fn millis(time: std::time::Duration) -> u64 {
    time.as_micros().div_ceil(1000) as u64
}

impl Answer {
    pub(super) fn new(verdict: &Verdict) -> Self {
        let tiers = verdict.answers().map(|(tier, outcome)| TierAnswer {
            name: tier.name.clone(),
            limit: outcome.rule.limit(),
            remaining: outcome.remaining,
            reset_after_ms: millis(outcome.reset_after),
            retry_after_ms: millis(outcome.retry_after),
            fits: outcome.fits,
        });
        Answer {
            allowed: verdict.allowed,
            class: verdict.class.name.clone(),
            ruled: verdict.ruled.as_str(),
            retry_after_ms: verdict.retry_after.map(millis),
            tiers: tiers.collect(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        axum::Json(self).into_response()
    }
}
