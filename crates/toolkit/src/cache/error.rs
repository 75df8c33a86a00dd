//! What can become of a cache's call.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use sangam_store as store;

/// Why a cache has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CacheError {
    /// A setting is wrong; the text names it.
    #[error("cache setting {0}")]
    Setting(String),
    /// A name of a cache is 1 to 64 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
    #[error("`{0}` is no name of a cache: 1 to 64 letters, digits, `.`, `_` and `-`")]
    Name(String),
    /// A key is longer than 64 KiB.
    #[error("a key of {0} bytes: at most 65536 are allowed")]
    Key(usize),
    /// A tag is empty or longer than 1 KiB.
    #[error("a tag of {0} bytes: from 1 to 1024 are allowed")]
    Tag(usize),
    /// More tags than a value may have.
    #[error("{0} tags: a value may have 256 at most")]
    Tags(usize),
    /// No time to live, or one of more than 366 days.
    #[error("a time to live of {} s: more than 0 and at most 366 days are allowed", .0.as_secs())]
    Ttl(Duration),
    /// The value is larger than the cache takes.
    #[error("a value of {bytes} bytes: setting `max_value` allows {max}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        max: usize,
    },
    /// The value cannot be written in the cache's encoding.
    #[error("the value cannot be written: {0}")]
    Encode(String),
    /// The loader failed, and there was nothing to serve instead.
    #[error("loading failed: {0}")]
    Loader(#[source] LoaderError),
    /// The loader panicked, or the value did when it was written, and there was nothing
    /// to serve instead.
    #[error("the loader or its value panicked: {0}")]
    Panicked(String),
    /// The loader took longer than it may (`hard_timeout`), and there was nothing to
    /// serve instead.
    #[error("the loader did not end within {} ms (setting `hard_timeout`)", .0.as_millis())]
    Timeout(Duration),
    /// The loader found nothing, which is remembered.
    #[error("there is no such value")]
    Nothing,
    /// The loader said `not modified`, and there was nothing to keep.
    #[error("the loader said that nothing was modified, but there was no former value")]
    NotModified,
    /// Loading needs a runtime of tokio, and there is none any more.
    #[error("there is no runtime of tokio, or it ended")]
    Runtime,
    /// The store is away, and the policy is `closed`; or its answer is none.
    #[error("{0}")]
    Store(#[from] store::Error),
}

/// What a loader failed with, for all who waited for it. It dereferences to the loader's
/// own error, which is also the source of [`CacheError::Loader`].
#[derive(Clone)]
pub struct LoaderError(Arc<dyn std::error::Error + Send + Sync>);

impl Deref for LoaderError {
    type Target = dyn std::error::Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for LoaderError {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        LoaderError(error.into())
    }
}

impl fmt::Debug for LoaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Display for LoaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl CacheError {
    /// What a panic of the caller's code said.
    pub(super) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        CacheError::Panicked(text.unwrap_or_else(|| "without a text".to_owned()))
    }
}
