//! What all slots know of an endpoint: its clock, its newest sync token, what it
//! can; and the headers that say so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use parking_lot::Mutex;

use super::clock::DateClock;
use super::connection::Answer;
use super::endpoint::Endpoint;
use super::queue::Queue;
use super::request::{Call, Form};
use super::request_id;
use crate::options::Options;

const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
const FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("sangam/", env!("CARGO_PKG_VERSION")));

pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) options: Options,
    pub(super) queue: Queue,
    pub(super) clock: DateClock,
    sync: Mutex<Option<Synced>>,
    /// Whether the newest answer to a request with an id has shown that the
    /// endpoint runs a repeated one once.
    honours_ids: AtomicBool,
    /// Whether bytes that are no text reach it in JSON.
    takes_bytes: AtomicBool,
    /// Whether it answers JSON only.
    json_only: AtomicBool,
    /// Until when it wants to be left alone.
    pause: Mutex<Option<Instant>>,
}

/// A position in the endpoint's writes, as it said it.
struct Synced {
    token: HeaderValue,
    at: Instant,
}

/// When a request left, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    micros: i64,
    at: Instant,
}

impl Shared {
    pub(super) fn new(endpoint: Endpoint, options: Options) -> Self {
        let slots = options.rest_slots.max(1);
        // A request with an id may not have more.
        let batch = options.rest_batch.clamp(1, 10_000);
        Shared {
            queue: Queue::new(slots, batch),
            endpoint,
            options,
            clock: DateClock::default(),
            sync: Mutex::default(),
            honours_ids: AtomicBool::new(false),
            takes_bytes: AtomicBool::new(false),
            json_only: AtomicBool::new(false),
            pause: Mutex::default(),
        }
    }

    pub(super) fn honours_ids(&self) -> bool {
        self.honours_ids.load(Ordering::Relaxed)
    }

    /// What the newest answer of the endpoint itself has shown.
    pub(super) fn set_honours_ids(&self, honours: bool) {
        self.honours_ids.store(honours, Ordering::Relaxed);
    }

    pub(super) fn takes_bytes(&self) -> bool {
        self.takes_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_takes_bytes(&self, takes: bool) {
        self.takes_bytes.store(takes, Ordering::Relaxed);
    }

    /// Asks for JSON from now on; answers whether that is new.
    pub(super) fn set_json_only(&self) -> bool {
        !self.json_only.swap(true, Ordering::Relaxed)
    }

    /// Nothing is sent until then.
    pub(super) fn pause_until(&self, until: Instant) {
        let mut pause = self.pause.lock();
        *pause = (*pause).max(Some(until));
    }

    pub(super) async fn until_resumed(&self) {
        let until = *self.pause.lock();
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    pub(super) fn leaves(&self) -> Left {
        Left {
            micros: self.clock.ours(),
            at: Instant::now(),
        }
    }

    /// A request of commands; `id` names it where it writes. The error is for a
    /// path that is none.
    pub(super) fn request(
        &self,
        call: &Call,
        id: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = self.post(&call.path, call.body.clone())?;
        let headers = request.headers_mut();
        let is_json = call.body.first() == Some(&b'[');
        headers.insert(CONTENT_TYPE, if is_json { JSON } else { OCTETS });
        if matches!(call.form, Form::Transaction(_)) || self.json_only.load(Ordering::Relaxed) {
            headers.insert(ENCODING, HeaderValue::from_static("base64"));
        } else {
            headers.insert(FORMAT, HeaderValue::from_static("resp2"));
        }
        if let Some(synced) = &*self.sync.lock() {
            headers.insert(SYNC_TOKEN, synced.token.clone());
        }
        if let Some(id) = id {
            headers.insert(request_id::HEADER, id.clone());
        }
        Ok(request)
    }

    /// A POST with what every request has.
    pub(super) fn post(&self, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let base = self.endpoint.base.as_str();
        let path = match (base, path) {
            ("", path) => path.to_owned(),
            (base, "/") => base.to_owned(),
            (base, path) => format!("{base}{path}"),
        };
        let uri = Uri::try_from(path).map_err(|error| error.to_string())?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.authority.clone());
        headers.insert(AUTHORIZATION, self.endpoint.authorization.clone());
        headers.insert(USER_AGENT, AGENT);
        Ok(request)
    }

    /// A name for a request.
    pub(super) fn new_id(&self) -> Option<HeaderValue> {
        request_id::make(self.clock.server_millis())
    }

    /// Learns from an answer's headers.
    pub(super) fn saw(&self, answer: &Answer, call: &Call, left: Left) {
        let headers = &answer.headers;
        if let Some(date) = headers.get(DATE) {
            let received = self.clock.ours();
            self.clock.saw(date.as_bytes(), left.micros, received);
        }
        if let Some(token) = headers.get(SYNC_TOKEN) {
            let mut sync = self.sync.lock();
            // An answer to a read that left before the newest token came may be
            // older than that; one that left after is not.
            let newer = sync.as_ref().is_none_or(|it| it.at <= left.at);
            if newer || call.writes {
                *sync = Some(Synced {
                    token: token.clone(),
                    at: Instant::now(),
                });
            }
        }
    }
}
