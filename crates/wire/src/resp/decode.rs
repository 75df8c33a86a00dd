//! Requests: received bytes to argument vectors.
//!
//! [`Decoder::decode`] reads one command from the front of a buffer and lends
//! its arguments as slices of that buffer; nothing is copied. A pipeline is a
//! loop over it with a moving front.
//!
//! A command that is still arriving is remembered: where its elements lie, and
//! where to go on. Each further call then does work in proportion to the bytes
//! that are new, so a 100 MB value that arrives in 16 KiB reads, or a million
//! elements that arrive one by one, are read once and not once a call. The
//! whole command has to stay in one contiguous buffer until it is complete.
//!
//! Deviations from Redis 7.0.15: a NUL byte in an inline command or a header is
//! a byte like others (there it hides the line's end, and the client waits for
//! ever), and a command has at most [`limits::ELEMENTS_MAX`] elements.
//!
//! Cost: about 4 ns an element plus 8 ns a command when all is there.

use memchr::memchr;

use super::error::ProtocolError;
use super::inline;
use super::limits::{
    self, BULK_MAX, ELEMENTS_MAX, LINE_MAX, PREALLOCATED_MAX, UNAUTHENTICATED_BULK_MAX,
    UNAUTHENTICATED_ELEMENTS_MAX,
};
use crate::Argv;

/// What the front of the buffer held.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A command; its arguments are in the vector that was passed.
    Command {
        /// Bytes to move the buffer's front by.
        consumed: usize,
    },
    /// An inline command with quotes, whose arguments are not the bytes that
    /// were received and hence are not lent. People type these, programs do not.
    Quoted {
        /// Bytes to move the buffer's front by.
        consumed: usize,
        /// The arguments, never empty.
        args: Vec<Vec<u8>>,
    },
    /// Not a whole command yet.
    Incomplete {
        /// Bytes to move the buffer's front by: empty commands, if any came
        /// before the one that is incomplete.
        consumed: usize,
        /// Bytes that are missing at least; exact while an argument's body is
        /// arriving, so a reader can make room for it at once. Never more than
        /// [`limits::BULK_MAX`] + 2.
        need: usize,
    },
}

/// Reads commands off a connection's buffer, and remembers the one that has
/// only partly arrived.
///
/// Between a call that answered [`Decoded::Incomplete`] and the next, the
/// buffer may only lose its first `consumed` bytes and grow at its end. After
/// an error the connection has to be closed.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Start and length of each element that has arrived of a command that has
    /// not, counted from the buffer's front.
    parts: Vec<(usize, usize)>,
    /// Elements of it that are missing; 0 when no command is half received.
    missing: usize,
    /// Where the next element begins.
    at: usize,
}

impl Decoder {
    /// A decoder at the beginning of a command.
    pub const fn new() -> Self {
        Self {
            parts: Vec::new(),
            missing: 0,
            at: 0,
        }
    }

    /// Reads one command from the front of `buf` into `argv`, which is cleared
    /// first. Empty commands (`*0`, `*-1`, blank lines) are skipped, as Redis
    /// does. Peers that are not `authenticated` have tighter limits.
    pub fn decode<'b>(
        &mut self,
        buf: &'b [u8],
        authenticated: bool,
        argv: &mut Argv<'b>,
    ) -> Result<Decoded, ProtocolError> {
        argv.clear();
        if self.missing > 0 {
            return self.resume(0, buf, authenticated, argv);
        }
        let mut front = 0;
        loop {
            match buf.get(front) {
                None => return Ok(incomplete(front, 1)),
                Some(b'*') => {
                    let Some((count, body)) = multibulk_header(buf, front, authenticated)? else {
                        return Ok(incomplete(front, 1));
                    };
                    if count == 0 {
                        front = body;
                        continue;
                    }
                    argv.reserve(count.min(PREALLOCATED_MAX));
                    let (mut at, mut missing) = (body, count);
                    elements(buf, &mut at, &mut missing, authenticated, |start, len| {
                        argv.push(buf.get(start..start + len).unwrap_or_default());
                    })?;
                    if missing == 0 {
                        return Ok(Decoded::Command { consumed: at });
                    }
                    // Read what is here once more, this time to be remembered.
                    self.missing = count;
                    self.at = body - front;
                    return self.resume(front, buf, authenticated, argv);
                }
                Some(_) => {
                    let Some((line, next)) = inline_line(buf, front)? else {
                        return Ok(incomplete(front, 1));
                    };
                    front = next;
                    if inline::has_quotes(line) {
                        let args = inline::split_quoted(line)?;
                        if !args.is_empty() {
                            return Ok(Decoded::Quoted {
                                consumed: front,
                                args,
                            });
                        }
                    } else {
                        inline::split_plain(line, argv);
                        if !argv.is_empty() {
                            return Ok(Decoded::Command { consumed: front });
                        }
                    }
                }
            }
        }
    }

    /// Whether a command has partly arrived.
    pub const fn is_midway(&self) -> bool {
        self.missing > 0
    }

    /// Bytes that this decoder holds on the heap: 16 for each element of a
    /// half-received command, doubled at most by spare room.
    pub const fn heap_bytes(&self) -> usize {
        self.parts.capacity() * size_of::<(usize, usize)>()
    }

    /// Goes on with the remembered command, which begins at `front`.
    #[cold]
    fn resume<'b>(
        &mut self,
        front: usize,
        buf: &'b [u8],
        authenticated: bool,
        argv: &mut Argv<'b>,
    ) -> Result<Decoded, ProtocolError> {
        argv.clear();
        let here = buf.get(front..).unwrap_or_default();
        let parts = &mut self.parts;
        if parts.is_empty() {
            parts.reserve(self.missing.min(PREALLOCATED_MAX));
        }
        let need = elements(
            here,
            &mut self.at,
            &mut self.missing,
            authenticated,
            |start, len| parts.push((start, len)),
        )?;
        if self.missing > 0 {
            return Ok(incomplete(front, need));
        }
        argv.reserve(parts.len());
        for (start, len) in std::mem::take(parts) {
            argv.push(here.get(start..start + len).unwrap_or_default());
        }
        Ok(Decoded::Command {
            consumed: front + self.at,
        })
    }
}

