//! A value as the bytes of Redis' own format: what DUMP answers and RESTORE
//! takes, so that values move between us and a Redis both ways.
//!
//! A payload is a type byte, the value as it would stand in an RDB file, two
//! bytes with the format's version, and a CRC-64 of all of it. It is written in
//! version 10, which Redis 7.0 and everything later reads, in the encodings
//! that Redis 7.0 would choose; a hash whose fields have deadlines in version 12,
//! as Redis 7.4 does. Read is what any version up to 12 (Redis 7.4)
//! writes for the types that we have, and version 80 (Valkey 9).
//!
//! Payloads come from clients and are believed in nothing: reading one ends in
//! a value or in [`PayloadError`]. Lengths are held against the bytes that are
//! there before anything is allocated, what is compressed may grow by the
//! format's most (88 times) and to `proto-max-bulk-len` in sum, and elements
//! that come twice are refused. Cost: linear in the bytes, sorted sets and
//! compact collections with a logarithm more.
//!
//! Libraries of functions have payloads of their own: `functions`.

mod crc64;
mod functions;
mod hash;
mod list;
mod listpack;
mod lzf;
mod read;
mod set;
mod stream;
mod text;
mod write;
mod ziplist;
mod zset;

#[cfg(test)]
mod tests;

pub use functions::{LibrariesError, decode_libraries, encode_libraries};

use crate::config::Settings;
use crate::value::{Value, parse_integer};
use read::Reader;
use text::Text;
use write::Writer;

/// The version that is written: that of Redis 7.0.
pub const REDIS_7_0: u16 = 10;
/// The newest version of Redis' that is read; written where fields of a hash
/// have deadlines.
pub const REDIS_7_4: u16 = 12;
/// The version that Valkey writes since it went its own way. What lies between
/// the two is neither's.
pub const VALKEY: u16 = 80;
/// Bytes behind the value: the version and the checksum.
const FOOTER: usize = 10;

/// What the first byte says of the bytes that follow.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM_LISTPACKS: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_LISTPACKS_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_LISTPACKS_3: u8 = 21;
    /// Valkey's: fields with deadlines. Another type in Redis, which no release
    /// of it wrote.
    pub(super) const HASH_2: u8 = 22;
    pub(super) const HASH_METADATA: u8 = 24;
    pub(super) const HASH_LISTPACK_EX: u8 = 25;
}

/// Why bytes are no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Too short, of a version that we do not know, or damaged.
    #[error("ERR DUMP payload version or checksum are wrong")]
    Footer,
    /// What stands before the right checksum is no value of ours.
    #[error("ERR Bad data format")]
    Format,
}

/// Bytes that are no value; nobody is told more of them than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

impl From<Malformed> for PayloadError {
    fn from(_: Malformed) -> Self {
        PayloadError::Format
    }
}

/// The payload for a value. Cost: the value is walked and compressed whole.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Writer::default();
    let mut version = REDIS_7_0;
    match value {
        Value::Int(number) => {
            out.raw(&[kind::STRING]);
            out.integer(*number);
        }
        Value::Str(text) => {
            out.raw(&[kind::STRING]);
            out.string(text);
        }
        Value::List(list) => list::encode(list, &mut out),
        Value::Hash(hash) => version = hash::encode(hash, &mut out),
        Value::Set(set) => set::encode(set, &mut out),
        Value::ZSet(zset) => zset::encode(zset, &mut out),
        Value::Stream(stream) => stream::encode(stream, &mut out),
    }
    seal(out.into_bytes(), version)
}

/// The payload whose type byte and value are `bytes`: the version and the
/// checksum are added.
pub fn seal(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    bytes.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64::checksum(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The value of a payload, in the encoding that `settings` give it. What stands
/// between the value and the footer is passed over, as Redis does.
pub fn decode(payload: &[u8], settings: &Settings) -> Result<Value, PayloadError> {
    let (bytes, version) = opened(payload)?;
    let mut reader = Reader::new(bytes, settings.proto_max_bulk_len);
    let kind = reader.byte()?;
    Ok(match kind {
        kind::STRING => string(reader.string()?),
        kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
            list::decode(kind, &mut reader, settings.list)?
        }
        kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
            set::decode(kind, &mut reader, settings.set)?
        }
        kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            zset::decode(kind, &mut reader, settings.zset)?
        }
        kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            hash::decode(kind, &mut reader, settings.hash)?
        }
        kind::HASH_METADATA | kind::HASH_LISTPACK_EX => {
            hash::decode_timed(kind, &mut reader, settings.hash)?
        }
        kind::STREAM_LISTPACKS | kind::STREAM_LISTPACKS_2 | kind::STREAM_LISTPACKS_3 => {
            stream::decode(kind, &mut reader)?
        }
        kind::HASH_2 if version == VALKEY => hash::decode_valkey(&mut reader, settings.hash)?,
        _ => return Err(PayloadError::Format),
    })
}

/// What stands before the footer of a payload, if that is right, and its version.
fn opened(payload: &[u8]) -> Result<(&[u8], u16), PayloadError> {
    let (body, checksum) = payload.split_last_chunk().ok_or(PayloadError::Footer)?;
    let (bytes, version) = body.split_last_chunk().ok_or(PayloadError::Footer)?;
    let version = u16::from_le_bytes(*version);
    let known = version <= REDIS_7_4 || version == VALKEY;
    if !known || u64::from_le_bytes(*checksum) != crc64::checksum(body) {
        return Err(PayloadError::Footer);
    }
    debug_assert_eq!(bytes.len() + FOOTER, payload.len());
    Ok((bytes, version))
}

fn string(text: Text<'_>) -> Value {
    parse_integer(&text).map_or_else(|| Value::Str(text.into_vec()), Value::Int)
}

/// The integer that `bytes` are, the lowest first, with the sign of the highest.
fn little_endian<const N: usize>(bytes: &[u8; N]) -> i64 {
    let unused = i64::BITS.saturating_sub(8 * N as u32);
    let bits = bytes
        .iter()
        .rev()
        .fold(0, |bits: i64, byte| bits << 8 | i64::from(*byte));
    bits << unused >> unused
}

/// Elements two by two.
fn pairs<'a>(
    entries: impl ExactSizeIterator<Item = Text<'a>>,
) -> Result<impl ExactSizeIterator<Item = (Text<'a>, Text<'a>)>, Malformed> {
    struct Pairs<I>(I);

    impl<'a, I: ExactSizeIterator<Item = Text<'a>>> Iterator for Pairs<I> {
        type Item = (Text<'a>, Text<'a>);

        fn next(&mut self) -> Option<Self::Item> {
            self.0.next().zip(self.0.next())
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            let left = self.0.len() / 2;
            (left, Some(left))
        }
    }

    impl<'a, I: ExactSizeIterator<Item = Text<'a>>> ExactSizeIterator for Pairs<I> {}

    if entries.len() % 2 == 1 {
        return Err(Malformed);
    }
    Ok(Pairs(entries))
}
