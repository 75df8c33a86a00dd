//! A server that answers as a test says, for what a real one does too rarely.

use std::sync::Arc;

use bytes::BytesMut;
use sangam_engine::Reply;
use sangam_wire::resp::{DecodedReply, Protocol, decode_reply, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::address::{Address, Host};
use super::connect::Dialer;
use crate::options::Options;
use crate::target::Target;

/// Speaks RESP2; closed when it is dropped.
pub(super) struct Server {
    pub(super) host: Host,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers a greeting in this mode, and everything else by `answer`, which is
    /// given the command in one line; after `None` a connection says nothing more.
    pub(super) async fn start(
        mode: &'static str,
        answer: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Host::tcp("127.0.0.1", listener.local_addr().unwrap().port());
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(serve(socket, mode, move |line| answer(line)));
            }
        });
        Server { host, task }
    }
}

async fn serve(mut socket: TcpStream, mode: &str, answer: impl Fn(&str) -> Option<Reply>) {
    let mut buf = BytesMut::new();
    let mut silent = false;
    while matches!(socket.read_buf(&mut buf).await, Ok(1..)) {
        while let Ok(DecodedReply::Complete(Reply::Array(argv), used)) = decode_reply(&buf) {
            let _ = buf.split_to(used);
            let words = argv.iter().map(|arg| match arg {
                Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => panic!("{other:?}"),
            });
            let line = words.collect::<Vec<_>>().join(" ");
            let reply = match line.split(' ').next() {
                Some("HELLO" | "ROLE") => Some(Reply::error("ERR unknown command")),
                Some("PING") => Some(Reply::status("PONG")),
                Some("INFO") => Some(Reply::bulk(format!("redis_mode:{mode}\r\n"))),
                _ => answer(&line),
            };
            silent |= reply.is_none();
            if let Some(reply) = reply.filter(|_| !silent) {
                let mut out = Vec::new();
                encode(&reply, Protocol::Resp2, &mut out);
                let _ = socket.write_all(&out).await;
            }
        }
    }
}

/// How to connect where a URL says, with these time limits.
pub(super) fn dialer(url: &str, options: &Options) -> Dialer {
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    Dialer::new(&Address::of(&target).unwrap(), options).unwrap()
}
