//! A string of a payload, wherever its bytes are.

use std::ops::Deref;

use crate::value::Member;

/// Bytes in the payload, the text of an integer, or bytes that were compressed.
/// Use it as a `&[u8]`.
#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    /// In the payload, or a number's digits written in place.
    Held(Member<'a>),
    /// Decompressed.
    Owned(Vec<u8>),
}

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Text::Held(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Text::Held(Member::from(bytes))
    }
}

impl From<i64> for Text<'_> {
    fn from(integer: i64) -> Self {
        Text::Held(Member::from(integer))
    }
}

impl Text<'_> {
    /// The bytes in an allocation of exactly their size.
    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Text::Held(text) => text.to_vec(),
            Text::Owned(text) => text,
        }
    }
}
