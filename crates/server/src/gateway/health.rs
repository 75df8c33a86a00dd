//! `/live` and `/ready`, for whoever runs the process.
//!
//! `/live` says that the process answers and touches no lock; `/ready` says
//! that commands can run, and gives up after a short while. It is `degraded`,
//! with the reason, while reads go on and writes are refused, or a store on
//! another machine answers late. What cannot be found out is not well.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::commands::{Commands, Readiness};
use super::payload::Payload;
use crate::config::Timing;

pub(super) fn live(method: &Method) -> Response<Payload> {
    health(method, StatusCode::OK, br#"{"status":"live"}"#.to_vec())
}

pub(super) async fn ready<C: Commands>(
    commands: &C,
    timing: &Timing,
    unsent: u64,
    method: &Method,
) -> Response<Payload> {
    let found = commands.readiness(timing).get().await;
    let (status, word) = match (found.redis, &found.degraded) {
        (Some(false), _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        (_, None) => (StatusCode::OK, "ready"),
        (_, Some(_)) => (StatusCode::OK, "degraded"),
    };
    let body = body(word, found, unsent, commands.now_millis()).to_string();
    health(method, status, body.into_bytes())
}

fn body(word: &str, found: Readiness, unsent: u64, timestamp: u64) -> Value {
    let redis = found
        .redis
        .map_or_else(|| "Not configured".into(), Value::from);
    // No SQL database is attached, so there is nothing to say of one.
    let mut body = json!({
        "status": word,
        "checks": { "database": null, "redis": redis, "timestamp": timestamp },
        "timestamp": timestamp,
    });
    let Some(fields) = body.as_object_mut() else {
        return body;
    };
    if let Some(degraded) = found.degraded {
        fields.insert("reason".to_owned(), degraded.reason.into());
        if let Some(since) = degraded.since_ms {
            fields.insert("since".to_owned(), since.into());
        }
    }
    // The engine is never away: while a script holds it, its cache waits too.
    if found.store.is_some() && found.redis != Some(true) {
        fields.insert("cache".to_owned(), "memory only".into());
    }
    if unsent > 0 {
        fields.insert("unsent".to_owned(), unsent.into());
    }
    if let Some(place) = found.store {
        let store = json!({
            "place": place.place,
            "status": place.status,
            "reason": place.reason,
            "since": place.since_ms,
        });
        fields.insert("store".to_owned(), store);
    }
    body
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
