//! From a host to a connection that is logged in, is of the right kind and may
//! be used: TCP or socket, TLS, HELLO, SELECT, PING, within one time limit.
//!
//! RESP3 is asked for; a server that does not know it (before Redis 6) is spoken
//! to in RESP2. HELLO's answer, or ROLE and INFO in RESP2, says what the server
//! is, so that a replica, a sentinel or a node of a cluster is found before the
//! first command and not by it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sangam_engine::Reply;
use sangam_wire::resp::{DecodedReply, decode_reply};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::{Address, Host, Login};
use super::fault::{Faults, is_tls};
use super::stream::Socket;
use super::tls;
use crate::backend::Failure;
use crate::error::{Error, Why};
use crate::options::Options;

/// Silence after which the system asks whether the peer is there, how often it
/// asks then, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);
/// Shortest time that sent bytes may stay unacknowledged.
const UNACKNOWLEDGED_MIN: Duration = Duration::from_secs(5);
/// Bytes that a handshake may answer.
const GREETING_MAX: usize = 64 << 10;

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
    login: Login,
    database: u64,
    tls: Option<Arc<ClientConfig>>,
    resp2: bool,
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
    async fn within(&self, question: impl Future<Output = bool>) -> bool {
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
    async fn answers_tls(&self, host: &Host, faults: &Faults) -> bool {
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

    async fn greet(
        &self,
        mut socket: Box<dyn Socket>,
        host: &Host,
        part: Part,
        faults: &Faults,
    ) -> Result<Box<dyn Socket>, Failure> {
        let mut resp3 = false;
        if !self.resp2 {
            resp3 = self.hello(&mut socket, host, part, faults).await?;
        }
        if !resp3 {
            self.greet_in_resp2(&mut socket, host, part, faults).await?;
        }
        Ok(socket)
    }

    /// Greets in RESP3; answers whether the server speaks it.
    async fn hello(
        &self,
        socket: &mut Box<dyn Socket>,
        host: &Host,
        part: Part,
        faults: &Faults,
    ) -> Result<bool, Failure> {
        let database = self.database.to_string();
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &self.login.password {
            let user = self.login.user.as_deref().unwrap_or("default");
            hello.extend([b"AUTH", user.as_bytes(), password.as_bytes()]);
        }
        hello.extend([&b"SETNAME"[..], b"sangam"]);
        let mut commands = vec![hello];
        if self.database != 0 {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        commands.push(vec![b"PING"]);
        let replies = self.exchange(socket, &commands, host, faults).await?;
        let mut replies = commands.iter().zip(replies);
        match replies.next() {
            Some((_, Reply::Error(text))) if is_unknown(&text) => return Ok(false),
            Some((_, Reply::Error(text))) => return Err(faults.refused("AUTH", &text)),
            Some((_, answer)) => {
                let mode = field(&answer, "mode");
                // A server that does not say is taken at its word.
                let master = field(&answer, "role").is_none_or(|role| role == "master");
                check(mode.as_deref().unwrap_or_default(), master, part, faults)?;
            }
            None => {}
        }
        for (argv, reply) in replies {
            accepted(argv, &reply, part, faults)?;
        }
        Ok(true)
    }

    async fn greet_in_resp2(
        &self,
        socket: &mut Box<dyn Socket>,
        host: &Host,
        part: Part,
        faults: &Faults,
    ) -> Result<(), Failure> {
        let database = self.database.to_string();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        match (&self.login.user, &self.login.password) {
            (Some(user), Some(password)) => {
                commands.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]);
            }
            (None, Some(password)) => commands.push(vec![b"AUTH", password.as_bytes()]),
            _ => {}
        }
        if self.database != 0 {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        commands.push(vec![b"PING"]);
        commands.push(vec![b"ROLE"]);
        commands.push(vec![b"INFO", b"server"]);
        let replies = self.exchange(socket, &commands, host, faults).await?;
        let mut role = String::new();
        let mut mode = String::new();
        for (argv, reply) in commands.iter().zip(replies) {
            match (argv.first().copied().unwrap_or_default(), reply) {
                (b"ROLE", Reply::Array(parts)) => {
                    role = parts.first().and_then(words).unwrap_or_default();
                }
                // Not every service that speaks the protocol knows ROLE, or lets
                // everybody read INFO.
                (b"ROLE", Reply::Error(text)) if is_unknown(&text) => {}
                (b"INFO", Reply::Error(_)) => {}
                (b"INFO", reply) => {
                    let text = words(&reply).unwrap_or_default();
                    let line = text
                        .lines()
                        .find_map(|line| line.strip_prefix("redis_mode:"));
                    line.unwrap_or_default().trim().clone_into(&mut mode);
                }
                (_, reply) => accepted(argv, &reply, part, faults)?,
            }
        }
        check(&mode, role.is_empty() || role == "master", part, faults)
    }

    /// Sends commands and reads as many replies.
    async fn exchange(
        &self,
        socket: &mut Box<dyn Socket>,
        commands: &[Vec<&[u8]>],
        host: &Host,
        faults: &Faults,
    ) -> Result<Vec<Reply>, Failure> {
        let mut out = Vec::new();
        for argv in commands {
            write_command(argv, &mut out);
        }
        let mut outcome = socket.write_all(&out).await;
        if outcome.is_ok() {
            outcome = socket.flush().await;
        }
        let mut replies = Vec::with_capacity(commands.len());
        let mut buf = BytesMut::with_capacity(1024);
        // A server that refuses the connection says so before it closes it, and
        // what was sent to it then fails: look at its words first.
        while replies.len() < commands.len() {
            match decode_reply(&buf) {
                Ok(DecodedReply::Complete(reply, used)) => {
                    let _ = buf.split_to(used);
                    if let Reply::Error(text) = &reply
                        && is_farewell(text)
                    {
                        return Err(faults.refused("CONNECT", text));
                    }
                    replies.push(reply);
                    continue;
                }
                Ok(DecodedReply::Incomplete(_)) if buf.len() < GREETING_MAX => {}
                Ok(DecodedReply::Incomplete(_)) | Err(_) => return Err(faults.not_redis(&buf)),
            }
            match socket.read_buf(&mut buf).await {
                Ok(1..) => {}
                Ok(0) if buf.is_empty() && replies.is_empty() => {
                    if self.tls.is_none() && self.within(self.answers_tls(host, faults)).await {
                        return Err(faults.needs_tls());
                    }
                    let reason = outcome.err().map(|error| error.to_string());
                    let reason = reason.unwrap_or_else(|| "it closed the connection".to_owned());
                    return Err(faults.unreachable(reason));
                }
                Ok(0) if is_tls(&buf) => return Err(faults.needs_tls()),
                Ok(0) => return Err(faults.unreachable("it closed the connection")),
                Err(error) if self.tls.is_some() => return Err(faults.tls(&error)),
                Err(error) => {
                    if self.within(self.answers_tls(host, faults)).await {
                        return Err(faults.needs_tls());
                    }
                    return Err(faults.unreachable(error.to_string()));
                }
            }
        }
        Ok(replies)
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

/// A line that a server sends before it closes a connection that it never took.
fn is_farewell(text: &[u8]) -> bool {
    text.starts_with(b"DENIED") || text.starts_with(b"ERR max number of clients")
}

/// Whether a server refuses a command because it does not know it.
fn is_unknown(text: &[u8]) -> bool {
    text.starts_with(b"NOPROTO")
        || text.starts_with(b"ERR unknown command")
        || text.starts_with(b"ERR Protocol version")
        || text.starts_with(b"ERR unsupported")
        || text.starts_with(b"ERR Command is not available")
}

/// A reply to one of the first commands.
fn accepted(argv: &[&[u8]], reply: &Reply, part: Part, faults: &Faults) -> Result<(), Failure> {
    let Reply::Error(text) = reply else {
        return Ok(());
    };
    let name = argv.first().copied().unwrap_or_default();
    // A node that is cut off or loads still tells where others are.
    if part == Part::Node && name == b"PING" && !text.starts_with(b"NO") {
        return Ok(());
    }
    Err(faults.refused(&String::from_utf8_lossy(name), text))
}

/// Whether a server is what it has to be.
fn check(mode: &str, master: bool, part: Part, faults: &Faults) -> Result<(), Failure> {
    match part {
        Part::Sentinel if mode != "sentinel" => Err(faults.setting(
            "is no sentinel: name the sentinels' port (26379), or write redis:// for the server \
             itself",
        )),
        Part::Sentinel | Part::Node => Ok(()),
        Part::Single | Part::Master if mode == "sentinel" => {
            Err(faults.setting("is a sentinel: write redis+sentinel://host:port/master-name"))
        }
        Part::Single if mode == "cluster" => Err(faults.cluster()),
        Part::Single if !master => Err(faults.setting(format!(
            "is a replica: point {} at its master, or name the sentinels \
             (redis+sentinel://host:port/master-name)",
            faults.setting
        ))),
        Part::Master if !master => Err(Failure::NotSent(Why::Refusing(format!(
            "{} is a replica by now",
            faults.place
        )))),
        Part::Single | Part::Master => Ok(()),
    }
}

/// A field of HELLO's answer.
fn field(answer: &Reply, name: &str) -> Option<String> {
    match answer {
        Reply::Map(pairs) => pairs
            .iter()
            .find(|(key, _)| words(key).as_deref() == Some(name))
            .and_then(|(_, value)| words(value)),
        _ => None,
    }
}

fn words(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        Reply::Status(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}
