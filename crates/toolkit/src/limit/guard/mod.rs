//! The guard: checks requests against an app's classes. What stands before routes,
//! the HTTP API and the tower layer are made of it.
//!
//! A tier's count is named `<class>.<tier>`, so classes share nothing. A check asks
//! the store once for all tiers that rule, and once for each shadow tier when those
//! let the request through. Lists cost nothing: they are asked first, and who is on
//! one takes nothing.

mod change;
mod event;
mod live;
mod overriding;
mod subject;
mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use sangam_store::Store;
use smallvec::SmallVec;
use tokio::sync::broadcast;

pub use event::{Counts, Event, Refusal, WatchError};
pub use subject::Subject;
pub use verdict::{Counted, Judged, Verdict};
pub use watch::{Watch, WatchState};

use self::event::count;
use self::live::{Live, Place};
use super::analytics::Analytics;
use super::class::{By, Class, Classes, List, Request, Settings, Tier};
use super::decision::{Decision, Ruled};
use super::limiter::{Limit, LimitError, Limiter};
use super::overrides::{MOST, Overrides};
use super::rule::RuleError;

/// Events that a slow reader may leave unread before it misses some.
const EVENTS_MAX: usize = 1024;

/// Why a request cannot be checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GuardError {
    /// No class of that name.
    #[error("there is no class of limits named {0:?}")]
    Class(String),
    /// A name in which nothing can be counted.
    #[error("a class or a tier is named by 1 to 30 letters, digits, `-` or `_`, not {0:?}")]
    Name(String),
    /// The class has no tier of that name.
    #[error("class {class:?} has no tier named {tier:?}")]
    Tier {
        /// The class.
        class: String,
        /// What was asked for.
        tier: String,
    },
    /// The request does not say whom to count.
    #[error("class {class:?} counts by {}, which the request does not tell", by.as_str())]
    Subject {
        /// The class.
        class: String,
        /// What is missing.
        by: By,
    },
    /// An override that is no rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// An override that ends in the past, or too late.
    #[error("an override holds until a moment within 366 days from now")]
    Until,
    /// There are too many overrides.
    #[error("there are {MOST} overrides, which is the most: remove some")]
    Full,
    /// The check.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// Checks requests against classes, over a store that other instances share. Clones
/// share everything.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limiter: Limiter,
    live: RwLock<Arc<Live>>,
    events: broadcast::Sender<Event>,
    overrides: Overrides,
    /// The version of the overrides for which refusals were last forgotten.
    overridden: AtomicU64,
    analytics: OnceLock<Analytics>,
}

/// What is asked of the limiter.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Take(u64),
    Look(u64),
    Hold(&'a str),
}

impl Ask<'_> {
    const fn cost(self) -> u64 {
        match self {
            Ask::Take(cost) | Ask::Look(cost) => cost,
            Ask::Hold(_) => 1,
        }
    }
}

impl Guard {
    /// A guard of these settings, or classes, over a store.
    pub fn new(store: Store, settings: impl Into<Settings>) -> Self {
        Guard::over(Limiter::new(store), settings)
    }

    /// A guard with a limiter of one's own.
    pub fn over(limiter: Limiter, settings: impl Into<Settings>) -> Self {
        let live = Live::new(settings.into(), limiter.store(), None);
        let overrides = Overrides::new(limiter.store().clone(), limiter.prefix());
        Guard(Arc::new(Inner {
            limiter,
            overrides,
            overridden: AtomicU64::new(0),
            live: RwLock::new(Arc::new(live)),
            events: broadcast::channel(EVENTS_MAX).0,
            analytics: OnceLock::new(),
        }))
    }

    /// The same, and all its clones, with what it decides recorded; the first
    /// analytics stay.
    #[must_use]
    pub fn with_analytics(self, analytics: Analytics) -> Self {
        let _ = self.0.analytics.set(analytics);
        self
    }

    /// Where what it decides is recorded, if it is.
    pub fn analytics(&self) -> Option<&Analytics> {
        self.0.analytics.get()
    }

    /// The limiter below.
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        self.0.limiter.store()
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<Settings> {
        self.live().settings.clone()
    }

    /// The classes as they are now.
    pub fn classes(&self) -> Arc<Classes> {
        self.live().settings.classes.clone()
    }

    /// The first class that a request is for.
    pub fn classify(&self, request: &Request<'_>) -> Option<Arc<Class>> {
        self.live().settings.classes.classify(request).cloned()
    }

    /// Puts other settings, or classes, in their place; counts stay.
    pub fn replace(&self, settings: impl Into<Settings>) {
        let settings = settings.into();
        {
            let mut live = self.0.live.write();
            *live = Arc::new(Live::new(settings, self.store(), Some(&live)));
        }
        self.0.limiter.forget_refusals();
        self.tell(|| Event::Replaced);
    }

    /// What happens from now on. Who reads too slowly misses the oldest, and is told
    /// how many.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// What happened in each class since the guard was made.
    pub fn counts(&self) -> BTreeMap<String, Counts> {
        let live = self.live();
        let places = live.places();
        places
            .map(|place| (place.class.name.clone(), place.counters.read()))
            .collect()
    }

