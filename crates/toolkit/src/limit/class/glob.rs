//! Patterns with `*`, for paths and for what clients say that they are.
//!
//! A pattern is an automaton whose states are the bits of a number, so a text costs
//! a few instructions a byte, whatever the pattern: a client that chooses the text
//! cannot make it slow.

use std::fmt;
use std::str::FromStr;

/// Bytes of a pattern besides its stars: the states fit 128 bits with the end.
const LITERALS_MAX: usize = 120;

/// Why a pattern is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing.
    #[error("a pattern is not empty")]
    Empty,
    /// Too long.
    #[error("a pattern has at most {LITERALS_MAX} bytes besides its stars, not {0}")]
    Long(usize),
}

/// A pattern: `*` is anything within a segment, between two `/`; `**` is anything.
/// All of a text has to match.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    /// Which row of `moves` a byte has; 0 for bytes that the pattern does not name.
    rows: Box<[u8; 256]>,
    /// From which states a byte of the row leads to the next one.
    moves: Box<[u128]>,
    /// States that any byte leaves as they are, and those that all but `/` do.
    stays: u128,
    stays_in_segment: u128,
    end: u128,
}

impl Glob {
    /// A pattern for paths.
    pub fn path(text: &str) -> Result<Self, GlobError> {
        Glob::new(text, false)
    }

    /// A pattern for text without segments, in either case: `*` is anything.
    pub fn text(text: &str) -> Result<Self, GlobError> {
        Glob::new(text, true)
    }

    fn new(text: &str, loose: bool) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        let literals = text.bytes().filter(|byte| *byte != b'*').count();
        if literals > LITERALS_MAX {
            return Err(GlobError::Long(literals));
        }
        let mut glob = Glob {
            text: text.into(),
            rows: Box::new([0; 256]),
            moves: Box::new([]),
            stays: 0,
            stays_in_segment: 0,
            end: 0,
        };
        let mut moves = vec![0u128];
        let mut state = 1u128;
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            if byte != b'*' {
                for byte in [byte.to_ascii_lowercase(), byte.to_ascii_uppercase(), byte]
                    .into_iter()
                    .skip(if loose { 0 } else { 2 })
                {
                    glob.allow(&mut moves, byte, state);
                }
                state <<= 1;
            } else if loose || bytes.next_if_eq(&b'*').is_some() {
                glob.stays |= state;
            } else {
                glob.stays_in_segment |= state;
            }
        }
        glob.end = state;
        glob.moves = moves.into_boxed_slice();
        Ok(glob)
    }

    fn allow(&mut self, moves: &mut Vec<u128>, byte: u8, state: u128) {
        let Some(row) = self.rows.get_mut(usize::from(byte)) else {
            return;
        };
        if *row == 0 {
            // At most 120 bytes, in two cases.
            *row = moves.len() as u8;
            moves.push(0);
        }
        if let Some(states) = moves.get_mut(usize::from(*row)) {
            *states |= state;
        }
    }

    /// Whether all of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let mut states = 1u128;
        for byte in text.bytes() {
            let row = self.rows.get(usize::from(byte)).copied().unwrap_or(0);
            let moves = self.moves.get(usize::from(row)).copied().unwrap_or(0);
            let in_segment = if byte == b'/' {
                0
            } else {
                self.stays_in_segment
            };
            states = ((states & moves) << 1) | (states & (self.stays | in_segment));
            if states == 0 {
                return false;
            }
        }
        states & self.end != 0
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    /// A pattern for paths.
    fn from_str(text: &str) -> Result<Self, GlobError> {
        Glob::path(text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}
