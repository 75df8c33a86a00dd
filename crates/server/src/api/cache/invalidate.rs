//! Invalidating by tags, by keys, or all of a cache. What is refused does nothing: all of
//! it is checked before any of it is done.

use axum::extract::State;
use axum::response::Response;
use sangam::cache::{Cache, Reach, check_key, check_tag};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer;
use super::document::Document;
use super::entry::refused;
use crate::api::App;
use crate::api::body::Json;
use crate::api::path::Path;
use crate::api::problem::Problem;

/// Tags or keys of one request.
const LISTED_MAX: usize = 1000;

/// What to invalidate: at least one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(crate) struct Invalidate {
    /// All values that have one of these tags; at most 1,000.
    #[schema(example = json!(["people"]))]
    tags: Vec<String>,
    /// The values of these keys; at most 1,000.
    keys: Vec<String>,
    /// Everything in the cache.
    all: bool,
}

impl Invalidate {
    fn check(&self, cache: &Cache<Document>) -> Result<(), Problem> {
        let Invalidate { tags, keys, all } = self;
        if tags.is_empty() && keys.is_empty() && !all {
            return Err(refused(
                "name what to invalidate: `tags`, `keys`, or `\"all\": true`",
            ));
        }
        for (field, count) in [("tags", tags.len()), ("keys", keys.len())] {
            if count > LISTED_MAX {
                let detail = format!("`{field}` has at most {LISTED_MAX} of them, not {count}");
                return Err(refused(&detail));
            }
        }
        for tag in tags {
            check_tag(tag)?;
        }
        for key in keys {
            if key.is_empty() {
                return Err(refused("`keys` has an empty one, which no value has"));
            }
            check_key(key)?;
        }
        if *all && cache.settings().shared.is_some() {
            return Err(refused(
                "nobody knows the keys of a shared cache (setting `shared-prefix`), so that \
                 `all` of it cannot be invalidated: name tags or keys",
            ));
        }
        Ok(())
    }
}

/// Invalidates values by their tags or keys, or all of a cache.
#[utoipa::path(
    post,
    path = "/v1/cache/{name}/invalidate",
    operation_id = "invalidateCache",
    tag = "cache",
    params(("name" = String, Path, description = "The cache", example = "users")),
    request_body = Invalidate,
    responses(
        (status = 204, description = "No server gives them any more, once it heard"),
        (status = 202, description = "The store is away: this server gives them no more, and tells the store when it is back (`Sangam-Degraded: queued`)"),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem),
        (status = 503, description = "The store is away, and the cache's policy is `closed`; or it refuses the write", body = Problem),
    ),
    security(("bearer" = ["cache:write"]))
)]
pub(crate) async fn invalidate(
    State(app): State<App>,
    Path(name): Path<String>,
    Json(what): Json<Invalidate>,
) -> Result<Response, Problem> {
    let cache = app.caching.cache(&name)?;
    what.check(&cache)?;
    let Invalidate { tags, keys, all } = what;
    let mut reach = Reach::Everywhere;
    if !tags.is_empty() {
        reach = reach.and(cache.invalidate_tags(&borrowed(&tags)).await?);
    }
    if !keys.is_empty() {
        reach = reach.and(cache.delete_many(&borrowed(&keys)).await?);
    }
    if all {
        reach = reach.and(cache.clear().await?);
    }
    Ok(answer::changed(reach))
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
