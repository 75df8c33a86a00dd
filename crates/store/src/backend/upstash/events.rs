//! Messages as server-sent events: one request and one connection a topic, as
//! the official clients do it (each request is billed as one command).
//!
//! A frame is `data: message,<channel>,<payload>`, of a pattern
//! `data: pmessage,<pattern>,<channel>,<payload>`. A comma in a name that was
//! asked for does no harm, since its length is known; the channel behind a
//! pattern is the shortest text before a comma that the pattern matches.
//!
//! **What a payload can carry** is the format's limit: one line. This project's
//! gateway passes all bytes of such a payload through; one with line ends it
//! sends as JSON that means the same (JSON with blanks in their place, other text
//! as a JSON string), and here it stays as it came, since a payload that was JSON
//! from the beginning looks no different. Whoever needs line ends or other bytes
//! exactly, publishes them encoded.
//!
//! The server sends a comment every 15 s; three of them missing are a break.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use sangam_engine::glob;
use sangam_engine::pubsub::{Message, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{Answer, Break, Connection};
use super::reply::{self, Verdict};
use super::request;
use super::shared::Shared;
use crate::backend::{Coming, Failure, Listener};

/// Longest silence of a stream that lives.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Messages of all topics that may wait for the reader; the streams wait then.
const WAITING_MAX: usize = 1024;
/// Bytes of an answer that is no stream.
const REFUSAL_MAX: usize = 64 << 10;

type Event = Result<Message, Failure>;

pub(super) struct Events {
    shared: Arc<Shared>,
    /// A connection that was made to see whether one can be.
    spare: Option<Connection>,
    streams: HashMap<(Topic, Vec<u8>), Stream>,
    arriving: mpsc::Receiver<Event>,
    /// For the streams.
    sender: mpsc::Sender<Event>,
}

/// A task that reads a topic's stream; it ends with this value.
struct Stream(JoinHandle<()>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Events {
    pub(super) async fn open(shared: Arc<Shared>) -> Result<Self, Failure> {
        let spare = Some(shared.endpoint.connect().await?);
        let (sender, arriving) = mpsc::channel(WAITING_MAX);
        Ok(Events {
            shared,
            spare,
            streams: HashMap::new(),
            arriving,
            sender,
        })
    }
}

impl Listener for Events {
    fn subscribe<'a>(
        &'a mut self,
        topic: Topic,
        name: &'a [u8],
    ) -> Coming<'a, Result<(), Failure>> {
        Box::pin(async move {
            let (confirmed, confirmation) = oneshot::channel();
            let reader = Reader {
                shared: self.shared.clone(),
                topic,
                name: name.into(),
                out: self.sender.clone(),
            };
            let reading = tokio::spawn(reader.run(self.spare.take(), confirmed));
            // Given up with this future, until it is kept.
            let stream = Stream(reading);
            let outcome = confirmation.await.unwrap_or_else(|_| {
                let why = self.shared.endpoint.broken("its task has ended");
                Err(Failure::Lost(why))
            });
            outcome?;
            self.streams.insert((topic, name.to_vec()), stream);
            Ok(())
        })
    }

    fn unsubscribe<'a>(
        &'a mut self,
        topic: Topic,
        name: &'a [u8],
    ) -> Coming<'a, Result<(), Failure>> {
        self.streams.remove(&(topic, name.to_vec()));
        Box::pin(std::future::ready(Ok(())))
    }

    fn next(&mut self) -> Coming<'_, Event> {
        Box::pin(async move {
            match self.arriving.recv().await {
                Some(event) => event,
                // Not while `sender` is here.
                None => std::future::pending().await,
            }
        })
    }
}

struct Reader {
    shared: Arc<Shared>,
    topic: Topic,
    name: Arc<[u8]>,
    out: mpsc::Sender<Event>,
}

impl Reader {
    /// Reads the stream to its end, which is a failure: of the subscription until
    /// it is confirmed, then of all.
    async fn run(self, spare: Option<Connection>, confirmed: oneshot::Sender<Result<(), Failure>>) {
        let mut confirmed = Some(confirmed);
        let failure = match self.read(spare, &mut confirmed).await {
            Ok(()) => return,
            Err(failure) => failure,
        };
        match confirmed {
            Some(confirmed) => drop(confirmed.send(Err(failure))),
            None => drop(self.out.send(Err(failure)).await),
        }
    }

    /// Ends without a failure when nobody listens any more.
    async fn read(
        &self,
        spare: Option<Connection>,
        confirmed: &mut Option<oneshot::Sender<Result<(), Failure>>>,
    ) -> Result<(), Failure> {
        let (mut connection, mut body) = self.open(spare).await?;
        let mut frames = Frames::new(self.shared.options.rest_reply_max);
        loop {
            let data = match timeout(SILENCE_MAX, connection.data(&mut body)).await {
                Ok(Ok(Some(data))) => data,
                Ok(Ok(None)) => return Err(self.broken("the stream has ended")),
                Ok(Err(error)) => return Err(self.lost(error)),
                Err(_) => return Err(self.broken("the stream is silent")),
            };
            let mut rest: &[u8] = &data;
            while let Some(event) = frames.next(&mut rest) {
                let Ok(event) = event else {
                    return Err(self.broken("an event is larger than option `rest_reply_max`"));
                };
                let is_heard = match parse(self.topic, &self.name, &event) {
                    Some(Parsed::Confirmed) => confirmed
                        .take()
                        .is_none_or(|confirmed| confirmed.send(Ok(())).is_ok()),
                    Some(Parsed::Message(message)) => self.out.send(Ok(message)).await.is_ok(),
                    // Endpoints may have more to tell than is known here.
                    None => true,
                };
                if !is_heard {
                    return Ok(());
                }
            }
        }
    }

