//! Accepts connections and hands them to a door, over TCP or TLS.
//!
//! A door is generic over its stream, so the plain path pays nothing for TLS.
//! A handshake runs in the connection's own task: a slow one delays nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Silence after which a connection is probed, as Redis' `tcp-keepalive`.
const PROBE_AFTER: Duration = Duration::from_mins(5);
/// Time to recover when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection is read from and written to.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Serves connections of one protocol.
pub(crate) trait Door: Send + Sync + 'static {
    /// What a client reads when there are too many.
    const TOO_MANY: &'static [u8];

    /// Connections that may be open.
    fn connections_max(&self) -> usize;

    /// Serves one connection to its end. Once `stop` is cancelled it ends when
    /// the request that runs is answered.
    fn serve<S: Transport>(
        self: Arc<Self>,
        stream: S,
        ends: Ends,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

/// A listening socket and what is behind it.
pub(crate) struct Listener<D> {
    pub(crate) socket: std::net::TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) handshake: Duration,
    pub(crate) door: Arc<D>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl<D: Door> Listener<D> {
    /// Accepts until the server stops.
    pub(crate) async fn run(self) {
        let socket = match TcpListener::from_std(self.socket) {
            Ok(socket) => socket,
            Err(error) => return tracing::error!("cannot accept connections: {error}"),
        };
        // Each task holds one clone, which counts it.
        let open = Arc::new(());
        let stop = self.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
            let (mut stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if Arc::strong_count(&open) > self.door.connections_max() {
                self.tasks.spawn(async move {
                    let write = stream.write_all(D::TOO_MANY);
                    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
                });
                continue;
            }
            let counted = open.clone();
            let Ok(ends) = prepare(&stream, remote) else {
                continue;
            };
            let door = self.door.clone();
            // A token of its own: waiting for it contends with no other connection.
            let stop = self.stop.child_token();
            match &self.tls {
                None => {
                    self.tasks.spawn(async move {
                        door.serve(stream, ends, stop).await;
                        drop(counted);
                    });
                }
                Some(tls) => {
                    let handshake = tokio::time::timeout(self.handshake, tls.accept(stream));
                    self.tasks.spawn(async move {
                        match stop.run_until_cancelled(handshake).await {
                            Some(Ok(Ok(stream))) => door.serve(stream, ends, stop).await,
                            Some(Ok(Err(error))) => {
                                tracing::debug!(%remote, "TLS handshake failed: {error}");
                            }
                            Some(Err(_)) => tracing::debug!(%remote, "TLS handshake timed out"),
                            None => {}
                        }
                        drop(counted);
                    });
                }
            }
        }
    }
}

fn prepare(stream: &TcpStream, remote: SocketAddr) -> io::Result<Ends> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER))?;
    Ok(Ends {
        remote,
        local: stream.local_addr()?,
    })
}
