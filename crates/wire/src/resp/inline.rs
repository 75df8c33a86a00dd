//! Inline commands: a line of words, for people with a terminal.
//!
//! Words are separated by blanks. `"…"` knows the escapes `\n \r \t \b \a`,
//! `\xHH` and `\<any>`; `'…'` knows only `\'`. A quote may open in the middle
//! of a word, and has to be followed by a blank or the line's end once closed.

use memchr::memchr2;

use super::error::ProtocolError;
use crate::Argv;

/// Whether `line` needs [`split_quoted`].
pub(super) fn has_quotes(line: &[u8]) -> bool {
    memchr2(b'"', b'\'', line).is_some()
}

/// Splits a line that has no quotes, lending its words.
pub(super) fn split_plain<'b>(line: &'b [u8], argv: &mut Argv<'b>) {
    let mut rest = trim_start(line);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| ends_word(*byte));
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        argv.push(word);
        rest = trim_start(tail);
    }
}

/// Splits a line that has quotes, copying its words.
pub(super) fn split_quoted(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut args = Vec::new();
    let mut rest = trim_start(line);
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = loop {
            match rest {
                [] => break rest,
                [byte, ..] if ends_word(*byte) => break rest,
                [b'"', quoted @ ..] => break double_quoted(quoted, &mut word)?,
                [b'\'', quoted @ ..] => break single_quoted(quoted, &mut word)?,
                [byte, tail @ ..] => {
                    word.push(*byte);
                    rest = tail;
                }
            }
        };
        args.push(word);
        rest = trim_start(rest);
    }
    Ok(args)
}

fn double_quoted<'b>(mut rest: &'b [u8], word: &mut Vec<u8>) -> Result<&'b [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
        word.push(byte);
        rest = tail;
    }
}

fn single_quoted<'b>(mut rest: &'b [u8], word: &mut Vec<u8>) -> Result<&'b [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [b'\'', tail @ ..] => return closed(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
        word.push(byte);
        rest = tail;
    }
}

/// What follows a closing quote, if it may.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

const fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// C's `isspace`: what may stand before a word.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// What ends a word; vertical tab and form feed do not, as in Redis.
const fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// `text` from its first byte that is not a blank of C's.
fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte));
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}
