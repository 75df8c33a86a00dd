//! The policy `local`: while the store cannot be asked, or takes no writes, an instance lets its share
//! through, and what it let through is charged when the store is back.
//!
//! The share is the rule divided by the number of instances, rounded down: limit and
//! burst by N, so that all shares together are at most the limit. A share of zero
//! lets nothing through; where N was never known, nothing is decided here, and the
//! policy is `closed`. Shares are counted in a store of this process by the same
//! step as everything else, several rules all or nothing. They stay counted when the
//! store is back, so that an instance that is cut off again and again has one share,
//! not one each time. A fixed window's share counts in no fixed windows, which would
//! lie across those of the store and let two shares into one of them, but in any
//! time as long as the window: as a log, for limits above [`LOGGED_MAX`] as half of
//! the share in a window.
//!
//! **The bound.** In a partition that cuts off `c` of N instances, what the rule
//! admits in any time is at most limit x (1 + c / N): the others are held to the
//! limit by the store, the `c` to their shares. N is what the instance saw last, or
//! the number assumed, whichever is larger; who starts while it is cut off never saw
//! one and lets nothing through, unless a number is assumed: then a restart begins
//! another share. The charge does not belong to the bound:
//! it makes those who come after wait for what was let through before.
//!
//! **The charge.** What was let through is kept by key ([`OWED_MAX`] of them; more
//! are let through and not charged) and charged in the background as soon as the
//! store answers, for 3 billed commands a key, as much of it as the share still
//! counts: what is older than its window is dropped. A charge that certainly had no
//! effect is repeated; one whose outcome is unknown is not, nor is a request charged
//! whose check may have counted in the store: where the network decides, the store
//! counts too little rather than twice.
//!
//! **Permits** are taken from the share as well, and are not charged: they end with
//! their return or their lease, and one that is renewed when the store is back is
//! taken there.
//!
//! Memory: [`MEMORY_MAX`] of shares. Beyond that a request is refused by `closed`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Error, State, Status, Store};
use smallvec::SmallVec;
use tokio::sync::{OnceCell, watch};

use super::adjust::{Adjust, Change};
use super::algorithm::{Now, Room};
use super::check::{Check, Checked, Hit, Part, permits};
use super::rule::{Algorithm, Rule};
use crate::background::Background;

/// Largest limit of a fixed window whose share is counted hit by hit.
const LOGGED_MAX: u64 = 1000;
/// Keys that are to be charged.
const OWED_MAX: usize = 10_000;
/// Memory of the shares.
const MEMORY_MAX: &str = "64mb";
/// The time between two tries to charge.
const PAUSE: Duration = Duration::from_secs(1);

/// What a store says that takes no writes now: its memory or its disk is full, it is
/// a replica, its cluster is not whole.
const NO_WRITES: [&str; 8] = [
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
];

/// Whether an error says that the store cannot serve now, without any effect of what
/// was asked.
pub(super) fn is_away(error: &Error) -> bool {
    let no_writes = |code| NO_WRITES.contains(&code);
    matches!(error, Error::Unavailable(_)) || error.code().is_some_and(no_writes)
}

/// The same, where the outcome may be unknown.
pub(super) fn has_failed(error: &Error) -> bool {
    is_away(error) || matches!(error, Error::Indeterminate(_))
}

/// This instance's shares, and what it owes the store.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Made when it is needed first.
    counts: OnceCell<Store>,
    debts: Arc<Mutex<Debts>>,
    paying: Background,
    /// Whether this instance's part has ended; set under the lock of the debts.
    closed: watch::Sender<bool>,
}

/// What was let through and not charged yet.
#[derive(Debug, Default)]
struct Debts {
    owed: BTreeMap<Box<[u8]>, Debt>,
    /// Whether a task sees to them.
    paying: bool,
}

#[derive(Debug)]
struct Debt {
    rule: Rule,
    share: Rule,
    hits: u64,
}

