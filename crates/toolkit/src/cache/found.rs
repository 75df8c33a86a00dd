//! A value and where it came from.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Entry;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// This process' memory.
    Memory,
    /// The store.
    Store,
    /// The loader.
    Loader,
}

impl Source {
    /// `memory`, `store` or `loader`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Source::Memory => "memory",
            Source::Store => "store",
            Source::Loader => "loader",
        }
    }
}

/// What a read without a loader came to.
#[derive(Debug, Clone)]
pub struct Lookup<T> {
    /// The value, if there is one.
    pub found: Option<Found<T>>,
    /// Whether the store was away: another instance may have a value where this one found
    /// none.
    pub degraded: bool,
}

/// A value, which it dereferences to. Cloning it costs a reference count.
pub struct Found<T> {
    pub(super) entry: Arc<Entry<T>>,
    /// Where it came from.
    pub source: Source,
    /// How long ago it was made, or last found not modified.
    pub age: Duration,
    /// Whether its time is over: it is served while it is loaded anew, or because
    /// loading failed.
    pub stale: bool,
    /// Whether the store was away: nobody could say whether it was changed elsewhere.
    pub degraded: bool,
}

impl<T> Found<T> {
    /// What its loader named it by: an `ETag`, a version.
    pub fn validator(&self) -> Option<&str> {
        self.entry.meta.validator.as_deref()
    }

    /// A name of this writing of the value, the same in all instances and another after
    /// each write and each load: hexadecimal digits and a `-`. In the form of other apps
    /// ([`Shared`](super::Shared)) a value has no name: there it is another one after each
    /// reading of the store, though the value may be the same.
    pub fn revision(&self) -> String {
        let stamp = self.entry.meta.stamp;
        format!("{:x}-{:x}", stamp.time_us, stamp.writer)
    }

    /// For how long it is still fresh, by the store's time `now_us`.
    pub fn fresh_for(&self, now_us: u64) -> Duration {
        Duration::from_micros(self.entry.meta.fresh_until_us.saturating_sub(now_us))
    }

    /// The value itself, or a clone of it where others hold it too.
    pub fn into_value(self) -> T
    where
        T: Clone,
    {
        T::clone(&self)
    }
}

impl<T> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry.value
    }
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Found {
            entry: self.entry.clone(),
            ..*self
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Found<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Found")
            .field("value", &**self)
            .field("source", &self.source)
            .field("age", &self.age)
            .field("stale", &self.stale)
            .field("degraded", &self.degraded)
            .finish_non_exhaustive()
    }
}
