//! JSON text to Lua values.
//!
//! The text is read as lua-cjson reads it, as a C string: a NUL ends it, control
//! characters may stand in strings, and unless the setting forbids it numbers
//! are whatever `strtod` takes (hexadecimal, `inf`, `nan`, leading zeros).

use mlua::{LightUserData, Lua, Result, Value};

use super::super::library::Shared;
use super::super::raise;
use super::{STACK_DEPTH, STEPS, Settings};

/// The value that the text describes; the error is lua-cjson's.
pub(super) fn decode(lua: &Lua, run: &Shared, settings: Settings, text: &[u8]) -> Result<Value> {
    if text.len() >= 2 && text.iter().take(2).any(|byte| *byte == 0) {
        return Err(raise::error(
            lua,
            "JSON parser does not support UTF-16 or UTF-32",
        ));
    }
    let mut decoder = Decoder {
        lua,
        run,
        settings,
        text,
        at: 0,
        counted: 0,
        depth: 0,
        string: Vec::new(),
    };
    let token = decoder.next();
    let value = decoder.value(token)?;
    let (token, start) = decoder.next();
    if token == Token::End {
        Ok(value)
    } else {
        Err(decoder.fault("the end", token, start))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// The text is in `Decoder::string`.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Fault(&'static str),
}

impl Token {
    const fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Fault(what) => what,
        }
    }
}

struct Decoder<'a> {
    lua: &'a Lua,
    run: &'a Shared,
    settings: Settings,
    text: &'a [u8],
    at: usize,
    /// Up to here the text's length is counted as time.
    counted: usize,
    depth: usize,
    string: Vec<u8>,
}

