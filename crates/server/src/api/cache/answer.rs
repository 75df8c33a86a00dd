//! What answers say of themselves: `Cache-Status` (RFC 9211), and `Sangam-Degraded`
//! where the store was away.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::{
    AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use sangam::cache::{Found, Reach, ttl};

use super::document::Document;
use crate::api::problem::Problem;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// `memory`: the store was away, and this server's memory answered alone. `queued`: what
/// was changed is sent when the store is back.
const DEGRADED: HeaderName = HeaderName::from_static("sangam-degraded");

/// The answer with a value, or that the caller has it already.
pub(super) fn hit(found: &Found<Document>, asked: &HeaderMap, now_us: u64) -> Response {
    let known = asked.get_all(IF_NONE_MATCH).iter();
    let mut response = Response::new(Body::empty());
    if found.is_named(known.map(HeaderValue::as_bytes)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(found.text().to_owned());
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    let headers = response.headers_mut();
    headers.insert(AGE, found.age.as_secs().into());
    if let Some(tag) = found.field() {
        headers.insert(ETAG, tag);
    }
    // It may change at any time, which only this server knows.
    let control = HeaderValue::from_static("private, no-cache");
    headers.insert(CACHE_CONTROL, control);
    status(headers, &status_of(found, now_us));
    if found.degraded {
        headers.insert(DEGRADED, HeaderValue::from_static("memory"));
    }
    response
}

fn status_of(found: &Found<Document>, now_us: u64) -> String {
    let fresh = found.fresh_for(now_us);
    // Other apps may have written it without an end.
    let ttl = if fresh > ttl::LONGEST {
        String::new()
    } else {
        format!("; ttl={}", fresh.as_secs())
    };
    let source = found.source.as_str();
    let detail = match (found.stale, found.degraded) {
        (false, false) => source.to_owned(),
        (true, false) => format!("\"{source}, stale\""),
        (false, true) => format!("\"{source}, degraded\""),
        (true, true) => format!("\"{source}, stale, degraded\""),
    };
    format!("sangam; hit{ttl}; detail={detail}")
}

/// The answer that there is no value.
pub(super) fn miss(is_away: bool) -> Response {
    let why = if is_away {
        "this server has no such value in memory, and the store is away"
    } else {
        "there is no such value"
    };
    let mut response = Problem::new(StatusCode::NOT_FOUND, why).into_response();
    let headers = response.headers_mut();
    if is_away {
        status(headers, "sangam; fwd=uri-miss; detail=degraded");
        headers.insert(DEGRADED, HeaderValue::from_static("memory"));
    } else {
        status(headers, "sangam; fwd=uri-miss");
    }
    response
}

fn status(headers: &mut HeaderMap, text: &str) {
    if let Ok(text) = HeaderValue::from_str(text) {
        headers.insert(CACHE_STATUS, text);
    }
}

/// The answer to a change: 204, or 202 where it waits for the store.
pub(super) fn changed(reach: Reach) -> Response {
    match reach {
        Reach::Everywhere => StatusCode::NO_CONTENT.into_response(),
        Reach::Here => {
            let queued = [(DEGRADED, HeaderValue::from_static("queued"))];
            (StatusCode::ACCEPTED, queued).into_response()
        }
    }
}
