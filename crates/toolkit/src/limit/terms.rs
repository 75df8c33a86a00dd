//! On which terms a check is made: what rules without the store, and what it may
//! cost.

/// What happens when the store cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// Requests go on.
    Open,
    /// Requests are refused.
    #[default]
    Closed,
    /// This instance lets its share through: the limit divided by the last known
    /// number of live instances. What was let through is charged when the store
    /// is back. With N instances of which some are cut off, no more than
    /// limit x (1 + cut off / N) pass, in each of a rule's windows. Where the number
    /// was never known ([`Limiter::with_instances`](super::Limiter::with_instances)),
    /// it is [`Closed`](Self::Closed).
    Local,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 3] = [Policy::Open, Policy::Closed, Policy::Local];

    /// Its name in settings: `open`, `closed` or `local`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::Closed => "closed",
            Policy::Local => "local",
        }
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Policy::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// What a check may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The store is asked for each request.
    #[default]
    Exact,
    /// The store is asked for several requests at once. Never admits more than the
    /// limit; may hold back at most one lease an instance.
    Leased,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 2] = [Mode::Exact, Mode::Leased];

    /// Its name in settings: `exact` or `leased`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Exact => "exact",
            Mode::Leased => "leased",
        }
    }

    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        Mode::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// The terms of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// What rules where the store cannot be asked.
    pub policy: Policy,
    /// What it may cost.
    pub mode: Mode,
}