    async fn open(&self, spare: Option<Connection>) -> Result<(Connection, Incoming), Failure> {
        let word = match self.topic {
            Topic::Channel => "subscribe",
            Topic::Pattern => "psubscribe",
        };
        if self.name.is_empty() {
            let text = "a REST endpoint cannot name the empty channel";
            return Err(Failure::Unsupported(text.to_owned()));
        }
        let path = request::listening(word, &self.name);
        let mut spare = spare;
        loop {
            let is_spare = spare.is_some();
            let mut connection = match spare.take() {
                Some(connection) => connection,
                None => self.shared.endpoint.connect().await?,
            };
            let mut request = self
                .shared
                .post(&path, Bytes::from_static(b"[]"))
                .map_err(Failure::Unsupported)?;
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            let opened = timeout(SILENCE_MAX, connection.open(request)).await;
            let response = match opened {
                Ok(Ok(response)) => response,
                // It may have waited for long.
                Ok(Err(Break::Before)) if is_spare => continue,
                Ok(Err(error)) => return Err(self.lost(error)),
                Err(_) => return Err(self.broken("no answer to a subscription")),
            };
            let (parts, mut body) = response.into_parts();
            let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let is_stream = kind.is_some_and(|it| it.starts_with(b"text/event-stream"));
            if parts.status == StatusCode::OK && is_stream {
                return Ok((connection, body));
            }
            let mut read = Vec::new();
            while read.len() < REFUSAL_MAX
                && let Ok(Ok(Some(data))) = timeout(SILENCE_MAX, connection.data(&mut body)).await
            {
                read.extend_from_slice(&data);
            }
            return Err(self.refused(&Answer {
                status: parts.status,
                headers: parts.headers,
                body: read,
            }));
        }
    }

    /// What an answer that is no stream means.
    fn refused(&self, answer: &Answer) -> Failure {
        let endpoint = &self.shared.endpoint;
        if answer.status == StatusCode::OK {
            return Failure::Unsupported(format!(
                "{} answers a subscription without a stream of events",
                endpoint.place
            ));
        }
        if let (StatusCode::BAD_REQUEST, Some(text)) = (answer.status, reply::error(&answer.body)) {
            return Failure::Unsupported(format!(
                "{} refused the subscription: {}",
                endpoint.place,
                String::from_utf8_lossy(&text)
            ));
        }
        // It writes as little as a PING.
        match reply::read(answer, &request::ping(), false, endpoint, false) {
            Verdict::Refused(failure) => failure,
            Verdict::Later(_, why) | Verdict::Unknown(why) | Verdict::Apart(why) => {
                Failure::NotSent(why)
            }
            Verdict::Replies(_) => Failure::NotSent(reply::why(answer, endpoint)),
        }
    }

    fn lost(&self, error: Break) -> Failure {
        match error {
            Break::Before => self.broken("it was closed before the request"),
            Break::After(reason) => self.broken(&reason),
            Break::Garbage => self.broken(&self.shared.endpoint.no_http()),
            Break::TooLarge(_) => self.broken("the answer is too large"),
        }
    }

    fn broken(&self, reason: &str) -> Failure {
        Failure::Lost(self.shared.endpoint.broken(reason))
    }
}

/// Cuts a stream of bytes into the data of events.
struct Frames {
    limit: usize,
    line: Vec<u8>,
    event: Vec<u8>,
    has_data: bool,
}

impl Frames {
    fn new(limit: usize) -> Self {
        Frames {
            limit,
            line: Vec::new(),
            event: Vec::new(),
            has_data: false,
        }
    }

    /// Takes bytes up to the end of an event; the error is one above the limit.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Result<Vec<u8>, ()>> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            *bytes = tail.get(1..).unwrap_or_default();
            if self.too_large(head.len()) {
                return Some(Err(()));
            }
            self.line.extend_from_slice(head);
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            let line = std::mem::take(&mut self.line);
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    return Some(Ok(std::mem::take(&mut self.event)));
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.push(b'\n');
                }
                self.event
                    .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        if self.too_large(bytes.len()) {
            return Some(Err(()));
        }
        self.line.extend_from_slice(bytes);
        *bytes = &[];
        None
    }

    fn too_large(&self, more: usize) -> bool {
        self.line.len() + self.event.len() + more > self.limit
    }
}

#[derive(Debug, PartialEq)]
enum Parsed {
    Confirmed,
    Message(Message),
}

