//! Putting and deleting.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use utoipa::ToSchema;

use super::answer;
use super::document::Document;
use super::entry::Entry;
use super::terms::Terms;
use crate::api::App;
use crate::api::body::{self, Bound};
use crate::api::problem::Problem;

/// Any JSON value, kept as it is written.
#[derive(ToSchema)]
#[schema(value_type = serde_json::Value, example = json!({"name": "Ann"}))]
#[allow(dead_code, reason = "only the description knows it")]
pub(crate) struct AnyJson(serde_json::Value);

/// Puts a value.
#[utoipa::path(
    put,
    path = "/v1/cache/{name}/{key}",
    operation_id = "putCacheValue",
    tag = "cache",
    params(
        ("name" = String, Path, description = "The cache", example = "users"),
        ("key" = String, Path, description = "The key", example = "user:1"),
        ("ttl" = Option<f64>, Query, description = "Seconds, whole or decimal, that it lives; the cache's `ttl` unless said. From 0.001 to 366 days"),
        ("tag" = Option<Vec<String>>, Query, description = "What it can be invalidated by, once for each of at most 256 tags"),
    ),
    request_body = AnyJson,
    responses(
        (status = 204, description = "It is in the store, and the other servers know"),
        (status = 202, description = "The store is away: it is in this server's memory, and is sent when the store is back (`Sangam-Degraded: queued`)"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 501, description = "It has a condition, such as `If-Match`", body = Problem),
        (status = 503, description = "The store is away, and the cache's policy is `closed`; or it refuses the write", body = Problem),
    ),
    security(("bearer" = ["cache:write"]))
)]
pub(crate) async fn put(
    State(app): State<App>,
    entry: Entry,
    request: Request,
) -> Result<Response, Problem> {
    let terms = unconditional(request.headers());
    let terms = terms.and_then(|()| Terms::of(request.uri().query()));
    let bound = Bound {
        bytes: entry.cache.settings().max_value,
        settings: ": settings `max-value` of the cache and `max-request-size`",
    };
    let json = body::json(request, bound, app.body_patience).await?;
    let loaded = terms?.with(Document::from(json));
    let reach = entry.cache.set(&entry.key, loaded).await?;
    Ok(answer::changed(reach))
}

/// Deletes a value, if there is one.
#[utoipa::path(
    delete,
    path = "/v1/cache/{name}/{key}",
    operation_id = "deleteCacheValue",
    tag = "cache",
    params(
        ("name" = String, Path, description = "The cache", example = "users"),
        ("key" = String, Path, description = "The key", example = "user:1"),
    ),
    responses(
        (status = 204, description = "There is none any more, and the other servers know"),
        (status = 202, description = "The store is away: this server gives none any more, and tells the store when it is back (`Sangam-Degraded: queued`)"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 501, description = "It has a condition, such as `If-Match`", body = Problem),
        (status = 503, description = "The store is away, and the cache's policy is `closed`; or it refuses the write", body = Problem),
    ),
    security(("bearer" = ["cache:write"]))
)]
pub(crate) async fn delete(entry: Entry, headers: HeaderMap) -> Result<Response, Problem> {
    unconditional(&headers)?;
    let reach = entry.cache.delete(&entry.key).await?;
    Ok(answer::changed(reach))
}

/// Refuses a write that shall only be done on a condition: nobody could keep it between
/// several servers' memories.
fn unconditional(headers: &HeaderMap) -> Result<(), Problem> {
    for condition in [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE] {
        if headers.contains_key(&condition) {
            let detail = format!(
                "conditional writes are not supported: this one has `{condition}`; leave it \
                 out to write in any case"
            );
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, detail));
        }
    }
    Ok(())
}
