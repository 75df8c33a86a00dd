//! The API under `/v1` from outside: a server in process, spoken to over TCP.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod cache;
mod description;
mod limits;
mod principals;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sangam_server::{Config, Running, Server};
use serde_json::Value;

/// The token of the servers here.
const TOKEN: &str = "the-token-of-the-server";
/// The one that only reads.
const READ_TOKEN: &str = "the-token-that-reads";

/// A server and a connection to it.
struct Bench {
    stream: TcpStream,
    file: std::path::PathBuf,
    server: Running,
    _runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// A server with what `text` says in its file of settings.
    fn with(text: &str) -> Self {
        Bench::set(text, |_| {})
    }

    /// The same with what no file says.
    fn set(text: &str, set: impl FnOnce(&mut Config)) -> Self {
        let file = tempfile(text);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let args = sangam_server::cli::ServeArgs {
            config: Some(file.to_str().unwrap().to_owned()),
            http: Some("127.0.0.1:0".to_owned()),
            resp: Some("off".to_owned()),
            data: Some("memory".to_owned()),
            token: Some(TOKEN.to_owned()),
            read_token: Some(READ_TOKEN.to_owned()),
            ..sangam_server::cli::ServeArgs::default()
        };
        let mut config = Config::load(&args).unwrap();
        set(&mut config);
        let server = runtime.block_on(Server::start(config)).unwrap();
        Bench {
            stream: connect(server.http()),
            file,
            server,
            _runtime: runtime,
        }
    }

    /// One request; status, headers as text, body.
    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String, Vec<u8>) {
        let (head, body) = support::http(&mut self.stream, method, path, headers, body.as_bytes());
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, body)
    }

    /// One request with a key and JSON; status and JSON.
    fn ask(&mut self, key: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let bearer = format!("Bearer {key}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let (status, head, body) = self.send(method, path, &headers, body);
        let json = serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error}: {head}\n{}", String::from_utf8_lossy(&body)));
        (status, json)
    }

    /// Puts another text into the file of settings.
    fn rewrite(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    /// A new connection, where the old one may have been closed.
    fn reconnect(&mut self) {
        self.stream = connect(self.server.http());
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A file with this text, in a folder of its own.
fn tempfile(text: &str) -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "sangam-api-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("sangam.toml");
    std::fs::write(&path, text).unwrap();
    path
}
