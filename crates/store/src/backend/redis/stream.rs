//! A socket that is watched: whether it is closed and why, whether it is silent,
//! and what comes over it made fit for redis-rs.
//!
//! redis-rs ends a connection at an error or status line that is not UTF-8,
//! which any script can answer (`redis.error_reply('\255')`), and with it the
//! calls of everybody else on it. Such bytes become `?` on their way in. Bulk
//! strings are left alone. Cost: a search for the line ends, not for the bytes of
//! bulk strings.
//!
//! Where several callers are on their way, the task that owns the connection lets
//! others run once before it writes: of callers that got their replies together
//! the next commands leave together, instead of one by one with a call of the
//! system each. A caller that is alone does not pay for that.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket of any kind, with TLS or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Callers from which on a write waits for others to join it.
const GATHERING: usize = 4;

/// What is known of a connection from outside.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    closed: AtomicBool,
    /// Reads that brought something.
    heard: AtomicU64,
    /// Whether an answer is awaited, or may be.
    doubt: AtomicBool,
    /// Callers that wait for a reply.
    callers: AtomicUsize,
    reason: Mutex<Option<String>>,
}

impl Pulse {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Says that it is over; the first reason stays.
    pub(super) fn close(&self, reason: impl FnOnce() -> String) {
        self.reason.lock().get_or_insert_with(reason);
        self.closed.store(true, Ordering::Release);
    }

    /// Why it is over.
    pub(super) fn reason(&self) -> String {
        let reason = self.reason.lock().clone();
        reason.unwrap_or_else(|| "it was closed".to_owned())
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether something should have come and did not.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt.load(Ordering::Relaxed)
    }

    /// A caller begins to wait.
    pub(super) fn enter(&self) {
        self.callers.fetch_add(1, Ordering::Relaxed);
    }

    /// A caller waits no longer.
    pub(super) fn exit(&self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Somebody waited in vain.
    pub(super) fn doubt(&self) {
        self.doubt.store(true, Ordering::Relaxed);
    }
}

/// A socket with its pulse taken.
pub(super) struct Watched {
    socket: Box<dyn Socket>,
    pulse: Arc<Pulse>,
    text: Text,
    /// Whether others were let run since the last write.
    gathered: bool,
}

impl Watched {
    pub(super) fn new(socket: Box<dyn Socket>, pulse: Arc<Pulse>) -> Self {
        Watched {
            socket,
            pulse,
            text: Text::Start,
            gathered: false,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let outcome = ready!(Pin::new(&mut this.socket).poll_read(context, buf));
        match &outcome {
            Ok(()) => {
                let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
                if fresh.is_empty() {
                    this.pulse.close(|| "the server closed it".to_owned());
                } else {
                    this.pulse.heard.fetch_add(1, Ordering::Relaxed);
                    this.pulse.doubt.store(false, Ordering::Relaxed);
                    this.text.clean(fresh);
                }
            }
            Err(error) => this.pulse.close(|| error.to_string()),
        }
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.gathered && self.pulse.callers.load(Ordering::Relaxed) >= GATHERING {
            self.gathered = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let outcome = ready!(Pin::new(&mut self.socket).poll_write(context, buf));
        match &outcome {
            Ok(count) => {
                self.gathered = *count < buf.len();
                self.pulse.doubt();
            }
            Err(error) => self.pulse.close(|| error.to_string()),
        }
        Poll::Ready(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Where in the server's replies the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// At the first byte of a reply.
    Start,
    /// In a line of text.
    Shown,
    /// In a line of something else.
    Line,
    /// In the line of a bulk string's length; what was read of it.
    Length(usize),
    /// In a bulk string; bytes to its end.
    Bulk(usize),
}

impl Text {
    /// Makes lines of text UTF-8, in place. A letter that two reads tear apart is
    /// lost.
    fn clean(&mut self, mut bytes: &mut [u8]) {
        while let Some(first) = bytes.first() {
            if *self == Text::Start {
                *self = match first {
                    b'+' | b'-' => Text::Shown,
                    b'$' | b'=' | b'!' => Text::Length(0),
                    _ => Text::Line,
                };
            }
            let taken = match self {
                Text::Bulk(left) => {
                    let taken = bytes.len().min(*left);
                    *left -= taken;
                    if *left == 0 {
                        *self = Text::Start;
                    }
                    taken
                }
                Text::Start | Text::Shown | Text::Line | Text::Length(_) => {
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let taken = end.map_or(bytes.len(), |at| at + 1);
                    let line = bytes.get_mut(..taken).unwrap_or_default();
                    match self {
                        Text::Shown => make_utf8(line),
                        Text::Length(length) => {
                            for digit in line.iter().filter(|byte| byte.is_ascii_digit()) {
                                let digit = usize::from(digit - b'0');
                                *length = length.saturating_mul(10).saturating_add(digit);
                            }
                            if line.contains(&b'-') {
                                *self = Text::Line;
                            }
                        }
                        _ => {}
                    }
                    if end.is_some() {
                        *self = match self {
                            Text::Length(length) => Text::Bulk(length.saturating_add(2)),
                            _ => Text::Start,
                        };
                    }
                    taken
                }
            };
            bytes = bytes.get_mut(taken..).unwrap_or_default();
        }
    }
}

fn make_utf8(mut text: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(text) {
        let from = error.valid_up_to();
        let many = error.error_len().unwrap_or(text.len() - from);
        let Some(rest) = text.get_mut(from..) else {
            return;
        };
        let (wrong, after) = rest.split_at_mut(many.min(rest.len()));
        wrong.fill(b'?');
        text = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_cleaned_however_it_is_cut() {
        let sent = b"-ERR \xff\xfe!\r\n$3\r\n\xff\r\n\r\n+a\xc3\xa9\r\n*2\r\n:1\r\n$-1\r\n=5\r\ntxt:\xff\r\n%1\r\n+\x80\r\n_\r\n";
        let mut whole = sent.to_vec();
        Text::Start.clean(&mut whole);
        assert_eq!(
            whole.escape_ascii().to_string(),
            b"-ERR ??!\r\n$3\r\n\xff\r\n\r\n+a\xc3\xa9\r\n*2\r\n:1\r\n$-1\r\n=5\r\ntxt:\xff\r\n%1\r\n+?\r\n_\r\n"
                .escape_ascii()
                .to_string()
        );
        for size in 1..sent.len() {
            let mut state = Text::Start;
            let mut pieces = Vec::new();
            for piece in sent.chunks(size) {
                let mut piece = piece.to_vec();
                state.clean(&mut piece);
                pieces.extend_from_slice(&piece);
            }
            assert_eq!(state, Text::Start);
            let without = |bytes: &[u8]| {
                bytes
                    .iter()
                    .filter(|byte| !matches!(**byte, b'?' | 0xc3 | 0xa9))
                    .count()
            };
            // The letter may be torn; all else is the same.
            assert!(without(&pieces) == without(&whole), "{size}");
            assert_eq!(pieces.len(), sent.len());
        }
    }
}
