//! What happens to limits, as it happens, as server-sent events.
//!
//! Every event is JSON with its `event` name. A listener that is too slow misses
//! events, and is told how many: memory is bounded by the guard's own channel.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use sangam::limit::{Event, Refusal};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::api::App;
use crate::api::problem::Problem;

/// Silence after which a listener gets a comment, so that it knows that all is well.
const COMMENT_AFTER: Duration = Duration::from_secs(15);

/// Refusals, counts that come near their limit, and what else happens, as
/// server-sent events.
#[utoipa::path(
    get,
    path = "/v1/limits/events",
    tag = "limits",
    responses(
        (status = 200, description = "`near`, `refused`, `shadowed`, `degraded`, `replaced`, `invalid`, `missed`; each with JSON", content_type = "text/event-stream", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem),
    ),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn stream(State(app): State<App>) -> Response {
    let from = (app.guard.events(), app.stop.clone());
    let events = stream::unfold(from, |(mut events, stop)| async move {
        let text = next(&mut events, &stop).await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), (events, stop)))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The text of what comes next; `None` when the server stops.
async fn next(events: &mut Receiver<Event>, stop: &CancellationToken) -> Option<String> {
    let received = tokio::time::timeout(COMMENT_AFTER, events.recv());
    let Ok(received) = stop.run_until_cancelled(received).await? else {
        return Some(":\n\n".to_owned());
    };
    match received {
        Ok(event) => Some(told(&event)),
        Err(RecvError::Lagged(missed)) => Some(written("missed", &json!({ "events": missed }))),
        Err(RecvError::Closed) => None,
    }
}

fn written(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

fn told(event: &Event) -> String {
    match event {
        Event::Near {
            class,
            tier,
            id,
            used,
            limit,
        } => {
            let tier = class.tiers.get(*tier).map(|tier| tier.name.as_str());
            let data = json!({
                "class": class.name, "tier": tier, "id": id, "used": used, "limit": limit,
            });
            written("near", &data)
        }
        Event::Refused(refusal) => written("refused", &refused(refusal)),
        Event::Shadowed(refusal) => written("shadowed", &refused(refusal)),
        Event::Degraded {
            class,
            ruled,
            allowed,
        } => {
            let data = json!({
                "class": class.name, "ruled": ruled.as_str(), "allowed": allowed,
            });
            written("degraded", &data)
        }
        Event::Replaced => written("replaced", &json!({})),
        Event::Invalid(error) => written("invalid", &json!({ "error": error.to_string() })),
        _ => ":\n\n".to_owned(),
    }
}

fn refused(refusal: &Refusal) -> Value {
    let class = &refusal.class;
    let tier = refusal.tier.and_then(|tier| class.tiers.get(tier));
    json!({
        "class": class.name,
        "tier": tier.map(|tier| tier.name.as_str()),
        "id": refusal.id,
        "ruled": refusal.ruled.as_str(),
        "retry_after_ms": refusal.retry_after.map(super::answer::millis),
    })
}
