//! redis-rs' values as replies, in the shapes of RESP3 where the server speaks it.

use std::borrow::Cow;

use redis::{ServerError, Value, VerbatimFormat};
use sangam_engine::Reply;

/// The reply that a value is.
pub(super) fn reply(value: Value) -> Reply {
    let all = |items: Vec<Value>| items.into_iter().map(reply).collect();
    match value {
        Value::Nil => Reply::Null,
        Value::Int(value) => Reply::Int(value),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::Array(items) => Reply::Array(all(items)),
        Value::SimpleString(text) => Reply::Status(Cow::Owned(text)),
        Value::Okay => Reply::OK,
        Value::Map(pairs) => Reply::Map(
            pairs
                .into_iter()
                .map(|(key, value)| (reply(key), reply(value)))
                .collect(),
        ),
        Value::Attribute { data, .. } => reply(*data),
        Value::Set(items) => Reply::Set(all(items)),
        Value::Double(value) => Reply::Double(value),
        Value::Boolean(value) => Reply::Bool(value),
        Value::VerbatimString { format, text } => Reply::Verbatim(tag(&format), text.into_bytes()),
        Value::BigNumber(digits) => Reply::BigNumber(digits),
        Value::Push { data, .. } => Reply::Push(all(data)),
        Value::ServerError(error) => Reply::Error(text(&error)),
        other => Reply::error(format!("ERR an unknown kind of reply: {other:?}")),
    }
}

fn tag(format: &VerbatimFormat) -> [u8; 3] {
    match format {
        VerbatimFormat::Markdown => *b"mkd",
        VerbatimFormat::Unknown(name) => {
            let bytes = name.as_bytes().first_chunk::<3>();
            bytes.copied().unwrap_or(*b"txt")
        }
        _ => *b"txt",
    }
}

/// A server's error as it was on the wire.
fn text(error: &ServerError) -> Vec<u8> {
    let mut text = error.code().as_bytes().to_vec();
    if let Some(details) = error.details() {
        text.push(b' ');
        text.extend_from_slice(details.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Reply {
        reply(redis::parse_redis_value(bytes).unwrap())
    }

    #[test]
    fn replies_are_what_our_own_decoder_reads() {
        for bytes in [
            &b"+OK\r\n"[..],
            b"+PONG\r\n",
            b"-ERR no  such thing\r\n",
            b"-WRONGTYPE Operation\r\n",
            b"-EXECABORT Transaction discarded\r\n",
            b"-ALONE\r\n",
            b":-7\r\n",
            b"$3\r\n\xff\r\n\r\n",
            b"$-1\r\n",
            b"_\r\n",
            b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
            b"%1\r\n+a\r\n,1.5\r\n",
            b"~2\r\n#t\r\n#f\r\n",
            b"(12345678901234567890123\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"=7\r\nmkd:abc\r\n",
            b"|1\r\n+ttl\r\n:9\r\n$1\r\na\r\n",
        ] {
            let Ok(sangam_wire::resp::DecodedReply::Complete(expected, _)) =
                sangam_wire::resp::decode_reply(bytes)
            else {
                panic!("{}", bytes.escape_ascii());
            };
            assert_eq!(read(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
