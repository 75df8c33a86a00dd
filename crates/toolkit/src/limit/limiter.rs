//! The limiter: rules for identifiers, over a store.

use std::num::NonZeroU32;
use std::time::Duration;

use sangam_store::{Error, Store};
use smallvec::SmallVec;

use super::across::Across;
use super::adjust::{Adjust, Change};
use super::algorithm::{Now, letter};
use super::check::{Check, Checked, Hit, Part};
use super::decision::{Decision, Outcome, Ruled};
use super::instances::Instances;
use super::key::Key;
use super::lease::{Leases, Request, Unleased};
use super::local::{Local, has_failed, is_away};
use super::memory::{Asked, Memory, Refusal};
use super::rule::{Algorithm, Rule};
use super::terms::{Mode, Policy, Terms};

/// Rules of one check.
const RULES_MAX: usize = 16;

/// A rule for one identifier: what is checked.
#[derive(Debug, Clone, Copy)]
pub struct Limit<'a> {
    /// What the rule is called; rules of one name share their counts.
    pub name: &'a str,
    /// The rule.
    pub rule: Rule,
    /// For whom: a user, an address, anything, of any length.
    pub id: &'a [u8],
}

/// Why a check cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// No rule, or too many.
    #[error("a check takes 1 to {RULES_MAX} rules, not {0}")]
    Rules(usize),
    /// A name that is empty or could be taken for something else in a key.
    #[error("a rule's name is 1 to 64 letters, digits, `-`, `_` or `.`, not {0:?}")]
    Name(String),
    /// Two limits of one check with the same counts: their name, algorithm, window and
    /// identifier are the same.
    #[error("the limit {0:?} is in the check twice for one identifier")]
    Twice(String),
    /// A cost that no state of the rule admits.
    #[error("a request of cost {cost} never fits a rule that lets {most} through at once")]
    Cost {
        /// The cost.
        cost: u64,
        /// What fits at most.
        most: u64,
    },
    /// A permit's id that is none.
    #[error("a permit is named by 1 to 64 letters and digits")]
    Permit,
    /// The operation is not one of the rule's algorithm.
    #[error("{what} is not possible with {}", algorithm.as_str())]
    Algorithm {
        /// What was asked.
        what: &'static str,
        /// Of what.
        algorithm: Algorithm,
    },
    /// Keys that have to be in one slot of a cluster, and are not.
    #[error("{0} is not possible on a cluster: its keys lie in several slots")]
    Cluster(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Where the limits of a check count. These two are filled in place: moving them costs
/// more than what is done with them.
type Keys = SmallVec<[Key; 4]>;
type Hits<'a> = SmallVec<[Hit<'a>; 4]>;

/// Checks requests against rules, over a store that other instances share.
#[derive(Debug)]
pub struct Limiter {
    store: Store,
    prefix: String,
    terms: Terms,
    memory: Memory,
    across: Across,
    instances: Instances,
    local: Local,
    leases: Leases,
}

impl Limiter {
    /// A limiter over a store that refuses when the store cannot be asked.
    pub fn new(store: Store) -> Self {
        Limiter {
            store,
            prefix: String::new(),
            terms: Terms::default(),
            memory: Memory::default(),
            across: Across::new(""),
            instances: Instances::new(""),
            local: Local::default(),
            leases: Leases::default(),
        }
    }

