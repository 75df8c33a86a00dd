//! Answers to replies, or to what went wrong.
//!
//! Replies are asked for as RESP2, in which nothing is lost: `/` answers one,
//! `/pipeline` one after the other. `/multi-exec` answers JSON only, asked for in
//! base64: exact but for statuses, of which base64 marks `OK` alone, so those of
//! TYPE and PING come as strings, as do errors and statuses inside a script's
//! table. An endpoint that knows no RESP2 (the PING at the start shows it)
//! answers everything in that encoding.
//!
//! Which of the two a body is, its first byte says, so that a proxy's page is
//! neither.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use sangam_engine::Reply;
use sangam_wire::resp::{DecodedReply, decode_reply};
use serde_json::Value;
use smallvec::SmallVec;
use std::time::Duration;

use super::connection::Answer;
use super::endpoint::Endpoint;
use super::request::{Call, Form};
use crate::backend::Failure;
use crate::error::Why;

/// What became of each command of a request.
pub(super) type Outcomes = SmallVec<[Result<Reply, Failure>; 1]>;

/// Bytes of a body that an error shows.
const SHOWN: usize = 120;
/// Beginning of Upstash's text for an answer (or a request) above its limit.
const TOO_LARGE: &[u8] = b"ERR max request size exceeded";

/// What an answer says.
#[derive(Debug)]
pub(super) enum Verdict {
    /// An outcome for each command.
    Replies(Outcomes),
    /// Their replies are too many bytes, together or alone; some may have run.
    Apart(Why),
    /// Nothing was run, and it may be asked again after so long.
    Later(Option<Duration>, Why),
    /// Nothing was run.
    Refused(Failure),
    /// Nobody knows what was run.
    Unknown(Why),
}

/// Reads an answer to a request, which said whether it `honoured` the request's
/// id. At a greeting, what is no answer of such an endpoint is a setting's fault.
pub(super) fn read(
    answer: &Answer,
    call: &Call,
    honoured: bool,
    endpoint: &Endpoint,
    greeting: bool,
) -> Verdict {
    let (status, form) = (answer.status, call.form);
    match status {
        StatusCode::OK => {
            if let Some(replies) = replies(&answer.body, form) {
                return Verdict::Replies(replies);
            }
            if greeting {
                return Verdict::Refused(no_endpoint(answer, endpoint));
            }
            Verdict::Unknown(why(answer, endpoint))
        }
        StatusCode::BAD_REQUEST => match error(&answer.body) {
            Some(text) if text.starts_with(TOO_LARGE) && may_have_run(&text, call, honoured) => {
                Verdict::Apart(why(answer, endpoint))
            }
            Some(text) => {
                let one = || Ok(Reply::Error(text.clone()));
                Verdict::Replies((0..form.outcomes()).map(|_| one()).collect())
            }
            None if greeting => Verdict::Refused(no_endpoint(answer, endpoint)),
            None => Verdict::Refused(Failure::NotSent(why(answer, endpoint))),
        },
        StatusCode::UNAUTHORIZED => Verdict::Refused(Failure::Setting(format!(
            "setting `{}`: {} refused the token: {}",
            endpoint.token_setting,
            endpoint.place,
            told(answer)
        ))),
        StatusCode::FORBIDDEN => {
            Verdict::Refused(endpoint.setting(&format!("answered 403: {}", told(answer))))
        }
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            Verdict::Refused(Failure::Unsupported(format!(
                "the request is larger than {} takes (answered {})",
                endpoint.place,
                status.as_u16()
            )))
        }
        // A proxy says it too when it lost the server amid a request.
        StatusCode::SERVICE_UNAVAILABLE if call.writes && !is_of_a_store(&answer.body) => {
            Verdict::Unknown(why(answer, endpoint))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = answer.headers.get(RETRY_AFTER);
            let after = after.and_then(|it| it.to_str().ok()?.trim().parse().ok());
            Verdict::Later(after.map(Duration::from_secs), why(answer, endpoint))
        }
        _ if status.is_redirection() => {
            let place = answer.headers.get(LOCATION);
            let place = place.and_then(|it| it.to_str().ok()).unwrap_or("nowhere");
            Verdict::Refused(endpoint.setting(&format!(
                "answered {}, a redirect to {place}, which is not followed: write the address \
                 that answers",
                status.as_u16()
            )))
        }
        _ if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT && greeting => {
            Verdict::Refused(no_endpoint(answer, endpoint))
        }
        _ if status.is_client_error() => Verdict::Refused(Failure::NotSent(why(answer, endpoint))),
        _ => Verdict::Unknown(why(answer, endpoint)),
    }
}

