//! Upstash's REST API over HTTP/1.1: the front door of `@upstash/redis`.
//!
//! It stands on hyper itself, with no router before the hot path, and knows
//! the store behind it only as [`Commands`]. A request's life: method, token,
//! headers that choose a format, body up to a limit, argument vectors, reply.
//!
//! A request whose answer is larger than the limit is refused, and so consumes
//! nothing: a single command or a transaction is undone. A pipeline is not
//! atomic: it stops at the command whose reply no longer fits, which is undone;
//! what ran before it stays, though the whole answer is refused.
//!
//! Each connection has one session, so a request that repeats the token of the
//! one before costs a comparison and not a look-up. Answers reuse the memory of
//! the request's headers; a warm connection allocates a reply and its body.

mod answer;
mod commands;
mod connection;
mod events;
mod health;
mod metrics;
mod over_engine;
mod over_store;
mod payload;
mod replies;
mod request_id;
mod stall;
mod sync_token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, EXPECT, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use sangam_engine::Reply;
use sangam_engine::keyspace::requests::RequestId;
use sangam_engine::pubsub::Topic;
use sangam_wire::resp;
use sangam_wire::rest::{
    self, Encoding, PathCommand, ResponseFormat, RestError, query_token, write_error, write_reply,
};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

pub use commands::{
    Answer, Beside, Commands, Degraded, Each, Feed, Outage, Place, Readiness, Refusal, Room,
    Subscribed, Told,
};
pub use events::Events;
pub use metrics::Page;
pub use over_engine::OverEngine;
pub use over_store::OverStore;
pub use payload::Payload;

use crate::api::Api;
use crate::config::{Config, Timing};
use crate::listener::{Door, Ends, Transport};
use answer::{Shape, answer, bare, page, preflight, stream};
use payload::{Unread, collect, drain};
use replies::Replies;
use request_id::Malformed;
use sync_token::{LastToken, SyncTokens};

/// HTTP connections that may be open, as many as RESP's unless CONFIG says
/// otherwise.
const CONNECTIONS_MAX: usize = 10_000;
/// Longest token that is looked up; longer ones open nothing.
const TOKEN_MAX: usize = 4096;

/// What a byte of [`Reply::weight`] can become in an answer at most: `\u0000`
/// in JSON.
const EXPANSION: usize = 6;

/// The gateway of one store.
pub struct Gateway<C> {
    commands: C,
    limit: usize,
    timing: Timing,
    sync_tokens: SyncTokens,
    began: Instant,
    api: Option<Api>,
}

impl<C: Commands> Gateway<C> {
    /// A gateway before `commands`.
    pub fn new(commands: C, config: &Config) -> Self {
        // Without chance the header is only less opaque.
        let seed = getrandom::u64().unwrap_or_default();
        Gateway {
            commands,
            limit: config.max_request_size,
            timing: config.timing.clone(),
            sync_tokens: SyncTokens::new(seed),
            began: Instant::now(),
            api: None,
        }
    }

    /// The same with an API beside the commands.
    #[must_use]
    pub fn with_api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }
}

impl<C: Commands> Door for Gateway<C> {
    const TOO_MANY: &'static [u8] = b"HTTP/1.1 400 Bad Request\r\n\
        content-type: application/json; charset=utf-8\r\ncontent-length: 52\r\n\
        connection: close\r\n\r\n{\"error\":\"ERR max concurrent connections exceeded\"}\n";

    fn connections_max(&self) -> usize {
        CONNECTIONS_MAX
    }

    async fn serve<S: Transport>(self: Arc<Self>, stream: S, ends: Ends, stop: CancellationToken) {
        connection::serve(self, stream, ends, stop).await;
    }
}

/// What a connection keeps from request to request.
struct Caller<C: Commands> {
    inner: C::Caller,
    /// The token that says who the caller is; empty for none.
    token: Vec<u8>,
    /// What the caller's revision was at then: a user's token holds until the
    /// user changes.
    revision: u64,
    last: LastToken,
    stop: CancellationToken,
}

