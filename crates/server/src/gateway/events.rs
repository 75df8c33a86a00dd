//! `/subscribe`, `/psubscribe` and `/monitor`: what comes unasked, as server-sent
//! events.
//!
//! A frame is one line, `data: message,<channel>,<payload>`, as the SDK reads
//! it: it looks at lines that begin with `data: `, splits at the first commas
//! and parses the payload as JSON, taking it as text where it is none. A line
//! end inside a payload would end the frame and could forge another, so such a
//! payload goes out as JSON that means the same: its line ends as blanks if it
//! is JSON already (there they are only layout), else as a JSON string.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sangam_engine::pubsub::{Message, Topic};
use serde::de::IgnoredAny;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::commands::{Feed, Subscribed, Told};

/// Bytes of events that go out as one chunk.
const CHUNK: usize = 64 * 1024;

/// The stream of one request; dropping it ends its subscriptions.
pub struct Events {
    feed: Box<dyn Feed>,
    /// What a subscription begins with, told again where messages may be missing:
    /// the SDK hears `subscribe` then, and the app can look what it missed.
    opening: Vec<u8>,
    ready: Vec<u8>,
    silence: Duration,
    keep_alive: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Events {
    /// Messages of `names`.
    pub(super) fn subscribed(
        subscribed: Subscribed,
        topic: Topic,
        names: &[&[u8]],
        silence: Duration,
        stop: CancellationToken,
    ) -> Self {
        let mut opening = Vec::new();
        let word: &[u8] = match topic {
            Topic::Channel => b"subscribe",
            Topic::Pattern => b"psubscribe",
        };
        for (name, count) in names.iter().zip(&subscribed.counts) {
            frame(&[word, name], count.to_string().as_bytes(), &mut opening);
        }
        Events::new(subscribed.feed, opening, silence, stop)
    }

    /// All commands, as MONITOR shows them.
    pub(super) fn monitor(feed: Box<dyn Feed>, silence: Duration, stop: CancellationToken) -> Self {
        Events::new(feed, b"data: \"OK\"\n\n".to_vec(), silence, stop)
    }

    fn new(
        feed: Box<dyn Feed>,
        opening: Vec<u8>,
        silence: Duration,
        stop: CancellationToken,
    ) -> Self {
        Events {
            feed,
            ready: opening.clone(),
            opening,
            silence,
            keep_alive: Box::pin(sleep(silence)),
            stop: Box::pin(stop.cancelled_owned()),
            ended: false,
        }
    }

    /// The next chunk; `None` ends the stream.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if self.ended || self.stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if !self.feed.is_permitted() {
            self.ended = true;
            return Poll::Ready(None);
        }
        let mut chunk = std::mem::take(&mut self.ready);
        while chunk.len() < CHUNK {
            match self.feed.poll_next(context) {
                Poll::Ready(Some(Told::Message(message))) => write_message(&message, &mut chunk),
                Poll::Ready(Some(Told::Line(line))) => write_line(&line, &mut chunk),
                Poll::Ready(Some(Told::Gap(why))) => {
                    write_comment(&format!("gap: {why}"), &mut chunk);
                    chunk.extend_from_slice(&self.opening);
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if chunk.is_empty() && !self.ended {
            if self.keep_alive.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            write_comment("keepalive", &mut chunk);
        }
        self.keep_alive
            .as_mut()
            .reset(Instant::now() + self.silence);
        Poll::Ready((!chunk.is_empty()).then_some(chunk))
    }
}

fn write_line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    one_line(line.as_bytes(), out);
    out.extend_from_slice(b"\n\n");
}

/// A line that clients pass over.
fn write_comment(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b": ");
    one_line(text.as_bytes(), out);
    out.extend_from_slice(b"\n\n");
}

fn write_message(message: &Message, out: &mut Vec<u8>) {
    match &message.pattern {
        None => frame(&[b"message", &message.channel], &message.payload, out),
        Some(pattern) => {
            frame(
                &[b"pmessage", pattern, &message.channel],
                &message.payload,
                out,
            );
        }
    }
}

fn frame(head: &[&[u8]], payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    for part in head {
        one_line(part, out);
        out.push(b',');
    }
    if !payload.iter().any(|byte| is_line_end(*byte)) {
        out.extend_from_slice(payload);
    } else if serde_json::from_slice::<IgnoredAny>(payload).is_ok() {
        one_line(payload, out);
    } else {
        let text = String::from_utf8_lossy(payload);
        // Writing a string into a vector does not fail.
        let _ = serde_json::to_writer(&mut *out, &text);
    }
    out.extend_from_slice(b"\n\n");
}

fn one_line(text: &[u8], out: &mut Vec<u8>) {
    out.extend(
        text.iter()
            .map(|byte| if is_line_end(*byte) { b' ' } else { *byte }),
    );
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &str) -> String {
        let mut out = Vec::new();
        frame(&[b"message", b"a\nb"], payload.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_payload_stays_in_its_frame() {
        assert_eq!(framed("hello, you"), "data: message,a b,hello, you\n\n");
        assert_eq!(
            framed("{\n\"a\":\r\n1}"),
            "data: message,a b,{ \"a\":  1}\n\n"
        );
        assert_eq!(
            framed("x\n\ndata: message,a,forged"),
            "data: message,a b,\"x\\n\\ndata: message,a,forged\"\n\n"
        );
    }
}
