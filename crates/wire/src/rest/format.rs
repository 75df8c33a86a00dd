//! The request headers that choose how a reply is written.

use super::RestError;

/// How strings stand in a JSON reply: header `Upstash-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As text; a byte that is not UTF-8 becomes U+FFFD.
    #[default]
    Plain,
    /// As standard base64, but for the status reply `OK`; binary-safe.
    Base64,
}

impl Encoding {
    /// The header's name, in lower case.
    pub const HEADER: &'static str = "upstash-encoding";

    /// Reads the header's value; `None` when the request has no such header.
    pub fn from_header(value: Option<&[u8]>) -> Result<Self, RestError> {
        match value.map(<[u8]>::trim_ascii) {
            None => Ok(Self::Plain),
            Some(text) if text.eq_ignore_ascii_case(b"base64") => Ok(Self::Base64),
            Some(text) => Err(RestError::UnknownEncoding(lossy(text))),
        }
    }
}

/// What an answer's body is: header `Upstash-Response-Format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseFormat {
    /// `application/json; charset=utf-8`.
    #[default]
    Json,
    /// RESP2 as on a socket, `application/octet-stream`. The base64 encoding
    /// has no meaning for it: asking for both is refused.
    Resp2,
}

impl ResponseFormat {
    /// The header's name, in lower case.
    pub const HEADER: &'static str = "upstash-response-format";

    /// Reads the header's value; `None` when the request has no such header.
    /// `encoding` is what the request's other header asked for.
    pub fn from_header(value: Option<&[u8]>, encoding: Encoding) -> Result<Self, RestError> {
        match value.map(<[u8]>::trim_ascii) {
            None => Ok(Self::Json),
            Some(text) if text.eq_ignore_ascii_case(b"json") => Ok(Self::Json),
            Some(text) if text.eq_ignore_ascii_case(b"resp2") => match encoding {
                Encoding::Plain => Ok(Self::Resp2),
                Encoding::Base64 => Err(RestError::EncodedResp2),
            },
            Some(text) => Err(RestError::UnknownResponseFormat(lossy(text))),
        }
    }

    /// The answer's `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Resp2 => "application/octet-stream",
        }
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values() {
        assert_eq!(Encoding::from_header(None), Ok(Encoding::Plain));
        assert_eq!(Encoding::from_header(Some(b"base64")), Ok(Encoding::Base64));
        let other = Encoding::from_header(Some(b"gzip")).unwrap_err();
        assert_eq!(other.status(), 400);
        assert_eq!(other.to_string(), "ERR unsupported Upstash-Encoding: gzip");

        let read = |value, encoding| ResponseFormat::from_header(value, encoding);
        assert_eq!(read(None, Encoding::Base64), Ok(ResponseFormat::Json));
        assert_eq!(
            read(Some(b"json"), Encoding::Base64),
            Ok(ResponseFormat::Json)
        );
        assert_eq!(
            read(Some(b"resp2"), Encoding::Plain),
            Ok(ResponseFormat::Resp2)
        );
        assert_eq!(
            read(Some(b"resp2"), Encoding::Base64),
            Err(RestError::EncodedResp2)
        );
        assert_eq!(
            read(Some(b"resp3"), Encoding::Plain)
                .unwrap_err()
                .to_string(),
            "ERR unsupported Upstash-Response-Format: resp3"
        );
    }
}
