//! Replies to JSON.
//!
//! The shapes are RESP2's: maps and sets are flat arrays, doubles are strings,
//! truth values are 1 and 0. What is a string goes through one of two
//! encodings; the rules of base64 follow from how the SDKs decode:
//!
//! - the *status* `OK` as a whole result stays `"OK"`, since that is the one
//!   string they take as it is; a stored value `OK` is encoded like any other;
//! - inside an array even the status `OK` is encoded (`T0s=`): elements of the
//!   first level are always decoded, and deeper ones accept it;
//! - integers, nulls and errors are untouched.
//!
//! An error *inside* an array (a script's table of errors) is an element that
//! is a string with the error's text, encoded as its neighbours are: decoders
//! decode it without asking, and a client reads the text. An error as a whole
//! result is `{"error":…}`, also for each command of a batch or transaction.
//!
//! In the plain encoding each byte that is not part of valid UTF-8 becomes one
//! U+FFFD, as Go's encoder does it.

use sangam_engine::Reply;

use super::Encoding;
use crate::number::DoubleText;
use crate::plain::plain_prefix;

/// Appends `{"result":…}` or `{"error":"…"}`.
pub fn write_reply(reply: &Reply, encoding: Encoding, out: &mut Vec<u8>) {
    match reply {
        Reply::Error(text) => return write_error(text, out),
        Reply::Status(text) if text == "OK" => {
            out.extend_from_slice(br#"{"result":"OK"}"#);
            return;
        }
        _ => {}
    }
    out.extend_from_slice(br#"{"result":"#);
    write_value(reply, encoding, out);
    out.push(b'}');
}

/// Appends `{"error":"…"}`; errors are never base64.
pub fn write_error(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"error":"#);
    write_string(text, Encoding::Plain, out);
    out.push(b'}');
}

/// Appends the answer to a batch: an array of what [`write_reply`] writes.
pub fn write_items<'r>(
    replies: impl IntoIterator<Item = &'r Reply>,
    encoding: Encoding,
    out: &mut Vec<u8>,
) {
    out.push(b'[');
    separated(replies, out, |reply, out| write_reply(reply, encoding, out));
    out.push(b']');
}

fn write_value(reply: &Reply, encoding: Encoding, out: &mut Vec<u8>) {
    match reply {
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
        Reply::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
        Reply::Bool(value) => out.push(if *value { b'1' } else { b'0' }),
        Reply::Status(text) => write_string(text.as_bytes(), encoding, out),
        Reply::Error(bytes)
        | Reply::Bulk(bytes)
        | Reply::Decimal(bytes)
        | Reply::BigNumber(bytes)
        | Reply::Verbatim(_, bytes) => write_string(bytes, encoding, out),
        Reply::Double(value) => {
            let text = DoubleText::new(*value, out);
            write_string(text.as_bytes(), encoding, out);
        }
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
            out.push(b'[');
            separated(items, out, |item, out| write_value(item, encoding, out));
            out.push(b']');
        }
        Reply::Bulks(bulks) => {
            out.push(b'[');
            separated(bulks.iter(), out, |text, out| {
                write_string(text, encoding, out);
            });
            out.push(b']');
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            out.push(b'[');
            separated(pairs, out, |(first, second), out| {
                write_value(first, encoding, out);
                out.push(b',');
                write_value(second, encoding, out);
            });
            out.push(b']');
        }
    }
}

/// Writes each item with commas between them.
fn separated<T>(
    items: impl IntoIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

fn write_string(bytes: &[u8], encoding: Encoding, out: &mut Vec<u8>) {
    out.push(b'"');
    match encoding {
        Encoding::Base64 => base64_simd::STANDARD.encode_append(bytes, out),
        Encoding::Plain => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                write_escaped(text.as_bytes(), out);
            } else {
                for chunk in bytes.utf8_chunks() {
                    write_escaped(chunk.valid().as_bytes(), out);
                    for _ in chunk.invalid() {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
            }
        }
    }
    out.push(b'"');
}

pub(super) fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain_prefix(text));
        out.extend_from_slice(plain);
        let [byte, tail @ ..] = rest else {
            return;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.push(b'0' + (control >> 4));
                let low = control & 15;
                out.push(if low < 10 {
                    b'0' + low
                } else {
                    b'a' + low - 10
                });
            }
        }
        text = tail;
    }
}

#[cfg(test)]
mod tests;
