//! The API's description, as OpenAPI 3.1.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::limits;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sangam",
        description = "What apps build on top of a Redis, over HTTP. Send the server's token or a service key as `Authorization: Bearer …`. Errors are application/problem+json."
    ),
    tags((name = "limits", description = "Rate limits and concurrency limits: several rules at once, all or nothing")),
    paths(
        limits::classes::list,
        limits::check::check,
        limits::check::batch,
        limits::check::peek,
        limits::manage::refund,
        limits::manage::release,
        limits::manage::penalize,
        limits::manage::block,
        limits::manage::unblock,
        limits::manage::reset,
        limits::overrides::list,
        limits::overrides::set,
        limits::overrides::clear,
        limits::stats::stats,
        limits::events::stream,
    ),
    modifiers(&Bearer)
)]
struct Described;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
    }
}

/// The description.
pub(super) static API: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Described::openapi);

static JSON: LazyLock<String> = LazyLock::new(|| API.to_json().unwrap_or_default());

pub(super) async fn document() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], JSON.as_str()).into_response()
}
