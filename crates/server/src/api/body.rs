//! JSON bodies: bounded in bytes and in time, and every refusal says what to send.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Problem;

/// Bytes of a body.
const MAX: usize = 1024 * 1024;

/// A body that was read as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE);
        let is_json = kind.is_none_or(|kind| {
            let kind = kind.as_bytes().split(|byte| *byte == b';').next();
            let kind = kind.unwrap_or_default().trim_ascii();
            kind.eq_ignore_ascii_case(b"application/json")
        });
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON: `Content-Type: application/json`",
            ));
        }
        let read = read(request.into_body());
        let Ok(bytes) = tokio::time::timeout(app.body_patience, read).await else {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ));
        };
        let bytes = bytes?;
        serde_json::from_slice(&bytes).map(Json).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is not what this takes: {error}"),
            )
        })
    }
}

async fn read(body: Body) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body has at most {MAX} bytes"),
        )),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}
