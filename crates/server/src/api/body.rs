//! JSON bodies: bounded in bytes and in time, and every refusal says what to send.
//!
//! A body is one JSON object, but for values that are only kept. Lists are refused before
//! they are read: they would be taken for the fields of an object in their order.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::App;
use super::problem::Problem;

/// Bytes of a body that is read.
const MAX: Bound = Bound {
    bytes: 1024 * 1024,
    settings: "",
};
/// Bytes of a refused body that are read and thrown away, so that a client that is
/// still sending gets to read why, and its connection can go on.
const DISCARD_MAX: usize = 64 * 1024 * 1024;
/// Characters of the client's own text that a refusal repeats.
const SHOWN: usize = 200;

/// How long a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) bytes: usize,
    /// Which settings say so, in words behind the number; none where it is fixed.
    pub(super) settings: &'static str,
}

impl Bound {
    fn exceeded(self) -> Problem {
        let Bound { bytes, settings } = self;
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body has at most {bytes} bytes{settings}"),
        )
    }
}

/// A body that was read as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = receive(request, MAX, app.body_patience).await?;
        object(&bytes).map(Json).map_err(|reason| refused(&reason))
    }
}

/// Any JSON, as it is written; what only some readers of JSON can read is refused.
pub(super) async fn json(
    request: Request,
    bound: Bound,
    patience: Duration,
) -> Result<Box<RawValue>, Problem> {
    let bytes = receive(request, bound, patience).await?;
    let json = serde_json::from_slice(&bytes).and_then(|json| {
        serde_json::from_slice::<Readable>(&bytes)?;
        Ok(json)
    });
    json.map_err(|error| refused(&plain(&error.to_string())))
}

/// JSON that is read and thrown away. Keeping it as it is written overlooks lists in
/// lists without end, halves of surrogate pairs, and numbers beyond all that a reader has.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Readable)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Readable;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_str<E>(self, _: &str) -> Result<Readable, E> {
        Ok(Readable)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Readable, A::Error> {
        while items.next_element::<Readable>()?.is_some() {}
        Ok(Readable)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Readable, A::Error> {
        while fields.next_entry::<Readable, Readable>()?.is_some() {}
        Ok(Readable)
    }
}

fn refused(reason: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("the body is not what this takes: {reason}"),
    )
}

/// The bytes of a body that is said to be JSON.
async fn receive(
    request: Request,
    bound: Bound,
    patience: Duration,
) -> Result<bytes::Bytes, Problem> {
    let kind = request.headers().get(CONTENT_TYPE);
    let is_json = kind.is_none_or(|kind| {
        let kind = kind.as_bytes().split(|byte| *byte == b';').next();
        let kind = kind.unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"application/json")
    });
    let mut encodings = request.headers().get_all(CONTENT_ENCODING).iter();
    let is_plain = encodings.all(|it| it.as_bytes().eq_ignore_ascii_case(b"identity"));
    let is_sent = !request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    let read = if !is_json {
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON: `Content-Type: application/json`",
        ))
    } else if !is_plain {
        Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send it as it is, without a `Content-Encoding`",
        ))
    } else if body.size_hint().lower() > bound.bytes as u64 {
        Err(bound.exceeded())
    } else {
        let read = tokio::time::timeout(patience, read(&mut body, bound)).await;
        read.unwrap_or_else(|_| {
            Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
            ))
        })
    };
    if let Err(problem) = &read {
        // Who waits to be asked for the body is not asked.
        if is_sent && problem.status() != StatusCode::REQUEST_TIMEOUT {
            tokio::spawn(discard(body, patience));
        }
    }
    read
}

async fn read(body: &mut Body, bound: Bound) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, bound.bytes).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(bound.exceeded()),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}

/// Throws away what is left of a body.
async fn discard(mut body: Body, patience: Duration) {
    let read = async {
        let mut total = 0;
        while total < DISCARD_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            total += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
    };
    let _ = tokio::time::timeout(patience, read).await;
}

/// Reads an object out of JSON; else says why it is none, in words for whoever wrote it.
pub(super) fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let first = json.trim_ascii_start().first();
    if first.is_some_and(|byte| *byte != b'{') {
        return Err("expected an object, `{…}`".to_owned());
    }
    serde_json::from_slice(json).map_err(|error| plain(&error.to_string()))
}

/// What serde calls its types, and what they are to who writes JSON.
const WORDS: [(&str, &str); 7] = [
    ("struct ", "an object"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("a sequence", "a list"),
    ("a map", "an object"),
    ("a boolean", "true or false"),
    ("a string", "a text"),
];

/// An error's text without the names of types.
fn plain(text: &str) -> String {
    if let Some(place) = text.strip_prefix("recursion limit exceeded") {
        return format!("more than 127 lists and objects are in each other{place}");
    }
    let (found, expected) = match text.rfind(", expected ") {
        Some(at) => text.split_at(at),
        None => ("", text),
    };
    let found = match found {
        "invalid type: map" => "this is an object",
        "invalid type: sequence" => "this is a list",
        found => found,
    };
    let shown: String = found.chars().take(SHOWN).collect();
    let Some(kind) = expected.strip_prefix(", expected ") else {
        return expected.chars().take(SHOWN).collect();
    };
    let word = WORDS.iter().find(|(name, _)| kind.starts_with(name));
    let Some((_, word)) = word else {
        return format!("{shown}{expected}");
    };
    let place = kind.find(" at line ").and_then(|at| kind.get(at..));
    format!("{shown}, expected {word}{}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn errors_are_told_without_names_of_types() {
        for (text, told) in [
            (
                "invalid value: integer `-1`, expected u64 at line 1 column 9",
                "invalid value: integer `-1`, expected a whole number, 0 or more at line 1 column 9",
            ),
            (
                "invalid type: map, expected a string at line 2 column 3",
                "this is an object, expected a text at line 2 column 3",
            ),
            (
                "invalid type: null, expected struct Ask",
                "invalid type: null, expected an object",
            ),
            (
                "unknown field `x, expected u64`, expected `user` or `address` at line 1 column 4",
                "unknown field `x, expected u64`, expected `user` or `address` at line 1 column 4",
            ),
            (
                "EOF while parsing a value at line 1 column 0",
                "EOF while parsing a value at line 1 column 0",
            ),
        ] {
            assert_eq!(plain(text), told);
        }
        let long = format!(
            "invalid type: string \"{}\", expected u64",
            "a".repeat(9999)
        );
        assert!(plain(&long).len() < 300);
    }
}
