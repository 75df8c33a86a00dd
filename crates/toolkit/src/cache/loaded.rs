//! What a loader is told, and what it may say.

use std::time::Duration;

use super::found::Found;

/// What a loader found. A plain value or an `Option` of one becomes one by `into`.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub(super) outcome: Outcome<T>,
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<String>,
    pub(super) validator: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Outcome<T> {
    Value(T),
    Nothing,
    NotModified,
}

impl<T> Loaded<T> {
    fn new(outcome: Outcome<T>) -> Self {
        Loaded {
            outcome,
            ttl: None,
            tags: Vec::new(),
            validator: None,
        }
    }

    /// A value.
    pub fn value(value: T) -> Self {
        Loaded::new(Outcome::Value(value))
    }

    /// There is none, which is remembered for
    /// [`negative_ttl`](super::Settings::negative_ttl).
    pub fn nothing() -> Self {
        Loaded::new(Outcome::Nothing)
    }

    /// The former value ([`Former::value`]) is still what it was: it is fresh again.
    pub fn not_modified() -> Self {
        Loaded::new(Outcome::NotModified)
    }

    /// How long it is fresh, instead of what the cache's settings say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Names by which it can be invalidated together with others. Where it is not
    /// modified and no tags are said, those that it had stay.
    pub fn tags<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// What tells the source that nothing was modified: an `ETag`, a version.
    pub fn validator(mut self, validator: impl Into<String>) -> Self {
        self.validator = Some(validator.into());
        self
    }
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Loaded::value(value)
    }
}

impl<T> From<Option<T>> for Loaded<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Loaded::nothing, Loaded::value)
    }
}

/// What a loader is told: the value whose time is over, if the cache still has it.
#[derive(Debug)]
pub struct Former<T>(pub(super) Option<Found<T>>);

impl<T> Former<T> {
    /// The value.
    pub fn value(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// What [`Loaded::validator`] said of it.
    pub fn validator(&self) -> Option<&str> {
        self.0.as_ref()?.validator()
    }
}
