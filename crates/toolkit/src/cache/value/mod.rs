//! stub
use super::error::CacheError;
use super::key::TagId;
use super::settings::{Compression, Encoding};
use std::fmt;

/// The name of one writing of a value: when, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) time_us: u64,
    pub(super) writer: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Nothing,
    Deleted,
}

/// What is written of a value. Times in ms since the epoch.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
    pub(super) schema: u32,
    pub(super) fresh_until_ms: u64,
    pub(super) ends_ms: u64,
    pub(super) tags: &'a [(TagId, u64)],
    pub(super) validator: Option<&'a str>,
    pub(super) encoding: Encoding,
    /// Not compressed yet; empty where there is no value.
    pub(super) body: &'a [u8],
}

impl Envelope<'_> {
    /// compresses by settings and writes
    pub(super) fn write(&self, compression: Compression) -> Vec<u8> {
        let _ = compression;
        unimplemented!()
    }
}

/// What was read; `body` is not compressed any more.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
    pub(super) schema: u32,
    pub(super) fresh_until_ms: u64,
    pub(super) ends_ms: u64,
    pub(super) tags: Vec<(TagId, u64)>,
    pub(super) validator: Option<Box<str>>,
    pub(super) encoding: Encoding,
    pub(super) body: Vec<u8>,
}

/// Why bytes are no value: another format, version, cut short, damaged, too large
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);
impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

pub(super) fn read(bytes: Vec<u8>, max: usize) -> Result<Read, Unreadable> {
    let _ = (bytes, max);
    unimplemented!()
}

/// How a later step knows the same writing again: the first bytes, whatever they are.
pub(super) fn head(bytes: &[u8]) -> &[u8] {
    bytes.get(..HEAD).unwrap_or(bytes)
}
pub(super) const HEAD: usize = 17;

pub(super) fn encode<T: serde::Serialize>(
    value: &T,
    encoding: Encoding,
    max: usize,
) -> Result<Vec<u8>, CacheError> {
    let _ = (value, encoding, max);
    unimplemented!()
}
pub(super) fn decode<T: serde::de::DeserializeOwned>(
    body: &[u8],
    encoding: Encoding,
) -> Result<T, Unreadable> {
    let _ = (body, encoding);
    unimplemented!()
}

/// Other apps' form: JSON, gzip bytes, or base64 of gzip; the JSON text out
pub(super) fn read_shared(bytes: Vec<u8>, max: usize) -> Result<Vec<u8>, Unreadable> {
    let _ = (bytes, max);
    unimplemented!()
}
/// JSON, or base64 of gzip where settings name gzip and it pays
pub(super) fn write_shared(json: Vec<u8>, compression: Compression) -> Vec<u8> {
    let _ = (&json, compression);
    unimplemented!()
}
