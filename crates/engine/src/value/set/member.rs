//! A member of a set as bytes, wherever they are.

use std::fmt;
use std::ops::Deref;

/// Longest decimal text of an `i64`.
const INTEGER_TEXT: usize = 20;

/// A member: its bytes in the set, or the text of an integer, written in place.
/// Use it as a `&[u8]`.
#[derive(Clone, Copy)]
pub struct Member<'a>(Text<'a>);

#[derive(Clone, Copy)]
enum Text<'a> {
    InSet(&'a [u8]),
    Written([u8; INTEGER_TEXT], u8),
}

impl Deref for Member<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Text::InSet(bytes) => bytes,
            Text::Written(buffer, length) => &buffer[..usize::from(*length).min(INTEGER_TEXT)],
        }
    }
}

impl<'a> From<&'a [u8]> for Member<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Member(Text::InSet(bytes))
    }
}

impl From<i64> for Member<'_> {
    fn from(integer: i64) -> Self {
        let mut digits = itoa::Buffer::new();
        let text = digits.format(integer).as_bytes();
        let mut buffer = [0; INTEGER_TEXT];
        for (to, from) in buffer.iter_mut().zip(text) {
            *to = *from;
        }
        Member(Text::Written(buffer, text.len() as u8))
    }
}

impl AsRef<[u8]> for Member<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Member<'_> {}

impl std::hash::Hash for Member<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}
