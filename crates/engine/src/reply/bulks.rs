//! Many strings in one buffer.

use std::fmt;

/// A sequence of binary-safe strings, packed into one buffer: an answer of a
/// hundred elements is one allocation, and no string is touched twice before it
/// is on the wire.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Bulks {
    /// Each string behind its length, a little-endian `u32`.
    packed: Vec<u8>,
    count: usize,
}

impl Bulks {
    /// An empty sequence with room for `count` strings of `bytes` together.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Bulks {
            packed: Vec::with_capacity(count * LENGTH + bytes),
            count: 0,
        }
    }

    /// Adds a string of less than 4 GiB, as all strings are.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.packed.reserve(LENGTH + text.len());
        self.packed
            .extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.packed.extend_from_slice(text);
        self.count += 1;
    }

    /// Adds an integer's decimal text.
    #[inline]
    pub fn push_integer(&mut self, integer: i64) {
        self.push(itoa::Buffer::new().format(integer).as_bytes());
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.packed.len() - self.count * LENGTH
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        Iter {
            rest: &self.packed,
            left: self.count,
        }
    }
}

const LENGTH: usize = size_of::<u32>();

struct Iter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<LENGTH>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        self.left -= 1;
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<T: AsRef<[u8]>> FromIterator<T> for Bulks {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut bulks = Bulks::default();
        for text in texts {
            bulks.push(text.as_ref());
        }
        bulks
    }
}

impl fmt::Debug for Bulks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|text| text.escape_ascii().to_string());
        f.debug_list().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back_in_order() {
        let mut bulks = Bulks::with_capacity(3, 4);
        assert!(bulks.is_empty() && bulks.iter().next().is_none());
        bulks.push(b"");
        bulks.push(b"a\r\n\0");
        bulks.push_integer(-42);
        let all: Vec<&[u8]> = bulks.iter().collect();
        assert_eq!(all, [&b""[..], b"a\r\n\0", b"-42"]);
        assert_eq!((bulks.len(), bulks.bytes(), bulks.iter().len()), (3, 7, 3));
        assert_eq!(all.iter().collect::<Bulks>(), bulks);
        assert_eq!(format!("{bulks:?}"), r#"["", "a\\r\\n\\x00", "-42"]"#);
    }
}
