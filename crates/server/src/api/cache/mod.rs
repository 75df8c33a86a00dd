//! Caches over HTTP: JSON values by name and key.
//!
//! ```text
//! service    the caches of a server
//! entry      the cache and the key that a path names
//! document   a value, as it was put
//! answer     what answers say of themselves
//! read       reading
//! write      putting and deleting
//! terms      how long a value that is put lives, and its tags
//! invalidate tags, keys, or all of a cache
//! report     what caches did, and hold
//! metrics    the same for /metrics
//! ```

pub(super) mod answer;
pub(super) mod document;
pub(super) mod entry;
pub(super) mod invalidate;
mod metrics;
pub(super) mod read;
pub(super) mod report;
pub(super) mod service;
pub(super) mod terms;
pub(super) mod write;

use hyper::{Method, StatusCode};
use sangam::cache::CacheError;

use super::principal::Scope;
use super::problem::Problem;
use super::routes::{Need, Routes};

const KEY: &str = "/v1/cache/{name}/{key}";
const INVALIDATE: &str = "/v1/cache/{name}/invalidate";

/// A key may have slashes, may be the word that invalidates, and where it is empty the
/// answer says so.
const KEY_PATTERNS: [&str; 3] = ["/v1/cache/{name}/{*key}", INVALIDATE, "/v1/cache/{name}/"];

/// The routes of caches.
pub(super) fn routes(routes: Routes) -> Routes {
    let read = Need::Scope(Scope::CacheRead);
    let write = Need::Scope(Scope::CacheWrite);
    routes
        .add(Method::GET, "/v1/cache", read, report::report)
        .add(Method::POST, INVALIDATE, write, invalidate::invalidate)
        .add_at(Method::GET, KEY, &KEY_PATTERNS, read, read::get)
        .add_at(Method::PUT, KEY, &KEY_PATTERNS, write, write::put)
        .add_at(Method::DELETE, KEY, &KEY_PATTERNS, write, write::delete)
}

impl From<CacheError> for Problem {
    fn from(error: CacheError) -> Self {
        let status = match &error {
            CacheError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            CacheError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            CacheError::Nothing => StatusCode::NOT_FOUND,
            CacheError::Setting(_)
            | CacheError::Name(_)
            | CacheError::Key(_)
            | CacheError::Tag(_)
            | CacheError::Tags(_)
            | CacheError::Ttl(_)
            | CacheError::Encode(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, error.to_string())
    }
}
