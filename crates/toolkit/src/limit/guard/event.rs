//! What a guard tells: events, and counts of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::limit::class::{Class, ClassError};
use crate::limit::decision::Ruled;

/// What happened in a guard.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A request took a tier's count over the mark at which one is told.
    Near {
        /// The class.
        class: Arc<Class>,
        /// The tier's place in [`Class::tiers`].
        tier: usize,
        /// Whom it counts, as counted.
        id: String,
        /// What is used, with this request.
        used: u64,
        /// Of what: the limit, or a bucket's burst.
        limit: u64,
    },
    /// A request was refused.
    Refused(Refusal),
    /// A request was let through that would have been refused, were a class or a
    /// tier no shadow.
    Shadowed(Refusal),
    /// The store could not be asked, and the class's policy decided.
    Degraded {
        /// The class.
        class: Arc<Class>,
        /// Which policy.
        ruled: Ruled,
        /// What it decided.
        allowed: bool,
    },
    /// Other settings are in place.
    Replaced,
    /// The settings' file is wrong: the former ones stay.
    Invalid(WatchError),
}

/// Who was refused, or would have been.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The class.
    pub class: Arc<Class>,
    /// Who decided.
    pub ruled: Ruled,
    /// The first tier that it did not fit, where that is known: its place in
    /// [`Class::tiers`].
    pub tier: Option<usize>,
    /// Whom that tier counts, or else the class's first; empty where a list decided.
    pub id: String,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

/// Why a settings' file is not in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// It is wrong.
    #[error("{path}: {error}")]
    Invalid {
        /// The file.
        path: String,
        /// Where and how.
        error: ClassError,
    },
    /// It cannot be read, or is not there.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// How often something happened in a class since the guard was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that were let through.
    pub allowed: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests that were let through and would have been refused, were there no
    /// shadow.
    pub shadowed: u64,
    /// Times that a count came over the mark.
    pub near: u64,
    /// Requests that a policy decided.
    pub degraded: u64,
}

/// [`Counts`] while they grow.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) allowed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) shadowed: AtomicU64,
    pub(super) near: AtomicU64,
    pub(super) degraded: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        let read = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Counts {
            allowed: read(&self.allowed),
            refused: read(&self.refused),
            shadowed: read(&self.shadowed),
            near: read(&self.near),
            degraded: read(&self.degraded),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
