//! What is held of a key.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use smallvec::SmallVec;

use super::super::tags::Mark;
use super::super::value::Stamp;

/// What is held of a key: a value, or that there is none.
#[derive(Debug)]
pub(in super::super) enum Held<T> {
    Value(Arc<Entry<T>>),
    Nothing(Arc<Meta>),
}

/// A value and what is known of it.
#[derive(Debug)]
pub(in super::super) struct Entry<T> {
    pub(in super::super) meta: Meta,
    pub(in super::super) value: Arc<T>,
}

/// What is known of a value. Times are the store's, in microseconds since the epoch.
#[derive(Debug)]
pub(in super::super) struct Meta {
    /// Its name in the store.
    pub(in super::super) stamp: Stamp,
    /// When it was made, or last found not modified.
    pub(in super::super) made_us: u64,
    /// Until when it may be served out of memory as it is.
    pub(in super::super) serve_until_us: u64,
    /// From when on a read starts loading it anew.
    pub(in super::super) eager_us: u64,
    /// Until when it is fresh.
    pub(in super::super) fresh_until_us: u64,
    /// Until when it may be served stale; when it goes in the store.
    pub(in super::super) ends_us: u64,
    /// Made while the store was away: it holds without being compared with the store.
    pub(in super::super) degraded: bool,
    /// The tags as they were before it was made; that of all of the cache is among them.
    pub(in super::super) marks: SmallVec<[Mark; 2]>,
    /// What tells the source that nothing was modified.
    pub(in super::super) validator: Option<Box<str>>,
    /// Bytes of the value as it is written.
    pub(in super::super) weight: u32,
    /// Until when it is served stale without another load, for one failed.
    pub(in super::super) retry_us: AtomicU64,
}

impl Meta {
    /// Whether none of its tags was invalidated since, as far as this process knows.
    #[inline]
    pub(in super::super) fn holds(&self) -> bool {
        self.marks.iter().all(Mark::holds)
    }
}

impl<T> Held<T> {
    #[inline]
    pub(in super::super) fn meta(&self) -> &Meta {
        match self {
            Held::Value(entry) => &entry.meta,
            Held::Nothing(meta) => meta,
        }
    }
}

impl<T> Clone for Held<T> {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Held::Value(entry) => Held::Value(entry.clone()),
            Held::Nothing(meta) => Held::Nothing(meta.clone()),
        }
    }
}
