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
mod payload;
mod replies;
mod stall;
mod sync_token;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, EXPECT, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use sangam_engine::pubsub::Topic;
use sangam_engine::session::{Dialect, Session};
use sangam_engine::{Reply, Seq};
use sangam_wire::resp;
use sangam_wire::rest::{
    self, Encoding, PathCommand, ResponseFormat, RestError, query_token, write_error, write_reply,
};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

pub use commands::{Answer, Commands, Each, Room};
pub use events::Events;
pub use payload::Payload;

use crate::config::{Config, Timing};
use crate::listener::{Door, Ends, Transport};
use answer::{Shape, answer, bare, preflight, stream};
use payload::{Unread, collect, drain};
use replies::Replies;
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
    /// Whose rules hold for its sessions.
    dialect: Dialect,
    limit: usize,
    timing: Timing,
    sync_tokens: SyncTokens,
}

impl<C: Commands> Gateway<C> {
    /// A gateway before `commands`.
    pub fn new(commands: C, config: &Config) -> Self {
        // Without chance the header is only less opaque.
        let seed = getrandom::u64().unwrap_or_default();
        Gateway {
            commands,
            dialect: if config.strict_upstash {
                Dialect::StrictUpstash
            } else {
                Dialect::Upstash
            },
            limit: config.max_request_size,
            timing: config.timing.clone(),
            sync_tokens: SyncTokens::new(seed),
        }
    }

