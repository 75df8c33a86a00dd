//! The first line of a library, `#!lua name=…`.

use super::{BAD_NAME, is_name};
use crate::error::CommandError;

/// What a library says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metadata<'a> {
    pub(crate) name: Vec<u8>,
    /// The code, which begins with the line's end so that lines keep their
    /// numbers.
    pub(crate) code: &'a [u8],
}

fn refuse<T>(parts: &[&[u8]]) -> Result<T, CommandError> {
    let mut text = b"ERR ".to_vec();
    text.extend(parts.iter().copied().flatten());
    Err(CommandError::Bytes(text))
}

impl<'a> Metadata<'a> {
    /// What the first line of `text` says.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, CommandError> {
        if !text.starts_with(b"#!") {
            return refuse(&[b"Missing library metadata"]);
        }
        let invalid = b"Invalid library metadata";
        // Redis looks for the line's end as in a C string.
        let end = text
            .iter()
            .position(|byte| matches!(byte, b'\n' | 0))
            .filter(|end| text.get(*end) == Some(&b'\n'));
        let Some((line, code)) = end.and_then(|end| text.split_at_checked(end)) else {
            return refuse(&[invalid]);
        };
        let Some(words) = words(line) else {
            return refuse(&[invalid]);
        };
        let (engine, options) = words.split_first().ok_or(CommandError::Syntax)?;
        let mut name = None;
        for option in options {
            match option.split_at_checked(5) {
                Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                    if name.replace(value).is_some() {
                        return refuse(&[
                            b"Invalid metadata value, name argument was given multiple times",
                        ]);
                    }
                }
                _ => return refuse(&[b"Invalid metadata value given: ", to_nul(option)]),
            }
        }
        let Some(name) = name else {
            return refuse(&[b"Library name was not given"]);
        };
        if !is_name(name) {
            return refuse(&[BAD_NAME.as_bytes()]);
        }
        let engine = engine.get(2..).unwrap_or_default();
        if !engine.eq_ignore_ascii_case(b"lua") {
            return refuse(&[b"Engine '", engine, b"' not found"]);
        }
        Ok(Metadata {
            name: name.to_vec(),
            code,
        })
    }
}

fn to_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The words of a line as Redis splits those of its configuration: in double
/// quotes with escapes, in single quotes, or bare; `None` where a quote does not
/// end, or does not end its word.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    // Blanks are those of C.
    let is_blank = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [first, behind @ ..] = rest
            && is_blank(*first)
        {
            rest = behind;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            rest = match rest {
                [] => break,
                [b'"', behind @ ..] => double_quoted(behind, &mut word)?,
                [b'\'', behind @ ..] => single_quoted(behind, &mut word)?,
                [byte, behind @ ..] if !is_blank(*byte) => {
                    word.push(*byte);
                    rest = behind;
                    continue;
                }
                _ => break,
            };
            // A closing quote ends the word.
            if rest.first().is_some_and(|byte| !is_blank(*byte)) {
                return None;
            }
        }
        words.push(word);
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    loop {
        let (byte, behind) = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..]
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) =>
            {
                ((high * 16 + low) as u8, behind)
            }
            [b'\\', escaped, behind @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, behind)
            }
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        word.push(byte);
        rest = behind;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, behind) = match rest {
            [b'\'', behind @ ..] => return Some(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        word.push(byte);
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &str) -> Option<Vec<String>> {
        let text = |word: Vec<u8>| String::from_utf8(word).unwrap();
        words(line.as_bytes()).map(|words| words.into_iter().map(text).collect())
    }

    #[test]
    fn words_are_split_as_in_a_configuration() {
        let some = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(words_of(" a\tb \u{b}c\r"), some(&["a", "b", "c"]));
        assert_eq!(
            words_of(r#""a b\x41\n" '\'x\n'"#),
            some(&["a bA\n", r"'x\n"])
        );
        assert_eq!(words_of(r#"n="x" n='y'"#), some(&["n=x", "n=y"]));
        assert_eq!(words_of(r#""\xzz\q""#), some(&["xzzq"]));
        assert_eq!(words_of(r#""""#), some(&[""]));
        for open in [r#""a"#, "'a", r#""a"b"#, "'a'b", r#""a\""#] {
            assert_eq!(words_of(open), None, "{open}");
        }
    }

    #[test]
    fn the_code_keeps_its_lines() {
        let metadata = Metadata::parse(b"#!LUA Name=ab_9\nreturn 1").unwrap();
        assert_eq!(metadata.name, b"ab_9");
        assert_eq!(metadata.code, b"\nreturn 1");
    }
}
