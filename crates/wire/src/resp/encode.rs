//! Replies to bytes.
//!
//! One pass over the reply, appended to the connection's output buffer; nothing
//! is allocated but that buffer's growth. Each richer shape of [`Reply`] falls
//! back to what RESP2 can say, as the variants' own documentation lays down.

use memchr::memchr2;
use sangam_engine::Reply;

use super::Protocol;
use crate::number::DoubleText;

/// Appends `reply` to `out` in the connection's protocol.
pub fn encode(reply: &Reply, protocol: Protocol, out: &mut Vec<u8>) {
    let resp3 = protocol == Protocol::Resp3;
    match reply {
        Reply::Null if resp3 => out.extend_from_slice(b"_\r\n"),
        Reply::Null => out.extend_from_slice(b"$-1\r\n"),
        Reply::NullArray if resp3 => out.extend_from_slice(b"_\r\n"),
        Reply::NullArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Status(text) => line(b'+', text.as_bytes(), out),
        Reply::Error(text) => line(b'-', text, out),
        Reply::Int(value) => {
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Reply::Bulk(bytes) => bulk(bytes, out),
        Reply::Array(items) => sequence(b'*', items, protocol, out),
        Reply::Bulks(bulks) => {
            // Room for headers of three digits; longer strings grow it.
            out.reserve(bulks.bytes() + bulks.len() * 8 + 16);
            header(b'*', bulks.len(), out);
            for text in bulks.iter() {
                bulk(text, out);
            }
        }
        Reply::Set(items) => sequence(if resp3 { b'~' } else { b'*' }, items, protocol, out),
        Reply::Push(items) => sequence(if resp3 { b'>' } else { b'*' }, items, protocol, out),
        Reply::Map(pairs) => {
            if resp3 {
                header(b'%', pairs.len(), out);
            } else {
                header(b'*', pairs.len() * 2, out);
            }
            for (key, value) in pairs {
                encode(key, protocol, out);
                encode(value, protocol, out);
            }
        }
        Reply::Pairs(pairs) => {
            header(b'*', if resp3 { pairs.len() } else { pairs.len() * 2 }, out);
            for (first, second) in pairs {
                if resp3 {
                    out.extend_from_slice(b"*2\r\n");
                }
                encode(first, protocol, out);
                encode(second, protocol, out);
            }
        }
        Reply::Double(value) => {
            let text = DoubleText::new(*value, out);
            if resp3 {
                line(b',', text.as_bytes(), out);
            } else {
                bulk(text.as_bytes(), out);
            }
        }
        Reply::Bool(value) => out.extend_from_slice(match (resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        }),
        Reply::Decimal(digits) if resp3 => line(b',', digits, out),
        Reply::BigNumber(digits) if resp3 => line(b'(', digits, out),
        Reply::Decimal(digits) | Reply::BigNumber(digits) => bulk(digits, out),
        Reply::Verbatim(format, text) if resp3 => {
            header(b'=', text.len() + 4, out);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Reply::Verbatim(_, text) => bulk(text, out),
        Reply::Many(replies) => {
            for reply in replies {
                encode(reply, protocol, out);
            }
        }
    }
}

fn sequence(marker: u8, items: &[Reply], protocol: Protocol, out: &mut Vec<u8>) {
    header(marker, items.len(), out);
    for item in items {
        encode(item, protocol, out);
    }
}

/// A line of `marker` and a count.
fn header(marker: u8, count: usize, out: &mut Vec<u8>) {
    out.push(marker);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    // The marker, 20 digits at most, and two line ends: one growth, not four.
    out.reserve(bytes.len() + 25);
    header(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A line of `marker` and `text`. A line end inside it would forge a second
/// reply, so it becomes a blank here, whatever the reply's maker let through.
fn line(marker: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(marker);
    let start = out.len();
    out.extend_from_slice(text);
    if memchr2(b'\r', b'\n', text).is_some() {
        for byte in out.iter_mut().skip(start) {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &Reply, resp2: &[u8], resp3: &[u8]) {
        let mut out = b"kept".to_vec();
        encode(reply, Protocol::Resp2, &mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            [b"kept", resp2].concat().escape_ascii().to_string()
        );
        out.clear();
        encode(reply, Protocol::Resp3, &mut out);
        assert_eq!(
            out.escape_ascii().to_string(),
            resp3.escape_ascii().to_string()
        );
    }

    #[test]
    fn scalars() {
        check(&Reply::OK, b"+OK\r\n", b"+OK\r\n");
        check(&Reply::Null, b"$-1\r\n", b"_\r\n");
        check(&Reply::NullArray, b"*-1\r\n", b"_\r\n");
        check(
            &Reply::Int(i64::MIN),
            b":-9223372036854775808\r\n",
            b":-9223372036854775808\r\n",
        );
        check(&Reply::bulk(""), b"$0\r\n\r\n", b"$0\r\n\r\n");
        check(
            &Reply::bulk("a\r\n\0"),
            b"$4\r\na\r\n\0\r\n",
            b"$4\r\na\r\n\0\r\n",
        );
        check(&Reply::Bool(true), b":1\r\n", b"#t\r\n");
        check(&Reply::Bool(false), b":0\r\n", b"#f\r\n");
        check(
            &Reply::BigNumber(b"123".to_vec()),
            b"$3\r\n123\r\n",
            b"(123\r\n",
        );
        check(
            &Reply::Verbatim(*b"txt", b"hi".to_vec()),
            b"$2\r\nhi\r\n",
            b"=6\r\ntxt:hi\r\n",
        );
    }

    #[test]
    fn a_line_end_in_a_line_becomes_a_blank() {
        check(
            &Reply::Error(b"ERR a\r\n+OK".to_vec()),
            b"-ERR a  +OK\r\n",
            b"-ERR a  +OK\r\n",
        );
        check(&Reply::Status("a\nb".into()), b"+a b\r\n", b"+a b\r\n");
    }

    #[test]
    fn doubles() {
        check(
            &Reply::Double(0.1),
            b"$19\r\n0.10000000000000001\r\n",
            b",0.10000000000000001\r\n",
        );
        check(&Reply::Double(3.0), b"$1\r\n3\r\n", b",3\r\n");
        check(&Reply::Double(f64::INFINITY), b"$3\r\ninf\r\n", b",inf\r\n");
        check(
            &Reply::Double(f64::NEG_INFINITY),
            b"$4\r\n-inf\r\n",
            b",-inf\r\n",
        );
        check(
            &Reply::Double(f64::NAN.copysign(1.0)),
            b"$3\r\nnan\r\n",
            b",nan\r\n",
        );
        check(
            &Reply::Double(f64::NAN.copysign(-1.0)),
            b"$4\r\n-nan\r\n",
            b",-nan\r\n",
        );
        check(
            &Reply::Double(-f64::MIN_POSITIVE),
            b"$24\r\n-2.2250738585072014e-308\r\n",
            b",-2.2250738585072014e-308\r\n",
        );
    }

    #[test]
    fn collections() {
        let one_two = || vec![Reply::Int(1), Reply::Int(2)];
        let pair = || vec![(Reply::bulk("a"), Reply::Double(1.5))];
        check(&Reply::Array(vec![]), b"*0\r\n", b"*0\r\n");
        check(
            &Reply::Bulks(["", "a\r\n"].iter().collect()),
            b"*2\r\n$0\r\n\r\n$3\r\na\r\n\r\n",
            b"*2\r\n$0\r\n\r\n$3\r\na\r\n\r\n",
        );
        check(
            &Reply::Array(one_two()),
            b"*2\r\n:1\r\n:2\r\n",
            b"*2\r\n:1\r\n:2\r\n",
        );
        check(
            &Reply::Set(one_two()),
            b"*2\r\n:1\r\n:2\r\n",
            b"~2\r\n:1\r\n:2\r\n",
        );
        check(
            &Reply::Push(one_two()),
            b"*2\r\n:1\r\n:2\r\n",
            b">2\r\n:1\r\n:2\r\n",
        );
        check(&Reply::Many(one_two()), b":1\r\n:2\r\n", b":1\r\n:2\r\n");
        check(
            &Reply::Map(pair()),
            b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
            b"%1\r\n$1\r\na\r\n,1.5\r\n",
        );
        check(
            &Reply::Pairs(pair()),
            b"*2\r\n$1\r\na\r\n$3\r\n1.5\r\n",
            b"*1\r\n*2\r\n$1\r\na\r\n,1.5\r\n",
        );
    }
}
