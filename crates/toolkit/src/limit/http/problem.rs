//! Why a request was not served, as application/problem+json (RFC 9457) with the
//! types of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! | | status | type |
//! |---|---|---|
//! | a limit is used up | 429 | `…#quota-exceeded` |
//! | the store is away and the policy refuses | 503 | `…#temporary-reduced-capacity` |
//! | the deny list names it | 403 | `about:blank` |
//! | it cannot be checked | 500 | `about:blank` |

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::fields::{answers, policy_name, retry_seconds};
use crate::limit::decision::Ruled;
use crate::limit::guard::{GuardError, Verdict};
use crate::limit::limiter::LimitError;

/// The type of a problem where a limit is used up.
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// The type of a problem where the policy refused, since the store is away.
pub const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
const BLANK: &str = "about:blank";

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of the answer.
    pub status: StatusCode,
    /// What kind of problem it is: a URI.
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// This one in words.
    pub detail: String,
    /// The names of the tiers that refused, `<class>.<tier>`, where they are known.
    pub violated: Vec<String>,
    /// Seconds after which to ask again, where that is known.
    pub retry_after: Option<u64>,
}

impl Problem {
    /// Why the request was refused; `None` where it was not.
    pub fn of(verdict: &Verdict) -> Option<Self> {
        if verdict.allowed {
            return None;
        }
        let class = &verdict.class.name;
        let retry_after = retry_seconds(verdict);
        let again = match retry_after {
            Some(1) => " Retry in 1 second.".to_owned(),
            Some(seconds) => format!(" Retry in {seconds} seconds."),
            None => String::new(),
        };
        Some(match verdict.ruled {
            Ruled::Denied => Problem {
                status: StatusCode::FORBIDDEN,
                kind: BLANK,
                title: "Forbidden",
                detail: format!("Class {class} does not serve this client."),
                violated: Vec::new(),
                retry_after: None,
            },
            Ruled::Closed => Problem {
                status: StatusCode::SERVICE_UNAVAILABLE,
                kind: REDUCED_CAPACITY,
                title: "Temporary Reduced Capacity",
                detail: format!("Limits of class {class} cannot be checked at the moment.{again}"),
                violated: Vec::new(),
                retry_after,
            },
            _ => {
                let violated = violated(verdict);
                let what = match violated.as_slice() {
                    [] => format!("A limit of class {class} is"),
                    [one] => format!("Limit {one} is"),
                    several => format!("Limits {} are", several.join(", ")),
                };
                Problem {
                    status: StatusCode::TOO_MANY_REQUESTS,
                    kind: QUOTA_EXCEEDED,
                    title: "Quota Exceeded",
                    detail: format!("{what} used up.{again}"),
                    violated,
                    retry_after,
                }
            }
        })
    }

    /// Why the request could not be checked. A cost that never fits is a refusal;
    /// all else is the app's own fault and says no more than that.
    pub fn of_error(error: &GuardError) -> Self {
        if let GuardError::Limit(LimitError::Cost { .. }) = error {
            return Problem {
                status: StatusCode::TOO_MANY_REQUESTS,
                kind: QUOTA_EXCEEDED,
                title: "Quota Exceeded",
                detail: "The request costs more than its limit ever lets through.".to_owned(),
                violated: Vec::new(),
                retry_after: None,
            };
        }
        Problem {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: BLANK,
            title: "Internal Server Error",
            detail: "The request's limits could not be checked.".to_owned(),
            violated: Vec::new(),
            retry_after: None,
        }
    }

    /// The object of the answer: `type`, `title`, `status`, `detail`, and where they
    /// are known `violated-policies` and `retry-after` in seconds.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".to_owned(), json!(self.kind));
        object.insert("title".to_owned(), json!(self.title));
        object.insert("status".to_owned(), json!(self.status.as_u16()));
        object.insert("detail".to_owned(), json!(self.detail));
        if !self.violated.is_empty() {
            object.insert("violated-policies".to_owned(), json!(self.violated));
        }
        if let Some(seconds) = self.retry_after {
            object.insert("retry-after".to_owned(), json!(seconds));
        }
        Value::Object(object)
    }

    /// The body of the answer, and the fields that go with it. No cache keeps it.
    pub fn to_body(&self, headers: &mut HeaderMap) -> String {
        let body = self.to_json().to_string();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        body
    }
}

/// The tiers that refused.
fn violated(verdict: &Verdict) -> Vec<String> {
    let refused = answers(verdict).filter(|(_, outcome)| !outcome.fits);
    refused
        .map(|(tier, _)| policy_name(verdict, tier))
        .collect()
}