impl<C: Commands> Caller<C> {
    fn new(gateway: &Gateway<C>, remote: SocketAddr, stop: CancellationToken) -> Self {
        Caller {
            inner: gateway.commands.caller(remote.to_string()),
            token: Vec::new(),
            revision: 0,
            last: LastToken::new(&gateway.sync_tokens),
            stop,
        }
    }

    fn authenticate(&mut self, commands: &C, parts: &Parts) -> Result<(), RestError> {
        let from_query = parts.uri.query().and_then(query_token);
        let token = match &from_query {
            Some(token) => token,
            None => bearer(&parts.headers),
        };
        if token.is_empty() || token.len() > TOKEN_MAX {
            return Err(RestError::Unauthorized);
        }
        let revision = commands.revision(&self.inner);
        if bool::from(self.token.as_slice().ct_eq(token)) && revision == self.revision {
            return Ok(());
        }
        // Nothing is left of the one before, whatever comes of this.
        self.token.clear();
        self.revision = commands
            .authenticate(&mut self.inner, token)
            .ok_or(RestError::Unauthorized)?;
        self.token.extend_from_slice(token);
        Ok(())
    }
}

/// The header's token, with or without `Bearer`.
fn bearer(headers: &HeaderMap) -> &[u8] {
    let value = headers
        .get(AUTHORIZATION)
        .map_or(&b""[..], HeaderValue::as_bytes)
        .trim_ascii();
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
            token.trim_ascii_start()
        }
        _ => value,
    }
}

/// How the answer is to be written.
#[derive(Clone, Copy)]
struct Style {
    encoding: Encoding,
    format: ResponseFormat,
}

impl Style {
    fn of(headers: &HeaderMap) -> Result<Self, RestError> {
        let value = |name| headers.get(name).map(HeaderValue::as_bytes);
        let encoding = Encoding::from_header(value(Encoding::HEADER))?;
        let format = ResponseFormat::from_header(value(ResponseFormat::HEADER), encoding)?;
        Ok(Style { encoding, format })
    }

    fn write(self, reply: &Reply, out: &mut Vec<u8>) {
        match self.format {
            ResponseFormat::Json => write_reply(reply, self.encoding, out),
            ResponseFormat::Resp2 => resp::encode(reply, resp::Protocol::Resp2, out),
        }
    }

    /// Bytes of an answer with this reply alone.
    fn size(self, reply: &Reply) -> usize {
        let mut body = Vec::with_capacity(first_size(reply));
        self.write(reply, &mut body);
        body.len()
    }
}

/// What became of a request: a status, a body, and the writes that it saw.
struct Outcome {
    status: StatusCode,
    format: ResponseFormat,
    body: Vec<u8>,
    beside: Option<Beside>,
}

impl Outcome {
    fn refused(error: &RestError) -> Self {
        let mut body = Vec::new();
        error.write(&mut body);
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Outcome {
            status,
            format: ResponseFormat::Json,
            body,
            beside: None,
        }
    }

    /// The same, or the refusal of the whole batch in its place.
    fn unless_refused(mut self, outcome: Result<(), Reply>, encoding: Encoding) -> Self {
        if let Err(refusal) = outcome {
            self.body.clear();
            self.format = ResponseFormat::Json;
            self.status = failed(self.beside.and_then(|beside| beside.outage));
            write_reply(&refusal, encoding, &mut self.body);
        }
        self
    }
}

