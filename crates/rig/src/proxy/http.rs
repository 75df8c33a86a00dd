//! The proxy that knows requests: it can answer one in the server's place.
//!
//! Behind a [`Proxy`], which makes the faults of the line, stands a relay that
//! reads whole requests. An idle connection that the server closes is closed
//! towards the client too, so that keep-alive is as it would be without it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::framing::{Body, Buffer, Head};
use super::{Answer, Counters, Proxy, Whom, reset};
use crate::random::Random;
use crate::worker::Worker;

/// A [`Proxy`] to an HTTP server.
#[derive(Debug)]
pub struct HttpProxy {
    line: Proxy,
    relay: Arc<Relay>,
    _worker: Worker,
}

#[derive(Debug)]
struct Relay {
    upstream: SocketAddr,
    answers: Mutex<Vec<Rule>>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Rule {
    answer: Answer,
    whom: Whom,
    left: usize,
    random: Random,
}

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    requests: u64,
    answered: u64,
}

impl HttpProxy {
    /// Listens on a free port of loopback for requests to `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = crate::port::listener();
        let addr = listener.local_addr().unwrap();
        let relay = Arc::new(Relay {
            upstream,
            answers: Mutex::default(),
            seen: Mutex::default(),
        });
        let served = Arc::clone(&relay);
        let worker = Worker::start("http fault proxy", move || accept(listener, served));
        Self {
            line: Proxy::start(addr),
            relay,
            _worker: worker,
        }
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.line.addr()
    }

    /// The line before the requests, for faults that know no HTTP.
    pub fn line(&self) -> &Proxy {
        &self.line
    }

    /// Answers requests in the server's place, instead of what was said before.
    pub fn answer(&self, answer: Answer, whom: Whom) {
        let (left, seed) = match whom {
            Whom::All => (0, 0),
            Whom::Next(count) | Whom::Times(count) => (count, 0),
            Whom::Chance { seed, .. } => (0, seed),
        };
        *self.relay.answers.lock() = vec![Rule {
            answer,
            whom,
            left,
            random: Random::new(seed),
        }];
    }

    /// Ends all answers and all faults of the line.
    pub fn clear(&self) {
        self.relay.answers.lock().clear();
        self.line.clear();
    }

    /// What has passed until now; answers in the server's place are among the
    /// faults.
    pub fn counters(&self) -> Counters {
        let seen = *self.relay.seen.lock();
        let mut counters = self.line.counters();
        counters.requests = seen.requests;
        counters.faults += seen.answered;
        counters
    }
}

impl Relay {
    /// What the next request is answered with, if not by the server.
    fn decide(&self) -> Option<Answer> {
        let mut seen = self.seen.lock();
        seen.requests += 1;
        let mut answers = self.answers.lock();
        let answer = answers.iter_mut().find_map(|rule| {
            let chosen = match rule.whom {
                Whom::All => true,
                Whom::Next(_) | Whom::Times(_) if rule.left > 0 => {
                    rule.left -= 1;
                    true
                }
                Whom::Next(_) | Whom::Times(_) => false,
                Whom::Chance { percent, .. } => rule.random.below(100) < u64::from(percent),
            };
            chosen.then_some(rule.answer)
        });
        seen.answered += u64::from(answer.is_some());
        answer
    }
}

async fn accept(listener: StdListener, relay: Arc<Relay>) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                let mut connection = Connection {
                    client,
                    received: Buffer::default(),
                    server: None,
                };
                match connection.serve(&relay).await {
                    Ok(Finish::Close) => {}
                    // An error on either side is a reset for the other.
                    Ok(Finish::Reset) | Err(_) => reset(connection.client),
                }
            });
        }
    }
}

enum Finish {
    Close,
    Reset,
}

struct Connection {
    client: TcpStream,
    received: Buffer,
    server: Option<Server>,
}

struct Server {
    stream: TcpStream,
    received: Buffer,
}

impl Connection {
    async fn serve(&mut self, relay: &Relay) -> io::Result<Finish> {
        self.client.set_nodelay(true)?;
        loop {
            let Some(head) = self.next_head().await? else {
                return Ok(Finish::Close);
            };
            let mut request = head.bytes.clone();
            self.received
                .relay(head.request_body(), &mut self.client, &mut request)
                .await?;
            let mut closes = head.closes();
            match relay.decide() {
                None => closes |= self.forward(&head, &request, relay).await?,
                Some(answer) => {
                    if answer.runs() {
                        self.run(&head, &request, relay).await?;
                    }
                    match answer.response(head.is_head()) {
                        Some(response) => self.client.write_all(&response).await?,
                        None => return Ok(Finish::Reset),
                    }
                }
            }
            if closes {
                return Ok(Finish::Close);
            }
        }
    }

    /// The next request; `None` when the client or the idle server closed.
    async fn next_head(&mut self) -> io::Result<Option<Head>> {
        let closed = async {
            match &self.server {
                Some(server) => server.stream.peek(&mut [0]).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            head = self.received.head(&mut self.client) => head,
            _ = closed => Ok(None),
        }
    }

    async fn server(&mut self, relay: &Relay) -> io::Result<&mut Server> {
        if self.server.is_none() {
            let stream = TcpStream::connect(relay.upstream).await?;
            stream.set_nodelay(true)?;
            self.server = Some(Server {
                stream,
                received: Buffer::default(),
            });
        }
        self.server
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Lets the server run a request and keeps its answer to itself.
    async fn run(&mut self, head: &Head, request: &[u8], relay: &Relay) -> io::Result<()> {
        let server = self.server(relay).await?;
        server.stream.write_all(request).await?;
        let (response, body) = server.response_head(head.is_head()).await?;
        server
            .received
            .relay(body, &mut server.stream, &mut tokio::io::sink())
            .await?;
        if response.closes() || body == Body::ToEnd {
            self.server = None;
        }
        Ok(())
    }

    /// Passes the request on and the answer back, as it comes; whether the
    /// connection ends with it. A client that goes ends a long answer.
    async fn forward(&mut self, head: &Head, request: &[u8], relay: &Relay) -> io::Result<bool> {
        self.server(relay).await?;
        let Some(server) = &mut self.server else {
            return Ok(true);
        };
        let (mut from_client, mut to_client) = self.client.split();
        let pipelined = !self.received.is_empty();
        let gone = async {
            if pipelined || matches!(from_client.peek(&mut [0]).await, Ok(1..)) {
                // It has more to ask and is there.
                std::future::pending::<()>().await;
            }
        };
        let answer = async {
            server.stream.write_all(request).await?;
            let (response, body) = server
                .response_head_to(head.is_head(), &mut to_client)
                .await?;
            to_client.write_all(&response.bytes).await?;
            server
                .received
                .relay(body, &mut server.stream, &mut to_client)
                .await?;
            Ok(response.closes() || body == Body::ToEnd)
        };
        tokio::select! {
            closes = answer => closes,
            () = gone => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Server {
    async fn response_head(&mut self, to_head: bool) -> io::Result<(Head, Body)> {
        self.response_head_to(to_head, &mut tokio::io::sink()).await
    }

    /// The final response's head; interim ones go to `interim`.
    async fn response_head_to(
        &mut self,
        to_head: bool,
        interim: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> io::Result<(Head, Body)> {
        loop {
            let head = self
                .received
                .head(&mut self.stream)
                .await?
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            if let Some(body) = head.response_body(to_head) {
                return Ok((head, body));
            }
            interim.write_all(&head.bytes).await?;
        }
    }
}
