//! The two tokens, compared in constant time.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything.
    Full,
    /// Reading, without what Redis calls dangerous.
    Read,
}

pub(super) struct Tokens {
    full: Vec<u8>,
    read: Option<Vec<u8>>,
}

impl Tokens {
    pub(super) fn new(full: &str, read: Option<&str>) -> Self {
        Tokens {
            full: full.as_bytes().to_vec(),
            read: read.map(|token| token.as_bytes().to_vec()),
        }
    }

    /// What `token` allows. Always compares with both; an empty one is nobody's.
    pub(super) fn rights(&self, token: &[u8]) -> Option<Rights> {
        let is = |known: &[u8]| !known.is_empty() && bool::from(known.ct_eq(token));
        let (full, read) = (is(&self.full), is(self.read.as_deref().unwrap_or_default()));
        if full {
            Some(Rights::Full)
        } else {
            read.then_some(Rights::Read)
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tokens")
    }
}
