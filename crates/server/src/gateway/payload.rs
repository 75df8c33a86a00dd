//! Bodies: answers that are whole or a stream of events, and requests read up
//! to a limit.

use std::io::Cursor;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::convert::Infallible;
use std::future::poll_fn;

use super::events::Events;

/// Bytes over the limit that are read and thrown away, so that a client that
/// is still sending gets to read why it was refused.
const DISCARD_MAX: u64 = 64 * 1024 * 1024;

/// An answer's body.
pub enum Payload {
    /// All of it.
    Whole(Vec<u8>),
    /// Events as they come.
    Events(Box<Events>),
    /// An answer of the API.
    Api(Box<axum::body::Body>),
}

impl Payload {
    pub(super) fn api(body: axum::body::Body) -> Self {
        Payload::Api(Box::new(body))
    }
}

impl Body for Payload {
    type Data = Cursor<Vec<u8>>;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        let data = match self.get_mut() {
            Payload::Whole(bytes) if bytes.is_empty() => None,
            Payload::Whole(bytes) => Some(std::mem::take(bytes)),
            Payload::Events(events) => match events.poll_next(context) {
                Poll::Ready(bytes) => bytes,
                Poll::Pending => return Poll::Pending,
            },
            Payload::Api(body) => loop {
                match Pin::new(&mut **body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        // Without a copy, as nobody else has the bytes.
                        Ok(bytes) => break Some(bytes.into()),
                        Err(_trailers) => {}
                    },
                    Poll::Ready(_) => break None,
                    Poll::Pending => return Poll::Pending,
                }
            },
        };
        Poll::Ready(data.map(|bytes| Ok(Frame::data(Cursor::new(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Payload::Whole(bytes) => bytes.is_empty(),
            Payload::Events(_) => false,
            Payload::Api(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Events(_) => SizeHint::default(),
            Payload::Api(body) => body.size_hint(),
        }
    }
}

/// Why a request's body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It has this many bytes.
    TooLong(u64),
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke, or its framing did.
    Broken,
}

/// Reads a body of at most `limit` bytes. One that arrived in one piece is not
/// copied, and one that is here already needs no timer.
pub(super) async fn collect(
    mut body: Incoming,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Unread> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let announced = body.size_hint().exact();
    if let Some(bytes) = announced.filter(|bytes| *bytes > limit as u64) {
        return Err(Unread::TooLong(discard(body, bytes, patience).await));
    }
    let mut timer = None;
    let mut first = Bytes::new();
    let mut all: Vec<u8> = Vec::new();
    loop {
        let frame = poll_fn(|context| {
            if let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(context) {
                return Poll::Ready(Ok(frame));
            }
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
            timer.as_mut().poll(context).map(|()| Err(Unread::TooSlow))
        });
        let data = match frame.await? {
            None => break,
            Some(Err(_)) => return Err(Unread::Broken),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(_trailers) => continue,
            },
        };
        let so_far = all.len().max(first.len()) + data.len();
        if so_far > limit {
            drop((all, first));
            return Err(Unread::TooLong(
                discard(body, so_far as u64, patience).await,
            ));
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(
                    announced
                        .map_or(so_far, |bytes| bytes as usize)
                        .min(so_far * 8),
                );
                all.extend_from_slice(&first);
                first = Bytes::new();
            }
            all.extend_from_slice(&data);
        }
        if announced == Some(so_far as u64) {
            break;
        }
    }
    Ok(if all.is_empty() {
        first
    } else {
        Bytes::from(all)
    })
}

/// Throws a body away, unless it is longer than `limit`.
pub(super) async fn drain(mut body: Incoming, limit: usize, patience: Duration) {
    let announced = body.size_hint().exact();
    if body.is_end_stream() || announced.is_some_and(|bytes| bytes > limit as u64) {
        return;
    }
    let mut total = 0;
    let read = async {
        while total <= limit
            && let Some(Ok(frame)) = next_frame(&mut body).await
        {
            total += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _ = tokio::time::timeout(patience, pin!(read)).await;
}

/// Reads what is left of a body that is too long; answers its length as far as
/// it is known.
async fn discard(mut body: Incoming, known: u64, patience: Duration) -> u64 {
    let mut total = if body.size_hint().exact() == Some(known) {
        0
    } else {
        known
    };
    let read = async {
        while total < DISCARD_MAX {
            match next_frame(&mut body).await {
                Some(Ok(frame)) => total += frame.data_ref().map_or(0, |data| data.len() as u64),
                _ => break,
            }
        }
    };
    let _ = tokio::time::timeout(patience, pin!(read)).await;
    total.max(known)
}

async fn next_frame(body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}
