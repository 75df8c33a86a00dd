//! Leases: tokens that are taken from the store several at once, and given out in
//! this process ([`Mode::Leased`](super::Mode)).
//!
//! **What holds.** No more is admitted than the limit, whatever instances do, however
//! they end, and while the store is away: a token is counted in the store before it
//! is given out, as if it were used as late as it can be ([`grant`] has the
//! argument, algorithm by algorithm). Held back is at most one lease an instance:
//! what it has and does not use. A lease ends with its window; of a bucket's, time
//! takes the tokens one by one, as the bucket would have got them back. Where a clock
//! is set back, what was over of a lease is not: at most that lease more is admitted.
//!
//! **What it costs.** A lease costs 3 billed commands, an ask in vain 2, the number
//! of instances 6 a minute; nothing is asked while tokens are left, nor while a
//! refusal is known to hold. A lease lasts for at least 15 requests, so a steady flow
//! costs at most 0.2 a check where it is 15 requests or more of an identifier in a
//! window and instance (of a bucket, in the time that an instance's share takes to
//! flow in); a lesser flow costs 3 in that time. The first check of an identifier
//! asks the store, as does one after a window's silence: most come once.
//!
//! | share of an instance | a lease | a check, at the limit |
//! |---|---|---|
//! | below 15 requests | none: each check asks the store | 2 to 3 |
//! | 15 to 29 | the share | 0.2 to 0.1 |
//! | 30 to 120 | the share in parts of 15 to 29 | 0.2 to 0.1 |
//! | to 8,000 | an eighth, at most 1,000 | 0.2 to 0.003 |
//! | more | 1,000 | 0.003 |
//!
//! A window's lease also follows the flow: the tokens that went in the last window
//! and a quarter, in as few parts as these would be.
//!
//! **Near the limit** a sliding window and a bucket get their tokens back one by one.
//! A lease then has tokens that may be used only when those are there, so that it
//! lasts for 15 requests still, and several instances have turns: at a flow evenly at
//! its limit, a sliding window admits 93 % and more with one instance (as without
//! leases), 70 to 95 % with two and 60 to 93 % with four, more the larger the shares;
//! fixed windows and buckets admit all of it.
//!
//! **Where it is exact.** Where the limit (of a bucket, the burst) is below 15
//! requests of the check's cost for each live instance, as long as their number is
//! not known, for the sliding log and permits, whose point is to be exact, and where
//! there are too many identifiers; one such rule makes the whole check exact. The
//! decision says [`Ruled::Store`] then, as it does where a lease was taken for it;
//! [`Limiter::unleased`](super::Limiter::unleased) says why.
//!
//! **Several rules.** Leases are taken where they are missing; then the request is
//! taken from all under one lock, or from none, and the leases stay. Keys may lie
//! in any slots.
//!
//! **Decisions** from a lease tell what is left of it and was left in the store when
//! it was asked last; a retry and a reset are no earlier than they come true where
//! nobody else comes.
//!
//! **Changes.** A refund, a penalty, a block or a reset returns the identifier's
//! lease first, and so acts at once here; other instances go on until their leases
//! end. What they hold is not taken back by a reset, and a bucket's refund lets them
//! use theirs beside it: after a reset, others' leases may be used beside the limit.
//! One that is returned then goes nowhere where the count tells that it is another
//! one (a sliding window's, by its hits of the window before; a fixed window's, by its
//! beginning; any, where less is counted than comes back); in the first window of an
//! identifier it may go back, and is used by others in place of its holder. [`Limiter::close`](super::Limiter::close) returns all, for 3
//! billed commands each. A bucket's lease is returned where nobody took from the
//! bucket since; else it flows out by itself. So does a lease whose ask was dropped
//! before its answer.
//!
//! Bounded: [`ENTRIES_MAX`] identifiers of some 300 bytes. One ask an identifier is
//! under way at a time; others wait for it.

mod grant;
mod held;
mod op;
mod size;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Error, Store};
use smallvec::SmallVec;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::adjust::{Adjust, Change};
use super::algorithm::Now;
use super::decision::{Decision, Outcome, Ruled};
use super::key::Key;
use super::limiter::Limit;
use super::rule::{Algorithm, Rule};
use held::{Grants, Held};
use op::{Lease, Leased};
use size::Size;

/// Identifiers that are kept.
const ENTRIES_MAX: usize = 100_000;
/// The shortest time between two searches for what can be dropped.
const SWEEP_US: i64 = 1_000_000;
/// Leases that are returned at a time.
const RETURNS_MAX: usize = 32;
/// Looks at what is held in one check, also after others have asked.
const LOOKS: usize = 40;

