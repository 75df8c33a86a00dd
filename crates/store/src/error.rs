//! What can become of a call, in the order of what a caller has to do.
//!
//! The line that matters runs between a call that certainly did nothing
//! ([`Error::Unavailable`]: repeat it, or fall back) and a write that may have
//! been applied ([`Error::Indeterminate`]: look before repeating).

use std::fmt;
use std::time::Duration;

use sangam_engine::Reply;

use crate::script;

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store refused the command: its own text, the code first, such as
    /// `WRONGTYPE Operation against a key …`. It had no effect, except that a Redis
    /// keeps what a script or function wrote before it failed.
    #[error("{0}")]
    Command(Refusal),
    /// The store was not reached, or the command only reads: it had no effect.
    #[error("{0}")]
    Unavailable(Why),
    /// The command was sent and its answer is not known: it may have been
    /// applied, now or in a moment, or not.
    #[error("the outcome is unknown, the command may have been applied: {0}")]
    Indeterminate(Why),
    /// The store answered something that this caller cannot read; the text says
    /// what was expected. The command was applied.
    #[error("unexpected reply: {0}")]
    Reply(String),
    /// This store cannot do that; nothing was sent.
    #[error("{0}")]
    Unsupported(String),
    /// A setting is wrong and will not heal by itself; the text names it.
    #[error("{0}")]
    Setting(String),
}

/// What stood between a call and its reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No connection.
    #[error("cannot connect to {place}: {reason}")]
    Connect {
        /// The address, without secrets.
        place: String,
        /// What happened.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection to {place} broke: {reason}")]
    Broken {
        /// The address, without secrets.
        place: String,
        /// What happened.
        reason: String,
    },
    /// No reply in time.
    #[error("no reply within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The breaker is open: nothing is sent until a probe succeeds.
    #[error("not sent, the store is down: {0}")]
    Open(String),
    /// So many calls wait already that another would wait too long.
    #[error("not sent, {calls} calls wait already (option `queue_calls` or `queue_bytes`)")]
    Full {
        /// Calls that wait.
        calls: usize,
    },
    /// An answer that is no answer of a store: a proxy's page, a gateway's 502, a
    /// rate limit, a used-up quota.
    #[error("{place} answered {status}: {text}")]
    Answer {
        /// The address, without secrets.
        place: String,
        /// HTTP status.
        status: u16,
        /// The beginning of its body.
        text: String,
    },
    /// The store says that it cannot serve now (`LOADING`, `CLUSTERDOWN`,
    /// `READONLY`, a quota): its text.
    #[error("the store cannot serve now: {0}")]
    Refusing(String),
    /// There is no store: it was disabled by a setting.
    #[error("no store is configured")]
    Disabled,
}

impl Error {
    /// Whether the call certainly had no effect, so that it may be repeated.
    pub const fn had_no_effect(&self) -> bool {
        !matches!(self, Error::Indeterminate(_) | Error::Reply(_))
    }

    /// Whether the store does not know a script's name: it ran nothing. A script's
    /// own error with that code is not meant.
    pub fn is_unknown_script(&self) -> bool {
        matches!(self, Error::Command(refusal)
            if refusal.as_bytes().starts_with(b"NOSCRIPT No matching script"))
    }

    /// The first word of a store's own error text, such as `WRONGTYPE`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Command(refusal) => Some(refusal.code()),
            _ => None,
        }
    }
}

impl Error {
    /// The error of an atomic step, wherever in its script it came up.
    pub(crate) fn without_place(self) -> Self {
        match self {
            Error::Command(refusal) => {
                let text = script::without_place(refusal.as_bytes()).to_vec();
                Error::Command(text.into())
            }
            other => other,
        }
    }
}

/// A store's own error text, as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal(Box<[u8]>);

impl Refusal {
    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first word, such as `WRONGTYPE`; empty where it is no text.
    pub fn code(&self) -> &str {
        let word = self.0.split(|byte| *byte == b' ').next();
        std::str::from_utf8(word.unwrap_or_default()).unwrap_or_default()
    }
}

impl From<Vec<u8>> for Refusal {
    fn from(text: Vec<u8>) -> Self {
        Refusal(text.into_boxed_slice())
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Error(refusal.0.into_vec())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A reply, or the error that it is.
pub(crate) fn checked(reply: Reply) -> Result<Reply, Error> {
    match reply {
        Reply::Error(text) => Err(Error::Command(text.into())),
        reply => Ok(reply),
    }
}

/// The error that a reply is.
pub(crate) fn refusal(reply: Reply) -> Error {
    match reply {
        Reply::Error(text) => Error::Command(text.into()),
        other => Error::Reply(format!("an error was expected, {other:?} came")),
    }
}
