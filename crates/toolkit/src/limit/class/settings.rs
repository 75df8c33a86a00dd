//! The settings of limits: the classes, and what holds for all of them.

use std::sync::Arc;
use std::time::Duration;

use super::cidr::Networks;
use super::{Class, Classes};

/// The table `[limits]` of a `sangam.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The classes.
    pub classes: Arc<Classes>,
    /// Proxies whose word about a client's address counts.
    pub trusted_proxies: Networks,
    /// Whether answers carry `X-RateLimit-*` too.
    pub legacy_headers: bool,
    /// Percent of a limit at which one is told that it is near; 1 to 100.
    pub near: u8,
    /// How long statistics are kept; `None` for none at all. Whoever makes the
    /// [`Analytics`](crate::limit::analytics::Analytics) reads it, once.
    pub statistics: Option<Duration>,
}

/// Where a text is wrong, and what is expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ClassError {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// What is wrong, and what is expected.
    pub reason: String,
}

impl Settings {
    /// These classes, and for the rest what holds unless said.
    pub fn new(classes: Classes) -> Self {
        Settings {
            classes: Arc::new(classes),
            trusted_proxies: Networks::default(),
            legacy_headers: false,
            near: 80,
            statistics: Some(Duration::from_hours(7 * 24)),
        }
    }
}

impl From<Classes> for Settings {
    fn from(classes: Classes) -> Self {
        Settings::new(classes)
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Classes::new(classes)
    }
}
