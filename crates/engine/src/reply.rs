//! What a command answers, before any protocol gives it bytes.
//!
//! A handler builds one `Reply` and knows nothing of RESP2, RESP3 or JSON: the
//! richer shapes (`Map`, `Pairs`, `Set`, `Double`, `Bool`) carry what RESP3 can
//! say, and an encoder flattens them where a protocol cannot.

mod bulks;
pub(crate) mod encoded;

use std::borrow::Cow;

use crate::error::CommandError;

pub use bulks::Bulks;

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
    /// A sequence of binary-safe strings: on the wire what an `Array` of `Bulk`s
    /// is ([`Reply::unpacked`]).
    Bulks(Bulks),
    /// A map: flat array in RESP2 and JSON.
    Map(Vec<(Reply, Reply)>),
    /// A sequence of pairs: nested arrays in RESP3, a flat array in RESP2 and
    /// JSON (what `ZRANGE … WITHSCORES` answers).
    Pairs(Vec<(Reply, Reply)>),
    /// An unordered collection: an array in RESP2 and JSON.
    Set(Vec<Reply>),
    /// A number: a bulk string formatted with 17 significant digits in RESP2.
    Double(f64),
    /// A number in decimal, with the digits that it was given: a double in RESP3,
    /// a bulk string in RESP2.
    Decimal(Vec<u8>),
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

    /// The reply with an `Array` of `Bulk`s in place of each [`Reply::Bulks`] in
    /// it, for who would rather match on one shape.
    #[must_use]
    pub fn unpacked(self) -> Reply {
        let all = |items: Vec<Reply>| items.into_iter().map(Reply::unpacked).collect();
        let both = |pairs: Vec<(Reply, Reply)>| {
            let pairs = pairs.into_iter();
            pairs
                .map(|(one, other)| (one.unpacked(), other.unpacked()))
                .collect()
        };
        match self {
            Reply::Bulks(bulks) => Reply::Array(bulks.iter().map(Reply::bulk).collect()),
            Reply::Array(items) => Reply::Array(all(items)),
            Reply::Set(items) => Reply::Set(all(items)),
            Reply::Push(items) => Reply::Push(all(items)),
            Reply::Many(items) => Reply::Many(all(items)),
            Reply::Map(pairs) => Reply::Map(both(pairs)),
            Reply::Pairs(pairs) => Reply::Pairs(both(pairs)),
            other => other,
        }
    }

    /// Whether this is an error.
    pub const fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Whether it is more than a number, a status or an error.
    pub(crate) const fn carries_data(&self) -> bool {
        !matches!(
            self,
            Reply::Null
                | Reply::NullArray
                | Reply::Status(_)
                | Reply::Error(_)
                | Reply::Int(_)
                | Reply::Double(_)
                | Reply::Bool(_)
        )
    }

    /// Roughly the bytes that it takes up: the strings, and 16 for each element.
    pub fn weight(&self) -> usize {
        let many = |items: &[Reply]| items.iter().map(Reply::weight).sum::<usize>();
        let content = match self {
            Reply::Bulk(bytes)
            | Reply::Error(bytes)
            | Reply::Decimal(bytes)
            | Reply::BigNumber(bytes)
            | Reply::Verbatim(_, bytes) => bytes.len(),
            Reply::Status(text) => text.len(),
            Reply::Bulks(bulks) => bulks.bytes() + bulks.len() * ELEMENT,
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
                many(items)
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => pairs
                .iter()
                .map(|(one, other)| one.weight() + other.weight())
                .sum(),
            Reply::Null | Reply::NullArray | Reply::Int(_) | Reply::Double(_) | Reply::Bool(_) => 0,
        };
        content + ELEMENT
    }
}

/// What the reply to one command, or to one EXEC, may weigh where the request alone
/// decides its size: one that names the same value again and again could ask for
/// any multiple of what is stored.
pub(crate) const REPLY_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// What is left of [`REPLY_MAX`] while a reply is gathered.
pub(crate) struct Room(usize);

impl Room {
    /// All of it.
    pub(crate) const fn new() -> Self {
        Room(REPLY_MAX)
    }

    /// Takes the room of `bytes` in one element.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), CommandError> {
        let left = self.0.checked_sub(bytes.saturating_add(ELEMENT));
        self.0 = left.ok_or(CommandError::text("ERR the reply is too large"))?;
        Ok(())
    }

    /// A string, if there is room for it.
    pub(crate) fn bulk(&mut self, bytes: &[u8]) -> Result<Reply, CommandError> {
        self.take(bytes.len())?;
        Ok(Reply::bulk(bytes))
    }

    /// The same for a reply that is made.
    pub(crate) fn hold(&mut self, reply: Reply) -> Result<Reply, CommandError> {
        self.take(reply.weight())?;
        Ok(reply)
    }
}

/// What an element weighs without its content.
const ELEMENT: usize = 16;

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
        let packed = Reply::Bulks(["", "four"].iter().collect());
        assert_eq!(packed.weight(), 16 + 16 + 20);
        assert_eq!(packed.clone().unpacked().weight(), packed.weight());
        let array = vec![Reply::bulk(""), Reply::bulk("four")];
        assert_eq!(packed.clone().unpacked(), Reply::Array(array.clone()));
        let nested = |inner| Reply::Many(vec![Reply::Pairs(vec![(Reply::Null, inner)])]);
        assert_eq!(nested(packed).unpacked(), nested(Reply::Array(array)));
    }

    #[test]
    fn a_reply_is_bounded_however_often_a_request_names_the_same() {
        let engine = crate::Engine::default();
        let mut session = engine.session();
        let half = "x".repeat(REPLY_MAX / 2 - 100);
        let mut run = |text: &str| {
            let argv: Vec<&str> = text.split(' ').collect();
            let argv: Vec<&[u8]> = argv
                .iter()
                .map(|arg| if *arg == "HALF" { &half } else { *arg }.as_bytes())
                .collect();
            engine.call(&mut session, &argv).0
        };
        for made in [
            "SET k HALF",
            "HSET h f HALF",
            "SADD s HALF",
            "ZADD z 1 HALF",
        ] {
            assert!(!run(made).is_error(), "{made}");
        }
        let table = [
            ("MGET k k", "MGET k k k"),
            ("HMGET h f f", "HMGET h f f f"),
            ("SRANDMEMBER s -2", "SRANDMEMBER s -3"),
            ("ZRANDMEMBER z -2", "ZRANDMEMBER z -3"),
            ("HRANDFIELD h -3", "HRANDFIELD h -3 WITHVALUES"),
        ];
        for (fits, not) in table {
            assert!(!run(fits).is_error(), "{fits}");
            assert_eq!(
                run(not),
                Reply::error("ERR the reply is too large"),
                "{not}"
            );
        }
        for name in ["COMMAND INFO", "COMMAND DOCS"] {
            let many = |count| format!("{name}{}", " config".repeat(count));
            assert!(!run(&many(10)).is_error(), "{name}");
            let refused = Reply::error("ERR the reply is too large");
            assert_eq!(run(&many(3000)), refused, "{name}");
        }
    }
}
