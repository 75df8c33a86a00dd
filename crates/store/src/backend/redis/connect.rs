//! From a host to a connection that is logged in, is of the right kind and may
//! be used: TCP or socket, TLS, and the greeting ([`greet`](super::greet)), within
//! one time limit.
//!
//! A failure is looked into while there is time, so that TLS to a plain port and
//! the other way round are named for what they are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sangam_engine::Reply;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{Address, Host, Login};
use super::fault::Faults;
use super::stream::Socket;
use super::tls;
use crate::backend::Failure;
use crate::error::Error;
use crate::options::Options;

/// Silence after which the system asks whether the peer is there, how often it
/// asks then, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Shortest time that sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_MIN: Duration = Duration::from_secs(5);

/// What a server has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A master that stands alone.
    Single,
    /// The master that sentinels named: a moment ago.
    Master,
    /// A node of a cluster.
    Node,
    Sentinel,
}

/// How to connect to servers of one store.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) login: Login,
    pub(super) database: u64,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) resp2: bool,
    setting: &'static str,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
}

impl Dialer {
    pub(super) fn new(address: &Address, options: &Options) -> Result<Self, Error> {
        let tls = match &address.tls {
            None => None,
            Some(files) => {
                let config = tls::config(files).map_err(|text| {
                    Error::Setting(format!("setting `{}`: {text}", address.setting))
                })?;
                Some(Arc::new(config))
            }
        };
        Ok(Dialer {
            login: address.login.clone(),
            database: address.database,
            tls,
            resp2: address.resp2,
            setting: address.setting,
            connect_timeout: options.connect_timeout,
            command_timeout: options.command_timeout,
        })
    }

    /// The same for sentinels, which have passwords and users of their own.
    pub(super) fn for_sentinels(&self, login: Login) -> Self {
        Dialer {
            login,
            database: 0,
            ..self.clone()
        }
    }

    /// The address of a host for people to read.
    pub(super) fn place(&self, host: &Host) -> String {
        match (host, &self.tls) {
            (Host::Unix(_), _) => format!("unix://{host}"),
            (Host::Tcp { .. }, None) => format!("redis://{host}"),
            (Host::Tcp { .. }, Some(_)) => format!("rediss://{host}"),
        }
    }

    pub(super) fn faults(&self, host: &Host) -> Faults {
        Faults {
            place: self.place(host),
            setting: self.setting,
            user: self.login.user.as_deref().unwrap_or("default").to_owned(),
            database: self.database,
        }
    }

    /// Connects, within the time for it.
    pub(super) async fn connect(
        &self,
        host: &Host,
        part: Part,
    ) -> Result<Box<dyn Socket>, Failure> {
        let faults = self.faults(host);
        let limit = self.connect_timeout;
        let connecting = async {
            let socket = self.open(host, &faults).await?;
            self.greet(socket, host, part, &faults).await
        };
        let late = || faults.unreachable(format!("no answer within {} ms", limit.as_millis()));
        timeout(limit, connecting)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn open(&self, host: &Host, faults: &Faults) -> Result<Box<dyn Socket>, Failure> {
        let (name, port) = match host {
            Host::Unix(path) => {
                let socket = UnixStream::connect(path).await;
                return match socket {
                    Ok(socket) => Ok(Box::new(socket)),
                    Err(error) => Err(faults.unreachable(error.to_string())),
                };
            }
            Host::Tcp { host, port } => (host.as_str(), *port),
        };
        let tcp = self.tcp(name, port, faults).await?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| faults.setting("has a name that no certificate can hold"))?;
        let handshake = TlsConnector::from(config.clone()).connect(server, tcp);
        // Half of the time, so that there is some left to find out why.
        match timeout(self.connect_timeout / 2, handshake).await {
            Ok(Ok(socket)) => Ok(Box::new(socket)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                if self.within(self.answers_plainly(name, port, faults)).await {
                    return Err(faults.has_no_tls());
                }
                Err(faults.unreachable("it closed the connection in the TLS handshake"))
            }
            Ok(Err(error)) => Err(faults.tls(&error)),
            Err(_) => {
                if self.within(self.answers_plainly(name, port, faults)).await {
                    return Err(faults.has_no_tls());
                }
                Err(faults.unreachable("no answer to the TLS handshake; does it speak TLS?"))
            }
        }
    }

    /// The first of a name's addresses that takes a connection.
    async fn tcp(&self, name: &str, port: u16, faults: &Faults) -> Result<TcpStream, Failure> {
        let addresses = lookup_host((name, port)).await;
        let addresses: Vec<_> = match addresses {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(faults.unreachable(error.to_string())),
        };
        let share = self.connect_timeout / (addresses.len().max(1) as u32);
        let mut reason = format!("`{name}` has no address");
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    self.tune(&stream)
                        .map_err(|error| faults.unreachable(error.to_string()))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => reason = format!("no answer within {} ms", share.as_millis()),
            }
        }
        Err(faults.unreachable(reason))
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (after, every, times) = KEEPALIVE;
        let keepalive = TcpKeepalive::new()
            .with_time(after)
            .with_interval(every)
            .with_retries(times);
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(&keepalive)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.command_timeout.max(UNACKNOWLEDGED_MIN)))?;
        Ok(())
    }

    /// The answer to a question about a failure, if it comes before the time for
    /// the connection is over.
    pub(super) async fn within(&self, question: impl Future<Output = bool>) -> bool {
        let limit = self.connect_timeout / 4;
        timeout(limit, question).await.unwrap_or(false)
    }

    /// Whether a port that fails at TLS answers Redis' protocol without. No secret
    /// is sent.
    async fn answers_plainly(&self, name: &str, port: u16, faults: &Faults) -> bool {
        let Ok(mut tcp) = self.tcp(name, port, faults).await else {
            return false;
        };
        let mut answer = [0; 1];
        tcp.write_all(b"*1\r\n$4\r\nPING\r\n").await.is_ok()
            && matches!(tcp.read(&mut answer).await, Ok(1))
            && matches!(&answer, b"+" | b"-")
    }

    /// Whether a port that closes a plain connection without a word speaks TLS.
    pub(super) async fn answers_tls(&self, host: &Host, faults: &Faults) -> bool {
        let Host::Tcp { host: name, port } = host else {
            return false;
        };
        let Ok(server) = ServerName::try_from(name.clone()) else {
            return false;
        };
        let (Ok(config), Ok(tcp)) = (tls::strict(), self.tcp(name, *port, faults).await) else {
            return false;
        };
        match TlsConnector::from(Arc::new(config))
            .connect(server, tcp)
            .await
        {
            Ok(_) => true,
            Err(error) => {
                let inner = error.get_ref();
                let inner = inner.and_then(|it| it.downcast_ref::<rustls::Error>());
                matches!(
                    inner,
                    Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
                )
            }
        }
    }
}

/// Appends a command as RESP.
pub(super) fn write_command(argv: &[&[u8]], out: &mut Vec<u8>) {
    let parts = argv.iter().map(Reply::bulk).collect();
    sangam_wire::resp::encode(
        &Reply::Array(parts),
        sangam_wire::resp::Protocol::Resp2,
        out,
    );
}
