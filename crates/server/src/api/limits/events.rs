//! What happens to limits, as it happens, as server-sent events.
//!
//! Every event is JSON with its `event` name. It is formatted once, by one task that
//! runs while there are listeners: a check pays for one, however many there are. What
//! gathered meanwhile goes on as one text, so that a burst wakes listeners once.
//!
//! A listener that is too slow misses events, and is told how many. Memory is bounded:
//! texts are shared, [`TEXTS`] of [`TOGETHER`] events at most, for [`LISTENERS`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use parking_lot::Mutex;
use sangam::limit::{Event, Guard, Refusal};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::api::App;
use crate::api::problem::Problem;

/// Silence after which a listener gets a comment, so that it knows that all is well.
const COMMENT_AFTER: Duration = Duration::from_secs(15);
/// Listeners at a time.
const LISTENERS: usize = 64;
/// Texts that wait for the slowest listener.
const TEXTS: usize = 128;
/// Events in a text.
const TOGETHER: u64 = 64;

/// Events of a guard, formatted for all who listen.
#[derive(Debug)]
pub(crate) struct Listeners {
    places: Arc<Semaphore>,
    /// Where the task that formats sends to, while it runs.
    texts: Arc<Mutex<Option<Sender<Text>>>>,
}

/// Events that came together, formatted.
#[derive(Debug, Clone)]
struct Text {
    /// How many events came before the first and before the one after the last, since
    /// the task began.
    from: u64,
    until: u64,
    bytes: Bytes,
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners {
            places: Arc::new(Semaphore::new(LISTENERS)),
            texts: Arc::default(),
        }
    }
}

impl Listeners {
    fn listen(&self, guard: &Guard, stop: &CancellationToken) -> Option<Listener> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        let mut texts = self.texts.lock();
        let receiver = if let Some(sender) = &*texts {
            sender.subscribe()
        } else {
            let (sender, receiver) = broadcast::channel(TEXTS);
            *texts = Some(sender.clone());
            let task = format_all(guard.events(), sender, self.texts.clone(), stop.clone());
            tokio::spawn(task);
            receiver
        };
        Some(Listener {
            texts: receiver,
            next: None,
            stop: stop.clone(),
            _place: place,
        })
    }
}

/// Formats what happens until nobody listens, or the server stops.
async fn format_all(
    mut events: Receiver<Event>,
    sender: Sender<Text>,
    place: Arc<Mutex<Option<Sender<Text>>>>,
    stop: CancellationToken,
) {
    let mut count = 0;
    loop {
        let first = tokio::select! {
            first = events.recv() => first,
            () = sender.closed() => {
                let mut place = place.lock();
                // Somebody may have come meanwhile.
                if sender.receiver_count() == 0 {
                    *place = None;
                    return;
                }
                continue;
            }
            () = stop.cancelled() => break,
        };
        let (from, mut text) = (count, String::new());
        let mut found = match first {
            Ok(event) => Ok(event),
            Err(RecvError::Lagged(missed)) => Err(TryRecvError::Lagged(missed)),
            Err(RecvError::Closed) => break,
        };
        loop {
            match found {
                Ok(event) => {
                    text.push_str(&told(&event));
                    count += 1;
                }
                Err(TryRecvError::Lagged(events)) => {
                    text.push_str(&missed(events));
                    count += events;
                }
                Err(_) => break,
            }
            if count - from >= TOGETHER {
                break;
            }
            found = events.try_recv();
        }
        // Nobody there is seen above.
        let _ = sender.send(Text {
            from,
            until: count,
            bytes: text.into(),
        });
    }
    *place.lock() = None;
}

/// One who listens.
struct Listener {
    texts: Receiver<Text>,
    /// The event that comes next, by its number.
    next: Option<u64>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// The text of what comes next; `None` when the server stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let received = tokio::time::timeout(COMMENT_AFTER, self.texts.recv());
            let Ok(received) = self.stop.run_until_cancelled(received).await? else {
                return Some(Bytes::from_static(b":\n\n"));
            };
            let Text {
                from,
                until,
                bytes: text,
            } = match received {
                Ok(text) => text,
                // How many events were in those is known with the next.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            let lost = from.saturating_sub(self.next.unwrap_or(from));
            self.next = Some(until);
            if lost == 0 {
                return Some(text);
            }
            return Some([missed(lost).as_bytes(), &text].concat().into());
        }
    }
}

/// Refusals, counts that come near their limit, and what else happens, as
/// server-sent events.
#[utoipa::path(
    get,
    path = "/v1/limits/events",
    operation_id = "limitEvents",
    tag = "limits",
    responses(
        (status = 200, description = "`near`, `refused`, `shadowed`, `degraded`, `replaced`, `invalid`, `missed`; each with JSON", content_type = "text/event-stream", body = String),
        (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 503, description = "64 listen already", body = Problem),
    ),
    security(("bearer" = ["limits:read"]))
)]
pub(crate) async fn stream(State(app): State<App>) -> Result<Response, Problem> {
    let listener = app.listeners.listen(&app.guard, &app.stop).ok_or_else(|| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{LISTENERS} listen to events already, which is the most: end one"),
        )
    })?;
    let events = stream::unfold(listener, |mut listener| async move {
        let text = listener.next().await?;
        Some((Ok::<_, Infallible>(text), listener))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn missed(events: u64) -> String {
    written("missed", &json!({ "events": events }))
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
