//! A real server on free ports, and a plain HTTP client.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use sangam_store::Store;

/// A server that runs until the test ends.
pub(crate) struct Running {
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
    /// Where RESP listens, if it does.
    pub(crate) resp: Option<SocketAddr>,
    _server: sangam_server::Running,
    _runtime: tokio::runtime::Runtime,
}

/// Starts a server in memory on free ports.
pub(crate) fn start(token: &str) -> Running {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = sangam_server::Config::in_memory(token);
    let server = runtime
        .block_on(sangam_server::Server::start(config))
        .unwrap();
    Running {
        http: server.http(),
        resp: server.resp(),
        _server: server,
        _runtime: runtime,
    }
}

/// Starts a gateway in front of a store that is made on its runtime.
pub(crate) fn start_over(token: &str, store: impl Future<Output = Store>) -> Running {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = sangam_server::Config::in_memory(token);
    let server = runtime
        .block_on(async { sangam_server::Server::start_over(store.await, config).await })
        .unwrap();
    Running {
        http: server.http(),
        resp: None,
        _server: server,
        _runtime: runtime,
    }
}

/// One request on a keep-alive connection: status and headers as text, body.
pub(crate) fn http(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (String, Vec<u8>) {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    stream.write_all(&request).unwrap();
    let mut received = Vec::new();
    let mut chunk = vec![0; 65536];
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec()).unwrap();
            let length: usize = head
                .lines()
                .find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().unwrap())
                })
                .unwrap_or(0);
            if received.len() >= end + 4 + length {
                return (head, received[end + 4..end + 4 + length].to_vec());
            }
        }
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the connection was closed");
        received.extend_from_slice(&chunk[..count]);
    }
}
