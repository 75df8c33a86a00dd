//! The cache and the key that a path names. A key is all that stands behind the cache's
//! name, percent-decoded: it may have slashes, as they are or as `%2F`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use sangam::cache::Cache;

use super::document::Document;
use crate::api::App;
use crate::api::problem::Problem;

/// A key of a cache.
pub(crate) struct Entry {
    pub(super) cache: Cache<Document>,
    pub(super) key: String,
}

impl FromRequestParts<App> for Entry {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = parts.uri.path();
        let rest = path.strip_prefix("/v1/cache/").unwrap_or_default();
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        if key.is_empty() {
            return Err(refused(
                "name a key behind the cache: /v1/cache/{name}/{key}",
            ));
        }
        let cache = app.caching.cache(&decoded(name)?)?;
        Ok(Entry {
            cache,
            key: decoded(key)?,
        })
    }
}

/// A text that is percent-encoded.
pub(super) fn decoded(text: &str) -> Result<String, Problem> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded =
        decoded.map_err(|_| refused("what the address says is not UTF-8, percent-encoded"))?;
    Ok(decoded.into_owned())
}

pub(super) fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
