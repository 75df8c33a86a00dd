//! What a check is answered with.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use sangam::limit::http::{Fields, Problem, RATELIMIT, RATELIMIT_POLICY, RULED};
use sangam::limit::{Guard, Verdict};
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
    /// Milliseconds after which to ask again; null where nobody knows. 0 where it is
    /// allowed, unless only a shadow let it through: then what the rules would have it
    /// wait.
    retry_after_ms: Option<u64>,
    /// What each rule says; empty where none was asked.
    tiers: Vec<TierAnswer>,
    /// The fields for the answer to the client: `RateLimit-Policy`, `RateLimit`,
    /// `Retry-After`, by choice `X-RateLimit-*`.
    headers: BTreeMap<&'static str, String>,
    /// The answer to a client that is refused, as application/problem+json; its
    /// `status` is the answer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    problem: Option<serde_json::Value>,
    /// Those that this answer carries itself.
    #[serde(skip)]
    fields: Fields,
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
    pub(super) fn new(guard: &Guard, verdict: &Verdict) -> Self {
        let mut fields = Fields::of(verdict);
        if guard.settings().legacy_headers {
            fields = fields.with_legacy(verdict, guard.limiter().store().now());
        }
        let headers = fields
            .spelled()
            .map(|(name, value)| (name, value.to_owned()));
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
            headers: headers.collect(),
            problem: Problem::of(verdict).map(|problem| problem.to_json()),
            fields,
        }
    }
}

impl IntoResponse for Answer {
    /// With the fields that tell what is left. `Retry-After` is for the client: it
    /// would tell the caller to stay away.
    fn into_response(mut self) -> Response {
        let fields = std::mem::take(&mut self.fields);
        let mut response = axum::Json(self).into_response();
        for (name, value) in fields.iter() {
            if [RATELIMIT_POLICY, RATELIMIT, RULED].contains(name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response
    }
}
