//! Settings, and why analytics cannot be kept or read.

use std::sync::Arc;
use std::time::Duration;

use sangam_store::Error;

use super::sketch::hash;

/// Windows of a class that one report may span.
pub(super) const WINDOWS_MAX: u64 = 10_080;

/// How identifiers appear in the lists of who comes most.
#[derive(Clone, Default)]
pub enum Ids {
    /// As they are, up to 64 bytes; longer ones as `#` and their SHA-256.
    #[default]
    Spelled,
    /// As `#` and a SHA-256 that begins with this secret, which the instances have to
    /// share: nobody without it can find out an address by trying all of them.
    /// [`Analytics::shown`](super::Analytics::shown) says how one appears.
    Hashed(Arc<[u8]>),
    /// Not at all: there are no lists.
    Off,
}

impl Ids {
    /// How an identifier that was counted appears.
    pub(super) fn shown(&self, id: &[u8]) -> Vec<u8> {
        match self {
            Ids::Hashed(secret) => hash(&[secret, id]),
            Ids::Spelled | Ids::Off => id.to_vec(),
        }
    }
}

impl std::fmt::Debug for Ids {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Ids::Spelled => "Spelled",
            Ids::Hashed(_) => "Hashed",
            Ids::Off => "Off",
        })
    }
}

/// Settings of [`Analytics`](super::Analytics).
#[derive(Debug, Clone)]
pub struct Options {
    /// Before each key: an app's or environment's name.
    pub prefix: String,
    /// How finely time is told: whole seconds, up to a day. All instances should have
    /// the same; those that differ do not see each other.
    pub window: Duration,
    /// How long a window is kept when it is over: up to 366 days.
    pub retention: Duration,
    /// How often the background looks for something to write; at most a window.
    pub flush_every: Duration,
    /// Places in each list: up to 100. Each adds some 30 bytes to what is written.
    pub top: usize,
    /// How identifiers appear in the lists.
    pub ids: Ids,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            prefix: String::new(),
            window: Duration::from_mins(10),
            retention: Duration::from_hours(7 * 24),
            flush_every: Duration::from_secs(10),
            top: 20,
            ids: Ids::Spelled,
        }
    }
}

/// Why analytics cannot be kept, or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalyticsError {
    /// A setting that is out of its bounds.
    #[error("the {name} of analytics has to be {bounds}")]
    Option {
        /// The setting.
        name: &'static str,
        /// What it may be.
        bounds: &'static str,
    },
    /// A class that cannot have been recorded.
    #[error("a class is named by 1 to 64 letters, digits, `-`, `_` or `.`, not {0:?}")]
    Class(String),
    /// A report that is too long.
    #[error("{windows} windows are too many for one report: at most {WINDOWS_MAX}")]
    Range {
        /// Windows that were asked for.
        windows: u64,
    },
    /// The system gives no random bytes.
    #[error("cannot draw an instance's id: {0}")]
    Random(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Options {
    pub(super) fn check(&self) -> Result<(), AnalyticsError> {
        let day = Duration::from_hours(24);
        let second = Duration::from_secs(1);
        let window = self.window;
        let bounds: [(bool, &'static str, &'static str); 4] = [
            (
                window >= second && window <= day && window.subsec_nanos() == 0,
                "window",
                "whole seconds, up to a day",
            ),
            (
                self.retention >= second && self.retention <= 366 * day,
                "retention",
                "from 1 s to 366 days",
            ),
            (
                self.flush_every >= Duration::from_millis(1) && self.flush_every <= window,
                "flush_every",
                "from 1 ms to a window",
            ),
            (self.top <= 100, "top", "at most 100 places"),
        ];
        match bounds.into_iter().find(|(good, ..)| !good) {
            Some((_, name, bounds)) => Err(AnalyticsError::Option { name, bounds }),
            None => Ok(()),
        }
    }
}
