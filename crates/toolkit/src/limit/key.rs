//! Keys of limits: `<prefix>limit:<name>:<algorithm><window>:{<id>}`. Rules of one
//! identifier share a slot of a cluster.
//!
//! Each check spells one a rule, so it is made in one pass, without an allocation
//! where it is not unusually long.

use std::ops::Deref;

use super::algorithm::letter;
use super::limiter::{Limit, LimitError};

/// Longest identifier that is spelled out in a key; longer ones are hashed.
const SPELLED_MAX: usize = 128;
/// Longest name of a rule.
const NAME_MAX: usize = 64;
/// Longest key that needs no allocation.
const INLINE: usize = 80;

/// A limit's key; use it as a `&[u8]`.
#[derive(Debug, Clone)]
pub(super) struct Key {
    length: usize,
    inline: [u8; INLINE],
    /// All of it, where it is longer.
    long: Vec<u8>,
}

impl Key {
    pub(super) fn new(prefix: &str, limit: &Limit<'_>) -> Result<Self, LimitError> {
        let name = limit.name.as_bytes();
        if name.is_empty() || name.len() > NAME_MAX || !name.iter().all(|byte| has(*byte, IN_NAMES))
        {
            let shown = limit.name.chars().take(NAME_MAX).collect();
            return Err(LimitError::Name(shown));
        }
        let mut key = Key {
            length: 0,
            inline: [0; INLINE],
            long: Vec::new(),
        };
        key.push(prefix.as_bytes());
        key.push(b"limit:");
        key.push(name);
        key.push(b":");
        key.push(letter(limit.rule.algorithm()).as_bytes());
        key.push(
            itoa::Buffer::new()
                .format(limit.rule.window_ms())
                .as_bytes(),
        );
        key.push(b":{");
        let id = limit.id;
        if !id.is_empty() && id.len() <= SPELLED_MAX && id.iter().all(|byte| has(*byte, IN_IDS)) {
            key.push(id);
        } else {
            key.push(&hashed(id));
        }
        key.push(b"}");
        Ok(key)
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.inline.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        } else {
            self.push_long(bytes);
        }
        self.length = end;
    }

    #[cold]
    fn push_long(&mut self, bytes: &[u8]) {
        if self.long.is_empty() {
            self.long.reserve(2 * INLINE + bytes.len());
            let begun = self.inline.get(..self.length);
            self.long.extend_from_slice(begun.unwrap_or_default());
        }
        self.long.extend_from_slice(bytes);
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.inline.get(..self.length).unwrap_or(&self.long)
    }
}

/// `#` and half of a SHA-256, for an identifier that is long or not plain.
fn hashed(id: &[u8]) -> [u8; 33] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = <sha2::Sha256 as sha2::Digest>::digest(id);
    let mut text = [b'#'; 33];
    for (place, byte) in text[1..].chunks_exact_mut(2).zip(digest) {
        let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        place.copy_from_slice(&digits);
    }
    text
}

const IN_NAMES: u8 = 1;
const IN_IDS: u8 = 2;

/// Where a byte may stand as it is.
static PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        if it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.') {
            places[byte] |= IN_NAMES;
        }
        if it.is_ascii_graphic() && !matches!(it, b'{' | b'}' | b'#') {
            places[byte] |= IN_IDS;
        }
        byte += 1;
    }
    places
};

#[inline]
fn has(byte: u8, place: u8) -> bool {
    PLACES[usize::from(byte)] & place != 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::rule::{Algorithm, Rule};

    fn key(prefix: &str, name: &str, id: &[u8]) -> Result<String, LimitError> {
        let rule = Rule::new(Algorithm::Gcra, 5, Duration::from_mins(1)).unwrap();
        let key = Key::new(prefix, &Limit { name, rule, id })?;
        Ok(String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn keys_of_every_length_are_spelled_whole() {
        let plain = key("", "login", b"ann@example.org").unwrap();
        assert_eq!(plain, "limit:login:b60000:{ann@example.org}");
        for length in 1..=SPELLED_MAX {
            let id = "x".repeat(length);
            let expected = format!("app:limit:login:b60000:{{{id}}}");
            assert_eq!(key("app:", "login", id.as_bytes()).unwrap(), expected);
        }
        let prefix = "p".repeat(INLINE + 1);
        let expected = format!("{prefix}limit:n:b60000:{{x}}");
        assert_eq!(key(&prefix, "n", b"x").unwrap(), expected);
    }

    #[test]
    fn an_identifier_that_is_not_plain_is_hashed() {
        let empty = "limit:n:b60000:{#e3b0c44298fc1c149afbf4c8996fb924}";
        assert_eq!(key("", "n", b"").unwrap(), empty);
        for id in [
            &b"a b"[..],
            b"{a}",
            b"#a",
            b"\xff",
            &[b'x'; SPELLED_MAX + 1],
        ] {
            let key = key("", "n", id).unwrap();
            assert!(key.starts_with("limit:n:b60000:{#") && key.len() == empty.len());
        }
        assert!(key("", "", b"x").is_err() && key("", "a:b", b"x").is_err());
        assert!(key("", &"n".repeat(NAME_MAX + 1), b"x").is_err());
    }
}
