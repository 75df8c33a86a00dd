//! Compression: only where it pays, and never into more than was asked for.

use std::io::{Read as _, Write as _};

use super::super::settings::{Compression, Method};
use super::{DAMAGED, TOO_LARGE, Unreadable};

/// Zstandard's level: the fastest but for those that give up size.
const ZSTD_LEVEL: i32 = 1;
/// gzip's level.
const GZIP_LEVEL: u32 = 6;

/// The body compressed, where the settings say so and it becomes a tenth smaller.
pub(super) fn smaller(body: &[u8], compression: Compression) -> Option<(Method, Vec<u8>)> {
    let method = compression.method?;
    if body.len() < compression.from {
        return None;
    }
    let most = a_tenth_less(body.len());
    let packed = match method {
        // It gives up where the room is too little.
        Method::Zstd => zstd::bulk::Compressor::new(ZSTD_LEVEL).and_then(|mut compressor| {
            let mut packed = Vec::with_capacity(most);
            compressor.compress_to_buffer(body, &mut packed)?;
            Ok(packed)
        }),
        Method::Gzip => gzip(body),
    };
    let packed = packed.ok().filter(|packed| packed.len() <= most)?;
    Some((method, packed))
}

/// The most bytes that are a tenth less than so many.
pub(super) const fn a_tenth_less(length: usize) -> usize {
    length - length.div_ceil(10)
}

pub(super) fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let level = flate2::Compression::new(GZIP_LEVEL);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(body)?;
    encoder.finish()
}

/// What was compressed, which had `length` bytes.
pub(super) fn original(
    packed: &[u8],
    method: Method,
    length: usize,
) -> Result<Vec<u8>, Unreadable> {
    match method {
        Method::Zstd => zstd::bulk::decompress(packed, length).map_err(|_| DAMAGED),
        Method::Gzip => gunzip(packed, length),
    }
}

/// What was compressed, which has `max` bytes at most.
pub(super) fn gunzip(packed: &[u8], max: usize) -> Result<Vec<u8>, Unreadable> {
    let mut decoder = flate2::bufread::GzDecoder::new(packed);
    // One more shows that there are more; without it, the end is checked too.
    let one_more = max.saturating_add(1);
    let mut body = Vec::with_capacity(promised(packed).min(one_more));
    let mut limited = decoder.by_ref().take(one_more as u64);
    limited.read_to_end(&mut body).map_err(|_| DAMAGED)?;
    if body.len() > max {
        return Err(TOO_LARGE);
    }
    if decoder.into_inner().is_empty() {
        Ok(body)
    } else {
        Err(DAMAGED)
    }
}

/// The length by gzip's last four bytes, as far as so few bytes can hold it.
pub(super) fn promised(packed: &[u8]) -> usize {
    /// Deflate's best is 258 bytes for two bits.
    const BEST: usize = 1032;
    let length = packed.last_chunk().copied().map_or(0, u32::from_le_bytes);
    let most = packed.len().saturating_mul(BEST);
    usize::try_from(length).unwrap_or(most).min(most)
}