/// Why a check asks the store although its mode is `leased`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unleased {
    /// The mode is `exact`.
    #[error("the mode is exact")]
    Mode,
    /// The algorithm is one that is always exact.
    #[error("{} is always exact", .0.as_str())]
    Algorithm(Algorithm),
    /// The request costs nothing.
    #[error("a request of cost 0 takes no token")]
    Free,
    /// Nobody knows yet how many instances are alive.
    #[error("the number of live instances is not known yet")]
    Instances,
    /// The limit, or the burst, is too small for the instances that are alive.
    #[error("less than {least}, 15 requests for each live instance")]
    Limit {
        /// The smallest one that is leased.
        least: u64,
    },
    /// This process did not see the identifier within the last window.
    #[error("the identifier is new to this process")]
    New,
    /// The limiter was closed.
    #[error("the limiter is closed")]
    Closed,
}

/// What is to be taken, from which counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) limits: &'a [Limit<'a>],
    /// The keys of the limits.
    pub(super) keys: &'a [Key],
    pub(super) cost: u64,
    /// How many instances are alive.
    pub(super) live: Option<NonZeroU32>,
    /// Only looks.
    pub(super) peek: bool,
}

/// The leases of this process.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    held: HashMap<Box<[u8]>, Held>,
    closed: bool,
    /// When there was last looked for what can be dropped.
    swept: i64,
}

/// What is held, for a request.
#[allow(
    clippy::large_enum_variant,
    reason = "the decision is the common one, and on its way to the caller"
)]
enum Look {
    Decided(Decision),
    /// Of the key at this place there is too little; who asks holds the permit.
    Short(usize, Arc<Semaphore>),
    /// The store has to be asked for the request itself.
    Exact,
    /// The rule of the key at this place is another one now.
    Changed(usize, Rule, Grants),
}

impl Request<'_> {
    fn sizes(&self) -> Result<SmallVec<[Size; 4]>, Unleased> {
        let size = |limit: &Limit<'_>| Size::of(&limit.rule, self.cost, self.live);
        self.limits.iter().map(size).collect()
    }

    fn each(&self) -> impl Iterator<Item = (&Limit<'_>, &Key)> {
        self.limits.iter().zip(self.keys)
    }
}

impl Leases {
    /// Why a request would not be answered from leases.
    pub(super) fn why_not(&self, request: &Request<'_>, now: Now) -> Option<Unleased> {
        if let Err(reason) = request.sizes() {
            return Some(reason);
        }
        let table = self.0.lock();
        if table.closed {
            return Some(Unleased::Closed);
        }
        let is_known = |(limit, key): (&Limit<'_>, &Key)| {
            let held = table.held.get(&**key);
            held.is_some_and(|held| held.rule == limit.rule && held.is_known(now))
        };
        (!request.each().all(is_known)).then_some(Unleased::New)
    }

    /// Answers from leases, which it takes where they are missing; `None` where the
    /// store has to be asked for the request itself. An error is the store's.
    pub(super) async fn answer(
        &self,
        store: &Store,
        request: &Request<'_>,
    ) -> Result<Option<Decision>, Error> {
        let Ok(sizes) = request.sizes() else {
            return Ok(None);
        };
        let mut asked = 0;
        for look in 0..LOOKS {
            let now = Now(store.now() as i64);
            let (at, gate) = match self.look(request, &sizes, now, look == 0, asked > 0) {
                Look::Decided(decision) => return Ok(Some(decision)),
                Look::Exact => return Ok(None),
                Look::Short(at, gate) => (at, gate),
                Look::Changed(at, rule, grants) => {
                    if let Some(key) = request.keys.get(at) {
                        give_back(store, key, rule, &grants).await;
                    }
                    continue;
                }
            };
            let Ok(permit) = gate.try_acquire() else {
                // Somebody asks: its answer may do.
                drop(gate.acquire().await);
                continue;
            };
            let (Some(key), Some(size)) = (request.keys.get(at), sizes.get(at)) else {
                return Ok(None);
            };
            let Some((generation, lease)) = self.wanted(key, *size, request.cost, now) else {
                continue;
            };
            // A lease is over at once where the clock jumps.
            asked += 1;
            if asked > 2 * request.keys.len() {
                return Ok(None);
            }
            let leased = store.atomic(&lease).await?;
            let unwanted = self.keep(&lease, leased, generation);
            drop(permit);
            if let Some(grants) = unwanted {
                give_back(store, key, lease.rule, &grants).await;
            }
        }
        Ok(None)
    }

