//! Names for requests that hold a write (docs/request-ids.md): a server that
//! honours them runs a repeated request once.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub(super) const HEADER: HeaderName = HeaderName::from_static("sangam-request-id");

/// A UUIDv7 of a time in milliseconds since the epoch; `None` without chance.
pub(super) fn make(millis: u64) -> Option<HeaderValue> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    let mut value = u128::from_be_bytes(bytes);
    value &= !(0xffff_ffff_ffff << 80 | 0xf << 76 | 0b11 << 62);
    value |= u128::from(millis & 0xffff_ffff_ffff) << 80 | 0x7 << 76 | 0b10 << 62;
    let hex = format!("{value:032x}");
    let mut text = String::with_capacity(36);
    for (index, digit) in hex.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    HeaderValue::try_from(text).ok()
}

/// Whether an answer's headers say that its request ran under `id`.
pub(super) fn is_honoured(id: Option<&HeaderValue>, headers: &HeaderMap) -> bool {
    let (Some(id), Some(echoed)) = (id, headers.get(HEADER)) else {
        return false;
    };
    echoed.as_bytes().eq_ignore_ascii_case(id.as_bytes())
}

/// Whether an error says that a server could not tell whether a repeat is one, or
/// that it was applied and its reply was not kept.
pub(super) fn leaves_unknown(error: &[u8]) -> bool {
    error.starts_with(b"ERR request id ") || error.starts_with(b"ERR this request was applied")
}

/// Whether an error says that an id's time is too far from the server's.
pub(super) fn is_off(error: &[u8]) -> bool {
    let told = |text: &[u8]| error.windows(text.len()).any(|window| window == text);
    error.starts_with(b"ERR request id ")
        && (told(b"is older than the window") || told(b"ahead of the server's clock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_its_time() {
        let id = make(0x0189_0a5d_ac96).unwrap();
        let text = id.to_str().unwrap();
        assert!(text.starts_with("01890a5d-ac96-7"), "{text}");
        assert_eq!(text.len(), 36);
        assert!(matches!(text.as_bytes()[19], b'8'..=b'9' | b'a'..=b'b'));
        assert_ne!(make(1), make(1));
    }
}
