//! An endpoint that answers as a test says, byte for byte.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::DEADLINE;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection's number, from 1.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What becomes of a request.
pub(crate) enum Act {
    /// These bytes, then the next request.
    Answer(Vec<u8>),
    /// These bytes, and the end of the connection.
    Last(Vec<u8>),
    /// These bytes when the test opens the gate.
    WhenOpen(Vec<u8>),
    /// These bytes, then nothing more.
    Silence(Vec<u8>),
}

pub(crate) struct Endpoint {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Sender<usize>,
    gate: watch::Sender<bool>,
    /// Connections that the client has closed.
    left: watch::Sender<usize>,
    _accepting: JoinSet<()>,
}

type Say = dyn Fn(&Seen) -> Act + Send + Sync;

struct Serving {
    say: Box<Say>,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Sender<usize>,
    gate: watch::Sender<bool>,
    left: watch::Sender<usize>,
}

impl Endpoint {
    /// Answers greetings as an endpoint that takes text only, and all else as
    /// `say` does.
    pub(crate) async fn start(say: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Endpoint::raw(move |seen| {
            if seen.text().starts_with("[\"PING\"") {
                return Act::Answer(resp("$3\r\n\u{fffd}\r\n"));
            }
            say(seen)
        })
        .await
    }

    /// Answers everything as `say` does.
    pub(crate) async fn raw(say: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (count, gate) = (watch::Sender::new(0), watch::Sender::new(false));
        let left = watch::Sender::new(0);
        let serving = Arc::new(Serving {
            say: Box::new(say),
            seen: Arc::default(),
            count: count.clone(),
            gate: gate.clone(),
            left: left.clone(),
        });
        let seen = serving.seen.clone();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                connections.spawn(serve(serving.clone(), stream, number));
            }
        });
        Endpoint {
            addr,
            seen,
            count,
            gate,
            left,
            _accepting: accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The requests that came, without greetings.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock();
        let calls = seen.iter().filter(|it| !it.text().starts_with("[\"PING\""));
        calls.cloned().collect()
    }

    /// Until so many came, greetings among them.
    pub(crate) async fn until_seen(&self, count: usize) {
        let mut seen = self.count.subscribe();
        let wait = timeout(DEADLINE, seen.wait_for(|it| *it >= count));
        assert!(wait.await.is_ok(), "no {count} requests: {:?}", self.seen());
    }

    /// Until the client has closed so many connections.
    pub(crate) async fn until_left(&self, count: usize) {
        let mut left = self.left.subscribe();
        let wait = timeout(DEADLINE, left.wait_for(|it| *it >= count));
        assert!(wait.await.is_ok(), "no {count} connections were closed");
    }

    /// Lets answers through that wait.
    pub(crate) fn open(&self) {
        self.gate.send_replace(true);
    }
}

async fn serve(serving: Arc<Serving>, stream: TcpStream, connection: usize) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = receive(&mut stream, connection).await {
        serving.seen.lock().push(seen.clone());
        let act = (serving.say)(&seen);
        serving.count.send_modify(|count| *count += 1);
        let (bytes, is_last) = match act {
            Act::Answer(bytes) => (bytes, false),
            Act::Last(bytes) => (bytes, true),
            Act::WhenOpen(bytes) => {
                let mut gate = serving.gate.subscribe();
                let _ = gate.wait_for(|open| *open).await;
                (bytes, false)
            }
            Act::Silence(bytes) => {
                let _ = stream.write_all(&bytes).await;
                break;
            }
        };
        if stream.write_all(&bytes).await.is_err() {
            break;
        }
        if is_last {
            let _ = stream.shutdown().await;
            break;
        }
    }
    // The client's end of it.
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    serving.left.send_modify(|left| *left += 1);
}

async fn receive(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen {
        path,
        headers,
        body,
        connection,
    })
}

/// 200 with RESP2.
pub(crate) fn resp(body: &str) -> Vec<u8> {
    answer(
        "200 OK",
        &[("content-type", "application/octet-stream")],
        body,
    )
}

/// An answer with this status.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
    text.into_bytes()
}

/// `+OK` to each command of a request.
pub(crate) fn all_ok(seen: &Seen) -> Vec<u8> {
    resp(&"+OK\r\n".repeat(commands(seen)))
}

/// Commands in a request.
pub(crate) fn commands(seen: &Seen) -> usize {
    match seen.path.as_str() {
        "/pipeline" | "/multi-exec" => {
            let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
            body.as_array().unwrap().len()
        }
        _ => 1,
    }
}

/// Short, for endpoints that never answer.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
