//! `/live` and `/ready`, for whoever runs the process.
//!
//! `/live` says that the process answers and touches no lock; `/ready` says
//! that commands can run, and gives up after a short while. It is `degraded`,
//! with the reason, while reads go on and writes are refused.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use super::commands::Commands;
use super::payload::Payload;
use crate::config::Timing;

pub(super) fn live(method: &Method) -> Response<Payload> {
    health(method, StatusCode::OK, br#"{"status":"live"}"#.to_vec())
}

pub(super) async fn ready<C: Commands>(
    commands: &C,
    timing: &Timing,
    method: &Method,
) -> Response<Payload> {
    let answer = tokio::time::timeout(timing.readiness, commands.ready().get()).await;
    let redis = answer.unwrap_or(false);
    let timestamp = commands.now_millis();
    let degraded = commands.degraded();
    let (status, word) = match (redis, &degraded) {
        (true, None) => (StatusCode::OK, "ready"),
        (true, Some(_)) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    // No SQL database is attached, so there is nothing to say of one.
    let mut body = json!({
        "status": word,
        "checks": { "database": null, "redis": redis, "timestamp": timestamp },
        "timestamp": timestamp,
    });
    if let (Some(reason), Some(fields)) = (degraded, body.as_object_mut()) {
        fields.insert("reason".to_owned(), reason.into());
    }
    health(method, status, body.to_string().into_bytes())
}

fn health(method: &Method, status: StatusCode, body: Vec<u8>) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(Vec::new()));
    let headers = response.headers_mut();
    if !matches!(*method, Method::GET | Method::HEAD) {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.status_mut() = status;
    *response.body_mut() = Payload::Whole(body);
    response
}
