//! Ids in arguments, in all their forms.
//!
//! Redis reads them as C strings: a NUL ends one, and what is not a canonical
//! integer gets a second chance with `strtoull`.

use super::args::parse_i64;
use super::quoted;
use crate::error::CommandError;
use crate::value::{StreamId, TooLarge};

pub(super) const INVALID: CommandError =
    CommandError::text("ERR Invalid stream ID specified as stream command argument");

/// The id that an entry is to be added with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `*`: by the time.
    Any,
    /// `<ms>-*`: the next one in that millisecond.
    In(u64),
    /// This one.
    Exactly(StreamId),
}

impl Wanted {
    /// What stands for an id in XADD; any but `*`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, CommandError> {
        let (ms, seq) = parts(text)?;
        match seq {
            Some(b"*") => Ok(Wanted::In(number(ms)?)),
            _ => strict(text, 0).map(Wanted::Exactly),
        }
    }

    /// The id, above `last`.
    pub(super) fn resolve(self, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
        if last == StreamId::MAX {
            return Err(CommandError::text(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let id = match self {
            Wanted::Any if now_ms > last.ms => Some(StreamId::new(now_ms, 0)),
            Wanted::Any => last.next(),
            Wanted::In(ms) if ms == last.ms => {
                // Redis has no error of its own for a millisecond that is full.
                Some(last.next().filter(|next| next.ms == ms).ok_or(TooLarge)?)
            }
            Wanted::In(ms) => Some(StreamId::new(ms, 0)),
            Wanted::Exactly(id) => Some(id),
        };
        id.filter(|id| *id > last).ok_or(CommandError::text(
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ))
    }
}

/// The text as Redis splits it: before and after the first `-`.
fn parts(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), CommandError> {
    if text.len() > 127 {
        return Err(INVALID);
    }
    let text = quoted(text);
    Ok(match memchr::memchr(b'-', text) {
        Some(at) => (
            text.get(..at).unwrap_or_default(),
            Some(text.get(at + 1..).unwrap_or_default()),
        ),
        None => (text, None),
    })
}

/// `<ms>` or `<ms>-<seq>`; without a number of its own, `seq` is `missing`.
pub(super) fn strict(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    let (ms, seq) = parts(text)?;
    Ok(StreamId {
        ms: number(ms)?,
        seq: seq.map_or(Ok(missing), number)?,
    })
}

/// The same, or `-` or `+` for the first or the last id of all.
pub(super) fn lenient(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match quoted(text) {
        b"-" if text.len() <= 127 => Ok(StreamId::MIN),
        b"+" if text.len() <= 127 => Ok(StreamId::MAX),
        _ => strict(text, missing),
    }
}

/// Where a range begins; `(` excludes.
pub(super) fn start(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict(id, 0)?
            .next()
            .ok_or(CommandError::text("ERR invalid start ID for the interval")),
        _ => lenient(text, 0),
    }
}

/// Where a range ends; `(` excludes.
pub(super) fn end(text: &[u8]) -> Result<StreamId, CommandError> {
    match text {
        [b'(', id @ ..] if !id.is_empty() => strict(id, u64::MAX)?
            .previous()
            .ok_or(CommandError::text("ERR invalid end ID for the interval")),
        _ => lenient(text, u64::MAX),
    }
}

/// All of them, or an error.
pub(super) fn all(texts: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    texts.iter().map(|text| strict(text, 0)).collect()
}

/// An unsigned number: a canonical integer of at least 0, or what `strtoull`
/// takes to the last byte.
fn number(text: &[u8]) -> Result<u64, CommandError> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).map_err(|_| INVALID);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let begin = text.iter().position(|byte| !blank(byte)).unwrap_or(0);
    let text = text.get(begin..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let number = digits
        .first()
        .filter(|first| first.is_ascii_digit())
        .and_then(|_| std::str::from_utf8(digits).ok()?.parse::<u64>().ok())
        .ok_or(INVALID)?;
    Ok(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64, seq: u64) -> StreamId {
        StreamId::new(ms, seq)
    }

    #[test]
    fn ids_are_read_as_c_does() {
        for (text, expected) in [
            (&b"5"[..], Some(id(5, 7))),
            (b"5-3", Some(id(5, 3))),
            (b"5-3\0x", Some(id(5, 3))),
            (b"007-01", Some(id(7, 1))),
            (b" 5-+3", Some(id(5, 3))),
            (b"5--1", None),
            (b"5--01", Some(id(5, u64::MAX))),
            (
                b"18446744073709551615-18446744073709551615",
                Some(StreamId::MAX),
            ),
            (b"18446744073709551616", None),
            (b"", None),
            (b"-", None),
            (b"+", None),
            (b"5-", None),
            (b"-5", None),
            (b"5-3-1", None),
            (b"5 -3", None),
            (b"x", None),
            (b"5-*", None),
        ] {
            assert_eq!(strict(text, 7).ok(), expected, "{text:?}");
        }
        assert!(strict(&[b'0'; 128], 0).is_err());
        assert!(strict(&[b'0'; 127], 0).is_ok());
    }

    #[test]
    fn ranges_may_exclude_their_ends() {
        assert_eq!(start(b"-").ok(), Some(StreamId::MIN));
        assert_eq!(end(b"+").ok(), Some(StreamId::MAX));
        assert_eq!(start(b"(5-3").ok(), Some(id(5, 4)));
        assert_eq!(end(b"(5").ok(), Some(id(5, u64::MAX - 1)));
        assert_eq!(end(b"(5-0").ok(), Some(id(4, u64::MAX)));
        assert!(start(b"(-").is_err() && start(b"(").is_err());
        assert!(end(b"(0-0").is_err());
    }

    #[test]
    fn what_xadd_asks_for_is_above_the_last() {
        let last = id(5, u64::MAX);
        let of = |text: &[u8]| Wanted::parse(text).unwrap().resolve(last, 9).ok();
        assert_eq!(of(b"5-*"), None);
        assert_eq!(of(b"6-*"), Some(id(6, 0)));
        assert_eq!(of(b"6"), Some(id(6, 0)));
        assert_eq!(of(b"5-7"), None);
        assert_eq!(Wanted::Any.resolve(last, 9), Ok(id(9, 0)));
        assert_eq!(Wanted::Any.resolve(last, 3), Ok(id(6, 0)));
        assert_eq!(Wanted::Any.resolve(id(5, 1), 5), Ok(id(5, 2)));
        assert!(Wanted::Any.resolve(StreamId::MAX, 9).is_err());
        assert!(Wanted::parse(b"x-*").is_err());
    }
}
