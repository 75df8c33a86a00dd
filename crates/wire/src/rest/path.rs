//! Commands in a path: `/set/key/value?EX=100`, the value perhaps in the body.
//!
//! The arguments are, in this order: each segment of the path, the raw body of
//! a POST or PUT unless it is empty, and each pair of the query.
//!
//! - Every segment counts, an empty one too: `/set/k/` sets the empty string.
//!   Only the slash in front is no separator.
//! - A `+` in a path is a plus: RFC 3986 gives it no other meaning there. In the
//!   query it is a blank, because clients make queries with form encoding
//!   (`URLSearchParams`, `urlencode`), which writes a blank so and a plus as
//!   `%2B`.
//! - A pair without a value is its key alone, whether written `?NX` or `?NX=`:
//!   form encoders can only write the second, and no option of any command
//!   takes an empty value. An empty argument can be a segment.
//! - The pair `_token` carries the credentials and is never an argument.
//!
//! Percent escapes have to be complete; what they decode to may be any bytes.

use std::borrow::Cow;

use memchr::memchr2;
use smallvec::SmallVec;

use super::RestError;
use crate::Argv;

/// The path form of one command.
#[derive(Debug)]
pub struct PathCommand<'a> {
    args: SmallVec<[Cow<'a, [u8]>; 8]>,
}

impl<'a> PathCommand<'a> {
    /// Reads a path, with the query that followed its `?`, and a body.
    pub fn parse(path: &'a str, query: Option<&'a str>, body: &'a [u8]) -> Result<Self, RestError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut args = SmallVec::<[Cow<'a, [u8]>; 8]>::new();
        for segment in path.as_bytes().split(|byte| *byte == b'/') {
            args.push(unescape(segment, false)?);
        }
        if args.first().is_none_or(|name| name.is_empty()) {
            return Err(RestError::EmptyCommand);
        }
        if !body.is_empty() {
            args.push(Cow::Borrowed(body));
        }
        for (key, value) in pairs(query.unwrap_or_default()) {
            let key = unescape(key, true)?;
            if *key == *TOKEN {
                continue;
            }
            args.push(key);
            if !value.is_empty() {
                args.push(unescape(value, true)?);
            }
        }
        Ok(Self { args })
    }

    /// The arguments, the command's name first; never empty.
    pub fn argv(&self) -> Argv<'_> {
        self.args.iter().map(|arg| &**arg).collect()
    }
}

const TOKEN: &[u8] = b"_token";

/// The credentials in a query: the value of its first `_token`. A malformed
/// escape in it makes it empty, which opens nothing.
pub fn query_token(query: &str) -> Option<Cow<'_, [u8]>> {
    pairs(query)
        .find(|(key, _)| unescape(key, true).is_ok_and(|key| *key == *TOKEN))
        .map(|(_, value)| unescape(value, true).unwrap_or_default())
}

/// The pairs of a query, still escaped; a key without `=` has an empty value.
fn pairs(query: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && *pair != "=")
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.as_bytes(), value.as_bytes()))
}

/// Decodes percent escapes, and `+` as a blank where `form` rules hold.
fn unescape(text: &[u8], form: bool) -> Result<Cow<'_, [u8]>, RestError> {
    let plus = if form { b'+' } else { b'%' };
    let Some(first) = memchr2(b'%', plus, text) else {
        return Ok(Cow::Borrowed(text));
    };
    let (plain, mut rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match byte {
            b'%' => {
                let (byte, tail) = percent(tail)?;
                rest = tail;
                byte
            }
            b'+' if form => b' ',
            other => *other,
        });
    }
    Ok(Cow::Owned(decoded))
}

/// The byte of the escape whose `%` came before `text`, and what follows it.
fn percent(text: &[u8]) -> Result<(u8, &[u8]), RestError> {
    let hex = |byte: u8| char::from(byte).to_digit(16);
    if let [high, low, tail @ ..] = text
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return Ok(((high << 4 | low) as u8, tail));
    }
    let shown = text.get(..2).unwrap_or(text);
    Err(RestError::InvalidEscape(format!(
        "%{}",
        String::from_utf8_lossy(shown)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, query: &str, body: &str) -> Result<Vec<String>, RestError> {
        let command = PathCommand::parse(path, Some(query), body.as_bytes())?;
        let lossy = |arg: &&[u8]| String::from_utf8_lossy(arg).into_owned();
        Ok(command.argv().iter().map(lossy).collect())
    }

    #[track_caller]
    fn check(path: &str, query: &str, body: &str, expected: &[&str]) {
        assert_eq!(parse(path, query, body).unwrap(), expected);
    }

    #[test]
    fn segments() {
        check("/get/foo", "", "", &["get", "foo"]);
        check(
            "/SET/a%2Fb/100%25%20%C3%A9+x",
            "",
            "",
            &["SET", "a/b", "100% é+x"],
        );
        check("/set/k/", "", "", &["set", "k", ""]);
        check("/set//v", "", "", &["set", "", "v"]);
        check("ping", "", "", &["ping"]);
    }

    #[test]
    fn the_body_comes_before_the_query() {
        check("/set/foo", "EX=100", "V", &["set", "foo", "V", "EX", "100"]);
        check(
            "/set/foo",
            "EX=100&NX",
            "V",
            &["set", "foo", "V", "EX", "100", "NX"],
        );
        check(
            "/set/foo/v",
            "NX=&_token=secret&PX=1",
            "",
            &["set", "foo", "v", "NX", "PX", "1"],
        );
        check("/set/foo", "", "{\"a\":1}", &["set", "foo", "{\"a\":1}"]);
        check(
            "/set/foo/v",
            "a+b=c%2Bd&&=&=e",
            "",
            &["set", "foo", "v", "a b", "c+d", "", "e"],
        );
        check("/get/foo", "%5Ftoken=secret", "", &["get", "foo"]);
    }

    #[test]
    fn binary_segments_and_bodies() {
        let command = PathCommand::parse("/set/%00%ff", None, b"\x00\xfe").unwrap();
        assert_eq!(
            command.argv().as_slice(),
            [&b"set"[..], b"\x00\xff", b"\x00\xfe"]
        );
    }

    #[test]
    fn refusals() {
        assert_eq!(parse("/", "", ""), Err(RestError::EmptyCommand));
        assert_eq!(parse("", "", "x"), Err(RestError::EmptyCommand));
        assert_eq!(parse("//get", "", ""), Err(RestError::EmptyCommand));
        for (path, query, shown) in [
            ("/get/%zz", "", "%zz"),
            ("/get/%", "", "%"),
            ("/get/%4", "", "%4"),
            ("/get/%+1", "", "%+1"),
            ("/get/k", "a=%é", "%é"),
        ] {
            let text = parse(path, query, "").unwrap_err().to_string();
            assert_eq!(text, format!("invalid URL escape \"{shown}\""));
        }
    }

    #[test]
    fn token_in_the_query() {
        assert_eq!(
            query_token("EX=1&_token=a%2Bb&_token=c").as_deref(),
            Some(&b"a+b"[..])
        );
        assert_eq!(query_token("_token").as_deref(), Some(&b""[..]));
        assert_eq!(query_token("_token=%zz").as_deref(), Some(&b""[..]));
        assert_eq!(query_token("token=a&x=_token"), None);
    }
}
