//! Heads of answers: content type, sync token, CORS.
//!
//! A page of any origin may use the gateway: what it may do hangs on the token
//! alone, which the browser does not add by itself. So the origin is echoed.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, RETRY_AFTER, VARY,
};
use hyper::{Response, StatusCode};
use sangam_wire::rest::ResponseFormat;

use super::events::Events;
use super::payload::Payload;
use super::request_id;

const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What stands before an answer's body.
pub(super) struct Shape {
    pub(super) status: StatusCode,
    pub(super) format: ResponseFormat,
    pub(super) sync_token: Option<HeaderValue>,
    /// That of the request, where it was honoured.
    pub(super) request_id: Option<HeaderValue>,
    /// Seconds after which it is worth asking again.
    pub(super) retry_after: Option<u16>,
}

/// An answer; `headers` are the request's, whose memory it takes over.
pub(super) fn answer(shape: Shape, body: Vec<u8>, headers: HeaderMap) -> Response<Payload> {
    let mut headers = reuse(headers);
    headers.insert(
        CONTENT_TYPE,
        match shape.format {
            ResponseFormat::Json => JSON,
            ResponseFormat::Resp2 => OCTETS,
        },
    );
    if let Some(token) = shape.sync_token {
        headers.insert(SYNC_TOKEN, token);
    }
    if let Some(id) = shape.request_id {
        headers.insert(request_id::HEADER, id);
    }
    if let Some(seconds) = shape.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    assemble(shape.status, headers, Payload::Whole(body))
}

/// An answer without a body.
pub(super) fn bare(status: StatusCode, headers: HeaderMap) -> Response<Payload> {
    assemble(status, reuse(headers), Payload::Whole(Vec::new()))
}

/// A page of metrics.
pub(super) fn page(text: String, headers: HeaderMap) -> Response<Payload> {
    let mut headers = reuse(headers);
    let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(CONTENT_TYPE, prometheus);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    assemble(StatusCode::OK, headers, Payload::Whole(text.into_bytes()))
}

/// An answer that goes on until either side ends it.
pub(super) fn stream(events: Events, headers: HeaderMap) -> Response<Payload> {
    let mut headers = reuse(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that collect answers before they pass them on are told not to.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    assemble(StatusCode::OK, headers, Payload::Events(Box::new(events)))
}

/// The answer to a browser that asks what it may do.
pub(super) fn preflight(request: &HeaderMap) -> Response<Payload> {
    let mut headers = HeaderMap::with_capacity(8);
    echo_origin(request.get(ORIGIN).cloned(), &mut headers);
    let methods = HeaderValue::from_static("HEAD, GET, POST, PUT, OPTIONS");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    assemble(StatusCode::OK, headers, Payload::Whole(Vec::new()))
}

/// Empties the request's headers, and puts in what every answer has.
fn reuse(mut headers: HeaderMap) -> HeaderMap {
    let origin = headers.remove(ORIGIN);
    headers.clear();
    echo_origin(origin, &mut headers);
    headers
}

fn echo_origin(origin: Option<HeaderValue>, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("upstash-sync-token, sangam-request-id"),
        );
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
}

fn assemble(status: StatusCode, headers: HeaderMap, body: Payload) -> Response<Payload> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
