//! What becomes of a request.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::limit::class::{Class, Tier};
use crate::limit::decision::{Outcome, Ruled};
use crate::limit::rule::Rule;

/// Whom a tier counts in a request, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The tier's place in [`Class::tiers`].
    pub tier: usize,
    /// The id, as [`Subject::id`](super::Subject::id) has it.
    pub id: String,
    /// The tier's rule, or what an override makes of it for this id.
    pub rule: Rule,
    /// As whom other packages count it, where a class shares its count with one.
    pub(super) shared: Option<String>,
}

/// One tier's part of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its place in [`Class::tiers`].
    pub tier: usize,
    /// What the rule answers.
    pub outcome: Outcome,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The class that it was checked against.
    pub class: Arc<Class>,
    /// Whether it may go on. What may not has consumed nothing.
    pub allowed: bool,
    /// Who decided.
    pub ruled: Ruled,
    /// Whether all would have let it through: differs from `allowed` where the class
    /// or a tier is a shadow.
    pub fits: bool,
    /// Whom each tier counts, in the order of the tiers; empty where a list decided.
    pub counted: SmallVec<[Counted; 4]>,
    /// What the tiers answered that were asked, in their order; empty where none
    /// was. Shadow tiers are asked when the others let the request through.
    pub tiers: SmallVec<[Judged; 4]>,
    /// When to ask again; zero where it fits, `None` where nobody knows.
    pub retry_after: Option<Duration>,
}

impl Verdict {
    /// The tiers that answered, with their answers.
    pub fn answers(&self) -> impl Iterator<Item = (&Tier, &Outcome)> {
        self.tiers
            .iter()
            .filter_map(|it| Some((self.class.tiers.get(it.tier)?, &it.outcome)))
    }

    /// Whether the tiers that rule took the request in the store, or of a lease. What
    /// a shadow let through although it did not fit took nothing.
    #[cfg(feature = "http")]
    pub(crate) fn is_taken(&self) -> bool {
        let fits = |at| {
            let judged = self.tiers.iter().find(|it| it.tier == at);
            judged.is_some_and(|it| it.outcome.fits)
        };
        self.allowed
            && matches!(self.ruled, Ruled::Store | Ruled::Lease)
            && (self.class.tiers.iter().enumerate()).all(|(at, tier)| tier.shadow || fits(at))
    }

    /// Whom it was taken from in the store, or of a lease: the tiers that rule, all or
    /// none, and each shadow tier by itself.
    #[cfg(feature = "http")]
    pub(super) fn taken(&self) -> impl Iterator<Item = (&Tier, &Counted)> {
        let tiers = self.tiers.iter().filter(|it| it.outcome.fits);
        tiers.filter(|_| self.is_taken()).filter_map(|judged| {
            let counted = self.counted.iter().find(|it| it.tier == judged.tier)?;
            Some((self.class.tiers.get(judged.tier)?, counted))
        })
    }

    /// Where it was counted: the id of a tier.
    pub fn id(&self, tier: usize) -> Option<&str> {
        let counted = self.counted.iter().find(|it| it.tier == tier)?;
        Some(&counted.id)
    }
}
