//! A connection that messages come on.
//!
//! Nothing is read ahead of who asks for messages, beyond one buffer: a server
//! that is read too slowly ends the connection by its own limit. Methods may be
//! dropped at any point; what was read or is still to be sent stays here.
//!
//! A connection over which nothing comes is asked with PING; one that does not
//! answer that either is over.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use sangam_engine::Reply;
use sangam_engine::pubsub::{Message, Topic};
use sangam_wire::resp::{DecodedReply, decode_reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::connect::write_command;
use super::stream::Socket;
use crate::backend::{Coming, Failure, Listener};
use crate::error::Why;

/// Silence after which the server is asked whether it is there.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// Bytes of messages that may come before a confirmation.
const AHEAD_MAX: usize = 32 << 20;

pub(super) struct Listening {
    reader: ReadHalf<Box<dyn Socket>>,
    writer: WriteHalf<Box<dyn Socket>>,
    place: String,
    limit: Duration,
    read: BytesMut,
    /// Bytes that the reply in `read` lacks at least.
    missing: usize,
    unsent: BytesMut,
    unflushed: bool,
    /// Messages that came before a confirmation.
    ahead: VecDeque<Message>,
    ahead_bytes: usize,
    heard: Instant,
    asked: bool,
}

/// What the server says.
enum Said {
    Message(Message),
    /// A change of subscriptions: what kind, and of what.
    Done(Vec<u8>, Vec<u8>),
    Error(Vec<u8>),
    /// An answer to PING, or news that nobody asked for.
    Other,
}

impl Listening {
    pub(super) fn new(socket: Box<dyn Socket>, place: String, limit: Duration) -> Self {
        let (reader, writer) = tokio::io::split(socket);
        Listening {
            reader,
            writer,
            place,
            limit,
            read: BytesMut::with_capacity(8 << 10),
            missing: 0,
            unsent: BytesMut::new(),
            unflushed: false,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            heard: Instant::now(),
            asked: false,
        }
    }

    fn broken(&self, reason: impl Into<String>) -> Failure {
        Failure::Lost(Why::Broken {
            place: self.place.clone(),
            reason: reason.into(),
        })
    }

    fn send(&mut self, argv: &[&[u8]]) {
        let mut out = Vec::new();
        write_command(argv, &mut out);
        self.unsent.extend_from_slice(&out);
    }

    /// What the server says next. Sends what is to be sent meanwhile.
    async fn said(&mut self) -> Result<Said, Failure> {
        loop {
            if self.missing == 0 && !self.read.is_empty() {
                match decode_reply(&self.read) {
                    Ok(DecodedReply::Complete(reply, used)) => {
                        self.read.advance(used);
                        return Ok(understood(reply));
                    }
                    Ok(DecodedReply::Incomplete(missing)) => self.missing = missing,
                    Err(error) => return Err(self.broken(error.to_string())),
                }
            }
            let idle = self.limit.min(IDLE_MAX);
            let due = self.heard + if self.asked { idle + self.limit } else { idle };
            // Room for what is missing, as it comes.
            self.read.reserve(self.missing.clamp(4 << 10, 1 << 20));
            let sending = self.unflushed || !self.unsent.is_empty();
            tokio::select! {
                biased;
                outcome = self.reader.read_buf(&mut self.read) => match outcome {
                    Ok(0) => return Err(self.broken("the server closed it")),
                    Ok(count) => {
                        self.missing = self.missing.saturating_sub(count);
                        self.heard = Instant::now();
                        self.asked = false;
                    }
                    Err(error) => return Err(self.broken(error.to_string())),
                },
                () = sleep_until(due) => {
                    if self.asked {
                        let silence = (idle + self.limit).as_millis();
                        return Err(self.broken(format!("nothing was heard for {silence} ms")));
                    }
                    self.asked = true;
                    self.send(&[b"PING"]);
                }
                outcome = write(&mut self.writer, &mut self.unsent, &mut self.unflushed), if sending => {
                    if let Err(error) = outcome {
                        return Err(self.broken(error.to_string()));
                    }
                }
            }
        }
    }

    /// Sends a change of subscriptions and waits until the server has confirmed it.
    async fn change(&mut self, command: &'static str, name: &[u8]) -> Result<(), Failure> {
        self.send(&[command.as_bytes(), name]);
        loop {
            match self.said().await? {
                Said::Done(kind, of)
                    if kind.eq_ignore_ascii_case(command.as_bytes()) && of == name =>
                {
                    return Ok(());
                }
                Said::Error(text) => {
                    let text = String::from_utf8_lossy(&text);
                    return Err(Failure::Setting(format!(
                        "{} refuses {command}: {text}",
                        self.place
                    )));
                }
                Said::Message(message) => {
                    self.ahead_bytes += message.payload.len() + message.channel.len();
                    if self.ahead_bytes > AHEAD_MAX {
                        return Err(self.broken("messages come faster than they are taken"));
                    }
                    self.ahead.push_back(message);
                }
                Said::Done(..) | Said::Other => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Message, Failure> {
        if let Some(message) = self.ahead.pop_front() {
            if self.ahead.is_empty() {
                self.ahead_bytes = 0;
            }
            return Ok(message);
        }
        loop {
            if let Said::Message(message) = self.said().await? {
                return Ok(message);
            }
        }
    }
}

/// Writes a part; may be dropped and called again.
async fn write(
    writer: &mut WriteHalf<Box<dyn Socket>>,
    unsent: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    if !unsent.is_empty() {
        let count = writer.write(unsent).await?;
        unsent.advance(count);
        *unflushed = true;
    }
    writer.flush().await?;
    *unflushed = false;
    Ok(())
}

fn understood(reply: Reply) -> Said {
    let parts = match reply {
        Reply::Push(parts) | Reply::Array(parts) => parts,
        Reply::Error(text) => return Said::Error(text),
        _ => return Said::Other,
    };
    let mut parts = parts.into_iter().map(|part| match part {
        Reply::Bulk(bytes) => bytes,
        Reply::Status(text) => text.into_owned().into_bytes(),
        _ => Vec::new(),
    });
    let kind = parts.next().unwrap_or_default();
    let mut shared = || Arc::<[u8]>::from(parts.next().unwrap_or_default());
    match kind.as_slice() {
        b"message" => Said::Message(Message {
            pattern: None,
            channel: shared(),
            payload: shared(),
        }),
        b"pmessage" => Said::Message(Message {
            pattern: Some(shared()),
            channel: shared(),
            payload: shared(),
        }),
        b"subscribe" | b"psubscribe" | b"unsubscribe" | b"punsubscribe" => {
            let of = parts.next().unwrap_or_default();
            Said::Done(kind, of)
        }
        _ => Said::Other,
    }
}

impl Listener for Listening {
    fn subscribe<'a>(
        &'a mut self,
        topic: Topic,
        name: &'a [u8],
    ) -> Coming<'a, Result<(), Failure>> {
        Box::pin(self.change(
            match topic {
                Topic::Channel => "SUBSCRIBE",
                Topic::Pattern => "PSUBSCRIBE",
            },
            name,
        ))
    }

    fn unsubscribe<'a>(
        &'a mut self,
        topic: Topic,
        name: &'a [u8],
    ) -> Coming<'a, Result<(), Failure>> {
        Box::pin(self.change(
            match topic {
                Topic::Channel => "UNSUBSCRIBE",
                Topic::Pattern => "PUNSUBSCRIBE",
            },
            name,
        ))
    }

    fn next(&mut self) -> Coming<'_, Result<Message, Failure>> {
        Box::pin(self.message())
    }
}
