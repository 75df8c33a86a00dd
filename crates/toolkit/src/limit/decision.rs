//! What a check answers.

use std::time::Duration;

use smallvec::SmallVec;

use super::rule::Rule;

/// Who decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ruled {
    /// The rules' counts in the store.
    Store,
    /// This process, which knows of a refusal that still holds: nothing was asked.
    Remembered,
    /// A lease that this process holds: nothing was asked.
    Lease,
    /// The policy `local`: this instance's share, because the store could not be
    /// asked.
    Local,
    /// The policy `open`, because the store could not be asked.
    Open,
    /// The policy `closed`, because the store could not be asked.
    Closed,
    /// A class's list of who passes: nothing was asked.
    Allowed,
    /// A class's list of who never passes: nothing was asked.
    Denied,
}

impl Ruled {
    /// `store`, `remembered`, `lease`, `local`, `open`, `closed`, `allow-list` or
    /// `deny-list`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ruled::Store => "store",
            Ruled::Remembered => "remembered",
            Ruled::Lease => "lease",
            Ruled::Local => "local",
            Ruled::Open => "open",
            Ruled::Closed => "closed",
            Ruled::Allowed => "allow-list",
            Ruled::Denied => "deny-list",
        }
    }

    /// Whether the answer is not that of the rules themselves.
    pub const fn is_degraded(self) -> bool {
        matches!(self, Ruled::Local | Ruled::Open | Ruled::Closed)
    }
}

/// One rule's part of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The rule's place in the check.
    pub place: usize,
    /// The rule.
    pub rule: Rule,
    /// Whether this rule would have let the request through.
    pub fits: bool,
    /// Hits of cost 1 that it would let through now.
    pub remaining: u64,
    /// When a request of this cost fits if nobody else comes: zero for now.
    pub retry_after: Duration,
    /// When all of the limit is there again if nobody comes.
    pub reset_after: Duration,
}

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on. A request that may not has consumed nothing.
    pub allowed: bool,
    /// Who decided.
    pub ruled: Ruled,
    /// Each rule's part, in the order of the check. Where the store was not asked,
    /// those that are remembered to refuse, or none.
    pub outcomes: SmallVec<[Outcome; 1]>,
    /// When to ask again; zero where it is allowed, `None` where nobody knows.
    pub retry_after: Option<Duration>,
}
