//! A key with its value, as the table holds it.
//!
//! A record is one allocation of 64 bytes. Keys of up to 22 bytes stand in it:
//! comparing one costs no further cache line, keeping one no further allocation.

use std::fmt;
use std::ops::Deref;

use crate::expiry::NEVER;
use crate::value::{Collection, Value};

const INLINE: usize = 22;

/// The bytes of a key. Use it as a `&[u8]`.
#[derive(Clone)]
pub struct Key(Bytes);

#[derive(Clone)]
enum Bytes {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

impl From<&[u8]> for Key {
    #[inline]
    fn from(key: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match inline.get_mut(..key.len()) {
            Some(place) => {
                place.copy_from_slice(key);
                Key(Bytes::Inline(key.len() as u8, inline))
            }
            None => Key(Bytes::Heap(key.into())),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Inline(length, bytes) => &bytes[..usize::from(*length).min(INLINE)],
            Bytes::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Key {
    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Bytes::Inline(..) => 0,
            Bytes::Heap(bytes) => bytes.len(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self))
    }
}

/// One key with its value.
#[derive(Debug)]
pub struct Record {
    pub(crate) key: Key,
    pub(crate) value: Value,
    /// Milliseconds since the epoch, or [`NEVER`].
    pub(crate) deadline: u64,
    /// When, or how often, it was used (see `access`); orders eviction.
    pub(crate) accessed: u32,
}

/// What happens to a key's deadline when its value is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// It stays.
    Keep,
    /// It goes.
    Clear,
    /// It becomes this, in milliseconds since the epoch.
    At(u64),
}

/// A string value, read in place.
#[derive(Debug, Clone, Copy)]
pub enum StrRef<'a> {
    /// Kept as a number.
    Int(i64),
    /// Kept as bytes.
    Bytes(&'a [u8]),
}

impl StrRef<'_> {
    /// Runs `read` on the text.
    pub fn with<R>(self, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            StrRef::Bytes(bytes) => read(bytes),
            StrRef::Int(number) => read(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    /// The text, copied.
    pub fn to_vec(self) -> Vec<u8> {
        self.with(<[u8]>::to_vec)
    }

    /// Length of the text.
    pub fn len(self) -> usize {
        self.with(<[u8]>::len)
    }

    /// Whether the text is empty.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}
const RECORD_OVERHEAD: usize = size_of::<Record>() + 24;

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Int(_) => 0,
        Value::Str(bytes) => bytes.capacity(),
        Value::Hash(hash) => hash.heap_bytes(),
        Value::Set(set) => set.heap_bytes(),
        Value::ZSet(zset) => zset.heap_bytes(),
        Value::List(list) => list.heap_bytes(),
        Value::Stream(stream) => stream.heap_bytes(),
    }
}

impl Record {
    /// Whether it is there at `now_ms`: not past its deadline, and not a hash
    /// of which every field is.
    #[inline]
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        self.deadline > now_ms
            && match &self.value {
                Value::Hash(hash) => hash.has_live_fields(now_ms),
                _ => true,
            }
    }

    pub(crate) fn bytes(&self) -> usize {
        let deadline = if self.deadline == NEVER { 0 } else { 24 };
        RECORD_OVERHEAD + self.key.heap_bytes() + deadline + value_bytes(&self.value)
    }
}