/// What an event of a topic says.
fn parse(topic: Topic, name: &Arc<[u8]>, event: &[u8]) -> Option<Parsed> {
    let (confirmation, message): (&[u8], &[u8]) = match topic {
        Topic::Channel => (b"subscribe,", b"message,"),
        Topic::Pattern => (b"psubscribe,", b"pmessage,"),
    };
    if event.starts_with(confirmation) {
        return Some(Parsed::Confirmed);
    }
    let rest = event.strip_prefix(message)?;
    // Line ends of a name are blanks in the frame.
    let (shown, rest) = rest.split_at_checked(name.len())?;
    let same =
        |(one, other): (&u8, &u8)| one == other || (*one == b' ' && matches!(other, b'\r' | b'\n'));
    if !shown.iter().zip(name.iter()).all(same) {
        return None;
    }
    let rest = rest.strip_prefix(b",")?;
    if topic == Topic::Channel {
        return Some(Parsed::Message(Message {
            pattern: None,
            channel: name.clone(),
            payload: rest.into(),
        }));
    }
    let commas = || {
        let bytes = rest.iter().enumerate();
        bytes
            .filter(|(_, byte)| **byte == b',')
            .map(|(index, _)| index)
    };
    let matches = |end: &usize| glob::matches(name, rest.get(..*end).unwrap_or_default());
    let end = commas().find(matches).or_else(|| commas().next())?;
    let (channel, payload) = rest.split_at(end);
    Some(Parsed::Message(Message {
        pattern: Some(name.clone()),
        channel: channel.into(),
        payload: payload.get(1..).unwrap_or_default().into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: Topic, name: &str, event: &str) -> Option<(String, String)> {
        let name: Arc<[u8]> = name.as_bytes().into();
        match parse(topic, &name, event.as_bytes())? {
            Parsed::Message(message) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                Some((text(&message.channel), text(&message.payload)))
            }
            Parsed::Confirmed => None,
        }
    }

    /// An endpoint on a thread of its own, whose time does not jump: it confirms a
    /// subscription, says what it is told to, and is silent.
    fn endpoint() -> (std::net::SocketAddr, std::sync::mpsc::Sender<&'static str>) {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (say, said) = std::sync::mpsc::channel::<&str>();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            let confirmation = "data: subscribe,c,1\n\n";
            write!(stream, "{head}{confirmation}").unwrap();
            for text in said {
                stream.write_all(text.as_bytes()).unwrap();
            }
        });
        (addr, say)
    }

    #[tokio::test]
    async fn comments_keep_a_stream_and_silence_ends_it() {
        let (addr, say) = endpoint();
        let url = format!("http://{addr}");
        let target = crate::Target::new(&url, Some("t"), "A", "B").unwrap();
        let options = crate::Options::default();
        let endpoint = super::super::Endpoint::of(&target, options.connect_timeout).unwrap();
        let shared = Arc::new(Shared::new(endpoint, options));
        let mut events = Events::open(shared).await.unwrap();
        events.subscribe(Topic::Channel, b"c").await.unwrap();
        for _ in 0..3 {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(40)).await;
            tokio::time::resume();
            say.send(": keepalive\n\ndata: message,c,x\n\n").unwrap();
            assert_eq!(&*events.next().await.unwrap().payload, b"x");
        }
        tokio::time::pause();
        tokio::time::advance(SILENCE_MAX).await;
        match events.next().await {
            Err(Failure::Lost(why)) => {
                assert!(why.to_string().ends_with("the stream is silent"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        drop(say);
    }

    #[test]
    fn commas_in_names() {
        let found = |channel: &str, payload: &str| Some((channel.to_owned(), payload.to_owned()));
        assert_eq!(
            message(Topic::Channel, "a,b", "message,a,b,c,d"),
            found("a,b", "c,d")
        );
        assert_eq!(message(Topic::Channel, "a", "message,b,c"), None);
        assert_eq!(
            message(Topic::Pattern, "a,*", "pmessage,a,*,a,1,c,d"),
            found("a,1", "c,d")
        );
        assert_eq!(
            message(Topic::Pattern, "n?", "pmessage,n?,n1,"),
            found("n1", "")
        );
        assert_eq!(
            message(Topic::Channel, "a\nb", "message,a b,"),
            found("a\nb", "")
        );
        let name: Arc<[u8]> = b"x"[..].into();
        assert_eq!(
            parse(Topic::Channel, &name, b"subscribe,x,1"),
            Some(Parsed::Confirmed)
        );
    }

    #[test]
    fn frames_in_any_pieces() {
        let stream =
            b": keepalive\n\ndata: one\n\nevent: x\ndata:two\r\ndata: 2\r\n\r\n\ndata: three";
        for piece in 1..stream.len() {
            let mut frames = Frames::new(100);
            let mut events = Vec::new();
            for mut bytes in stream.chunks(piece) {
                while let Some(event) = frames.next(&mut bytes) {
                    events.push(event.unwrap());
                }
            }
            assert_eq!(events, [&b"one"[..], b"two\n2"], "pieces of {piece}");
        }
        let mut frames = Frames::new(10);
        assert_eq!(frames.next(&mut &b"data: 12345"[..]), Some(Err(())));
    }
}