/// The status of an answer that is an error.
fn failed(outage: Option<Outage>) -> StatusCode {
    match outage {
        None => StatusCode::BAD_REQUEST,
        Some(Outage::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
        // Proxies take a 502, 503 or 504 for a request that may be sent again.
        Some(Outage::Unknown) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a path asks for.
enum Route {
    Body,
    Pipeline,
    Transaction,
    Subscribe(Topic),
    Monitor,
    Metrics,
    Path,
}

impl Route {
    fn of(path: &str) -> Self {
        let rest = path.strip_prefix('/').unwrap_or(path);
        // Nearly all requests end here.
        match rest {
            "" => return Route::Body,
            "pipeline" => return Route::Pipeline,
            "multi-exec" => return Route::Transaction,
            "metrics" => return Route::Metrics,
            _ => {}
        }
        match rest.split_once('/').map_or(rest, |(first, _)| first) {
            "subscribe" => Route::Subscribe(Topic::Channel),
            "psubscribe" => Route::Subscribe(Topic::Pattern),
            "monitor" => Route::Monitor,
            _ => Route::Path,
        }
    }
}

/// What a request asks for, beside its commands.
#[derive(Clone, Copy)]
struct Asked<'a> {
    route: &'a Route,
    style: Style,
    /// That which its writes run under once.
    id: Option<RequestId>,
    /// Whether its method has a body.
    with_body: bool,
}

impl<C: Commands> Gateway<C> {
    /// Serves one request of `caller`.
    async fn handle(
        &self,
        caller: &mut Caller<C>,
        request: Request<Incoming>,
    ) -> Response<Payload> {
        if let Some(api) = &self.api
            && Api::owns(request.uri().path())
        {
            return api.call(request).await.map(Payload::api);
        }
        let (parts, body) = request.into_parts();
        if let path @ ("/live" | "/ready") = parts.uri.path() {
            self.drain(&parts, body).await;
            if path == "/live" {
                return health::live(&parts.method);
            }
            let unsent = self.api.as_ref().map_or(0, Api::unsent);
            return health::ready(&self.commands, &self.timing, unsent, &parts.method).await;
        }
        let with_body = match parts.method {
            Method::POST | Method::PUT => true,
            Method::GET | Method::HEAD => false,
            Method::OPTIONS => {
                self.drain(&parts, body).await;
                return preflight(&parts.headers);
            }
            _ => {
                self.drain(&parts, body).await;
                return bare(StatusCode::METHOD_NOT_ALLOWED, parts.headers);
            }
        };
        let route = Route::of(parts.uri.path());
        let given = request_id::given(&parts.headers);
        let outcome = match self.open(caller, &parts) {
            Err(error) => {
                self.drain(&parts, body).await;
                Outcome::refused(&error)
            }
            Ok(_) if given.is_err() => {
                self.drain(&parts, body).await;
                self.error(StatusCode::BAD_REQUEST, request_id::MALFORMED)
            }
            Ok(_) if matches!(route, Route::Subscribe(_) | Route::Monitor) => {
                self.drain(&parts, body).await;
                let events = match route {
                    Route::Monitor => self.monitor(caller),
                    _ => self.subscribe(caller, &route, &parts).await,
                };
                match events {
                    Ok(events) => return stream(events, parts.headers),
                    Err(outcome) => outcome,
                }
            }
            Ok(_) if matches!(route, Route::Metrics) => {
                self.drain(&parts, body).await;
                match self.metrics(caller).await {
                    Ok(text) => return page(text, parts.headers),
                    Err(refusal) => self.refused(caller, &refusal.into()),
                }
            }
            Ok(style) => match collect(body, self.limit, self.timing.body).await {
                Ok(body) => {
                    let asked = Asked {
                        route: &route,
                        style,
                        id: self.honoured(given),
                        with_body,
                    };
                    self.run(caller, asked, &parts, &body).await
                }
                Err(unread) => self.unread(unread),
            },
        };
        let seq = match (outcome.status, outcome.beside) {
            (StatusCode::UNAUTHORIZED, _) => None,
            (_, Some(beside)) => Some(beside.seq),
            (_, None) => self.commands.position(&caller.inner),
        };
        let is_known = outcome.status != StatusCode::UNAUTHORIZED;
        let is_honoured = is_known && self.honoured(given).is_some();
        let outage = outcome.beside.and_then(|beside| beside.outage);
        let shape = Shape {
            status: outcome.status,
            format: outcome.format,
            request_id: is_honoured
                .then(|| parts.headers.get(request_id::HEADER).cloned())
                .flatten(),
            sync_token: seq.map(|seq| caller.last.at(seq, &self.sync_tokens)),
            retry_after: match outage {
                Some(Outage::Unavailable(seconds)) => seconds,
                Some(Outage::Unknown) | None => None,
            },
        };
        answer(shape, outcome.body, parts.headers)
    }

    /// Reads a body that nobody wants, so that a client that is still sending
    /// gets to read the answer and the connection can go on. One that waits to
    /// be asked for it is not asked.
    async fn drain(&self, parts: &Parts, body: Incoming) {
        if !parts.headers.contains_key(EXPECT) {
            drain(body, self.limit, self.timing.body).await;
        }
    }

    fn open(&self, caller: &mut Caller<C>, parts: &Parts) -> Result<Style, RestError> {
        caller.authenticate(&self.commands, parts)?;
        Style::of(&parts.headers)
    }

    /// The id of a request, where the store can do something with it.
    fn honoured(&self, given: Result<Option<RequestId>, Malformed>) -> Option<RequestId> {
        given.ok()?.filter(|_| self.commands.honours_ids())
    }

    async fn run(
        &self,
        caller: &mut Caller<C>,
        asked: Asked<'_>,
        parts: &Parts,
        body: &[u8],
    ) -> Outcome {
        let caller = &mut caller.inner;
        let outcome = match asked.route {
            Route::Body => match rest::Command::parse(body) {
                Ok(command) => self.one(caller, asked, &command.argv()).await,
                Err(error) => Err(error),
            },
            Route::Pipeline => match rest::Batch::parse(body) {
                Ok(batch) => self.pipeline(caller, asked, &batch).await,
                Err(error) => Err(error),
            },
            Route::Transaction => match rest::Batch::parse(body) {
                Ok(batch) => self.transaction(caller, asked, &batch).await,
                Err(error) => Err(error),
            },
            Route::Path | Route::Subscribe(_) | Route::Monitor | Route::Metrics => {
                let body = if asked.with_body { body } else { &[] };
                match PathCommand::parse(parts.uri.path(), parts.uri.query(), body) {
                    Ok(command) => self.one(caller, asked, &command.argv()).await,
                    Err(error) => Err(error),
                }
            }
        };
        outcome.unwrap_or_else(|error| Outcome::refused(&error))
    }

    async fn one(
        &self,
        caller: &mut C::Caller,
        Asked { style, id, .. }: Asked<'_>,
        argv: &[&[u8]],
    ) -> Result<Outcome, RestError> {
        let fits = |reply: &Reply| {
            reply.weight().saturating_mul(EXPANSION) <= self.limit
                || style.size(reply) <= self.limit
        };
        let room = Room {
            bytes: self.limit,
            fits: &fits,
        };
        let (reply, beside) = self.commands.call(caller, argv, id, room).get().await;
        let mut body = Vec::with_capacity(first_size(&reply));
        style.write(&reply, &mut body);
        self.check_size(body.len())?;
        let status = if reply.is_error() {
            failed(beside.outage)
        } else {
            StatusCode::OK
        };
        Ok(Outcome {
            status,
            format: style.format,
            body,
            beside: Some(beside),
        })
    }

    async fn pipeline(
        &self,
        caller: &mut C::Caller,
        Asked { style, id, .. }: Asked<'_>,
        batch: &rest::Batch<'_>,
    ) -> Result<Outcome, RestError> {
        let mut replies = Replies::new(style, batch.len(), self.limit);
        let mut each = |reply: &Reply| replies.push(reply);
        let (outcome, beside) = self
            .commands
            .pipeline(caller, batch, id, &mut each)
            .get()
            .await;
        let body = replies.finish().map_err(|bytes| self.too_long(bytes))?;
        Ok(Outcome {
            status: StatusCode::OK,
            format: style.format,
            body,
            beside: Some(beside),
        }
        .unless_refused(outcome, style.encoding))
    }

    async fn transaction(
        &self,
        caller: &mut C::Caller,
        Asked { style, id, .. }: Asked<'_>,
        batch: &rest::Batch<'_>,
    ) -> Result<Outcome, RestError> {
        let style = Style {
            format: ResponseFormat::Json,
            ..style
        };
        let mut replies = Replies::new(style, batch.len(), self.limit);
        let mut each = |reply: &Reply| replies.push(reply);
        let (outcome, beside) = self
            .commands
            .transaction(caller, batch, id, &mut each)
            .get()
            .await;
        // Comes first: where they did not fit, the outcome is a refusal too.
        let body = replies.finish().map_err(|bytes| self.too_long(bytes))?;
        Ok(Outcome {
            status: StatusCode::OK,
            format: ResponseFormat::Json,
            body,
            beside: Some(beside),
        }
        .unless_refused(outcome, style.encoding))
    }

    fn monitor(&self, caller: &Caller<C>) -> Result<Events, Outcome> {
        let feed = self.commands.monitor(&caller.inner, &caller.token);
        let feed = feed.map_err(|refusal| self.refused(caller, &refusal))?;
        let silence = self.timing.event_keep_alive;
        Ok(Events::monitor(feed, silence, caller.stop.clone()))
    }

    async fn subscribe(
        &self,
        caller: &mut Caller<C>,
        route: &Route,
        parts: &Parts,
    ) -> Result<Events, Outcome> {
        let (topic, word) = match route {
            Route::Subscribe(Topic::Pattern) => (Topic::Pattern, "psubscribe"),
            _ => (Topic::Channel, "subscribe"),
        };
        let command = PathCommand::parse(parts.uri.path(), None, &[])
            .map_err(|error| Outcome::refused(&error))?;
        let argv = command.argv();
        let names = argv.get(1..).unwrap_or_default();
        if names.is_empty() {
            let text = format!("ERR wrong number of arguments for '{word}' command");
            return Err(self.error(StatusCode::BAD_REQUEST, &text));
        }
        let subscribed = self
            .commands
            .subscribe(&mut caller.inner, &caller.token, topic, names)
            .get()
            .await
            .map_err(|refusal| self.refused(caller, &refusal))?;
        let silence = self.timing.event_keep_alive;
        let stop = caller.stop.clone();
        Ok(Events::subscribed(subscribed, topic, names, silence, stop))
    }

    async fn metrics(&self, caller: &mut Caller<C>) -> Result<String, Reply> {
        let mut page = Page::default();
        page.gauge(
            "sangam_uptime_seconds",
            "Since the gateway was made.",
            &[],
            self.began.elapsed().as_secs_f64(),
        );
        self.commands
            .metrics(&mut caller.inner, &mut page)
            .get()
            .await?;
        if let Some(api) = &self.api {
            api.metrics(&mut page);
        }
        Ok(page.text())
    }

    /// The answer to a request for a stream or a page that is not given.
    fn refused(&self, caller: &Caller<C>, refusal: &Refusal) -> Outcome {
        let mut body = Vec::new();
        write_reply(&refusal.reply, Encoding::default(), &mut body);
        Outcome {
            status: failed(refusal.outage),
            format: ResponseFormat::Json,
            body,
            beside: Some(Beside {
                seq: self.commands.position(&caller.inner).unwrap_or_default(),
                outage: refusal.outage,
            }),
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), RestError> {
        if bytes > self.limit {
            return Err(self.too_long(bytes as u64));
        }
        Ok(())
    }

    fn too_long(&self, actual: u64) -> RestError {
        RestError::RequestSize {
            limit: self.limit as u64,
            actual,
        }
    }

    fn unread(&self, unread: Unread) -> Outcome {
        match unread {
            Unread::TooLong(actual) => Outcome::refused(&self.too_long(actual)),
            Unread::TooSlow => self.error(
                StatusCode::REQUEST_TIMEOUT,
                "ERR the request body did not arrive in time",
            ),
            Unread::Broken => self.error(StatusCode::BAD_REQUEST, "unexpected EOF"),
        }
    }

    #[allow(clippy::unused_self, reason = "beside the other refusals")]
    fn error(&self, status: StatusCode, text: &str) -> Outcome {
        let mut body = Vec::new();
        write_error(text.as_bytes(), &mut body);
        Outcome {
            status,
            format: ResponseFormat::Json,
            body,
            beside: None,
        }
    }
}

/// Bytes to begin an answer with: enough for a string in base64.
fn first_size(reply: &Reply) -> usize {
    match reply {
        Reply::Bulk(bytes) | Reply::Error(bytes) => bytes.len() + bytes.len() / 2 + 32,
        _ => 64,
    }
}
