//! Reading through: memory, the store, the loader; one of those who miss loads.
//!
//! A load writes only over what its flight saw in the store, with the versions of tags
//! from before the loader ran, within the time that a deletion's mark stays; so nothing
//! old overwrites what is newer, however long a loader takes.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use sangam_store::op::CompareAndSet;
use sangam_store::{Dialect, Error, Ttl, Why};
use tracing::Instrument as _;

use super::error::CacheError;
use super::flight::{Claim, Follower, Landed, Leader, Outcome, claim};
use super::found::{Found, Source};
use super::inner::{Inner, Look, Value, micros};
use super::loaded::{Former, Loaded};
use super::memory::{Held, Ticket};
use super::op::Fill;
use super::prepared::Prepared;
use super::report::Count;
use super::settings::Policy;
use super::shared::Filled;
use super::stored::{Seen, Stored};
use super::value::Stamp;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Loading<L> = Pin<Box<dyn Future<Output = Result<L, BoxError>> + Send>>;
pub(super) type Loader<T> = Box<dyn FnOnce(Former<T>) -> Loading<Loaded<T>> + Send>;

/// How long it takes until the store is asked again whether another instance loaded.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
const WAITS_BILLED: Duration = Duration::from_secs(1);

/// What a flight knew before it loaded.
pub(super) struct Begun {
    /// What it takes to put the value into memory.
    pub(super) ticket: Ticket,
    /// The moment for tags.
    pub(super) moment: u64,
    /// When, by the store's clock.
    pub(super) at_us: u64,
    /// The name of what is loaded, from before the loader ran: a write that was made
    /// meanwhile, and is sent later, is newer.
    pub(super) stamp: Stamp,
    /// What was seen in the store; none, if the store could not be asked.
    pub(super) seen: Option<Seen>,
}

impl Begun {
    /// A value that memory had, unless the store was seen to have something else in its
    /// place, or, where other apps delete too and leave no mark, nothing. One that was made
    /// while it was away is not there.
    pub(super) fn unless_replaced<T>(
        &self,
        held: Option<Held<T>>,
        is_shared: bool,
    ) -> Option<Held<T>> {
        let replaced = match self.seen {
            Some(Seen::Head(_)) => true,
            Some(Seen::Absent) => is_shared,
            None => false,
        };
        held.filter(|held| !replaced || held.meta().degraded)
    }
}

impl<T: Value> Inner<T> {
    /// A value, read through; none, where the loader found nothing.
    pub(super) async fn fetch(
        &self,
        key: &str,
        loader: Loader<T>,
    ) -> Result<Option<Found<T>>, CacheError> {
        let away = self.compared(|| self.has_lasting(key)).await.err();
        let now = self.now();
        let fallback = match self.look(key, now) {
            Look::Fresh(held) => return Ok(self.serve(held, Source::Memory, false, false)),
            Look::Eager(held) => {
                self.refresh(key, loader, Some(held.clone()));
                return Ok(self.serve(held, Source::Memory, false, false));
            }
            Look::Stale(held) => {
                if now >= held.meta().retry_us.load(Ordering::Relaxed) {
                    self.refresh(key, loader, Some(held.clone()));
                }
                return Ok(self.serve(held, Source::Memory, true, false));
            }
            Look::Doubtful(held) => Some(held),
            Look::Nothing => None,
        };
        if let Some(error) = &away {
            if self.settings.policy == Policy::Closed {
                return Err(error.clone().into());
            }
            if let Some(held) = fallback.clone().filter(|held| self.outlasts(held, now)) {
                let stale = now >= held.meta().fresh_until_us;
                return Ok(self.serve(held, Source::Memory, stale, true));
            }
        }
        let is_away = away.is_some();
        let (follower, leader) = self.flights.join(key);
        let leads = leader.is_some();
        if let Some(leader) = leader {
            let inner = self.itself()?;
            let flight = inner.fly(leader, loader, fallback, away);
            spawn(flight)?;
        }
        if !leads {
            self.counters.one(Count::Coalesced);
        }
        let landed = self.landed(key, follower).await?;
        // A flight that was joined may have begun before something that nobody could ask.
        let degraded = landed.degraded || is_away;
        Ok(self.serve(landed.held, landed.source, landed.stale, degraded))
    }