impl Decoder<'_> {
    #[cold]
    #[inline(never)]
    fn fault(&self, expected: &str, token: Token, start: usize) -> mlua::Error {
        let found = token.name();
        raise::error(
            self.lua,
            format!(
                "Expected {expected} but found {found} at character {}",
                start + 1
            ),
        )
    }

    fn byte(&self, offset: usize) -> u8 {
        self.text.get(self.at + offset).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token and where it starts.
    fn next(&mut self) -> (Token, usize) {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let start = self.at;
        let single = match self.byte(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            0 => return (Token::End, start),
            b'"' => {
                let token = self.string_token();
                return (
                    token,
                    if matches!(token, Token::Fault(_)) {
                        self.at
                    } else {
                        start
                    },
                );
            }
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid && is_invalid_number(self.rest()) {
                    return (Token::Fault("invalid number"), start);
                }
                return (self.number_token(), start);
            }
            b't' if self.rest().starts_with(b"true") => return self.word(4, Token::Boolean(true)),
            b'f' if self.rest().starts_with(b"false") => {
                return self.word(5, Token::Boolean(false));
            }
            b'n' if self.rest().starts_with(b"null") => return self.word(4, Token::Null),
            b'+' | b'f' | b'i' | b'I' | b'n' | b'N' | b't'
                if self.settings.decode_invalid && is_invalid_number(self.rest()) =>
            {
                return (self.number_token(), start);
            }
            _ => return (Token::Fault("invalid token"), start),
        };
        self.at += 1;
        (single, start)
    }

    fn word(&mut self, length: usize, token: Token) -> (Token, usize) {
        let start = self.at;
        self.at += length;
        (token, start)
    }

    fn number_token(&mut self) -> Token {
        match parse_number(self.rest()) {
            Some((value, length)) => {
                self.at += length;
                Token::Number(value)
            }
            None => Token::Fault("invalid number"),
        }
    }

    fn string_token(&mut self) -> Token {
        self.at += 1;
        self.string.clear();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0))
                .unwrap_or(rest.len());
            self.string
                .extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.byte(0) {
                b'"' => {
                    self.at += 1;
                    return Token::String;
                }
                b'\\' => {}
                _ => return Token::Fault("unexpected end of string"),
            }
            let escaped = match self.byte(1) {
                b'u' => match self.unicode_escape() {
                    Some((character, length)) => {
                        self.string
                            .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        self.at += length;
                        continue;
                    }
                    None => return Token::Fault("invalid unicode escape code"),
                },
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                byte @ (b'"' | b'\\' | b'/') => byte,
                _ => return Token::Fault("invalid escape code"),
            };
            self.string.push(escaped);
            self.at += 2;
        }
    }

    /// The character that `\uXXXX`, or two of them, stand for, and their length.
    fn unicode_escape(&self) -> Option<(char, usize)> {
        let code = self.hexadecimal(2)?;
        if code & 0xf800 != 0xd800 {
            return Some((char::from_u32(code)?, 6));
        }
        if code & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
            return None;
        }
        let low = self.hexadecimal(8)?;
        if low & 0xfc00 != 0xdc00 {
            return None;
        }
        let code = (((code & 0x3ff) << 10) | (low & 0x3ff)) + 0x1_0000;
        Some((char::from_u32(code)?, 12))
    }

    fn hexadecimal(&self, offset: usize) -> Option<u32> {
        (offset..offset + 4).try_fold(0, |code, offset| {
            Some((code << 4) | char::from(self.byte(offset)).to_digit(16)?)
        })
    }

    fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth <= self.settings.decode_depth && self.depth <= STACK_DEPTH {
            return Ok(());
        }
        let text = format!(
            "Found too many nested data structures ({}) at character {}",
            self.depth, self.at
        );
        Err(raise::error(self.lua, text))
    }

    fn value(&mut self, (token, start): (Token, usize)) -> Result<Value> {
        self.run.spend(STEPS + (self.at - self.counted))?;
        self.counted = self.at;
        match token {
            Token::String => self.lua.create_string(&self.string).map(Value::String),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Boolean(value) => Ok(Value::Boolean(value)),
            Token::Null => Ok(Value::LightUserData(LightUserData(std::ptr::null_mut()))),
            Token::ObjectBegin => self.object(),
            Token::ArrayBegin => self.array(),
            _ => Err(self.fault("value", token, start)),
        }
    }

    fn object(&mut self) -> Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut token, mut start) = self.next();
        if token != Token::ObjectEnd {
            loop {
                if token != Token::String {
                    return Err(self.fault("object key string", token, start));
                }
                let key = self.lua.create_string(&self.string)?;
                (token, start) = self.next();
                if token != Token::Colon {
                    return Err(self.fault("colon", token, start));
                }
                let next = self.next();
                table.raw_set(key, self.value(next)?)?;
                (token, start) = self.next();
                match token {
                    Token::ObjectEnd => break,
                    Token::Comma => (token, start) = self.next(),
                    _ => return Err(self.fault("comma or object end", token, start)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut next = self.next();
        if next.0 != Token::ArrayEnd {
            for index in 1_i64.. {
                table.raw_set(index, self.value(next)?)?;
                let (token, start) = self.next();
                match token {
                    Token::ArrayEnd => break,
                    Token::Comma => next = self.next(),
                    _ => return Err(self.fault("comma or array end", token, start)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

fn starts_with_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// What `strtod` would take and JSON forbids.
fn is_invalid_number(text: &[u8]) -> bool {
    let text = match text {
        [b'+', ..] => return true,
        [b'-', rest @ ..] => rest,
        rest => rest,
    };
    match text {
        [b'0', next, ..] => matches!(next, b'x' | b'X' | b'0'..=b'9'),
        [byte, ..] if *byte <= b'9' => false,
        [] => false,
        _ => starts_with_ignoring_case(text, b"inf") || starts_with_ignoring_case(text, b"nan"),
    }
}

/// `strtod`: the number at the head of the text and its length.
fn parse_number(text: &[u8]) -> Option<(f64, usize)> {
    let (negative, sign) = match text.first()? {
        b'-' => (true, 1),
        b'+' => (false, 1),
        _ => (false, 0),
    };
    let body = text.get(sign..)?;
    let (value, length) = if starts_with_ignoring_case(body, b"infinity") {
        (f64::INFINITY, 8)
    } else if starts_with_ignoring_case(body, b"inf") {
        (f64::INFINITY, 3)
    } else if starts_with_ignoring_case(body, b"nan") {
        (f64::NAN, 3 + payload(body.get(3..)?))
    } else {
        parse_hexadecimal(body).or_else(|| parse_decimal(body))?
    };
    Some((if negative { -value } else { value }, sign + length))
}

/// The length of the `(chars)` that may follow `nan`.
fn payload(text: &[u8]) -> usize {
    if text.first() != Some(&b'(') {
        return 0;
    }
    let end = text
        .iter()
        .skip(1)
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count()
        + 1;
    if text.get(end) == Some(&b')') {
        end + 1
    } else {
        0
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The length of an exponent after its letter, if it is one.
fn exponent(text: &[u8], letter: u8) -> usize {
    let Some((first, rest)) = text.split_first() else {
        return 0;
    };
    if first.to_ascii_lowercase() != letter {
        return 0;
    }
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    match digits(rest.get(sign..).unwrap_or_default()) {
        0 => 0,
        count => 1 + sign + count,
    }
}

fn parse_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let whole = digits(text);
    let mut length = whole;
    let mut fraction = 0;
    if text.get(whole) == Some(&b'.') {
        fraction = digits(text.get(whole + 1..)?);
        if whole + fraction > 0 {
            length += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    length += exponent(text.get(length..)?, b'e');
    let number = std::str::from_utf8(text.get(..length)?)
        .ok()?
        .parse()
        .ok()?;
    Some((number, length))
}

fn parse_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    if !starts_with_ignoring_case(text, b"0x") {
        return None;
    }
    let (mut value, mut length, mut scale, mut seen, mut point) = (0.0_f64, 2, 0_i32, false, false);
    while let Some(byte) = text.get(length) {
        if let Some(digit) = char::from(*byte).to_digit(16) {
            value = value * 16.0 + f64::from(digit);
            scale -= if point { 4 } else { 0 };
            seen = true;
        } else if *byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        length += 1;
    }
    if !seen {
        return None;
    }
    let tail = exponent(text.get(length..)?, b'p');
    if tail > 0 {
        let power = std::str::from_utf8(text.get(length + 1..length + tail)?).ok()?;
        scale = scale.saturating_add(power.parse().unwrap_or(0));
        length += tail;
    }
    Some((value * 2.0_f64.powi(scale), length))
}
