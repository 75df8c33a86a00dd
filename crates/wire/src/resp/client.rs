//! The client's half: bytes of a server to a [`Reply`].
//!
//! It reads both versions of the protocol without being told which, since
//! their types do not overlap. Attributes (`|`) are read and dropped. Memory is
//! taken for what has arrived, not for what a header claims. A reply that is
//! still arriving is read anew at each call: use `need` to wait for a large one.

use memchr::memchr;
use sangam_engine::Reply;

use super::limits::{BULK_MAX, PREALLOCATED_MAX, REPLY_DEPTH_MAX, REPLY_LINE_MAX};

/// What the front of the buffer held.
#[derive(Debug, Clone, PartialEq)]
pub enum DecodedReply {
    /// A reply, and the number of bytes it took.
    Complete(Reply, usize),
    /// Not a whole reply yet; at least this many bytes are missing.
    Incomplete(usize),
}

/// Why bytes are not a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A type that neither version knows.
    #[error("unknown reply type 0x{0:02x}")]
    UnknownType(u8),
    /// A line that does not end within its limit, or not with CR LF.
    #[error("malformed reply line")]
    Line,
    /// A number or a length that is not one, or outside its limits.
    #[error("malformed number in reply")]
    Number,
    /// Arrays within arrays beyond the limit.
    #[error("reply nested too deeply")]
    TooDeep,
}

/// Reads one reply from the front of `buf`.
pub fn decode_reply(buf: &[u8]) -> Result<DecodedReply, ReplyError> {
    let mut cursor = Cursor { buf, at: 0 };
    match cursor.reply(0) {
        Ok(reply) => Ok(DecodedReply::Complete(reply, cursor.at)),
        Err(Stop::Incomplete(need)) => Ok(DecodedReply::Incomplete(need)),
        Err(Stop::Malformed(error)) => Err(error),
    }
}

enum Stop {
    Incomplete(usize),
    Malformed(ReplyError),
}

impl From<ReplyError> for Stop {
    fn from(error: ReplyError) -> Self {
        Stop::Malformed(error)
    }
}

struct Cursor<'b> {
    buf: &'b [u8],
    at: usize,
}

/// The fewest bytes that any reply takes: `_\r\n`.
const SMALLEST: usize = 3;

