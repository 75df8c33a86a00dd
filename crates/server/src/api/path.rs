//! What a path names.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Problem;

/// A name out of a path; one that is no text is refused as everything else is.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(name)) => Ok(Path(name)),
            Err(_) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "the name in the path is not UTF-8, percent-encoded",
            )),
        }
    }
}
