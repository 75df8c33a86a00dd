//! A small client for the rig's own questions, and for tests that look at a
//! server past what they test. RESP2, one command at a time, time-out 5 s.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `$-1` or `*-1`.
    Nil,
    /// `:`
    Int(i64),
    /// `+`
    Status(String),
    /// `-`
    Error(String),
    /// `$`
    Bulk(Vec<u8>),
    /// `*`
    Array(Vec<Answer>),
}

impl Answer {
    /// A status or bulk string as text; empty for anything else.
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        }
    }

    /// An array's elements; none for anything else.
    pub fn items(&self) -> &[Answer] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// An integer, or a string that is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            other => other.text().parse().ok(),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects, without a password.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(addr)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// One command. After an error the connection is of no more use.
    pub async fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Answer> {
        timeout(PATIENCE, async {
            self.send(arguments).await?;
            self.read().await
        })
        .await?
    }

    /// Sends a command without waiting for its reply.
    pub async fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = argument.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).await
    }

    /// The next reply, without a time-out.
    pub async fn read(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(|_| io::ErrorKind::InvalidData);
        Ok(match kind {
            "+" => Answer::Status(rest.to_owned()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Int(number()?),
            "$" | "*" if rest == "-1" => Answer::Nil,
            "$" => {
                let mut bytes = vec![0; number()? as usize + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                Answer::Bulk(bytes)
            }
            "*" => {
                let mut items = Vec::new();
                for _ in 0..number()? {
                    items.push(Box::pin(self.read()).await?);
                }
                Answer::Array(items)
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}