    /// A session for requests from an address, without a principal yet.
    fn session(&self, remote: String) -> Session {
        let mut session = self.commands.session(remote);
        session.dialect = self.dialect;
        session
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
struct Caller {
    session: Session,
    /// The token that gave the session its principal; empty for none.
    token: Vec<u8>,
    /// What the principal's role was at then: a user's token holds until the
    /// user changes.
    revision: u64,
    last: LastToken,
    stop: CancellationToken,
}

impl Caller {
    fn new<C: Commands>(gateway: &Gateway<C>, remote: SocketAddr, stop: CancellationToken) -> Self {
        Caller {
            session: gateway.session(remote.to_string()),
            token: Vec::new(),
            revision: 0,
            last: LastToken::new(&gateway.sync_tokens),
            stop,
        }
    }

    fn authenticate<C: Commands>(&mut self, commands: &C, parts: &Parts) -> Result<(), RestError> {
        let from_query = parts.uri.query().and_then(query_token);
        let token = match &from_query {
            Some(token) => token,
            None => bearer(&parts.headers),
        };
        if token.is_empty() || token.len() > TOKEN_MAX {
            return Err(RestError::Unauthorized);
        }
        let principal = self.session.principal();
        let revision = principal.map_or(0, |principal| principal.role.revision());
        if bool::from(self.token.as_slice().ct_eq(token)) && revision == self.revision {
            return Ok(());
        }
        // Nothing is left of the one before, whatever comes of this.
        self.token.clear();
        let mut principal = commands
            .authenticate(token)
            .ok_or(RestError::Unauthorized)?;
        self.revision = principal.role.revision();
        if self.revision > 0 {
            // A change between the two must not pass for known.
            principal = commands
                .authenticate(token)
                .ok_or(RestError::Unauthorized)?;
        }
        self.session.set_principal(Some(principal));
        self.token.clear();
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
    seq: Option<Seq>,
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
            seq: None,
        }
    }

    /// The same, or the refusal of the whole batch in its place.
    fn unless_refused(mut self, outcome: Result<(), Reply>, encoding: Encoding) -> Self {
        if let Err(refusal) = outcome {
            self.body.clear();
            self.format = ResponseFormat::Json;
            self.status = StatusCode::BAD_REQUEST;
            write_reply(&refusal, encoding, &mut self.body);
        }
        self
    }
}

/// What a path asks for.
enum Route {
    Body,
    Pipeline,
    Transaction,
    Subscribe(Topic),
    Monitor,
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

impl<C: Commands> Gateway<C> {
    /// Serves one request of `caller`.
    async fn handle(&self, caller: &mut Caller, request: Request<Incoming>) -> Response<Payload> {
        let (parts, body) = request.into_parts();
        if let path @ ("/live" | "/ready") = parts.uri.path() {
            self.drain(&parts, body).await;
            return match path {
                "/live" => health::live(&parts.method),
                _ => health::ready(&self.commands, &self.timing, &parts.method).await,
            };
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
        let outcome = match self.open(caller, &parts) {
            Err(error) => {
                self.drain(&parts, body).await;
                Outcome::refused(&error)
            }
            Ok(_) if matches!(route, Route::Subscribe(_) | Route::Monitor) => {
                self.drain(&parts, body).await;
                let events = match route {
                    Route::Monitor => self.monitor(caller),
                    _ => self.subscribe(caller, &route, &parts),
                };
                match events {
                    Ok(events) => return stream(events, parts.headers),
                    Err(outcome) => outcome,
                }
            }
            Ok(style) => match collect(body, self.limit, self.timing.body).await {
                Ok(body) => {
                    self.run(caller, &route, style, &parts, with_body, &body)
                        .await
                }
                Err(unread) => self.unread(unread),
            },
        };
        let seq = match outcome.status {
            StatusCode::UNAUTHORIZED => None,
            _ => outcome
                .seq
                .or_else(|| caller.session.keyspace().map(|it| it.last_seq())),
        };
        let shape = Shape {
            status: outcome.status,
            format: outcome.format,
            sync_token: seq.map(|seq| caller.last.at(seq, &self.sync_tokens)),
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

    fn open(&self, caller: &mut Caller, parts: &Parts) -> Result<Style, RestError> {
        caller.authenticate(&self.commands, parts)?;
        Style::of(&parts.headers)
    }

    async fn run(
        &self,
        caller: &mut Caller,
        route: &Route,
        style: Style,
        parts: &Parts,
        with_body: bool,
        body: &[u8],
    ) -> Outcome {
        let session = &mut caller.session;
        let outcome = match route {
            Route::Body => match rest::Command::parse(body) {
                Ok(command) => self.one(session, style, &command.argv()).await,
                Err(error) => Err(error),
            },
            Route::Pipeline => match rest::Batch::parse(body) {
                Ok(batch) => self.pipeline(session, style, &batch).await,
                Err(error) => Err(error),
            },
            Route::Transaction => match rest::Batch::parse(body) {
                Ok(batch) => self.transaction(session, style, &batch).await,
                Err(error) => Err(error),
            },
            Route::Path | Route::Subscribe(_) | Route::Monitor => {
                let body = if with_body { body } else { &[] };
                match PathCommand::parse(parts.uri.path(), parts.uri.query(), body) {
                    Ok(command) => self.one(session, style, &command.argv()).await,
                    Err(error) => Err(error),
                }
            }
        };
        outcome.unwrap_or_else(|error| Outcome::refused(&error))
    }

    async fn one(
        &self,
        session: &mut Session,
        style: Style,
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
        let (reply, seq) = self.commands.call(session, argv, room).get().await;
        let mut body = Vec::with_capacity(first_size(&reply));
        style.write(&reply, &mut body);
        self.check_size(body.len())?;
        let status = if reply.is_error() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::OK
        };
        Ok(Outcome {
            status,
            format: style.format,
            body,
            seq: Some(seq),
        })
    }

    async fn pipeline(
        &self,
        session: &mut Session,
        style: Style,
        batch: &rest::Batch<'_>,
    ) -> Result<Outcome, RestError> {
        let mut replies = Replies::new(style, batch.len(), self.limit);
        let mut each = |reply: &Reply| replies.push(reply);
        let (outcome, seq) = self
            .commands
            .pipeline(session, batch, &mut each)
            .get()
            .await;
        let body = replies.finish().map_err(|bytes| self.too_long(bytes))?;
        Ok(Outcome {
            status: StatusCode::OK,
            format: style.format,
            body,
            seq: Some(seq),
        }
        .unless_refused(outcome, style.encoding))
    }

    async fn transaction(
        &self,
        session: &mut Session,
        style: Style,
        batch: &rest::Batch<'_>,
    ) -> Result<Outcome, RestError> {
        let style = Style {
            format: ResponseFormat::Json,
            ..style
        };
        let mut replies = Replies::new(style, batch.len(), self.limit);
        let mut each = |reply: &Reply| replies.push(reply);
        let (outcome, seq) = self
            .commands
            .transaction(session, batch, &mut each)
            .get()
            .await;
        // Comes first: where they did not fit, the outcome is a refusal too.
        let body = replies.finish().map_err(|bytes| self.too_long(bytes))?;
        Ok(Outcome {
            status: StatusCode::OK,
            format: ResponseFormat::Json,
            body,
            seq: Some(seq),
        }
        .unless_refused(outcome, style.encoding))
    }

    /// A session for a stream, which outlives the request.
    fn listener(&self, caller: &Caller) -> Session {
        let remote = caller.session.client().addr.clone();
        let mut session = self.session(remote);
        session.set_principal(caller.session.principal().cloned());
        session
    }

    /// Refuses a stream that the session's user may not open.
    fn permit(&self, session: &Session, request: &[&[u8]]) -> Result<(), Outcome> {
        let Some(refusal) = self.commands.refuse(session, request) else {
            return Ok(());
        };
        let mut body = Vec::new();
        write_reply(&refusal, Encoding::default(), &mut body);
        Err(Outcome {
            status: StatusCode::BAD_REQUEST,
            format: ResponseFormat::Json,
            body,
            seq: None,
        })
    }

    fn monitor(&self, caller: &Caller) -> Result<Events, Outcome> {
        let session = self.listener(caller);
        self.permit(&session, &[b"monitor"])?;
        let warrant = self.commands.warrant(&caller.token, &[b"monitor"]);
        let silence = self.timing.event_keep_alive;
        Events::monitor(session, warrant, silence, caller.stop.clone())
            .map_err(|refusal| self.error(StatusCode::BAD_REQUEST, &refusal.to_string()))
    }

    fn subscribe(&self, caller: &Caller, route: &Route, parts: &Parts) -> Result<Events, Outcome> {
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
        let session = self.listener(caller);
        let request: Vec<&[u8]> = [word.as_bytes()]
            .into_iter()
            .chain(names.iter().copied())
            .collect();
        self.permit(&session, &request)?;
        let warrant = self.commands.warrant(&caller.token, &request);
        let silence = self.timing.event_keep_alive;
        Ok(Events::new(
            session,
            warrant,
            topic,
            names,
            silence,
            caller.stop.clone(),
        ))
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
            seq: None,
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
