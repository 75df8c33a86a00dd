//! The JSON that a command's body may hold, and no more of JSON than that.
//!
//! A command is an array of scalars. Nesting is refused at its first byte, so
//! there is no depth to bound; a string without escapes stays where it is in
//! the body; every other string is unescaped into one scratch buffer, which
//! never outgrows the body since each escape is longer than what it stands for.
//!
//! - A number keeps the text it was sent as: `1e3` is the argument `1e3`, and a
//!   20-digit integer loses nothing. Only its grammar is checked.
//! - `true` and `false` are the arguments `true` and `false`.
//! - A surrogate without its other half becomes U+FFFD.
//! - Bytes of a string that are not UTF-8 are passed through, so that a client
//!   that sends raw bytes stores raw bytes.

use super::{Place, RestError};
use crate::plain::plain_prefix;

/// Where an argument's bytes are. Bodies of 2 GiB and above are refused before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The offset; its highest bit says that it is one into the scratch buffer.
    start: u32,
    len: u32,
}

const IN_SCRATCH: u32 = 1 << 31;

impl Span {
    fn body(start: usize, len: usize) -> Self {
        Self {
            start: start as u32,
            len: len as u32,
        }
    }

    fn scratch(start: usize, len: usize) -> Self {
        Self {
            start: start as u32 | IN_SCRATCH,
            len: len as u32,
        }
    }

    /// The argument's bytes.
    #[inline]
    pub(super) fn bytes<'s>(self, body: &'s [u8], scratch: &'s [u8]) -> &'s [u8] {
        let source = if self.start & IN_SCRATCH == 0 {
            body
        } else {
            scratch
        };
        let start = (self.start & !IN_SCRATCH) as usize;
        source
            .get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

/// Reads values off a JSON text from front to back.
pub(super) struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// The next byte that is no blank, which stays unread.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.body.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes the byte that [`peek`](Self::peek) saw.
    #[inline]
    pub(super) const fn bump(&mut self) {
        self.at += 1;
    }

    /// Takes the `[` that has to come next.
    pub(super) fn open_array(&mut self) -> Result<(), RestError> {
        match self.peek() {
            Some(b'[') => {
                self.bump();
                Ok(())
            }
            Some(b'{' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Err(RestError::NotArray),
            Some(byte) => Err(unexpected(byte, Place::Value)),
            None => Err(RestError::UnexpectedEnd),
        }
    }

    /// Takes the `,` or `]` after an element; answers whether another follows.
    #[inline]
    pub(super) fn another(&mut self) -> Result<bool, RestError> {
        let byte = self.peek().ok_or(RestError::UnexpectedEnd)?;
        self.bump();
        match byte {
            b',' => Ok(true),
            b']' => Ok(false),
            _ => Err(unexpected(byte, Place::Element)),
        }
    }

    /// Refuses anything but blanks to the text's end.
    pub(super) fn end(&mut self) -> Result<(), RestError> {
        self.peek()
            .map_or(Ok(()), |byte| Err(unexpected(byte, Place::End)))
    }

    /// Reads one argument.
    #[inline]
    pub(super) fn argument(&mut self, scratch: &mut Vec<u8>) -> Result<Span, RestError> {
        match self.peek().ok_or(RestError::UnexpectedEnd)? {
            b'"' => {
                self.bump();
                self.string(scratch)
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => {
                self.literal("null")?;
                Err(RestError::NullArgument)
            }
            b'{' => Err(RestError::ObjectArgument),
            b'[' => Err(RestError::ArrayArgument),
            byte => Err(unexpected(byte, Place::Value)),
        }
    }

    /// Takes one byte, blanks included.
    fn take(&mut self) -> Result<u8, RestError> {
        let byte = self
            .body
            .get(self.at)
            .copied()
            .ok_or(RestError::UnexpectedEnd)?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads a string whose opening quote has been taken.
    #[inline]
    fn string(&mut self, scratch: &mut Vec<u8>) -> Result<Span, RestError> {
        let start = self.at;
        let len = self.plain().len();
        if self.body.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Span::body(start, len));
        }
        self.at = start;
        self.escaped_string(scratch)
    }

    /// Takes the bytes that stand for themselves.
    #[inline]
    fn plain(&mut self) -> &'a [u8] {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let plain = rest.get(..plain_prefix(rest)).unwrap_or_default();
        self.at += plain.len();
        plain
    }

    #[cold]
    fn escaped_string(&mut self, scratch: &mut Vec<u8>) -> Result<Span, RestError> {
        let start = scratch.len();
        loop {
            scratch.extend_from_slice(self.plain());
            match self.take()? {
                b'"' => return Ok(Span::scratch(start, scratch.len() - start)),
                b'\\' => {}
                byte => return Err(unexpected(byte, Place::String)),
            }
            scratch.push(match self.take()? {
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let character = self.unicode_escape()?;
                    let mut utf8 = [0; 4];
                    scratch.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    continue;
                }
                byte => return Err(unexpected(byte, Place::Escape)),
            });
        }
    }

    /// Reads what follows `\u`, and the second half of a surrogate pair if that
    /// comes next.
    fn unicode_escape(&mut self) -> Result<char, RestError> {
        let first = self.hex4()?;
        let high @ 0xd800..=0xdbff = first else {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        };
        let after_first = self.at;
        if self.body.get(self.at..self.at + 2) == Some(b"\\u") {
            self.at += 2;
            if let low @ 0xdc00..=0xdfff = self.hex4()? {
                let point = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // Not its other half: an escape of its own, to be read again.
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, RestError> {
        let mut value = 0;
        for _ in 0..4 {
            let byte = self.take()?;
            let digit = char::from(byte).to_digit(16);
            value = value << 4 | digit.ok_or_else(|| unexpected(byte, Place::Hex))?;
        }
        Ok(value)
    }

    /// Reads a number, of which the first byte has been seen and not taken.
    fn number(&mut self) -> Result<Span, RestError> {
        let start = self.at;
        if self.body.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        // A zero stands alone: a digit after it is not part of the number.
        if self.body.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits(Place::Number)?;
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits(Place::Fraction)?;
        }
        if let Some(b'e' | b'E') = self.body.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.body.get(self.at) {
                self.at += 1;
            }
            self.digits(Place::Exponent)?;
        }
        Ok(Span::body(start, self.at - start))
    }

    /// Takes one digit or more.
    fn digits(&mut self, place: Place) -> Result<(), RestError> {
        let byte = self.take()?;
        if !byte.is_ascii_digit() {
            return Err(unexpected(byte, place));
        }
        while self.body.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a word of which the first byte has been seen and not taken.
    fn literal(&mut self, word: &'static str) -> Result<Span, RestError> {
        let start = self.at;
        for expected in word.bytes() {
            let byte = self.take()?;
            if byte != expected {
                return Err(unexpected(byte, Place::Literal(word, expected)));
            }
        }
        Ok(Span::body(start, word.len()))
    }
}

const fn unexpected(byte: u8, place: Place) -> RestError {
    RestError::UnexpectedByte { byte, place }
}
