//! The answers in the place of a real HTTP server, and what it heard of.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sangam_rig::proxy::{Answer, Cut, Fault, HttpProxy, Quota, Whom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A body without a length, which goes out in chunks: so many, or with no end.
struct Chunks(Option<usize>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = match &mut self.0 {
            Some(0) => return std::task::Poll::Ready(None),
            Some(left) => {
                *left -= 1;
                *left
            }
            None => {
                // One event, then silence.
                self.0 = Some(usize::MAX);
                1
            }
        };
        if left > 1_000_000 {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(Some(Ok(Frame::data("data: x\n\n".into()))))
    }
}

/// Echoes bodies and counts its requests.
struct Upstream {
    addr: SocketAddr,
    ran: Arc<AtomicU64>,
}

async fn upstream() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let ran = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&ran);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                count.fetch_add(1, Ordering::SeqCst);
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(Response::new(match path.as_str() {
                        "/chunks" => Either::Left(Chunks(Some(3))),
                        "/events" => Either::Left(Chunks(None)),
                        _ => Either::Right(Full::new(body)),
                    }))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    Upstream { addr, ran }
}

impl Upstream {
    fn ran(&self) -> u64 {
        self.ran.load(Ordering::SeqCst)
    }
}

async fn send(stream: &mut TcpStream, path: &str, body: &str) {
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// The response, read until `end` of its text.
async fn receive(stream: &mut TcpStream, end: &str) -> std::io::Result<String> {
    let mut text = Vec::new();
    timeout(Duration::from_secs(5), async {
        while !text.ends_with(end.as_bytes()) {
            if stream.read_buf(&mut text).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(String::from_utf8(text).unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn requests_pass_on_one_connection() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    for body in ["one", "two"] {
        send(&mut stream, "/", body).await;
        let response = receive(&mut stream, body).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    }
    let chunked = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nthr\r\n2;x=y\r\nee\r\n0\r\n\r\n";
    stream.write_all(chunked).await.unwrap();
    receive(&mut stream, "three").await.unwrap();
    send(&mut stream, "/chunks", "").await;
    let response = receive(&mut stream, "0\r\n\r\n").await.unwrap();
    assert_eq!(response.matches("data: x").count(), 3, "{response}");
    // Two at once are answered in their order.
    send(&mut stream, "/", "four").await;
    send(&mut stream, "/", "five").await;
    let both = receive(&mut stream, "five").await.unwrap();
    assert!(both.find("four").unwrap() < both.find("five").unwrap());
    assert_eq!(upstream.ran(), 6);
    let counters = proxy.counters();
    assert_eq!(
        (counters.accepted, counters.requests, counters.faults),
        (1, 6, 0)
    );
}

#[tokio::test]
async fn each_answer_comes_in_the_servers_place_and_the_connection_stays() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let json = "\"}";
    let html = "</html>\r\n";
    for (answer, status, shown, end, ran) in [
        (
            Answer::TooManyRequests { retry_after: 7 },
            "429 ",
            "\r\nRetry-After: 7\r\n",
            json,
            0,
        ),
        (Answer::InternalError, "500 ", "text/html", html, 0),
        (Answer::BadGateway, "502 ", "text/html", html, 0),
        (Answer::BadGatewayAfterRun, "502 ", "text/html", html, 1),
        (
            Answer::Quota(Quota::Day),
            "400 ",
            "ERR max daily request limit exceeded. Limit: 10000",
            json,
            0,
        ),
        (
            Answer::Quota(Quota::Month),
            "400 ",
            "ERR max requests limit exceeded. Limit: 500000",
            json,
            0,
        ),
        (
            Answer::Quota(Quota::Budget),
            "400 ",
            "ERR This database has been suspended",
            json,
            0,
        ),
        (
            Answer::Quota(Quota::Storage),
            "400 ",
            "ERR DB capacity quota exceeded",
            json,
            0,
        ),
        (Answer::Page, "200 ", "text/html", html, 0),
        (
            Answer::Unauthorized,
            "401 ",
            "WRONGPASS invalid or missing auth token",
            json,
            0,
        ),
    ] {
        let before = upstream.ran();
        proxy.answer(answer, Whom::Next(1));
        send(&mut stream, "/", "mine").await;
        let response = receive(&mut stream, end).await.unwrap();
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
        assert!(response.contains(shown), "{response}");
        assert_eq!(upstream.ran() - before, ran, "{answer:?}");
        // The next one is the server's again.
        send(&mut stream, "/", "yours").await;
        receive(&mut stream, "yours").await.unwrap();
    }
    let counters = proxy.counters();
    assert_eq!((counters.accepted, counters.faults), (1, 10));
}

#[tokio::test]
async fn the_server_ran_what_the_client_saw_reset() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    proxy.answer(Answer::ResetAfterRun, Whom::Next(1));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    send(&mut stream, "/", "lost").await;
    let error = receive(&mut stream, "lost").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(upstream.ran(), 1);
}

#[tokio::test]
async fn answers_last_until_they_are_cleared() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    proxy.answer(Answer::BadGateway, Whom::All);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    for _ in 0..5 {
        send(&mut stream, "/", "x").await;
        receive(&mut stream, "</html>\r\n").await.unwrap();
    }
    proxy.clear();
    send(&mut stream, "/", "x").await;
    receive(&mut stream, "\r\n\r\nx").await.unwrap();
    assert_eq!(upstream.ran(), 1);

    proxy.answer(
        Answer::Page,
        Whom::Chance {
            percent: 50,
            seed: 3,
        },
    );
    for _ in 0..30 {
        // Bodies of both end alike.
        send(&mut stream, "/", "</html>\r\n").await;
        receive(&mut stream, "</html>\r\n").await.unwrap();
    }
    let answered = proxy.counters().faults - 5;
    assert!((5..25).contains(&answered), "{answered}");
    assert_eq!(upstream.ran() - 1, 30 - answered);
}

#[tokio::test]
async fn a_stream_of_events_comes_as_it_is_sent_and_ends_with_the_client() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    send(&mut stream, "/events", "").await;
    receive(&mut stream, "data: x\n\n\r\n").await.unwrap();
    assert_eq!(proxy.counters().open, 1);
    drop(stream);
    proxy
        .line()
        .wait_for("the stream to end", |counters| counters.open == 0)
        .await;
}

#[tokio::test]
async fn the_line_has_its_own_faults() {
    let upstream = upstream().await;
    let proxy = HttpProxy::start(upstream.addr);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.line().fault(Fault::CutAfterReply(20), Whom::Times(1));
    send(&mut stream, "/", "cut").await;
    let error = receive(&mut stream, "cut").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(upstream.ran(), 1);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.line().cut(Cut::Close);
    let mut rest = Vec::new();
    // Accepted before the cut or after it.
    send(&mut stream, "/", "whole").await;
    if stream.read_buf(&mut rest).await.unwrap_or(0) == 0 {
        stream = TcpStream::connect(proxy.addr()).await.unwrap();
        send(&mut stream, "/", "whole").await;
        receive(&mut stream, "whole").await.unwrap();
    }
}