fn no_endpoint(answer: &Answer, endpoint: &Endpoint) -> Failure {
    let what = match answer.status {
        StatusCode::OK => shape(answer).to_owned(),
        status => format!("{} and {}", status.as_u16(), shape(answer)),
    };
    endpoint.setting(&format!("answered {what}, it is no Redis REST endpoint"))
}

/// In a word or two, what a body is.
fn shape(answer: &Answer) -> &'static str {
    let kind = answer.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let body = answer.body.trim_ascii_start();
    let html = kind.is_some_and(|it| it.starts_with(b"text/html"));
    match body.first() {
        None => "nothing",
        Some(b'<') => "HTML",
        Some(_) if html => "HTML",
        Some(b'{' | b'[') => "other JSON",
        Some(_) => "something else",
    }
}

/// An answer that is none of a store.
pub(super) fn why(answer: &Answer, endpoint: &Endpoint) -> Why {
    Why::Answer {
        place: endpoint.place.clone(),
        status: answer.status.as_u16(),
        text: told(answer),
    }
}

/// The error in a body, or its beginning on one line.
fn told(answer: &Answer) -> String {
    if let Some(text) = error(&answer.body) {
        return String::from_utf8_lossy(&text).into_owned();
    }
    if shape(answer) == "HTML" {
        return "an HTML page".to_owned();
    }
    let begin = answer.body.get(..SHOWN).unwrap_or(&answer.body);
    let text = String::from_utf8_lossy(begin);
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or("an empty body").to_owned();
    words.fold(first, |text, word| text + " " + word)
}

