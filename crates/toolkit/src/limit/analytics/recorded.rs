//! What is recorded of a request.

use crate::limit::decision::Ruled;
use crate::limit::guard::Verdict;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recorded {
    /// The rules let it through.
    Allowed,
    /// The rules refused it, or a refusal that was remembered.
    Refused,
    /// An allow-list let it through.
    Exempt,
    /// A deny-list refused it.
    Denied,
    /// The rules refused it, and shadow mode let it through.
    Shadowed,
    /// The policy let it through, because the store could not be asked.
    DegradedAllowed,
    /// The policy refused it, because the store could not be asked.
    DegradedRefused,
}

impl Recorded {
    /// Whether the request went on.
    pub const fn passes(self) -> bool {
        !matches!(
            self,
            Recorded::Refused | Recorded::Denied | Recorded::DegradedRefused
        )
    }

    /// Whether it counts for who is refused most: it was refused, or would have been
    /// but for shadow mode.
    pub(super) const fn is_refusal(self) -> bool {
        !self.passes() || matches!(self, Recorded::Shadowed)
    }

    /// What a guard's verdict is recorded as. What the policy decided is degraded,
    /// in shadow mode too; who is on a deny-list and passes is shadowed.
    pub fn of(verdict: &Verdict) -> Self {
        match (verdict.ruled, verdict.allowed) {
            (ruled, true) if ruled.is_degraded() => Recorded::DegradedAllowed,
            (ruled, false) if ruled.is_degraded() => Recorded::DegradedRefused,
            (_, true) if !verdict.fits => Recorded::Shadowed,
            (Ruled::Allowed, _) => Recorded::Exempt,
            (Ruled::Denied, _) => Recorded::Denied,
            (_, true) => Recorded::Allowed,
            (_, false) => Recorded::Refused,
        }
    }
}

/// Whom a verdict is about: who was refused, else whom the first tier counts; nobody
/// where a list decided.
pub(super) fn whom(verdict: &Verdict) -> Option<&str> {
    let refused = verdict.tiers.iter().find(|it| !it.outcome.fits);
    let counted = verdict.counted.first().map(|it| it.id.as_str());
    refused.and_then(|it| verdict.id(it.tier)).or(counted)
}
