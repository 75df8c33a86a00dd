//! Where an HTTP/1.1 message ends: by `Content-Length`, by chunks, or by the end
//! of the connection. Nothing else of HTTP is understood here.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const HEAD_MAX: usize = 64 * 1024;
const PIECE: usize = 16 * 1024;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    /// The end of the connection; only a response may have it.
    ToEnd,
}

/// A message's first part.
#[derive(Debug)]
pub(super) struct Head {
    /// With the empty line that ends it.
    pub(super) bytes: Vec<u8>,
    /// Method, or version of a response.
    first: String,
    /// Path, or status of a response.
    second: String,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Head {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let mut head = Self {
            first: words.next()?.to_owned(),
            second: words.next()?.to_owned(),
            bytes,
            length: None,
            chunked: false,
            close: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim().to_ascii_lowercase();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Some(value.parse().ok()?),
                "transfer-encoding" => head.chunked = value.ends_with("chunked"),
                "connection" => head.close = value.contains("close"),
                _ => {}
            }
        }
        Some(head)
    }

    pub(super) fn is_head(&self) -> bool {
        self.first == "HEAD"
    }

    /// Whether the connection ends after this message.
    pub(super) fn closes(&self) -> bool {
        self.close
    }

    pub(super) fn request_body(&self) -> Body {
        if self.chunked {
            Body::Chunked
        } else {
            Body::Length(self.length.unwrap_or(0))
        }
    }

    /// `None` after an interim response (1xx), which another follows.
    pub(super) fn response_body(&self, to_head: bool) -> Option<Body> {
        match self.second.as_bytes() {
            [b'1', ..] => None,
            b"204" | b"304" => Some(Body::Length(0)),
            _ if to_head => Some(Body::Length(0)),
            _ if self.chunked => Some(Body::Chunked),
            _ => Some(self.length.map_or(Body::ToEnd, Body::Length)),
        }
    }
}

/// Bytes that were read and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.0.reserve(PIECE);
        from.read_buf(&mut self.0).await
    }

    /// Takes up to and with `end`; `None` if the other side closed before.
    async fn take_through(
        &mut self,
        end: &[u8],
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.0.windows(end.len()).position(|window| window == end) {
                let after = self.0.split_off(at + end.len());
                return Ok(Some(std::mem::replace(&mut self.0, after)));
            }
            if self.0.len() > HEAD_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.fill(from).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message's head; `None` at the end of the connection.
    pub(super) async fn head(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Head>> {
        let Some(bytes) = self.take_through(b"\r\n\r\n", from).await? else {
            return Ok(None);
        };
        Head::parse(bytes)
            .map(Some)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Moves a body on as it comes.
    pub(super) async fn relay(
        &mut self,
        body: Body,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        match body {
            Body::Length(length) => self.relay_exactly(length, from, to).await,
            Body::ToEnd => loop {
                to.write_all(&self.0).await?;
                self.0.clear();
                if self.fill(from).await? == 0 {
                    return Ok(());
                }
            },
            Body::Chunked => loop {
                let line = self.line(from).await?;
                let size = std::str::from_utf8(&line)
                    .ok()
                    .and_then(|text| text.trim_end().split(';').next())
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .ok_or(io::ErrorKind::InvalidData)?;
                to.write_all(&line).await?;
                if size > 0 {
                    self.relay_exactly(size + 2, from, to).await?;
                    continue;
                }
                // Trailers, up to an empty line.
                loop {
                    let line = self.line(from).await?;
                    to.write_all(&line).await?;
                    if line == b"\r\n" {
                        return Ok(());
                    }
                }
            },
        }
    }

    async fn line(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        self.take_through(b"\r\n", from)
            .await?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn relay_exactly(
        &mut self,
        mut left: u64,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        while left > 0 {
            if self.0.is_empty() && self.fill(from).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let here = self.0.len().min(left as usize);
            let after = self.0.split_off(here);
            to.write_all(&self.0).await?;
            self.0 = after;
            left -= here as u64;
        }
        Ok(())
    }
}