    /// Takes `cost` from each tier of a class, or from none.
    pub async fn check(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<Verdict, GuardError> {
        self.ask(class, subject, Ask::Take(cost)).await
    }

    /// What a check would answer; takes nothing.
    pub async fn peek(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<Verdict, GuardError> {
        self.ask(class, subject, Ask::Look(cost)).await
    }

    async fn ask(
        &self,
        class: &str,
        subject: &Subject<'_>,
        ask: Ask<'_>,
    ) -> Result<Verdict, GuardError> {
        let live = self.live();
        let place = live.place(class)?;
        let class = &place.class;
        let user = subject.user();
        let is_on = |list: &List| list.names(user, subject.address, subject.user_agent);
        let verdict = if is_on(&class.deny) {
            listed(class, Ruled::Denied)
        } else if is_on(&class.allow) {
            listed(class, Ruled::Allowed)
        } else {
            let counted = self.counted(place, subject).await?;
            self.judge(place, counted, ask).await?
        };
        if !matches!(ask, Ask::Look(_)) {
            self.report(&live, place, &verdict, ask.cost());
            if let Some(analytics) = self.analytics() {
                analytics.record_verdict(&verdict, subject, ask.cost());
            }
        }
        Ok(verdict)
    }

    /// Whom each tier counts in this request.
    async fn counted(
        &self,
        place: &Place,
        subject: &Subject<'_>,
    ) -> Result<SmallVec<[Counted; 4]>, GuardError> {
        self.refresh().await;
        let class = &place.class;
        let counted = class.tiers.iter().enumerate().map(|(at, tier)| {
            let counted = self.count_of(place, at, tier, subject);
            counted.ok_or_else(|| GuardError::Subject {
                class: class.name.clone(),
                by: tier.by,
            })
        });
        counted.collect()
    }

    /// Whom one tier counts.
    fn count_of(
        &self,
        place: &Place,
        at: usize,
        tier: &Tier,
        subject: &Subject<'_>,
    ) -> Option<Counted> {
        let id = subject.id(tier.by)?;
        let class = &place.class.name;
        Some(Counted {
            tier: at,
            rule: self.0.overrides.rule(class, &tier.name, &id, tier.rule),
            shared: (place.shared.as_ref()).and_then(|_| subject.plain_id(tier.by)),
            id,
        })
    }

    /// Sees to it that overrides are known; refusals are forgotten when they change.
    async fn refresh(&self) {
        let version = self.0.overrides.refresh().await;
        if self.0.overridden.swap(version, Ordering::AcqRel) != version {
            self.0.limiter.forget_refusals();
        }
    }

    async fn judge(
        &self,
        place: &Place,
        counted: SmallVec<[Counted; 4]>,
        ask: Ask<'_>,
    ) -> Result<Verdict, GuardError> {
        let class = &place.class;
        let is_shadow = |it: &&Counted| class.tiers.get(it.tier).is_some_and(|tier| tier.shadow);
        let ruling: SmallVec<[&Counted; 4]> = counted.iter().filter(|it| !is_shadow(it)).collect();
        let mut verdict = Verdict {
            class: class.clone(),
            allowed: true,
            ruled: Ruled::Store,
            fits: true,
            counted: SmallVec::new(),
            tiers: SmallVec::new(),
            retry_after: Some(Duration::ZERO),
        };
        if !ruling.is_empty() {
            let decision = match self.decide(place, &ruling, ask).await {
                Err(error) if class.shadow && never_fits(&error) => {
                    drop(ruling);
                    return Ok(Verdict {
                        fits: false,
                        retry_after: None,
                        counted,
                        ..verdict
                    });
                }
                decision => decision?,
            };
            verdict.allowed = decision.allowed || class.shadow;
            verdict.fits = decision.allowed;
            verdict.ruled = decision.ruled;
            verdict.retry_after = decision.retry_after;
            let judged = decision.outcomes.into_iter().filter_map(|outcome| {
                let tier = ruling.get(outcome.place)?.tier;
                Some(Judged { tier, outcome })
            });
            verdict.tiers.extend(judged);
        }
        if verdict.fits {
            for shadow in counted.iter().filter(is_shadow) {
                let decision = match self.decide(place, &[shadow], ask).await {
                    Ok(decision) if decision.ruled.is_degraded() => continue,
                    Ok(decision) => decision,
                    // A shadow holds nobody up, also where it cannot be asked.
                    Err(error) => {
                        if never_fits(&error) {
                            verdict.fits = false;
                            verdict.retry_after = None;
                        }
                        continue;
                    }
                };
                verdict.fits &= decision.allowed;
                if !decision.allowed {
                    let later = |one: Duration, other: Duration| one.max(other);
                    let retry = verdict.retry_after.zip(decision.retry_after);
                    verdict.retry_after = retry.map(|(one, other)| later(one, other));
                }
                let outcome = decision.outcomes.first();
                verdict.tiers.extend(outcome.map(|outcome| Judged {
                    tier: shadow.tier,
                    outcome: *outcome,
                }));
            }
            verdict.tiers.sort_unstable_by_key(|it| it.tier);
        }
        drop(ruling);
        verdict.counted = counted;
        Ok(verdict)
    }

    async fn decide(
        &self,
        place: &Place,
        counted: &[&Counted],
        ask: Ask<'_>,
    ) -> Result<Decision, GuardError> {
        if let (Some(shared), [it]) = (&place.shared, counted) {
            let id = it.shared.as_deref().unwrap_or_default().as_bytes();
            let policy = place.class.terms.policy;
            let decision = match ask {
                Ask::Take(cost) => shared.check_with(policy, &it.rule, id, cost).await?,
                Ask::Look(cost) => shared.peek(&it.rule, id, cost).await?,
                Ask::Hold(_) => return Err(not_shared("a permit", it)),
            };
            return Ok(decision.decision());
        }
        let limits: SmallVec<[Limit<'_>; 4]> = counted.iter().map(|it| place.limit(it)).collect();
        let limiter = &self.0.limiter;
        let terms = place.class.terms;
        let decision = match ask {
            Ask::Take(cost) => limiter.check_with(terms, &limits, cost).await,
            Ask::Look(cost) => limiter.peek_with(terms, &limits, cost).await,
            Ask::Hold(permit) => limiter.acquire_with(terms, &limits, permit).await,
        };
        Ok(decision?)
    }

    /// Counts what became of a request, and tells it.
    fn report(&self, live: &Live, place: &Place, verdict: &Verdict, cost: u64) {
        let counters = &place.counters;
        count(if verdict.allowed {
            &counters.allowed
        } else {
            &counters.refused
        });
        if verdict.ruled.is_degraded() {
            count(&counters.degraded);
            self.tell(|| Event::Degraded {
                class: place.class.clone(),
                ruled: verdict.ruled,
                allowed: verdict.allowed,
            });
        }
        if !verdict.allowed {
            self.tell(|| Event::Refused(refusal(verdict)));
        } else if !verdict.fits {
            count(&counters.shadowed);
            self.tell(|| Event::Shadowed(refusal(verdict)));
        }
        let admitted = (verdict.answers()).all(|(tier, outcome)| tier.shadow || outcome.fits);
        for judged in &verdict.tiers {
            let is_shadow = (place.class.tiers.get(judged.tier)).is_some_and(|tier| tier.shadow);
            if judged.outcome.fits && (is_shadow || admitted) {
                self.report_near(live, place, verdict, judged, cost);
            }
        }
    }

    /// Tells of a count that this request took over the mark. Of those who come over
    /// it together, one sees it under the mark before and over it after.
    fn report_near(
        &self,
        live: &Live,
        place: &Place,
        verdict: &Verdict,
        judged: &Judged,
        cost: u64,
    ) {
        let limit = judged.outcome.rule.burst();
        let used = limit.saturating_sub(judged.outcome.remaining);
        let mark = (u128::from(limit) * u128::from(live.settings.near)).div_ceil(100);
        let before = used.saturating_sub(cost);
        if u128::from(used) < mark || u128::from(before) >= mark {
            return;
        }
        count(&place.counters.near);
        self.tell(|| Event::Near {
            class: place.class.clone(),
            tier: judged.tier,
            id: verdict.id(judged.tier).unwrap_or_default().to_owned(),
            used,
            limit,
        });
    }

    /// Tells who listens, if anybody does.
    fn tell(&self, event: impl FnOnce() -> Event) {
        if self.0.events.receiver_count() > 0 {
            let _ = self.0.events.send(event());
        }
    }

    fn live(&self) -> Arc<Live> {
        self.0.live.read().clone()
    }
}

/// The verdict of a list.
fn listed(class: &Arc<Class>, ruled: Ruled) -> Verdict {
    let fits = ruled == Ruled::Allowed;
    Verdict {
        class: class.clone(),
        allowed: fits || class.shadow,
        ruled,
        fits,
        counted: SmallVec::new(),
        tiers: SmallVec::new(),
        retry_after: fits.then_some(Duration::ZERO),
    }
}

/// That another package's counts do not know this.
const fn not_shared(what: &'static str, counted: &Counted) -> GuardError {
    let algorithm = counted.rule.algorithm();
    GuardError::Limit(LimitError::Algorithm { what, algorithm })
}

/// Whether a request costs more than a rule ever lets through.
const fn never_fits(error: &GuardError) -> bool {
    matches!(error, GuardError::Limit(LimitError::Cost { .. }))
}

fn refusal(verdict: &Verdict) -> Refusal {
    let tier = verdict.tiers.iter().find(|it| !it.outcome.fits);
    let tier = tier.map(|it| it.tier);
    let id = match tier {
        Some(tier) => verdict.id(tier),
        None => verdict.counted.first().map(|it| it.id.as_str()),
    };
    Refusal {
        class: verdict.class.clone(),
        ruled: verdict.ruled,
        tier,
        id: id.unwrap_or_default().to_owned(),
        retry_after: verdict.retry_after,
    }
}
