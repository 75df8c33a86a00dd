//! What a new connection says first, and what the server turns out to be.
//!
//! RESP3 is asked for; a server that does not know it (before Redis 6) is spoken
//! to in RESP2. HELLO's answer, or ROLE and INFO in RESP2, says what the server
//! is, so that a replica, a sentinel or a node of a cluster is found before the
//! first command and not by it. PING finds one that loads, and a user who may do
//! nothing.

use bytes::BytesMut;
use sangam_engine::Reply;
use sangam_wire::resp::{DecodedReply, decode_reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::address::Host;
use super::connect::{Dialer, Part, write_command};
use super::fault::{Faults, is_tls};
use super::stream::Socket;
use crate::backend::Failure;
use crate::error::Why;

/// Bytes that a server may answer to it.
const GREETING_MAX: usize = 64 << 10;

impl Dialer {
    pub(super) async fn greet(
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
