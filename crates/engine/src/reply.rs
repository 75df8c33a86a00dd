//! What a command answers, before any protocol gives it bytes.
//!
//! A handler builds one `Reply` and knows nothing of RESP2, RESP3 or JSON: the
//! richer shapes (`Map`, `Pairs`, `Set`, `Double`, `Bool`) carry what RESP3 can
//! say, and an encoder flattens them where a protocol cannot.

use std::borrow::Cow;

/// The answer to one command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// No value: `$-1` in RESP2, `_` in RESP3, `null` in JSON.
    Null,
    /// No array: `*-1` in RESP2, `_` in RESP3, `null` in JSON.
    NullArray,
    /// A status line such as `OK`.
    Status(Cow<'static, str>),
    /// An error line: code, blank, text; never with CR or LF.
    Error(Vec<u8>),
    /// A signed integer.
    Int(i64),
    /// A binary-safe string.
    Bulk(Vec<u8>),
    /// A sequence.
    Array(Vec<Reply>),
    /// A map: flat array in RESP2 and JSON.
    Map(Vec<(Reply, Reply)>),
    /// A sequence of pairs: nested arrays in RESP3, a flat array in RESP2 and
    /// JSON (what `ZRANGE … WITHSCORES` answers).
    Pairs(Vec<(Reply, Reply)>),
    /// An unordered collection: an array in RESP2 and JSON.
    Set(Vec<Reply>),
    /// A number: a bulk string formatted with 17 significant digits in RESP2.
    Double(f64),
    /// A truth value: 1 or 0 in RESP2.
    Bool(bool),
    /// An integer of any size, in decimal: a bulk string in RESP2.
    BigNumber(Vec<u8>),
    /// Text with a three-letter format, such as `txt`: a bulk string in RESP2.
    Verbatim([u8; 3], Vec<u8>),
    /// An out-of-band message (pub/sub): an array in RESP2.
    Push(Vec<Reply>),
    /// Several replies to one command, written one after the other
    /// (`SUBSCRIBE a b` answers twice).
    Many(Vec<Reply>),
}

impl Reply {
    /// `+OK`.
    pub const OK: Reply = Reply::Status(Cow::Borrowed("OK"));

    /// A status known at compile time.
    pub const fn status(text: &'static str) -> Reply {
        Reply::Status(Cow::Borrowed(text))
    }

    /// A bulk string copied from `bytes`.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// An error with this text. CR and LF would end the line on the wire: they
    /// are trimmed at the ends and become blanks within.
    pub fn error(text: impl AsRef<[u8]>) -> Reply {
        let mut text = text.as_ref();
        while let [rest @ .., b'\r' | b'\n'] | [b'\r' | b'\n', rest @ ..] = text {
            text = rest;
        }
        let mut text = text.to_vec();
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Reply::Error(text)
    }

    /// Whether this is an error.
    pub const fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Roughly the bytes that it takes up: the strings, and 16 for each element.
    pub fn weight(&self) -> usize {
        let many = |items: &[Reply]| items.iter().map(Reply::weight).sum::<usize>();
        let content = match self {
            Reply::Bulk(bytes)
            | Reply::Error(bytes)
            | Reply::BigNumber(bytes)
            | Reply::Verbatim(_, bytes) => bytes.len(),
            Reply::Status(text) => text.len(),
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
                many(items)
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
                .iter()
                .map(|(one, other)| one.weight() + other.weight())
                .sum(),
            Reply::Null | Reply::NullArray | Reply::Int(_) | Reply::Double(_) | Reply::Bool(_) => 0,
        };
        content + 16
    }
}

impl From<i64> for Reply {
    fn from(value: i64) -> Self {
        Reply::Int(value)
    }
}

impl From<usize> for Reply {
    fn from(value: usize) -> Self {
        Reply::Int(value as i64)
    }
}

impl From<bool> for Reply {
    /// Redis' own yes and no: the integers 1 and 0.
    fn from(value: bool) -> Self {
        Reply::Int(i64::from(value))
    }
}

impl From<Vec<u8>> for Reply {
    fn from(value: Vec<u8>) -> Self {
        Reply::Bulk(value)
    }
}

impl From<Option<Vec<u8>>> for Reply {
    fn from(value: Option<Vec<u8>>) -> Self {
        value.map_or(Reply::Null, Reply::Bulk)
    }
}

impl From<Vec<Reply>> for Reply {
    fn from(value: Vec<Reply>) -> Self {
        Reply::Array(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_weighs_its_strings_and_its_elements() {
        assert_eq!(Reply::Null.weight(), 16);
        assert_eq!(Reply::bulk("four").weight(), 20);
        let pair = (Reply::bulk("a"), Reply::Int(1));
        let nested = Reply::Array(vec![Reply::Pairs(vec![pair]), Reply::OK]);
        assert_eq!(nested.weight(), 16 + (16 + 17 + 16) + 18);
    }
}