    /// The same with a prefix before each of its keys: an app's or environment's
    /// name.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self.across = Across::new(prefix);
        self.instances.rename(prefix);
        self
    }

    /// The same where at least `least` instances share the limits: what is assumed
    /// for the policy `local` and for leases before their number was seen in the
    /// store, and afterwards where fewer are seen.
    #[must_use]
    pub fn with_instances(mut self, least: NonZeroU32) -> Self {
        self.instances.assume(least);
        self
    }

    /// The same with other terms for checks that name none.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// The same with another answer where the store cannot be asked.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.terms.policy = policy;
        self
    }

    /// How many instances share the limits, as far as this one knows; `None` where
    /// it never saw. It looks beside checks whose terms need the number.
    pub fn instances(&self) -> Option<NonZeroU32> {
        self.instances.alive()
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes `cost` from each of the limits, or nothing from any of them.
    pub async fn check(&self, limits: &[Limit<'_>], cost: u64) -> Result<Decision, LimitError> {
        self.check_with(self.terms, limits, cost).await
    }

    /// [`check`](Self::check) on other terms than the limiter's own.
    pub async fn check_with(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        cost: u64,
    ) -> Result<Decision, LimitError> {
        self.ask(terms, limits, cost, b"", false).await
    }

    /// What a check of this cost would answer; takes nothing.
    pub async fn peek(&self, limits: &[Limit<'_>], cost: u64) -> Result<Decision, LimitError> {
        self.peek_with(self.terms, limits, cost).await
    }

    /// [`peek`](Self::peek) on other terms than the limiter's own.
    pub async fn peek_with(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        cost: u64,
    ) -> Result<Decision, LimitError> {
        self.ask(terms, limits, cost, b"", true).await
    }

    /// Takes, or renews, the permit `permit` of limits that count what runs at one
    /// time. It ends with its lease, the rule's window, unless it is renewed.
    pub async fn acquire(
        &self,
        limits: &[Limit<'_>],
        permit: &str,
    ) -> Result<Decision, LimitError> {
        self.acquire_with(self.terms, limits, permit).await
    }

    /// [`acquire`](Self::acquire) on other terms than the limiter's own.
    pub async fn acquire_with(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        permit: &str,
    ) -> Result<Decision, LimitError> {
        check_permit(permit)?;
        for limit in limits {
            if limit.rule.algorithm() != Algorithm::Concurrency {
                return Err(LimitError::Algorithm {
                    what: "a permit",
                    algorithm: limit.rule.algorithm(),
                });
            }
        }
        self.ask(terms, limits, 1, permit.as_bytes(), false).await
    }

    /// Returns a permit; whether it was held.
    pub async fn release(&self, limit: &Limit<'_>, permit: &str) -> Result<bool, LimitError> {
        check_permit(permit)?;
        let key = self.key(limit)?;
        let permit = permit.as_bytes();
        let held = self.local.release(&key, limit.rule, self.now(), permit);
        let held = held.await;
        match self.adjust(limit, Change::Release(permit)).await {
            Err(LimitError::Store(error)) if held && has_failed(&error) => Ok(true),
            released => Ok(released? || held),
        }
    }

    /// Gives back what requests took: those that failed for another reason.
    pub async fn refund(&self, limit: &Limit<'_>, cost: u64) -> Result<bool, LimitError> {
        self.adjust(limit, Change::Give(within(limit, cost)?)).await
    }

    /// Counts `cost` without asking, at most until the limit is used up twice.
    pub async fn penalize(&self, limit: &Limit<'_>, cost: u64) -> Result<bool, LimitError> {
        self.adjust(limit, Change::Charge(within(limit, cost)?))
            .await
    }

    /// Refuses the identifier for `time`, at most a year.
    pub async fn block(&self, limit: &Limit<'_>, time: Duration) -> Result<bool, LimitError> {
        let time = time.min(Duration::from_hours(366 * 24));
        let until = self.now().millis() + time.as_millis() as i64;
        self.adjust(limit, Change::Block(until)).await
    }

    /// Ends a block; the counts stay.
    pub async fn unblock(&self, limit: &Limit<'_>) -> Result<bool, LimitError> {
        self.adjust(limit, Change::Unblock).await
    }

    /// Forgets everything about one identifier; whether there was anything.
    pub async fn reset(&self, limit: &Limit<'_>) -> Result<bool, LimitError> {
        let key = self.key(limit)?;
        self.leases.withdraw(&self.store, &key).await;
        let keys = self.across.keys_of(&self.store, &key);
        let keys: SmallVec<[&[u8]; 2]> = keys.iter().map(Vec::as_slice).collect();
        let removed = self.store.delete(&keys).await?;
        self.leases.withdraw(&self.store, &key).await;
        self.memory.forget(&key);
        self.local.forget(&key).await;
        Ok(removed > 0)
    }

    /// Waits until the limits let the request through, at most for `patience`; the
    /// decision is the last one. Never asks earlier than it may be let through.
    pub async fn until_allowed(
        &self,
        limits: &[Limit<'_>],
        cost: u64,
        patience: Duration,
    ) -> Result<Decision, LimitError> {
        let deadline = tokio::time::Instant::now().checked_add(patience);
        loop {
            let decision = self.check(limits, cost).await?;
            let Some(wait) = decision.retry_after.filter(|_| !decision.allowed) else {
                return Ok(decision);
            };
            let wait = wait.max(Duration::from_millis(1));
            let again = tokio::time::Instant::now().checked_add(wait);
            if deadline.is_some_and(|deadline| again.is_none_or(|again| again > deadline)) {
                return Ok(decision);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Why a check of this cost, on the limiter's own terms, would ask the store and
    /// not be answered from a lease; `None` where it would be.
    pub fn unleased(
        &self,
        limits: &[Limit<'_>],
        cost: u64,
    ) -> Result<Option<Unleased>, LimitError> {
        let mut keys = Keys::new();
        for limit in limits {
            keys.push(self.key(limit)?);
        }
        if self.terms.mode == Mode::Exact {
            return Ok(Some(Unleased::Mode));
        }
        let request = self.request(limits, &keys, cost, true);
        Ok(self.leases.why_not(&request, self.now()))
    }

    /// Ends this instance's part in what the instances share, within `time`: it
    /// returns its leases and takes no more, what it let through by the policy
    /// `local` is charged, and it leaves their list. What the store does not answer
    /// to is over by itself with its time to live. Checks go on: each asks the store,
    /// and what `local` lets through from then on is not charged.
    pub async fn close(&self, time: Duration) {
        let closing = async {
            self.leases.close(&self.store).await;
            self.local.settle(&self.store).await;
            let _ = self.instances.leave(&self.store, self.now()).await;
        };
        let _ = tokio::time::timeout(time, closing).await;
    }

    /// Asks the store again for identifiers that are remembered to be refused: their
    /// rules are others now.
    pub(super) fn forget_refusals(&self) {
        self.memory.forget_refusals();
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn ask(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        cost: u64,
        permit: &[u8],
        peek: bool,
    ) -> Result<Decision, LimitError> {
        if terms.mode == Mode::Exact
            && let Some(answer) = self.ask_now(terms, limits, cost, permit, peek)
        {
            return answer;
        }
        Box::pin(self.ask_store(terms, limits, cost, permit, peek)).await
    }

    /// The answer where nothing has to be waited for: from the engine of this process,
    /// while its lock is free. What it works with stays on the stack; moving it from
    /// future to future costs half as much as the check.
    fn ask_now(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        cost: u64,
        permit: &[u8],
        peek: bool,
    ) -> Option<Result<Decision, LimitError>> {
        if !self.store.is_embedded() {
            return None;
        }
        let mut keys = Keys::new();
        if let Err(error) = self.keys(limits, cost, permit, peek, &mut keys) {
            return Some(Err(error));
        }
        let now = self.now();
        if terms.policy == Policy::Local {
            self.instances.refresh(&self.store, now);
        }
        if !peek && let Some(refused) = self.remembered(limits, &keys, cost, now) {
            return Some(Ok(refused));
        }
        let asked = (!peek).then(|| self.memory.asks());
        let mut hits = Hits::new();
        self.hits(limits, &keys, cost, permit, now, &mut hits);
        let check = Check {
            hits: &hits,
            now,
            peek,
        };
        // An error comes again where the policy may rule.
        let checked = self.store.atomic_now(&check)?.ok()?;
        Some(Ok(self.decide(limits, &hits, now, &checked, asked)))
    }

    /// Where each limit counts, if the check can be made at all.
    fn keys(
        &self,
        limits: &[Limit<'_>],
        cost: u64,
        permit: &[u8],
        peek: bool,
        keys: &mut Keys,
    ) -> Result<(), LimitError> {
        if limits.is_empty() || limits.len() > RULES_MAX {
            return Err(LimitError::Rules(limits.len()));
        }
        for limit in limits {
            if limit.rule.algorithm() == Algorithm::Concurrency && permit.is_empty() && !peek {
                return Err(LimitError::Algorithm {
                    what: "a check without a permit",
                    algorithm: Algorithm::Concurrency,
                });
            }
            within(limit, cost)?;
            let key = self.key(limit)?;
            if keys.iter().any(|other| **other == *key) {
                return Err(LimitError::Twice(limit.name.to_owned()));
            }
            keys.push(key);
        }
        Ok(())
    }

    async fn ask_store(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        cost: u64,
        permit: &[u8],
        peek: bool,
    ) -> Result<Decision, LimitError> {
        let mut keys = Keys::new();
        self.keys(limits, cost, permit, peek, &mut keys)?;
        let now = self.now();
        if terms.policy == Policy::Local || terms.mode == Mode::Leased {
            self.instances.refresh(&self.store, now);
        }
        if terms.mode == Mode::Leased {
            let request = self.request(limits, &keys, cost, peek);
            match self.leases.answer(&self.store, &request).await {
                Ok(None) => {}
                Ok(Some(decision)) => return Ok(decision),
                Err(error) => {
                    let mut hits = Hits::new();
                    self.hits(limits, &keys, cost, permit, now, &mut hits);
                    return self.fall_back(terms, limits, &hits, peek, error).await;
                }
            }
        }
        if !peek && let Some(refused) = self.remembered(limits, &keys, cost, now) {
            return Ok(refused);
        }
        let asked = (!peek).then(|| self.memory.asks());
        let mut hits = Hits::new();
        self.hits(limits, &keys, cost, permit, now, &mut hits);
        let check = Check {
            hits: &hits,
            now,
            peek,
        };
        match self.across.check(&self.store, &check).await {
            Ok(checked) => Ok(self.decide(limits, &hits, now, &checked, asked)),
            Err(error) => self.fall_back(terms, limits, &hits, peek, error).await,
        }
    }

    fn hits<'a>(
        &self,
        limits: &[Limit<'_>],
        keys: &'a [Key],
        cost: u64,
        permit: &'a [u8],
        now: Now,
        hits: &mut Hits<'a>,
    ) {
        for (limit, key) in limits.iter().zip(keys) {
            hits.push(Hit {
                key,
                rule: limit.rule,
                cost,
                permit,
                idle: self.guesses(&limit.rule) && self.memory.is_full(key, now.0 as u64),
            });
        }
    }

    /// What rules where the store failed, or takes no writes now: with `error`.
    async fn fall_back(
        &self,
        terms: Terms,
        limits: &[Limit<'_>],
        hits: &[Hit<'_>],
        peek: bool,
        error: Error,
    ) -> Result<Decision, LimitError> {
        if !has_failed(&error) {
            return Err(error.into());
        }
        if terms.policy == Policy::Local {
            let by_share = self.ask_share(limits, hits, peek, &error);
            return Ok(Box::pin(by_share).await);
        }
        Ok(without_store(terms.policy))
    }

    /// Asks this instance's share, because the store failed with `error`.
    async fn ask_share(
        &self,
        limits: &[Limit<'_>],
        hits: &[Hit<'_>],
        peek: bool,
        error: &Error,
    ) -> Decision {
        let now = self.now();
        let Some(alive) = self.instances.alive() else {
            return without_store(Policy::Closed);
        };
        let Some(checked) = self.local.check(hits, now, peek, alive).await else {
            return without_store(Policy::Closed);
        };
        if checked.admitted && !peek && is_away(error) {
            self.local.owe(&self.store, hits, alive).await;
        }
        Decision {
            ruled: Ruled::Local,
            // As a look: what the share refuses is not remembered for the store.
            ..self.decide(limits, hits, now, &checked, None)
        }
    }

    fn request<'a>(
        &self,
        limits: &'a [Limit<'a>],
        keys: &'a [Key],
        cost: u64,
        peek: bool,
    ) -> Request<'a> {
        Request {
            limits,
            keys,
            cost,
            live: self.instances.alive(),
            peek,
        }
    }

    /// Whether a guess may spare a billed command: over a network, for buckets.
    fn guesses(&self, rule: &Rule) -> bool {
        !self.store.is_embedded() && letter(rule.algorithm()) == "b"
    }

    /// The refusal that is remembered for any of the keys.
    fn remembered(
        &self,
        limits: &[Limit<'_>],
        keys: &[Key],
        cost: u64,
        now: Now,
    ) -> Option<Decision> {
        let mut refused: Option<Decision> = None;
        for (place, (limit, key)) in limits.iter().zip(keys).enumerate() {
            let Some(left) = self.memory.refuses(key, &limit.rule, cost, now.0 as u64) else {
                continue;
            };
            let decision = refused.get_or_insert_with(|| Decision {
                allowed: false,
                ruled: Ruled::Remembered,
                outcomes: SmallVec::new(),
                retry_after: None,
            });
            decision.retry_after = decision.retry_after.max(Some(left));
            decision.outcomes.push(Outcome {
                place,
                rule: limit.rule,
                fits: false,
                remaining: 0,
                retry_after: left,
                reset_after: left,
            });
        }
        refused
    }

    /// The decision that a check makes. What it tells about later ones is remembered,
    /// unless it is a look, which has no `asked`.
    fn decide(
        &self,
        limits: &[Limit<'_>],
        hits: &[Hit<'_>],
        now: Now,
        checked: &Checked,
        asked: Option<Asked>,
    ) -> Decision {
        let mut retry_after = Some(Duration::ZERO);
        let mut outcomes = SmallVec::new();
        for (limit, part) in limits.iter().zip(&checked.parts) {
            let blocked = blocked(part, now);
            let retry = part.room.retry_us.map(|micros| micros.max(blocked));
            let wait = retry.map(micros);
            if !part.fits {
                retry_after = retry_after.zip(wait).map(|(one, other)| one.max(other));
            }
            outcomes.push(Outcome {
                place: outcomes.len(),
                rule: limit.rule,
                fits: part.fits,
                remaining: if blocked > 0 { 0 } else { part.room.remaining },
                retry_after: wait.unwrap_or(limit.rule.window()),
                reset_after: micros(part.room.reset_us.max(blocked)),
            });
        }
        let decision = Decision {
            allowed: checked.admitted,
            ruled: Ruled::Store,
            outcomes,
            retry_after,
        };
        if let Some(asked) = asked {
            for ((outcome, hit), part) in decision.outcomes.iter().zip(hits).zip(&checked.parts) {
                let fits = retry_after.unwrap_or(outcome.retry_after);
                if let Some(refusal) = self.refusal(hit, part, now, fits) {
                    self.memory.remember(hit.key, now.0 as u64, refusal, asked);
                }
                if checked.admitted && self.guesses(&hit.rule) {
                    let now_us = now.0 as u64;
                    self.memory.fills(hit.key, now_us, outcome.reset_after);
                }
            }
        }
        decision
    }

    /// What a part of a decision tells about checks to come: that they are refused,
    /// where this one was, or took the last there was. All of a refused request fits
    /// after `fits`.
    fn refusal(&self, hit: &Hit<'_>, part: &Part, now: Now, fits: Duration) -> Option<Refusal> {
        let permits = hit.rule.algorithm() == Algorithm::Concurrency;
        let (fits, next) = if !part.fits {
            let blocked = blocked(part, now);
            // Who holds a permit may renew it where a new one is refused.
            let next = if permits {
                blocked
            } else {
                part.next_us.max(blocked)
            };
            (fits, next)
        } else if part.room.remaining > 0 || permits || self.across.reserves(&self.store) {
            // Of what is reserved some may be given back in a moment.
            return None;
        } else {
            (micros(part.room.retry_us?), next_of_one(hit, part)?)
        };
        (next > 0).then(|| Refusal {
            rule: hit.rule,
            cost: hit.cost.max(1),
            fits,
            next: micros(next),
        })
    }

    async fn adjust(&self, limit: &Limit<'_>, change: Change<'_>) -> Result<bool, LimitError> {
        let key = self.key(limit)?;
        let adjust = Adjust {
            key: &key,
            rule: limit.rule,
            now: self.now(),
            change,
        };
        self.leases.withdraw(&self.store, &key).await;
        let changed = self.store.atomic(&adjust).await?;
        // What was asked for before it, and came in between.
        self.leases.withdraw(&self.store, &key).await;
        self.memory.forget(&key);
        Ok(changed)
    }

    fn now(&self) -> Now {
        Now(self.store.now() as i64)
    }

    fn key(&self, limit: &Limit<'_>) -> Result<Key, LimitError> {
        Key::new(&self.prefix, limit)
    }
}

fn without_store(policy: Policy) -> Decision {
    let (allowed, ruled) = match policy {
        Policy::Open => (true, Ruled::Open),
        Policy::Closed | Policy::Local => (false, Ruled::Closed),
    };
    Decision {
        allowed,
        ruled,
        outcomes: SmallVec::new(),
        retry_after: allowed.then_some(Duration::ZERO),
    }
}

/// A cost that fits the rule at some time.
fn within(limit: &Limit<'_>, cost: u64) -> Result<u64, LimitError> {
    let most = limit.rule.burst();
    if cost > most {
        return Err(LimitError::Cost { cost, most });
    }
    Ok(cost)
}

fn check_permit(permit: &str) -> Result<(), LimitError> {
    let good =
        (1..=64).contains(&permit.len()) && permit.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(LimitError::Permit)
    }
}

/// Microseconds that a part is still blocked.
fn blocked(part: &Part, now: Now) -> i64 {
    (part.blocked_until * 1000 - now.0).max(0)
}

/// Microseconds until a cost of 1 fits, where the hit took the last there was;
/// `None` where its answer does not say it.
fn next_of_one(hit: &Hit<'_>, part: &Part) -> Option<i64> {
    let retry = part.room.retry_us?;
    let more = hit.cost.saturating_sub(1) as i64;
    match hit.rule.algorithm() {
        Algorithm::FixedWindow => Some(retry),
        Algorithm::TokenBucket | Algorithm::Gcra => {
            Some(retry - more * hit.rule.interval_us() as i64)
        }
        _ => (more == 0).then_some(retry),
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.max(0) as u64)
}