    /// What a flight came to, or answered before, as far as that may be served now.
    pub(super) async fn landed(&self, key: &str, follower: Follower<T>) -> Outcome<T> {
        let fits = |landed: &Landed<T>, late: bool| {
            let now = self.now();
            if late {
                return self.saves(&landed.held, now);
            }
            landed.held.meta().holds() && now < self.served_until(&landed.held)
        };
        // Longer than any flight takes, for one whose runtime does not run any more.
        let patience = 2 * self.settings.longest_load();
        let outcome = tokio::time::timeout(patience, follower.outcome(fits)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            self.flights.detach(key);
            Err(CacheError::Runtime)
        });
        let outcome = outcome.inspect_err(|_| self.counters.one(Count::Misses));
        let (mut landed, is_over) = outcome?;
        if !is_over {
            landed.stale = self.now() >= landed.held.meta().fresh_until_us;
        }
        Ok(landed)
    }

    /// Compares memory with the store, if that was too long ago, and begins to in the
    /// background, if it is time. Where there is something to serve meanwhile, callers
    /// do not wait longer than the settings say.
    pub(super) async fn compared(&self, serves: impl FnOnce() -> bool) -> Result<(), Error> {
        let now = self.now();
        if self.is_trusted(now) {
            self.hub.bus.verify_if_due(now);
            return Ok(());
        }
        let verify = self.verify();
        let soft = self.settings.store_soft_timeout.filter(|_| serves());
        let Some(patience) = soft else {
            return verify.await;
        };
        match tokio::time::timeout(patience, verify).await {
            Ok(verified) => verified,
            Err(_) => Err(Error::Unavailable(Why::Timeout(patience))),
        }
    }

    /// Whether memory has something of a key that may be served though the store is away.
    pub(super) fn has_lasting(&self, key: &str) -> bool {
        let now = self.now();
        matches!(self.look(key, now), Look::Doubtful(held) if self.outlasts(&held, now))
    }

    /// Loads in the background.
    fn refresh(&self, key: &str, loader: Loader<T>, fallback: Option<Held<T>>) {
        let (_, Some(leader)) = self.flights.join(key) else {
            return;
        };
        let Ok(inner) = self.itself() else { return };
        if let Some(held) = &fallback {
            leader.answer(self.in_memory(held, false));
        }
        let flight = inner.fly(leader, loader, fallback, None);
        let _ = spawn(flight);
    }

    /// One flight, from the store to the loader and back.
    async fn fly(
        self: Arc<Self>,
        leader: Leader<T>,
        loader: Loader<T>,
        fallback: Option<Held<T>>,
        away: Option<Error>,
    ) {
        let key: Box<str> = leader.key().into();
        let mut begun = self.begin(&key);
        let mut fallback = self.still(&key, fallback);
        let mut failure = away;
        if failure.is_none() {
            match self.read_softly(&key, &leader, fallback.as_ref()).await {
                Ok(stored) => {
                    begun.seen = Some(stored.seen);
                    match self.use_stored(&key, stored.held, &begun, &leader) {
                        Used::Landed => return,
                        Used::Saves(held) => fallback = Some(held),
                        Used::Not => {
                            fallback = begun.unless_replaced(fallback, self.is_shared());
                        }
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_none() {
            // What is known of tags before the loader runs is what its value may have.
            failure = self.prime().await.err();
        }
        if let Some(error) = &failure
            && self.settings.policy == Policy::Closed
        {
            leader.land(Err(error.clone().into()));
            return;
        }
        let mut claimed = None;
        if self.settings.across && failure.is_none() {
            match self.agree(&key, &mut begun, &mut fallback, &leader).await {
                Agreed::Landed => return,
                Agreed::Loads(claim) => claimed = claim,
            }
        }
        // Memory's clock for tags is read once all that is known is known.
        begun.moment = self.tags.tick();
        begun.stamp = self.hub.stamp();
        let outcome = self.load(loader, fallback.clone(), &begun, &leader).await;
        match outcome {
            Ok(loaded) => {
                let landed = self.land(&key, loaded, fallback.as_ref(), &begun).await;
                leader.land(landed);
            }
            Err(error) => leader.land(self.save(&key, fallback, &begun, error)),
        }
        if let Some(claim) = claimed {
            claim.give_back().await;
            self.billed(3);
        }
    }

    /// What is known before anything is read.
    pub(super) fn begin(&self, key: &str) -> Begun {
        Begun {
            ticket: self.memory.ticket(key),
            moment: self.tags.tick(),
            at_us: self.now(),
            stamp: self.hub.stamp(),
            seen: None,
        }
    }

    /// A value that memory had, if it has it still, after the ticket was taken: so none
    /// comes back that was invalidated before.
    pub(super) fn still(&self, key: &str, held: Option<Held<T>>) -> Option<Held<T>> {
        held.filter(|held| self.memory.has(key, held) && self.saves(held, self.now()))
    }

    /// Reads the store. Where that takes long and there is a stale value, who waits
    /// gets that.
    async fn read_softly(
        &self,
        key: &str,
        leader: &Leader<T>,
        fallback: Option<&Held<T>>,
    ) -> Result<Stored<T>, Error> {
        let reading = self.read(key);
        let Some(held) = fallback else {
            return reading.await;
        };
        let late = || leader.answer_late(self.in_memory(held, true));
        patiently(self.settings.store_soft_timeout, reading, late).await
    }

    pub(super) fn in_memory(&self, held: &Held<T>, degraded: bool) -> Landed<T> {
        Landed {
            stale: self.now() >= held.meta().fresh_until_us,
            held: held.clone(),
            source: Source::Memory,
            degraded,
        }
    }

    /// Lands with what the store had, if that will do.
    pub(super) fn use_stored(
        &self,
        key: &str,
        held: Option<Held<T>>,
        begun: &Begun,
        leader: &Leader<T>,
    ) -> Used<T> {
        let Some(held) = held else {
            return Used::Not;
        };
        let now = self.now();
        let meta = held.meta();
        let landed = Landed {
            held: held.clone(),
            source: Source::Store,
            stale: now >= meta.fresh_until_us,
            degraded: false,
        };
        if !landed.stale {
            self.memory.put(key, held.clone(), begun.ticket);
            // One that is to be loaded ahead of its end is served, and loaded.
            if now >= meta.eager_us {
                leader.answer(landed);
                return Used::Saves(held);
            }
            leader.land(Ok(landed));
            return Used::Landed;
        }
        if now
            < meta
                .fresh_until_us
                .saturating_add(micros(self.settings.stale))
        {
            self.memory.put(key, held.clone(), begun.ticket);
            leader.answer(landed);
            return Used::Saves(held);
        }
        if self.saves(&held, now) {
            Used::Saves(held)
        } else {
            Used::Not
        }
    }

    /// Agrees with other instances on who loads.
    async fn agree(
        &self,
        key: &str,
        begun: &mut Begun,
        fallback: &mut Option<Held<T>>,
        leader: &Leader<T>,
    ) -> Agreed {
        let began = tokio::time::Instant::now();
        let billed = self.hub.store.dialect() == Dialect::Upstash;
        let longest = if billed { WAITS_BILLED } else { WAITS.1 };
        let mut wait = WAITS.0;
        loop {
            self.billed(1);
            let lease = self.settings.lease;
            let claiming = claim(&self.hub.store, self.keys.flight(key), lease);
            let Ok(claimed) = self.in_time(claiming).await else {
                // It saves loads, no more.
                return Agreed::Loads(None);
            };
            if claimed.is_none() {
                tokio::time::sleep(wait).await;
                wait = (wait * 3 / 2).min(longest);
            }
            // Another one may have loaded before this claim, or since.
            let ticket = self.memory.ticket(key);
            let at_us = self.now();
            let Ok(stored) = self.read(key).await else {
                return Agreed::Loads(claimed);
            };
            let was = begun.seen.replace(stored.seen);
            begun.ticket = ticket;
            begun.at_us = at_us;
            let other = stored.held.filter(|_| was != begun.seen);
            if was != begun.seen {
                *fallback = other.clone().filter(|held| self.saves(held, self.now()));
            }
            let fresh = other.filter(|held| self.now() < held.meta().fresh_until_us);
            if let Some(held) = fresh {
                self.memory.put(key, held.clone(), ticket);
                leader.land(Ok(Landed {
                    held,
                    source: Source::Store,
                    stale: false,
                    degraded: false,
                }));
                if let Some(claim) = claimed {
                    claim.give_back().await;
                    self.billed(3);
                }
                return Agreed::Landed;
            }
            if claimed.is_some() || began.elapsed() >= self.settings.hard_timeout {
                return Agreed::Loads(claimed);
            }
        }
    }

    /// Runs a loader within its time.
    async fn load(
        &self,
        loader: Loader<T>,
        fallback: Option<Held<T>>,
        begun: &Begun,
        leader: &Leader<T>,
    ) -> Result<Loaded<T>, CacheError> {
        let former = fallback.clone().and_then(|held| {
            let landed = self.in_memory(&held, false);
            let age = self.now().saturating_sub(held.meta().made_us);
            let Held::Value(entry) = held else {
                return None;
            };
            Some(Found {
                entry,
                source: landed.source,
                age: Duration::from_micros(age),
                stale: landed.stale,
                degraded: false,
            })
        });
        self.counters.one(Count::Loads);
        if leader.has_answered() {
            self.counters.one(Count::Refreshes);
        }
        let loading = run(move || loader(Former(former)));
        let loading = tokio::time::timeout(self.settings.hard_timeout, loading);
        let loaded = match &fallback {
            None => loading.await,
            Some(held) => {
                let degraded = begun.seen.is_none();
                let late = || leader.answer_late(self.in_memory(held, degraded));
                patiently(self.settings.soft_timeout, loading, late).await
            }
        };
        let Ok(loaded) = loaded else {
            self.counters.one(Count::LoadTimeouts);
            return Err(CacheError::Timeout(self.settings.hard_timeout));
        };
        loaded.inspect_err(|_| self.counters.one(Count::LoadFailures))
    }

    /// A load failed: the stale value, if there is one, and no other load for a while.
    pub(super) fn save(
        &self,
        key: &str,
        fallback: Option<Held<T>>,
        begun: &Begun,
        error: CacheError,
    ) -> Outcome<T> {
        let now = self.now();
        let Some(held) = fallback.filter(|held| self.saves(held, now)) else {
            return Err(error);
        };
        tracing::warn!(cache = %self.name, %error, "a stale value is served, for loading it failed");
        let meta = held.meta();
        let retry = now.saturating_add(micros(self.settings.throttle));
        meta.retry_us.store(retry, Ordering::Relaxed);
        self.memory.put(key, held.clone(), begun.ticket);
        Ok(self.in_memory(&held, begun.seen.is_none()))
    }

    /// Keeps what was loaded, in both tiers.
    async fn land(
        &self,
        key: &str,
        loaded: Loaded<T>,
        fallback: Option<&Held<T>>,
        begun: &Begun,
    ) -> Outcome<T> {
        let prepared = self.prepare(loaded, fallback, Some(begun.stamp))?;
        let degraded = begun.seen.is_none();
        let landed = |held, degraded| Landed {
            held,
            source: Source::Loader,
            stale: false,
            degraded,
        };
        let Some(seen) = begun.seen.as_ref().filter(|_| prepared.is_kept()) else {
            let held = if degraded && prepared.is_kept() {
                self.hold(key, prepared, begun)
            } else {
                prepared.unkept()
            };
            return Ok(landed(held, degraded));
        };
        let Some(_filling) = self.may_fill(key, &prepared, begun) else {
            self.counters.one(Count::Overtaken);
            return Ok(landed(prepared.unkept(), false));
        };
        let sealed = self.seal(&prepared, Some(begun.moment)).await;
        let written = match sealed {
            Ok(Some(sealed)) => {
                let fill = async {
                    self.track(&[(key, &prepared)]).await?;
                    self.fill(key, seen, &sealed.bytes, sealed.ttl).await
                };
                let filled = self.in_time(fill).await;
                filled.map(|filled| filled.then_some(sealed))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let written = match written {
            Ok(Some(sealed)) => {
                let filled = Filled {
                    key,
                    prepared: &prepared,
                    bytes: &sealed.bytes,
                    begun,
                };
                let stays = self.take_back(&[filled]).await == [true];
                Ok(stays.then_some(sealed))
            }
            other => other,
        };
        match written {
            Ok(Some(sealed)) => {
                let held = self.with_marks(prepared, sealed);
                self.memory.put(key, held.clone(), begun.ticket);
                Ok(landed(held, false))
            }
            Ok(None) => {
                self.counters.one(Count::Overtaken);
                Ok(landed(prepared.unkept(), false))
            }
            Err(error) => {
                if self.settings.policy == Policy::Closed {
                    return Err(error.into());
                }
                Ok(landed(self.hold(key, prepared, begun), true))
            }
        }
    }

    /// Whether a load took so long that a deletion's mark may be gone before what was
    /// loaded is written, or, where deletions leave none, its key was written meanwhile.
    pub(super) fn is_overtaken(&self, begun: &Begun) -> bool {
        let longest = micros(self.settings.longest_loading());
        self.now().saturating_sub(begun.at_us) >= longest
            || (self.is_shared() && !self.memory.is_valid(begun.ticket))
    }

    /// Keeps what was loaded in memory alone.
    pub(super) fn hold(&self, key: &str, prepared: Prepared<T>, begun: &Begun) -> Held<T> {
        let held = self.degraded(prepared);
        if !self.was_touched(&held, begun.moment) {
            self.memory.put(key, held.clone(), begun.ticket);
        }
        held
    }

    /// Writes what was loaded over what was seen; whether that still stood there.
    pub(super) async fn fill(
        &self,
        key: &str,
        seen: &Seen,
        bytes: &[u8],
        ttl: Duration,
    ) -> Result<bool, Error> {
        let (store, name) = (&self.hub.store, self.keys.value(key));
        match seen {
            Seen::Absent => {
                self.billed(1);
                store.set_if_absent(&name, bytes, Ttl::In(ttl)).await
            }
            Seen::Head(whole) if self.is_shared() => {
                self.billed(3);
                store.atomic(&replacement(&name, whole, bytes, ttl)).await
            }
            Seen::Head(head) => {
                self.billed(3);
                let op = Fill {
                    key: &name,
                    seen: head,
                    value: bytes,
                    ttl: Ttl::In(ttl),
                };
                store.atomic(&op).await
            }
        }
    }
}

/// Other apps' value, in place of the one that was seen.
pub(super) fn replacement<'a>(
    key: &'a [u8],
    seen: &'a [u8],
    value: &'a [u8],
    ttl: Duration,
) -> CompareAndSet<'a> {
    CompareAndSet {
        key,
        expected: Some(seen),
        value,
        ttl: Ttl::In(ttl),
    }
}

/// What the store's value is good for.
pub(super) enum Used<T> {
    /// It is the answer.
    Landed,
    /// It may be the answer where loading fails.
    Saves(Held<T>),
    /// Nothing.
    Not,
}

enum Agreed {
    Landed,
    Loads(Option<Claim>),
}

/// Waits for some work to end, and is late once, when it has taken so long.
pub(super) async fn patiently<W: Future>(
    patience: Option<Duration>,
    work: W,
    late: impl FnOnce(),
) -> W::Output {
    let Some(patience) = patience else {
        return work.await;
    };
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
        return done;
    }
    late();
    work.await
}

/// Runs a loader; a panic is an error.
pub(super) async fn run<L>(loader: impl FnOnce() -> Loading<L> + Send) -> Result<L, CacheError> {
    let loading = async move { loader().await };
    match AssertUnwindSafe(loading).catch_unwind().await {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(error)) => Err(CacheError::Loader(error.into())),
        Err(panic) => Err(CacheError::panicked(&*panic)),
    }
}

pub(super) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Result<(), CacheError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| CacheError::Runtime)?;
    runtime.spawn(work.in_current_span());
    Ok(())
}
