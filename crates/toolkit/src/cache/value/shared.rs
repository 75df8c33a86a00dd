//! The form that apps share: JSON text, or gzip of it in base64.
//!
//! Read are also gzip's bytes as they are, and base64 as a string of JSON. So a JSON
//! string that begins like base64 of gzip is written with its first letter escaped,
//! which means the same.

use base64_simd::STANDARD;

use super::super::settings::{Compression, Method};
use super::compress::{a_tenth_less, gunzip, gzip};
use super::{TOO_LARGE, Unreadable};

/// How gzip begins.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How base64 of gzip begins: by its first three bytes.
const BASE64: &[u8] = b"H4sI";
/// The same as a string of JSON.
const QUOTED: &[u8] = b"\"H4sI";
/// The same string, which is not taken for gzip.
const ESCAPED: &[u8] = b"\"\\u00484sI";

/// The JSON text of what another app may have written, `max` bytes at most. Whether it
/// is JSON shows when it is decoded.
pub(in super::super) fn read_shared(mut bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, Unreadable> {
    if bytes.starts_with(GZIP) {
        return gunzip(&bytes, max);
    }
    if bytes.starts_with(QUOTED) {
        let text: String =
            serde_json::from_slice(&bytes).map_err(|_| Unreadable("it is no string of JSON"))?;
        bytes = text.into_bytes();
    }
    if bytes.starts_with(BASE64) {
        let packed = STANDARD.decode_inplace(&mut bytes);
        return gunzip(packed.map_err(|_| Unreadable("it is no base64"))?, max);
    }
    if bytes.len() > max {
        return Err(TOO_LARGE);
    }
    Ok(bytes)
}

/// JSON as other apps read it: as it is, or base64 of gzip where the settings say gzip
/// and that is a tenth shorter.
pub(in super::super) fn write_shared(json: Vec<u8>, compression: Compression) -> Vec<u8> {
    if compression.method == Some(Method::Gzip)
        && json.len() >= compression.from
        && let Ok(packed) = gzip(&json)
        && STANDARD.encoded_length(packed.len()) <= a_tenth_less(json.len())
    {
        return STANDARD.encode_to_string(packed).into_bytes();
    }
    match json.strip_prefix(QUOTED) {
        Some(rest) => [ESCAPED, rest].concat(),
        None => json,
    }
}
