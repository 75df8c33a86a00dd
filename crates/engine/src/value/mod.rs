//! Values: pure data structures, with no clock, no lock and no commands.
//!
//! Every collection keeps three promises that the keyspace builds on:
//!
//! - `heap_bytes` is what it holds on the heap, known in constant time;
//! - `edits` moves with every real change and with nothing else, so that a
//!   command that changed nothing neither wakes a WATCH nor reaches the journal;
//! - between `begin_undo` and `commit_undo` it records the inverse of each
//!   change, so that `rollback` restores it exactly (contents and encoding).

pub mod float;
mod hash;
pub mod hyperloglog;
pub(crate) mod leb128;
mod list;
mod set;
mod stream;
mod table;
mod text;
mod zset;

pub use hash::{Hash, HashIter, HashLimits, LATEST_FIELD_DEADLINE, StoredField};
pub use list::{Element, End, List, ListLimits, Walk};
pub(crate) use set::parse_integer;
pub use set::{Member, Set, SetLimits};
pub(crate) use stream::{
    Block as StreamBlock, Builder as StreamBuilder, Layout as StreamLayout, one_more,
};
pub use stream::{
    Consumer, ConsumerId, Entry, Extent, Group, Header, IdText, Keep, Pending, References, Stream,
    StreamId, StreamLimits, TooLarge, Trim,
};
pub(crate) use table::position;
pub use table::{Slot, Table};
pub use text::TextEdit;
pub(crate) use text::{Covered, replace};
pub use zset::{Bound, LexBound, ZSet, ZSetLimits};

use crate::expiry::NEVER;

/// The type name that `TYPE` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A binary-safe string, an integer among them.
    String,
    /// A map of fields to strings.
    Hash,
    /// A set of strings.
    Set,
    /// A set of strings ordered by score.
    ZSet,
    /// A sequence of strings.
    List,
    /// A log of entries.
    Stream,
}

impl Kind {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Hash => "hash",
            Kind::Set => "set",
            Kind::ZSet => "zset",
            Kind::List => "list",
            Kind::Stream => "stream",
        }
    }
}

/// What a key holds. 24 bytes: the collections are boxed.
#[derive(Debug, Clone)]
pub enum Value {
    /// A string that is exactly an integer's decimal text, kept as the number.
    Int(i64),
    /// Any other string.
    Str(Vec<u8>),
    /// A hash.
    Hash(Box<Hash>),
    /// A set.
    Set(Box<Set>),
    /// A sorted set.
    ZSet(Box<ZSet>),
    /// A list.
    List(Box<List>),
    /// A stream.
    Stream(Box<Stream>),
}

impl Value {
    /// The earliest deadline of an element, or [`NEVER`].
    #[inline]
    pub(crate) fn next_deadline(&self) -> u64 {
        match self {
            Value::Hash(hash) => hash.next_deadline(),
            _ => NEVER,
        }
    }

    /// Whether it has yet to be told that `now_ms` is the time.
    #[inline]
    pub(crate) fn is_behind(&self, now_ms: u64) -> bool {
        match self {
            Value::Hash(hash) => hash.is_behind(now_ms),
            _ => false,
        }
    }
}

/// A collection as the keyspace sees it; see the module's promises.
pub trait Collection: Default {
    /// Its type name.
    const KIND: Kind;
    /// The collection in `value`, if it is one of this kind.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to change it.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// Wraps it.
    fn into_value(self) -> Value;
    /// Whether there are no elements in it.
    fn is_empty(&self) -> bool;
    /// Whether the keyspace is to remove the key: an empty collection is not kept,
    /// unless there is more to it than its elements.
    fn is_spent(&self) -> bool {
        self.is_empty()
    }
    /// Number of elements.
    fn len(&self) -> usize;
    /// Bytes on the heap, itself included.
    fn heap_bytes(&self) -> usize;
    /// Number of real changes so far.
    fn edits(&self) -> u64;
    /// Starts to record inverses; a second call does nothing.
    fn begin_undo(&mut self);
    /// Whether inverses are being recorded.
    fn is_recording(&self) -> bool;
    /// Forgets the recorded inverses.
    fn commit_undo(&mut self);
    /// Applies the recorded inverses, newest first, and forgets them.
    fn rollback(&mut self);
    /// The earliest deadline of an element, in milliseconds since the epoch, or
    /// [`NEVER`].
    fn next_deadline(&self) -> u64 {
        NEVER
    }
    /// Elements past their deadline that changes have removed since the last
    /// call, and that nobody else will tell of.
    fn take_expired(&mut self) -> Vec<Box<[u8]>> {
        Vec::new()
    }
}

/// Longest string that OBJECT ENCODING calls `embstr`.
pub(crate) const EMBEDDED: usize = 44;

/// Gives a string that is edited in place room to grow, which also marks it as
/// what Redis calls `raw` (`OBJECT ENCODING` goes by the room, not the length).
pub(crate) fn make_raw(text: &mut Vec<u8>) {
    if text.capacity() <= EMBEDDED {
        text.reserve(EMBEDDED + 1 - text.len());
    }
}

/// Whether no two of them are the same.
fn all_differ<'a>(items: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut items: Vec<&[u8]> = items.collect();
    items.sort_unstable();
    items.array_windows().all(|[a, b]| a != b)
}

/// Elements of a value, or kibibytes of a string: how long a walk over it is.
pub(crate) fn weight(value: &Value) -> usize {
    match value {
        Value::Int(_) => 0,
        Value::Str(text) => text.len() / 1024,
        Value::Hash(hash) => Collection::len(&**hash),
        Value::Set(set) => Collection::len(&**set),
        Value::ZSet(zset) => Collection::len(&**zset),
        Value::List(list) => Collection::len(&**list),
        Value::Stream(stream) => Collection::len(&**stream),
    }
}