const fn incomplete(consumed: usize, need: usize) -> Decoded {
    Decoded::Incomplete { consumed, need }
}

/// Reads elements from `at` until none is missing or the bytes end, and hands
/// each one's start and length to `push`. Answers how many bytes are wanted to
/// go on; both cursors stay on an element's border.
#[inline]
fn elements(
    buf: &[u8],
    at: &mut usize,
    missing: &mut usize,
    authenticated: bool,
    mut push: impl FnMut(usize, usize),
) -> Result<usize, ProtocolError> {
    while *missing > 0 {
        let Some((len, start)) = bulk_header(buf, *at, authenticated)? else {
            return Ok(1);
        };
        // Two more for the line end, which Redis does not look at either.
        let next = start + len + 2;
        if next > buf.len() {
            return Ok(next - buf.len());
        }
        push(start, len);
        *at = next;
        *missing -= 1;
    }
    Ok(0)
}

/// The count of elements in the `*<n>` line at `at`, and where its first
/// element begins; `None` when the line has not ended yet.
#[inline]
fn multibulk_header(
    buf: &[u8],
    at: usize,
    authenticated: bool,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let (count, next) = if let Some(short) = short_number(buf, at + 1) {
        short
    } else {
        let Some((line, next)) = header_line(buf, at, ProtocolError::MultibulkLineTooLong)? else {
            return Ok(None);
        };
        let digits = line.get(1..).unwrap_or_default();
        let count = parse_integer(digits).ok_or(ProtocolError::InvalidMultibulkLength)?;
        (usize::try_from(count).unwrap_or(0), next)
    };
    if count > ELEMENTS_MAX {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    if count > UNAUTHENTICATED_ELEMENTS_MAX && !authenticated {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(Some((count, next)))
}

/// The length in the `$<n>` line at `at`, and where its body begins; `None`
/// when the line has not ended yet.
#[inline]
fn bulk_header(
    buf: &[u8],
    at: usize,
    authenticated: bool,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let short = match buf.get(at) {
        Some(b'$') => short_number(buf, at + 1),
        _ => None,
    };
    let (len, next) = if let Some(short) = short {
        short
    } else {
        let Some((line, next)) = header_line(buf, at, ProtocolError::BulkLineTooLong)? else {
            return Ok(None);
        };
        let digits = match line.split_first() {
            Some((b'$', digits)) => digits,
            // An empty line: what stands there is the carriage return.
            first => {
                return Err(ProtocolError::ExpectedBulk(
                    first.map_or(b'\r', |(byte, _)| *byte),
                ));
            }
        };
        let len = parse_integer(digits).and_then(|len| usize::try_from(len).ok());
        (len.ok_or(ProtocolError::InvalidBulkLength)?, next)
    };
    if len > BULK_MAX {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if len > UNAUTHENTICATED_BULK_MAX && !authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(Some((len, next)))
}

/// A whole line of one to nine digits without a leading zero, which is what
/// nearly every header is; and where the next line begins.
#[inline]
fn short_number(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    // Nine digits, the line end, and nothing that could overflow.
    let line = buf.get(at..)?;
    let mut value = 0usize;
    for (index, byte) in line.iter().take(10).enumerate() {
        match byte {
            b'0'..=b'9' if index < 9 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if index > 0 && index + 1 < line.len() => {
                let leading_zero = index > 1 && line.first() == Some(&b'0');
                return (!leading_zero).then_some((value, at + index + 2));
            }
            _ => return None,
        }
    }
    None
}

/// The line at `at` without its end, and where the next begins. The end is a
/// carriage return and whatever byte follows it.
#[cold]
fn header_line(
    buf: &[u8],
    at: usize,
    too_long: ProtocolError,
) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = buf.get(at..).unwrap_or_default();
    let window = rest.get(..=LINE_MAX).unwrap_or(rest);
    match memchr(b'\r', window) {
        Some(end) if end + 1 < rest.len() => Ok(window.get(..end).map(|line| (line, at + end + 2))),
        None if window.len() > LINE_MAX => Err(too_long),
        _ => Ok(None),
    }
}

/// The inline command at `at` without its line end, and where the next begins.
fn inline_line(buf: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = buf.get(at..).unwrap_or_default();
    let window = rest.get(..=limits::LINE_MAX).unwrap_or(rest);
    match memchr(b'\n', window) {
        Some(end) => {
            let line = window.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Ok(Some((line, at + end + 1)))
        }
        None if window.len() > LINE_MAX => Err(ProtocolError::InlineTooLong),
        None => Ok(None),
    }
}

/// A decimal integer in its one canonical form: no blanks, no plus sign, no
/// leading zeros, no `-0`, within 64 bits.
fn parse_integer(digits: &[u8]) -> Option<i64> {
    let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
    let canonical = match unsigned {
        [b'0'] => unsigned.len() == digits.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    // The standard parser takes a plus sign, which the pattern has ruled out.
    canonical
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests;