    /// What there is for a request; takes it where there is enough.
    fn look(
        &self,
        request: &Request<'_>,
        sizes: &[Size],
        now: Now,
        is_first: bool,
        asked: bool,
    ) -> Look {
        let mut table = self.0.lock();
        if table.closed {
            return Look::Exact;
        }
        if is_first && !table.know(request, now) {
            return Look::Exact;
        }
        let (mut fits, mut parts) = (true, SmallVec::<[(&Key, bool); 4]>::new());
        for (at, ((limit, key), size)) in request.each().zip(sizes).enumerate() {
            let Some(held) = table.held.get_mut(&**key) else {
                return Look::Exact;
            };
            if held.rule != limit.rule {
                let (rule, grants) = (held.rule, held.give_up());
                let generation = held.generation;
                *held = Held::new(limit.rule, now);
                held.generation = generation;
                return Look::Changed(at, rule, grants);
            }
            let enough = held.usable(now) >= request.cost;
            if !enough && held.wants(*size, request.cost, now).is_some() {
                if request.peek {
                    return Look::Exact;
                }
                return Look::Short(at, held.gate.clone());
            }
            fits &= enough;
            parts.push((key, enough));
        }
        let mut outcomes = SmallVec::new();
        let mut retry_after = Duration::ZERO;
        for (key, enough) in parts {
            let Some(held) = table.held.get_mut(&**key) else {
                return Look::Exact;
            };
            if fits && !request.peek {
                held.take(now, request.cost);
            }
            let outcome = Outcome {
                place: outcomes.len(),
                ..held.outcome(now, request.cost, enough)
            };
            retry_after = retry_after.max(outcome.retry_after);
            outcomes.push(outcome);
        }
        Look::Decided(Decision {
            allowed: fits,
            ruled: match (asked, fits) {
                (true, _) => Ruled::Store,
                (false, true) => Ruled::Lease,
                (false, false) => Ruled::Remembered,
            },
            outcomes,
            retry_after: Some(retry_after),
        })
    }

    /// What to ask for, where it still is missing.
    fn wanted<'a>(
        &self,
        key: &'a [u8],
        size: Size,
        cost: u64,
        now: Now,
    ) -> Option<(u32, Lease<'a>)> {
        let table = self.0.lock();
        let held = table.held.get(key)?;
        let (least, most) = held.wants(size, cost, now)?;
        let lease = Lease {
            key,
            rule: held.rule,
            now,
            least,
            most,
        };
        Some((held.generation, lease))
    }

    /// Keeps a lease; what is not wanted any more comes back.
    fn keep(&self, lease: &Lease<'_>, leased: Leased, generation: u32) -> Option<Grants> {
        let mut table = self.0.lock();
        let closed = table.closed;
        match table.held.get_mut(lease.key) {
            Some(held) if held.generation == generation && !closed => {
                held.keep(leased, lease.least, lease.now);
                None
            }
            _ => {
                let mut held = Held::new(lease.rule, lease.now);
                held.keep(leased, lease.least, lease.now);
                Some(held.give_up())
            }
        }
    }

    /// Returns what is held of a key, and does not want what is being asked for.
    pub(super) async fn withdraw(&self, store: &Store, key: &[u8]) {
        let given_up = {
            let mut table = self.0.lock();
            let held = table.held.get_mut(key);
            held.map(|held| (held.rule, held.give_up()))
        };
        if let Some((rule, grants)) = given_up {
            give_back(store, key, rule, &grants).await;
        }
    }

    /// Takes no more, and returns all.
    pub(super) async fn close(&self, store: &Store) {
        let held = {
            let mut table = self.0.lock();
            table.closed = true;
            std::mem::take(&mut table.held)
        };
        let mut returns = JoinSet::new();
        for (key, mut held) in held {
            let (store, rule, grants) = (store.clone(), held.rule, held.give_up());
            if grants.is_empty() {
                continue;
            }
            if returns.len() >= RETURNS_MAX {
                let _ = returns.join_next().await;
            }
            returns.spawn(async move { give_back(&store, &key, rule, &grants).await });
        }
        returns.join_all().await;
    }
}

impl Table {
    /// Notes that these are checked; whether all of them were within their last
    /// window too.
    fn know(&mut self, request: &Request<'_>, now: Now) -> bool {
        let mut known = true;
        for (limit, key) in request.each() {
            if let Some(held) = self.held.get_mut(&**key) {
                known &= held.is_known(now);
                held.seen = held.seen.max(now.0);
                continue;
            }
            known = false;
            if request.peek {
                continue;
            }
            let is_due = now.0 - self.swept >= SWEEP_US || now.0 < self.swept;
            if self.held.len() >= ENTRIES_MAX && is_due {
                self.swept = now.0;
                self.held.retain(|_, held| held.is_needed(now));
            }
            if self.held.len() < ENTRIES_MAX {
                let held = Held::new(limit.rule, now);
                self.held.insert((&**key).into(), held);
            }
        }
        known
    }
}

/// Gives tokens back to the count that they were taken from. Where the store cannot
/// be asked they end by themselves.
async fn give_back(store: &Store, key: &[u8], rule: Rule, grants: &Grants) {
    for grant in grants.iter().rev() {
        let now = Now(store.now() as i64);
        let hits = grant.rest(&rule, now);
        if hits == 0 {
            continue;
        }
        let change = Change::Return {
            hits,
            end: grant.end(&rule),
            former: grant.former(&rule),
        };
        let adjust = Adjust {
            key,
            rule,
            now,
            change,
        };
        let _ = store.atomic(&adjust).await;
    }
}
