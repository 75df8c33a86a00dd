//! What a limit costs over HTTP: a check by the API and a route behind the layer, each
//! beside a bare axum route that answers as much, in turns of one run.
//!
//! ```sh
//! cargo run --release -p sangam-server --example limit_http [rounds]
//! ```
//!
//! 64 connections, one request at a time each; clients and servers share the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement may panic"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use sangam::limit::http::LimitLayer;
use sangam::limit::{Guard, Settings};
use sangam_server::{Config, Server};
use sangam_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const CLASS: &str = "[limits.classes.bench]\nrules = [{ by = \"user\", algorithm = \
                     \"sliding-window\", limit = 100000000, window = \"1h\" }]\n";

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(5);
    let settings = Settings::parse(CLASS).unwrap();
    let config = Config {
        limits: settings.clone(),
        ..Config::in_memory("token")
    };
    let server = Server::start(config).await.unwrap();
    let user = |at: usize| format!(r#"{{"user":"user-{at}"}}"#);
    let check = |at: usize| {
        let body = user(at);
        format!(
            "POST /v1/limits/bench/check HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = one(server.http(), check(0).as_bytes()).await;
    let body = answer
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned();
    let bare = Router::new()
        .route(
            "/v1/limits/{class}/check",
            post(async move |_: String| ([("content-type", "application/json")], body.clone())),
        )
        .route("/", get(async || "hello\n"));
    let bare = serve(bare).await;
    let guard = Guard::new(Store::memory(), settings);
    let layer = LimitLayer::new(guard)
        .class("bench")
        .peer(|_| Some(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        .user(|parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned()));
    let limited = serve(
        Router::new()
            .route("/", get(async || "hello\n"))
            .layer(layer),
    )
    .await;
    let page = |at: usize| format!("GET / HTTP/1.1\r\nhost: x\r\nx-user: user-{at}\r\n\r\n");

    println!("{CONNECTIONS} connections, requests/s, median of {rounds} rounds of {ROUND:?}\n");
    let mut sides = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        sides[0].push(round(bare, check).await);
        sides[1].push(round(server.http(), check).await);
        sides[2].push(round(bare, page).await);
        sides[3].push(round(limited, page).await);
    }
    let [bare_post, api, bare_get, layered] = sides.map(median);
    println!("a bare axum route, POST         {bare_post:>10.0}");
    println!(
        "a check by the API              {api:>10.0}  {:.2}",
        api / bare_post
    );
    println!("a bare axum route, GET          {bare_get:>10.0}");
    println!(
        "the same behind the layer       {layered:>10.0}  {:.2}",
        layered / bare_get
    );
    server.shutdown().await;
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    addr
}

async fn one(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut buffer = vec![0; 16 * 1024];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned()
}

/// Requests a second.
async fn round(addr: SocketAddr, request: impl Fn(usize) -> String) -> f64 {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        let request = request(client);
        clients.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 16 * 1024];
            let mut done = 0_u32;
            while began.elapsed() < ROUND {
                stream.write_all(request.as_bytes()).await.unwrap();
                // Answers of this size come in one piece.
                let read = stream.read(&mut buffer).await.unwrap();
                let answer = buffer.get(..read).unwrap_or_default();
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
                done += 1;
            }
            done
        });
    }
    let done: u32 = clients.join_all().await.into_iter().sum();
    f64::from(done) / began.elapsed().as_secs_f64()
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
