//! The API's description, as OpenAPI 3.1.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{cache, limits};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sangam",
        description = "What apps build on top of a Redis, over HTTP. Send the server's token or a service key as `Authorization: Bearer …`. Errors are application/problem+json."
    ),
    tags(
        (name = "limits", description = "Rate limits and concurrency limits: several rules at once, all or nothing"),
        (name = "cache", description = "JSON values in two tiers: this server's memory, over the store that all servers share"),
    ),
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
        cache::report::report,
        cache::read::get,
        cache::write::put,
        cache::write::delete,
        cache::invalidate::invalidate,
    ),
    modifiers(&Bearer, &Refusals)
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

/// What every operation may be refused with, in words: those of bodies stand here, and
/// not beside each operation that has one.
struct Refusals;

/// How a body is refused before it is read.
const OF_BODIES: [StatusCode; 3] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];

impl Modify for Refusals {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let paths = api.paths.paths.values_mut();
        let operations = paths.flat_map(|item| {
            [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ]
        });
        for operation in operations.flatten() {
            let responses = &mut operation.responses.responses;
            if operation.request_body.is_some() {
                for status in OF_BODIES {
                    let problem = Ref::from_schema_name("Problem");
                    let content = Content::new(Some(problem));
                    let response = ResponseBuilder::new()
                        .content("application/problem+json", content)
                        .build();
                    responses.insert(status.as_str().to_owned(), response.into());
                }
            }
            for (status, response) in responses {
                if let RefOr::T(response) = response {
                    complete(status, response);
                }
            }
        }
    }
}

/// Gives an answer its words, which it must have, and a refusal the type of its content.
fn complete(status: &str, response: &mut utoipa::openapi::Response) {
    if !status.starts_with('2')
        && let Some(content) = response.content.shift_remove("application/json")
    {
        let kind = "application/problem+json".to_owned();
        response.content.insert(kind, content);
    }
    if !response.description.is_empty() {
        return;
    }
    let words = match status {
        "200" => "It is done, or found",
        "400" => "The request is not what this takes",
        "401" => "No token, or one that the server does not know",
        "403" => "The key has no such scope",
        "404" => "There is no such class",
        "408" => "The body did not arrive in time",
        "413" => "The body is too long",
        "415" => "The body is not JSON, or is encoded",
        "503" => "The store cannot be asked",
        _ => return,
    };
    words.clone_into(&mut response.description);
}

/// The description.
pub(super) static API: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Described::openapi);

static JSON: LazyLock<String> = LazyLock::new(|| API.to_json().unwrap_or_default());

pub(super) async fn document() -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], JSON.as_str()).into_response()
}
