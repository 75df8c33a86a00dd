//! What is done to a subject's counts besides checking them: all tiers of a class at
//! once, each in a call of its own.
//!
//! | | acts on the tiers |
//! |---|---|
//! | `acquire`, `release`, `refund` | all, as a check does |
//! | `reset` | that count the user or the address which the subject tells |
//! | `block`, `unblock`, `penalize` | that count the user, where the subject tells one and a tier counts users; else those that count the address |
//!
//! What everybody shares (`by = "all"`) is never blocked, penalized or reset for the
//! sake of one subject. Counts that are shared with another package know `check`, `peek`
//! and `reset`; the rest is an error.

use std::time::Duration;

use smallvec::SmallVec;

use super::live::Place;
#[cfg(feature = "http")]
use super::live::count_name;
use super::{Ask, Guard, GuardError, Subject, Verdict, not_shared};
use crate::limit::class::By;
use crate::limit::guard::Counted;
use crate::limit::limiter::Limit;

/// The tiers that something is done to.
type Chosen = SmallVec<[Counted; 4]>;

impl Guard {
    /// Takes, or renews, the permit `permit` of a class that counts what runs at one
    /// time. It ends with its lease, the tier's window, unless it is renewed.
    pub async fn acquire(
        &self,
        class: &str,
        subject: &Subject<'_>,
        permit: &str,
    ) -> Result<Verdict, GuardError> {
        self.ask(class, subject, Ask::Hold(permit)).await
    }

    /// Returns a permit; whether it was held.
    pub async fn release(
        &self,
        class: &str,
        subject: &Subject<'_>,
        permit: &str,
    ) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut held = false;
        for it in &self.counted(place, subject).await? {
            let limit = own(place, it, "a permit")?;
            held |= self.limiter().release(&limit, permit).await?;
        }
        Ok(held)
    }

    /// Gives back what a request took: one that failed for another reason. Whether
    /// there was anything to give back.
    pub async fn refund(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut given = false;
        for it in &self.counted(place, subject).await? {
            let limit = own(place, it, "a refund of a shared count")?;
            given |= self.limiter().refund(&limit, cost).await?;
        }
        Ok(given)
    }

    /// Gives back what this very request took, of the tiers that it was taken from.
    /// Counts that are shared with another package keep it.
    #[cfg(feature = "http")]
    pub(crate) async fn refund_taken(
        &self,
        verdict: &Verdict,
        cost: u64,
    ) -> Result<(), GuardError> {
        for (tier, counted) in verdict.taken() {
            if counted.shared.is_some() {
                continue;
            }
            let limit = Limit {
                name: &count_name(&verdict.class, &tier.name),
                rule: counted.rule,
                id: counted.id.as_bytes(),
            };
            self.limiter().refund(&limit, cost).await?;
        }
        Ok(())
    }

    /// Counts `cost` without asking, at most until a limit is used up twice: for what
    /// costs more than was known, such as a wrong password.
    pub async fn penalize(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut changed = false;
        for it in &self.closest(place, subject).await? {
            let limit = own(place, it, "a penalty on a shared count")?;
            changed |= self.limiter().penalize(&limit, cost).await?;
        }
        Ok(changed)
    }

    /// Refuses the subject for `time`, at most a year.
    pub async fn block(
        &self,
        class: &str,
        subject: &Subject<'_>,
        time: Duration,
    ) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut changed = false;
        for it in &self.closest(place, subject).await? {
            let limit = own(place, it, "a block of a shared count")?;
            changed |= self.limiter().block(&limit, time).await?;
        }
        Ok(changed)
    }

    /// Ends a block; the counts stay.
    pub async fn unblock(&self, class: &str, subject: &Subject<'_>) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut changed = false;
        for it in &self.closest(place, subject).await? {
            let limit = own(place, it, "a block of a shared count")?;
            changed |= self.limiter().unblock(&limit).await?;
        }
        Ok(changed)
    }

    /// Forgets what is counted of the subject; whether there was anything.
    pub async fn reset(&self, class: &str, subject: &Subject<'_>) -> Result<bool, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let mut told = false;
        let mut changed = false;
        for by in [By::User, By::Address] {
            for it in &self.told(place, subject, by) {
                told = true;
                changed |= match (&place.shared, &it.shared) {
                    (Some(shared), Some(id)) => shared.reset(&it.rule, id.as_bytes()).await?,
                    _ => self.limiter().reset(&place.limit(it)).await?,
                };
            }
        }
        if told {
            Ok(changed)
        } else {
            Err(nobody(place))
        }
    }

    /// Waits until the class lets the request through, at most for `patience`; the
    /// verdict is the last one. Never asks earlier than it may be let through.
    pub async fn until_allowed(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
        patience: Duration,
    ) -> Result<Verdict, GuardError> {
        let deadline = tokio::time::Instant::now().checked_add(patience);
        loop {
            let verdict = self.check(class, subject, cost).await?;
            let Some(wait) = verdict.retry_after.filter(|_| !verdict.allowed) else {
                return Ok(verdict);
            };
            let wait = wait.max(Duration::from_millis(1));
            let again = tokio::time::Instant::now().checked_add(wait);
            if deadline.is_some_and(|deadline| again.is_none_or(|again| again > deadline)) {
                return Ok(verdict);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// The tiers that count the subject most closely.
    async fn closest(&self, place: &Place, subject: &Subject<'_>) -> Result<Chosen, GuardError> {
        self.refresh().await;
        let users = self.told(place, subject, By::User);
        if subject.user().is_some() && !users.is_empty() {
            return Ok(users);
        }
        let mut chosen = users;
        chosen.extend(self.told(place, subject, By::Address));
        if chosen.is_empty() {
            return Err(nobody(place));
        }
        Ok(chosen)
    }

    /// The tiers by this whose part the subject tells.
    fn told(&self, place: &Place, subject: &Subject<'_>, by: By) -> Chosen {
        let tiers = place.class.tiers.iter().enumerate();
        let tiers = tiers.filter(|(_, tier)| tier.by == by);
        tiers
            .filter_map(|(at, tier)| self.count_of(place, at, tier, subject))
            .collect()
    }
}

/// What is changed of our own counts; those of other packages do not know it.
fn own<'a>(
    place: &'a Place,
    counted: &'a Counted,
    what: &'static str,
) -> Result<Limit<'a>, GuardError> {
    match place.shared {
        Some(_) => Err(not_shared(what, counted)),
        None => Ok(place.limit(counted)),
    }
}

fn nobody(place: &Place) -> GuardError {
    let tiers = &place.class.tiers;
    let by_user = tiers.iter().any(|tier| tier.by == By::User);
    GuardError::Subject {
        class: place.class.name.clone(),
        by: if by_user { By::User } else { By::Address },
    }
}
