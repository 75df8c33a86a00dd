//! One keep-alive connection, driven by whoever uses it.
//!
//! hyper splits a connection into a handle and a future that does the work. Both
//! stay together here, and the future is polled by the task that waits: no task
//! in between, and a connection that is dropped is closed.

use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::Socket;

use super::endpoint::Transport;

type Io = TokioIo<Box<dyn Transport>>;

/// Where proxies close a connection that is idle, most do after a minute: ours
/// are closed before, so that few requests meet a connection that is going.
const IDLE_MAX: Duration = Duration::from_secs(50);

pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    socket: Socket,
    last: Instant,
    /// Whether a request has gone over it.
    pub(super) used: bool,
}

struct Driver {
    connection: Pin<Box<http1::Connection<Io, Full<Bytes>>>>,
    over: bool,
}

/// An answer as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Break {
    /// The connection was gone before a byte was written.
    Before,
    /// It broke since.
    After(String),
    /// What came is no HTTP.
    Garbage,
    /// The answer, whose status this is, is larger than it may be.
    TooLarge(StatusCode),
}

impl Connection {
    pub(super) async fn over(stream: Box<dyn Transport>, socket: Socket) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection {
            sender,
            driver: Driver {
                connection: Box::pin(connection),
                over: false,
            },
            socket,
            last: Instant::now(),
            used: false,
        })
    }

    /// Until the other side closes it, or it was idle for long enough.
    pub(super) async fn until_closed(&mut self) {
        let rest = IDLE_MAX.saturating_sub(self.last.elapsed());
        let driver = &mut self.driver;
        let closed = poll_fn(|context| {
            if driver.over {
                return Poll::Ready(());
            }
            let polled = driver.connection.as_mut().poll(context).map(drop);
            driver.over = polled.is_ready();
            polled
        });
        let _ = tokio::time::timeout(rest, closed).await;
    }

    /// Sends a request, and reads an answer of at most `limit` bytes. After any
    /// failure the connection is to be dropped.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Answer, Break> {
        let (parts, mut body) = self.open(request).await?.into_parts();
        let announced = body.size_hint().exact().unwrap_or(0);
        if announced > limit as u64 {
            return Err(Break::TooLarge(parts.status));
        }
        // What is announced is not yet here.
        let mut read = Vec::with_capacity((announced as usize).min(1 << 20));
        while let Some(data) = self.data(&mut body).await? {
            if read.len() + data.len() > limit {
                return Err(Break::TooLarge(parts.status));
            }
            read.extend_from_slice(&data);
        }
        self.last = Instant::now();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: read,
        })
    }

    /// Sends a request, and reads the head of the answer.
    pub(super) async fn open(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Break> {
        if self.used && self.is_gone() || self.driver.run(self.sender.ready()).await.is_err() {
            return Err(Break::Before);
        }
        self.used = true;
        let response = self.sender.try_send_request(request);
        let outcome = self.driver.run(response).await;
        outcome.map_err(|mut error| match error.take_message() {
            Some(_) => Break::Before,
            None => broken(&error.into_error()),
        })
    }

    /// Whether the other side has ended the connection, though the runtime may not
    /// have heard of it yet: what is written now would be lost.
    fn is_gone(&self) -> bool {
        match self.socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn data(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Break> {
        loop {
            match self.driver.run(body.frame()).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Driver {
    /// Does the connection's work until `wait` is over.
    async fn run<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        poll_fn(|context| {
            if !self.over {
                // What became of it, `wait` hears.
                self.over = self.connection.as_mut().poll(context).is_ready();
            }
            wait.as_mut().poll(context)
        })
        .await
    }
}

fn broken(error: &hyper::Error) -> Break {
    if error.is_parse() {
        return Break::Garbage;
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    Break::After(text)
}