impl Debts {
    fn first(&self) -> Option<(Box<[u8]>, Rule)> {
        let (key, debt) = self.owed.first_key_value()?;
        Some((key.clone(), debt.share))
    }

    fn add(&mut self, key: &[u8], debt: Debt) {
        if let Some(known) = self.owed.get_mut(key) {
            known.hits += debt.hits;
            known.share = debt.share;
        } else if self.owed.len() < OWED_MAX {
            self.owed.insert(key.into(), debt);
        }
    }
}

impl Local {
    /// Asks the shares of `alive` instances; `None` where there is no room to
    /// count.
    pub(super) async fn check(
        &self,
        hits: &[Hit<'_>],
        now: Now,
        peek: bool,
        alive: NonZeroU32,
    ) -> Option<Checked> {
        let shares: SmallVec<[Option<Rule>; 4]> =
            hits.iter().map(|hit| share(&hit.rule, alive)).collect();
        let counted: SmallVec<[Hit<'_>; 4]> = hits
            .iter()
            .zip(&shares)
            .filter_map(|(hit, rule)| {
                Some(Hit {
                    rule: (*rule)?,
                    idle: false,
                    ..*hit
                })
            })
            .collect();
        let all = counted.len() == hits.len();
        let check = Check {
            hits: &counted,
            now,
            peek: peek || !all,
        };
        let checked = self.counts().await.atomic(&check).await.ok()?;
        let mut parts = checked.parts.into_iter();
        Some(Checked {
            admitted: checked.admitted && all,
            parts: shares
                .iter()
                .map(|share| share.and_then(|_| parts.next()).unwrap_or(NOTHING))
                .collect(),
        })
    }

    /// Charges what was let through when `store` is back.
    pub(super) async fn owe(&self, store: &Store, hits: &[Hit<'_>], alive: NonZeroU32) {
        if store.state().status == Status::Disabled {
            return;
        }
        let counts = self.counts().await.clone();
        let mut debts = self.debts.lock();
        if *self.closed.borrow() {
            return;
        }
        for hit in hits {
            let Some(share) = share(&hit.rule, alive) else {
                continue;
            };
            if hit.cost > 0 && !permits(&hit.rule) {
                let debt = Debt {
                    rule: hit.rule,
                    share,
                    hits: hit.cost,
                };
                debts.add(hit.key, debt);
            }
        }
        if !debts.paying && !debts.owed.is_empty() {
            debts.paying = true;
            let (store, owed) = (store.clone(), self.debts.clone());
            let closed = self.closed.subscribe();
            self.paying.start(pay(store, counts, owed, closed));
        }
    }

    /// Returns a permit that was taken from the share; whether there was one.
    pub(super) async fn release(&self, key: &[u8], rule: Rule, now: Now, permit: &[u8]) -> bool {
        let Some(counts) = self.counts.get() else {
            return false;
        };
        let release = Adjust {
            key,
            rule,
            now,
            change: Change::Release(permit),
        };
        counts.atomic(&release).await.unwrap_or(false)
    }

    /// Forgets what was let through for a key.
    pub(super) async fn forget(&self, key: &[u8]) {
        self.debts.lock().owed.remove(key);
        if let Some(counts) = self.counts.get() {
            let _ = counts.delete(&[key]).await;
        }
    }

    /// Charges what is owed, once; nothing is owed from then on.
    pub(super) async fn settle(&self, store: &Store) {
        {
            let _debts = self.debts.lock();
            self.closed.send_replace(true);
        }
        // A charge that is under way comes to its end, others are made here.
        self.paying.finish().await;
        if let Some(counts) = self.counts.get() {
            charge_all(store, counts, &self.debts, None).await;
        }
    }

    async fn counts(&self) -> &Store {
        let make = async || {
            let store = Store::memory();
            let bound: [&[u8]; 4] = [b"CONFIG", b"SET", b"maxmemory", MEMORY_MAX.as_bytes()];
            let _ = store.call(&bound).await;
            store
        };
        self.counts.get_or_init(make).await
    }
}

/// A share of zero.
const NOTHING: Part = Part {
    fits: false,
    blocked_until: 0,
    room: Room {
        remaining: 0,
        retry_us: None,
        reset_us: 0,
    },
    next_us: 0,
};

/// What one of so many instances may let through by itself; `None` for nothing.
fn share(rule: &Rule, alive: NonZeroU32) -> Option<Rule> {
    let parts = u64::from(alive.get());
    let (limit, window) = (rule.limit() / parts, rule.window());
    let made = match rule.algorithm() {
        Algorithm::FixedWindow if rule.limit() <= LOGGED_MAX => {
            Rule::new(Algorithm::SlidingLog, limit, window)
        }
        Algorithm::FixedWindow => Rule::new(Algorithm::FixedWindow, limit / 2, window),
        bucket @ (Algorithm::TokenBucket | Algorithm::Gcra) => Rule::new(bucket, limit, window)
            .and_then(|share| share.with_burst(rule.burst() / parts)),
        other => Rule::new(other, limit, window),
    };
    made.ok()
}

/// Charges what is owed until nothing is, whenever the store answers, or until this
/// instance's part has ended.
async fn pay(
    store: Store,
    counts: Store,
    debts: Arc<Mutex<Debts>>,
    mut closed: watch::Receiver<bool>,
) {
    let mut states = store.states();
    let answers = |state: &State| matches!(state.status, Status::Up | Status::Slow);
    loop {
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            state = states.wait_for(answers) => if state.is_err() {
                return;
            },
        }
        charge_all(&store, &counts, &debts, Some(&closed)).await;
        {
            let mut debts = debts.lock();
            if debts.owed.is_empty() {
                debts.paying = false;
                return;
            }
        }
        let _ = tokio::time::timeout(PAUSE, closed.wait_for(|closed| *closed)).await;
    }
}

/// Charges key by key until nothing is owed, the store does not answer or `ends`
/// says so. Ended in between it has lost at most a charge that was on its way, whose
/// outcome is unknown then.
async fn charge_all(
    store: &Store,
    counts: &Store,
    debts: &Mutex<Debts>,
    ends: Option<&watch::Receiver<bool>>,
) {
    while ends.is_none_or(|ends| !*ends.borrow()) {
        let first = debts.lock().first();
        let Some((key, share)) = first else { return };
        let now = Now(store.now() as i64);
        let counted = counted(counts, &key, share, now).await;
        let Some(debt) = debts.lock().owed.remove(&key) else {
            continue;
        };
        let hits = debt.hits.min(counted);
        if hits == 0 {
            continue;
        }
        let charge = Adjust {
            key: &key,
            rule: debt.rule,
            now,
            change: Change::Charge(hits),
        };
        if let Err(error) = store.atomic(&charge).await
            && is_away(&error)
        {
            debts.lock().add(&key, debt);
            return;
        }
    }
}

/// Hits that a share still counts.
async fn counted(counts: &Store, key: &[u8], share: Rule, now: Now) -> u64 {
    let hit = Hit {
        key,
        rule: share,
        cost: 1,
        permit: b"",
        idle: false,
    };
    let check = Check {
        hits: &[hit],
        now,
        peek: true,
    };
    let checked = counts.atomic(&check).await.ok();
    let part = checked.and_then(|checked| checked.parts.first().copied());
    part.map_or(0, |part| share.burst().saturating_sub(part.room.remaining))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn rule(algorithm: Algorithm, limit: u64, millis: u64) -> Rule {
        Rule::new(algorithm, limit, Duration::from_millis(millis)).unwrap()
    }

    fn parts(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn hit(rule: Rule, cost: u64) -> Hit<'static> {
        Hit {
            key: b"k",
            rule,
            cost,
            permit: b"",
            idle: false,
        }
    }

    #[test]
    fn shares_are_rounded_down() {
        for algorithm in Algorithm::ALL {
            let ten = rule(algorithm, 10, 60_000);
            let third = share(&ten, parts(3)).unwrap();
            assert_eq!((third.limit(), third.burst()), (3, 3), "{algorithm:?}");
            assert_eq!(third.window(), ten.window());
            assert_eq!(share(&ten, parts(11)), None, "{algorithm:?}");
        }
        let bucket = rule(Algorithm::Gcra, 100, 60_000).with_burst(7).unwrap();
        let share_of = |number| share(&bucket, parts(number));
        assert_eq!(share_of(2).unwrap().burst(), 3);
        assert_eq!(share_of(8), None, "a burst of nothing");
        let large = rule(Algorithm::FixedWindow, 9_000, 60_000);
        assert_eq!(share(&large, parts(3)).unwrap().limit(), 1_500);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

        /// In no time as long as the window does a share let more through than its
        /// part, by the algorithm's own bound; and a retry is true.
        #[test]
        fn a_share_is_kept(
            kind in 0usize..5,
            most in 1u64..40,
            number in 1u32..6,
            window in 10u64..3_000,
            steps in vec((0u64..600, 1u64..3), 1..100),
        ) {
            let algorithm = Algorithm::ALL[kind];
            let whole = rule(algorithm, most, window);
            let part = most / u64::from(number);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(async {
                let local = Local::default();
                let mut now = 1_700_000_000_123_456_i64;
                let mut admitted: Vec<(i64, u64)> = Vec::new();
                for (wait, cost) in steps {
                    now += wait as i64 * 1000;
                    let cost = cost.min(most);
                    let ask = async |now, peek| {
                        let hits = [hit(whole, cost)];
                        local.check(&hits, Now(now), peek, parts(number)).await.unwrap()
                    };
                    let checked = ask(now, false).await;
                    if checked.admitted {
                        admitted.push((now, cost));
                        let since = now - window as i64 * 1000;
                        let within = admitted.iter().filter(|(at, _)| *at > since);
                        let within: u64 = within.map(|(_, cost)| cost).sum();
                        let exact = [Algorithm::FixedWindow, Algorithm::SlidingLog];
                        let bound = if exact.contains(&algorithm) { part } else { 2 * part };
                        prop_assert!(within <= bound, "{:?}: {} of {}", algorithm, within, part);
                    } else if let Some(retry) = checked.parts[0].room.retry_us {
                        prop_assert!(cost <= part && retry > 0);
                        now += retry;
                        prop_assert!(ask(now, true).await.admitted, "{:?}", algorithm);
                    } else {
                        prop_assert!(cost > part, "it fits at some time");
                    }
                }
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn several_shares_are_taken_all_or_none() {
        let local = Local::default();
        let large = Hit {
            key: b"a",
            ..hit(rule(Algorithm::Gcra, 10, 60_000), 1)
        };
        let small = Hit {
            key: b"b",
            ..hit(rule(Algorithm::FixedWindow, 4, 60_000), 1)
        };
        let none = Hit {
            key: b"c",
            ..hit(rule(Algorithm::FixedWindow, 1, 60_000), 1)
        };
        let now = Now(1_700_000_000_000_000);
        let ask =
            async |hits: &[Hit<'_>], peek| local.check(hits, now, peek, parts(2)).await.unwrap();
        let left = async |hit| ask(&[hit], true).await.parts[0].room.remaining;
        for _ in 0..2 {
            assert!(ask(&[large, small], false).await.admitted);
        }
        assert_eq!((left(large).await, left(small).await), (3, 0));
        assert!(!ask(&[large, small], false).await.admitted);
        let refused = ask(&[none, large], false).await;
        assert!(!refused.admitted && !refused.parts[0].fits && refused.parts[1].fits);
        assert_eq!((left(large).await, left(small).await), (3, 0));
    }
}
