//! Names of what a cache keeps in the store. `<prefix>` is the app's.
//!
//! | key | what |
//! |---|---|
//! | `<prefix>cache:<name>:<key>` | a value; a long key by its SHA-256 |
//! | `<prefix>cache-flight:<name>:<key>` | who loads it, across instances |
//! | `<prefix>{cache}:tag:<name>:<16 hex digits>` | the version of a tag; `0…0` is all of the cache |
//! | `<prefix>{cache}:bus` | the stream of what was invalidated, and the channel of the same name |
//!
//! Versions and the stream share a slot of a cluster, so that they change together.
//! Where the prefix has a hash tag of its own, everything shares that slot.

use super::error::CacheError;

/// Longest key that is spelled out.
const SPELLED_MAX: usize = 512;
/// Longest key.
const KEY_MAX: usize = 64 << 10;
/// Longest name of a cache.
const NAME_MAX: usize = 64;
/// Longest tag.
const TAG_MAX: usize = 1024;

/// A tag by the beginning of its SHA-256. Two that share one are invalidated
/// together, which costs loads and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TagId(pub(super) u64);

impl TagId {
    /// All of a cache.
    pub(super) const ALL: TagId = TagId(0);

    pub(super) fn new(tag: &str) -> Result<Self, CacheError> {
        if tag.is_empty() || tag.len() > TAG_MAX {
            return Err(CacheError::Tag(tag.len()));
        }
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(tag).into();
        let begin = digest.first_chunk().copied().unwrap_or_default();
        // Never that of all.
        Ok(TagId(u64::from_be_bytes(begin).max(1)))
    }
}

/// Whether a cache may have this name, which stands in keys.
pub fn check_name(name: &str) -> Result<(), CacheError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(CacheError::Name(name.chars().take(NAME_MAX).collect()))
}

/// Whether a value may have this key.
pub fn check_key(key: &str) -> Result<(), CacheError> {
    Keys::check(key)
}

/// Whether a value may have this tag.
pub fn check_tag(tag: &str) -> Result<(), CacheError> {
    TagId::new(tag).map(drop)
}

/// Where a cache's keys begin.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    values: String,
    /// Whether other apps must find values by their keys, whatever these are.
    shared: bool,
    flights: String,
    tags: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, name: &str, shared: Option<&str>) -> Self {
        Keys {
            shared: shared.is_some(),
            values: shared.map_or_else(|| format!("{prefix}cache:{name}:"), str::to_owned),
            flights: format!("{prefix}cache-flight:{name}:"),
            tags: format!("{prefix}{{cache}}:tag:{name}:"),
        }
    }

    /// Whether a caller's key may be one.
    pub(super) fn check(key: &str) -> Result<(), CacheError> {
        if key.len() > KEY_MAX {
            return Err(CacheError::Key(key.len()));
        }
        Ok(())
    }

    pub(super) fn value(&self, key: &str) -> Vec<u8> {
        if self.shared {
            return format!("{}{key}", self.values).into_bytes();
        }
        with(&self.values, key)
    }

    pub(super) fn flight(&self, key: &str) -> Vec<u8> {
        with(&self.flights, key)
    }

    pub(super) fn tag(&self, tag: TagId) -> Vec<u8> {
        format!("{}{:016x}", self.tags, tag.0).into_bytes()
    }
}

/// The bus of all caches of an app.
pub(super) fn bus(prefix: &str) -> Vec<u8> {
    format!("{prefix}{{cache}}:bus").into_bytes()
}

fn with(begin: &str, key: &str) -> Vec<u8> {
    let mut whole = Vec::with_capacity(begin.len() + key.len().min(65));
    whole.extend_from_slice(begin.as_bytes());
    if key.len() <= SPELLED_MAX && !key.starts_with('#') {
        whole.extend_from_slice(key.as_bytes());
        return whole;
    }
    whole.push(b'#');
    for byte in <sha2::Sha256 as sha2::Digest>::digest(key) {
        whole.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    whole
}