/// The text of a body that is one error.
pub(super) fn error(body: &[u8]) -> Option<Vec<u8>> {
    match body.first()? {
        b'-' => match decode_reply(body) {
            Ok(DecodedReply::Complete(Reply::Error(text), used)) if used == body.len() => {
                Some(text)
            }
            _ => None,
        },
        b'{' => match serde_json::from_slice(body).ok()? {
            Value::Object(mut map) => match map.remove("error")? {
                Value::String(text) => Some(text.into_bytes()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Whether something of a request may have run whose answer was above the limit
/// that `text` tells. Who honours ids undoes a single command or a transaction;
/// others leave what ran.
fn may_have_run(text: &[u8], call: &Call, honoured: bool) -> bool {
    match call.form {
        Form::Pipeline(_) => true,
        Form::Single | Form::Transaction(_) => {
            let refused = limit(text).is_some_and(|limit| call.body.len() > limit);
            call.writes && !honoured && !refused
        }
    }
}

/// The limit in an error about one.
fn limit(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("Limit: ")?;
    rest.split(' ').next()?.parse().ok()
}

/// Whether a body is an error in the words of a store, its code first.
fn is_of_a_store(body: &[u8]) -> bool {
    error(body).is_some_and(|text| text.starts_with(b"ERR "))
}

/// The replies in a body, if it has as many as were asked for.
fn replies(body: &[u8], form: Form) -> Option<Outcomes> {
    if matches!(body.first()?, b'{' | b'[') && form != Form::Pipeline(0) {
        return from_json(serde_json::from_slice(body).ok()?, form);
    }
    let count = match form {
        Form::Single => 1,
        Form::Pipeline(count) => count,
        Form::Transaction(_) => return None,
    };
    let mut rest = body;
    let mut outcomes = Outcomes::with_capacity(count);
    for _ in 0..count {
        let Ok(DecodedReply::Complete(reply, used)) = decode_reply(rest) else {
            return None;
        };
        rest = rest.get(used..)?;
        outcomes.push(Ok(reply));
    }
    rest.is_empty().then_some(outcomes)
}

fn from_json(value: Value, form: Form) -> Option<Outcomes> {
    let (count, items) = match (form, value) {
        (Form::Single, object @ Value::Object(_)) => (1, vec![object]),
        (Form::Pipeline(count) | Form::Transaction(count), Value::Array(items)) => (count, items),
        _ => return None,
    };
    if items.len() != count {
        return None;
    }
    let replies: Option<Vec<Reply>> = items.into_iter().map(item).collect();
    Some(match form {
        Form::Transaction(_) => SmallVec::from_elem(Ok(Reply::Array(replies?)), 1),
        _ => replies?.into_iter().map(Ok).collect(),
    })
}

/// `{"result":…}` or `{"error":"…"}`.
fn item(value: Value) -> Option<Reply> {
    let Value::Object(mut map) = value else {
        return None;
    };
    if let Some(Value::String(text)) = map.remove("error") {
        return Some(Reply::Error(text.into_bytes()));
    }
    decoded(map.remove("result")?)
}

/// A value whose strings are base64, but for the status `OK`.
fn decoded(value: Value) -> Option<Reply> {
    Some(match value {
        Value::Null => Reply::Null,
        Value::Bool(value) => Reply::Int(value.into()),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Reply::Int(value),
            None => Reply::Bulk(number.to_string().into_bytes()),
        },
        Value::String(text) if text == "OK" => Reply::OK,
        Value::String(text) => {
            Reply::Bulk(base64_simd::STANDARD.decode_to_vec(text.as_bytes()).ok()?)
        }
        Value::Array(items) => {
            let items: Option<Vec<Reply>> = items.into_iter().map(decoded).collect();
            Reply::Array(items?)
        }
        Value::Object(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &[u8], form: Form) -> Option<Vec<Reply>> {
        let outcomes = replies(body, form)?;
        Some(outcomes.into_iter().map(Result::unwrap).collect())
    }

    #[test]
    fn resp2_answers() {
        assert_eq!(
            read_body(b"+OK\r\n:1\r\n$2\r\n\xff\r\r\n", Form::Pipeline(3)).unwrap(),
            [Reply::OK, Reply::Int(1), Reply::bulk(b"\xff\r")]
        );
        assert_eq!(read_body(b"+OK\r\n:1\r\n", Form::Pipeline(3)), None);
        assert_eq!(read_body(b"+OK\r\n:1\r\n", Form::Single), None);
        assert_eq!(read_body(b"<html>", Form::Single), None);
        assert_eq!(read_body(b"", Form::Single), None);
    }

    #[test]
    fn base64_answers() {
        let body = br#"[{"result":"OK"},{"result":"T0s="},{"result":[1,null,["/w=="]]},{"error":"ERR x"}]"#;
        assert_eq!(
            read_body(body, Form::Transaction(4)).unwrap(),
            [Reply::Array(vec![
                Reply::OK,
                Reply::bulk("OK"),
                Reply::Array(vec![
                    Reply::Int(1),
                    Reply::Null,
                    Reply::Array(vec![Reply::bulk(b"\xff")])
                ]),
                Reply::Error(b"ERR x".to_vec()),
            ])]
        );
        assert_eq!(read_body(body, Form::Transaction(3)), None);
        assert_eq!(read_body(br#"{"result":"plain!"}"#, Form::Single), None);
        assert_eq!(read_body(br#"{"ok":true}"#, Form::Single), None);
    }

    #[test]
    fn errors_in_either_format() {
        assert_eq!(error(b"-ERR x\r\n").unwrap(), b"ERR x");
        assert_eq!(error(br#"{"error":"ERR x"}"#).unwrap(), b"ERR x");
        assert_eq!(error(b"<html>"), None);
    }
}