impl<'b> Cursor<'b> {
    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        if depth > REPLY_DEPTH_MAX {
            return Err(ReplyError::TooDeep.into());
        }
        loop {
            let rest = self.rest();
            let Some(kind) = rest.first() else {
                return Err(Stop::Incomplete(SMALLEST));
            };
            self.at += 1;
            return Ok(match kind {
                b'+' => Reply::Status(String::from_utf8_lossy(self.line()?).into_owned().into()),
                b'-' => Reply::Error(self.line()?.to_vec()),
                b':' => Reply::Int(self.parsed()?),
                b',' => Reply::Double(self.parsed()?),
                b'(' => Reply::BigNumber(self.big_number()?),
                b'#' => match self.line()? {
                    b"t" => Reply::Bool(true),
                    b"f" => Reply::Bool(false),
                    _ => return Err(ReplyError::Number.into()),
                },
                b'_' => {
                    self.line()?;
                    Reply::Null
                }
                b'$' => self
                    .bulk()?
                    .map_or(Reply::Null, |bytes| Reply::Bulk(bytes.to_vec())),
                b'!' => self
                    .bulk()?
                    .map_or(Reply::Null, |bytes| Reply::Error(bytes.to_vec())),
                b'=' => match self.bulk()? {
                    Some([a, b, c, b':', text @ ..]) => {
                        Reply::Verbatim([*a, *b, *c], text.to_vec())
                    }
                    _ => return Err(ReplyError::Number.into()),
                },
                b'*' => match self.count(1)? {
                    Some(count) => Reply::Array(self.items(count, depth)?),
                    None => Reply::NullArray,
                },
                b'~' => Reply::Set(self.own_items(depth)?),
                b'>' => Reply::Push(self.own_items(depth)?),
                b'%' => Reply::Map(self.pairs(depth)?),
                b'|' => {
                    self.pairs(depth)?;
                    continue;
                }
                other => return Err(ReplyError::UnknownType(*other).into()),
            });
        }
    }

    fn rest(&self) -> &'b [u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Result<&'b [u8], Stop> {
        let rest = self.rest();
        let window = rest.get(..=REPLY_LINE_MAX).unwrap_or(rest);
        let Some(end) = memchr(b'\r', window) else {
            return Err(if window.len() > REPLY_LINE_MAX {
                ReplyError::Line.into()
            } else {
                Stop::Incomplete(2)
            });
        };
        match rest.get(end + 1) {
            None => Err(Stop::Incomplete(1)),
            Some(b'\n') => {
                self.at += end + 2;
                Ok(window.get(..end).unwrap_or_default())
            }
            Some(_) => Err(ReplyError::Line.into()),
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self) -> Result<T, Stop> {
        std::str::from_utf8(self.line()?)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ReplyError::Number.into())
    }

    fn big_number(&mut self) -> Result<Vec<u8>, Stop> {
        let text = self.line()?;
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(ReplyError::Number.into());
        }
        Ok(text.to_vec())
    }

    /// A length-prefixed string; `None` for the null of RESP2.
    fn bulk(&mut self) -> Result<Option<&'b [u8]>, Stop> {
        let len: i64 = self.parsed()?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len <= BULK_MAX)
            .ok_or(ReplyError::Number)?;
        let rest = self.rest();
        let Some(bytes) = rest.get(..len) else {
            return Err(Stop::Incomplete(len + 2 - rest.len()));
        };
        match rest.get(len..len + 2) {
            None => Err(Stop::Incomplete(len + 2 - rest.len())),
            Some(b"\r\n") => {
                self.at += len + 2;
                Ok(Some(bytes))
            }
            Some(_) => Err(ReplyError::Line.into()),
        }
    }

    /// The count of a collection whose elements are `width` replies each;
    /// `None` for the null array of RESP2. A count whose elements cannot all
    /// have arrived ends the attempt before anything is reserved for them.
    fn count(&mut self, width: usize) -> Result<Option<usize>, Stop> {
        let count: i64 = self.parsed()?;
        if count == -1 {
            return Ok(None);
        }
        let count = usize::try_from(count)
            .ok()
            .filter(|count| i32::try_from(*count).is_ok())
            .ok_or(ReplyError::Number)?;
        let least = count * width * SMALLEST;
        match least.checked_sub(self.rest().len()) {
            Some(missing @ 1..) => Err(Stop::Incomplete(missing)),
            _ => Ok(Some(count)),
        }
    }

    fn items(&mut self, count: usize, depth: usize) -> Result<Vec<Reply>, Stop> {
        let mut items = Vec::with_capacity(count.min(PREALLOCATED_MAX));
        for _ in 0..count {
            items.push(self.reply(depth + 1)?);
        }
        Ok(items)
    }

    fn own_items(&mut self, depth: usize) -> Result<Vec<Reply>, Stop> {
        let count = self.count(1)?.ok_or(ReplyError::Number)?;
        self.items(count, depth)
    }

    fn pairs(&mut self, depth: usize) -> Result<Vec<(Reply, Reply)>, Stop> {
        let count = self.count(2)?.ok_or(ReplyError::Number)?;
        let mut pairs = Vec::with_capacity(count.min(PREALLOCATED_MAX));
        for _ in 0..count {
            let key = self.reply(depth + 1)?;
            pairs.push((key, self.reply(depth + 1)?));
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(bytes: &[u8]) -> Reply {
        match decode_reply(bytes) {
            Ok(DecodedReply::Complete(reply, used)) => {
                assert_eq!(used, bytes.len());
                reply
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_nulls_and_nan() {
        assert_eq!(complete(b"$-1\r\n"), Reply::Null);
        assert_eq!(complete(b"*-1\r\n"), Reply::NullArray);
        assert_eq!(complete(b"_\r\n"), Reply::Null);
        for text in [&b",nan\r\n"[..], b",-nan\r\n"] {
            assert!(matches!(complete(text), Reply::Double(value) if value.is_nan()));
        }
        assert_eq!(complete(b",-inf\r\n"), Reply::Double(f64::NEG_INFINITY));
    }

    #[test]
    fn attributes_are_dropped() {
        assert_eq!(
            complete(b"|1\r\n+ttl\r\n:9\r\n$1\r\na\r\n"),
            Reply::bulk("a")
        );
    }

    #[test]
    fn a_claimed_length_takes_no_memory_and_says_what_is_missing() {
        assert_eq!(
            decode_reply(b"*2147483647\r\n"),
            Ok(DecodedReply::Incomplete(6_442_450_941))
        );
        assert_eq!(
            decode_reply(b"$100\r\nabc"),
            Ok(DecodedReply::Incomplete(99))
        );
        assert_eq!(decode_reply(b"%2147483648\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"$536870913\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"$-2\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"~-1\r\n"), Err(ReplyError::Number));
    }

    #[test]
    fn depth_ends_before_the_stack() {
        let nested = |levels: usize| [b"*1\r\n".repeat(levels), b":1\r\n".to_vec()].concat();
        assert!(matches!(
            decode_reply(&nested(64)),
            Ok(DecodedReply::Complete(..))
        ));
        assert_eq!(decode_reply(&nested(65)), Err(ReplyError::TooDeep));
        let mut attributes = b"|1\r\n".repeat(100_000);
        attributes.extend_from_slice(b":1\r\n");
        assert_eq!(decode_reply(&attributes), Err(ReplyError::TooDeep));
    }

    #[test]
    fn malformed() {
        assert_eq!(decode_reply(b"?1\r\n"), Err(ReplyError::UnknownType(b'?')));
        assert_eq!(decode_reply(b"+a\rb\r\n"), Err(ReplyError::Line));
        assert_eq!(decode_reply(b"$1\r\nabc"), Err(ReplyError::Line));
        assert_eq!(decode_reply(b":1x\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"#x\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"(1-2\r\n"), Err(ReplyError::Number));
        assert_eq!(decode_reply(b"=3\r\ntxt\r\n"), Err(ReplyError::Number));
    }
}
