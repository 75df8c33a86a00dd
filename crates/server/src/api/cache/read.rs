//! Reading.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::answer;
use super::entry::Entry;
use crate::api::App;
use crate::api::problem::Problem;

/// A value, as it was put. `Cache-Status` says where it came from and for how long it is
/// fresh, `Age` how old it is; with `If-None-Match` it is sent only if it changed.
#[utoipa::path(
    get,
    path = "/v1/cache/{name}/{key}",
    operation_id = "getCacheValue",
    tag = "cache",
    params(
        ("name" = String, Path, description = "The cache: 1 to 64 letters, digits, `.`, `_` and `-`", example = "users"),
        ("key" = String, Path, description = "The key: all that is behind the cache's name, with slashes as they are or as `%2F`", example = "user:1"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what the caller has"),
    ),
    responses(
        (status = 200, description = "The value", body = serde_json::Value),
        (status = 304, description = "The caller has it already"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 404, description = "There is no such value; with `Sangam-Degraded` this server has none, and the store is away", body = Problem),
        (status = 503, description = "The store is away, and the cache's policy is `closed`; or it refuses the key", body = Problem),
    ),
    security(("bearer" = ["cache:read"]))
)]
pub(crate) async fn get(
    State(app): State<App>,
    entry: Entry,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let looked_up = entry.cache.lookup(&entry.key).await?;
    Ok(match looked_up.found {
        Some(found) => answer::hit(&found, &headers, app.caching.now_us()),
        None => answer::miss(looked_up.degraded),
    })
}
