//! What is held of a key.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::super::tags::{Mark, Tags};
use super::super::value::Stamp;

/// What is held of a key: a value, or that there is none.
#[derive(Debug)]
pub(in super::super) enum Held<T> {
    Value(Arc<Entry<T>>),
    Nothing(Arc<Meta>),
}

/// A value and what is known of it. What a hit needs comes first, in the cache line of
/// the reference counts that it touches anyway.
#[derive(Debug)]
#[repr(C)]
pub(in super::super) struct Entry<T> {
    hot: Hot,
    pub(in super::super) value: Content<T>,
    pub(in super::super) meta: Meta,
}

/// What a hit needs to know.
#[derive(Debug)]
struct Hot {
    /// Until when it may be served as it is, and need not be loaded ahead of its end.
    until_us: u64,
    made_us: u64,
    degraded: bool,
    /// The number of what was invalidated when its marks held last.
    checked: AtomicU64,
}

impl<T> Entry<T> {
    pub(in super::super) fn new(value: Content<T>, meta: Meta) -> Self {
        let hot = Hot {
            until_us: meta.serve_until_us.min(meta.eager_us),
            made_us: meta.made_us,
            degraded: meta.degraded,
            checked: AtomicU64::new(u64::MAX),
        };
        Entry { hot, value, meta }
    }

    /// Whether it may be served as it is at this moment, as far as its times tell.
    #[inline]
    pub(in super::super) fn is_fresh(&self, now_us: u64) -> bool {
        now_us < self.hot.until_us
    }

    #[inline]
    pub(in super::super) fn made_us(&self) -> u64 {
        self.hot.made_us
    }

    #[inline]
    pub(in super::super) fn is_degraded(&self) -> bool {
        self.hot.degraded
    }

    /// Whether none of its tags was invalidated. Its marks are looked at only if anything
    /// was since they held last.
    #[inline]
    pub(in super::super) fn holds(&self, tags: &Tags) -> bool {
        let invalidated = tags.invalidated();
        if self.hot.checked.load(Ordering::Relaxed) == invalidated {
            return true;
        }
        let holds = self.meta.holds();
        if holds {
            self.hot.checked.store(invalidated, Ordering::Relaxed);
        }
        holds
    }
}

/// A value beside what is known of it, so that reading it costs no further way through
/// memory.
#[derive(Debug)]
pub(in super::super) enum Content<T> {
    Own(T),
    /// That of an entry that was found not modified; it is its own there.
    Former(Arc<Entry<T>>),
}

impl<T> Content<T> {
    pub(in super::super) fn of(entry: &Arc<Entry<T>>) -> Self {
        let owner = match &entry.value {
            Content::Own(_) => entry,
            Content::Former(owner) => owner,
        };
        Content::Former(owner.clone())
    }
}

impl<T> Deref for Content<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Content::Own(value) => value,
            Content::Former(owner) => &owner.value,
        }
    }
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
