//! Several keys at once: two round trips, however many miss.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sangam_engine::Reply;
use sangam_store::{Commands, Error, Ttl};

use super::cache::Cache;
use super::error::CacheError;
use super::fetch::{Begun, BoxError, Loading, Used, patiently, replacement, run, spawn};
use super::flight::{Landed, Leader, Outcome};
use super::found::{Found, Source};
use super::inner::{Inner, Look, Value};
use super::key::Keys;
use super::loaded::Loaded;
use super::memory::{Held, Ticket};
use super::op::{Fill, push as push_op};
use super::prepared::{Prepared, Sealed};
use super::report::Count;
use super::settings::Policy;
use super::shared::{Filled, Filling};
use super::stored::Seen;
use super::write::Reach;

type Loads<T> = HashMap<String, Loaded<T>>;
type BatchLoader<T> = Box<dyn FnOnce(Vec<String>) -> Loading<Loads<T>> + Send>;

/// A key of a batch that this flight loads.
struct Flown<T> {
    leader: Leader<T>,
    begun: Begun,
    fallback: Option<Held<T>>,
}

impl<T: Value> Cache<T> {
    /// The values of several keys, in their order; none where there is none.
    pub async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Found<T>>>, CacheError> {
        for key in keys {
            Keys::check(key)?;
        }
        Box::pin(self.0.get_all(keys)).await
    }

    /// Writes several values. All are checked before any is written; one round trip for
    /// 500.
    pub async fn set_many<K, V>(
        &self,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Reach, CacheError>
    where
        K: Into<Box<str>>,
        V: Into<Loaded<T>>,
    {
        let values = values.into_iter();
        let values = values.map(|(key, value)| (key.into(), value.into()));
        let (reach, _) = self.0.set_all(values.collect()).await?;
        Ok(reach)
    }

    /// The values of several keys, in their order. Those that miss are loaded by one
    /// call of `loader`, which is told which they are; a key that it leaves out has
    /// nothing, which is remembered. A key that another call loads already is waited
    /// for.
    ///
    /// ```
    /// # use sangam::{cache::{Caches, Settings}, store::Store};
    /// # use std::collections::HashMap;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let squares = Caches::new(Store::memory()).cache::<u64>("squares", Settings::default())?;
    /// let found = squares
    ///     .get_or_set_many(&["2", "3", "x"], |missing| async move {
    ///         let numbers = missing.into_iter().filter_map(|key| {
    ///             let number: u64 = key.parse().ok()?;
    ///             Some((key, number * number))
    ///         });
    ///         Ok::<_, std::io::Error>(numbers.collect::<HashMap<_, _>>())
    ///     })
    ///     .await?;
    /// let found: Vec<_> = found.iter().map(|it| it.as_deref().copied()).collect();
    /// assert_eq!(found, [Some(4), Some(9), None]);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_set_many<L, F, R, I, E>(
        &self,
        keys: &[&str],
        loader: L,
    ) -> Result<Vec<Option<Found<T>>>, CacheError>
    where
        L: FnOnce(Vec<String>) -> F + Send + 'static,
        F: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (String, R)>,
        R: Into<Loaded<T>>,
        E: Into<BoxError>,
    {
        for key in keys {
            Keys::check(key)?;
        }
        let loader: BatchLoader<T> = Box::new(move |missing| {
            Box::pin(async move {
                let loaded = loader(missing).await.map_err(Into::into)?;
                let loaded = loaded.into_iter();
                Ok(loaded.map(|(key, value)| (key, value.into())).collect())
            })
        });
        Box::pin(self.0.fetch_all(keys, loader)).await
    }
}

impl<T: Value> Inner<T> {
    async fn get_all(&self, keys: &[&str]) -> Result<Vec<Option<Found<T>>>, CacheError> {
        let away = self.compared(|| false).await.err();
        let now = self.now();
        let mut found: Vec<Option<Found<T>>> = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (place, key) in keys.iter().copied().enumerate() {
            let served = match self.look(key, now) {
                Look::Fresh(held) | Look::Eager(held) => {
                    self.serve(held, Source::Memory, false, false)
                }
                Look::Stale(held) => self.serve(held, Source::Memory, true, false),
                Look::Doubtful(held) => {
                    missing.push((place, key, Some(held)));
                    None
                }
                Look::Nothing => {
                    missing.push((place, key, None));
                    None
                }
            };
            found.push(served);
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let asked: Vec<&str> = missing.iter().map(|(_, key, _)| *key).collect();
        let tickets: Vec<Ticket> = asked.iter().map(|key| self.memory.ticket(key)).collect();
        let was_asked = away.is_none();
        let reading = async {
            if let Some(error) = away {
                return Err(error);
            }
            self.read_many(&asked).await
        };
        let stored = match reading.await {
            Ok(stored) => stored.into_iter().map(Some).collect(),
            Err(error) if self.settings.policy == Policy::Closed => return Err(error.into()),
            Err(error @ Error::Command(_)) if was_asked => return Err(error.into()),
            Err(_) => Vec::new(),
        };
        let mut stored = stored.into_iter();
        let now = self.now();
        for ((place, key, fallback), ticket) in missing.into_iter().zip(tickets) {
            let answer = match stored.next().flatten() {
                Some(stored) => {
                    let held = stored.held.filter(|held| now < self.served_until(held));
                    held.and_then(|held| {
                        self.memory.put(key, held.clone(), ticket);
                        let stale = now >= held.meta().fresh_until_us;
                        self.serve(held, Source::Store, stale, false)
                    })
                }
                None => fallback
                    .filter(|held| self.outlasts(held, now))
                    .and_then(|held| {
                        let stale = now >= held.meta().fresh_until_us;
                        self.serve(held, Source::Memory, stale, true)
                    }),
            };
            if answer.is_none() {
                self.counters.one(Count::Misses);
            }
            if let Some(place) = found.get_mut(place) {
                *place = answer;
            }
        }
        Ok(found)
    }

    async fn fetch_all(
        &self,
        keys: &[&str],
        loader: BatchLoader<T>,
    ) -> Result<Vec<Option<Found<T>>>, CacheError> {
        let away = self.compared(|| false).await.err();
        if let Some(error) = away
            .as_ref()
            .filter(|_| self.settings.policy == Policy::Closed)
        {
            return Err(error.clone().into());
        }
        let now = self.now();
        let mut found: Vec<Option<Found<T>>> = Vec::with_capacity(keys.len());
        let mut waiting = Vec::new();
        let mut flown = Vec::new();
        for (place, key) in keys.iter().copied().enumerate() {
            let (served, fallback, loads) = match self.look(key, now) {
                Look::Fresh(held) => (Some((held, false, false)), None, false),
                Look::Eager(held) => (Some((held.clone(), false, false)), Some(held), true),
                Look::Stale(held) => {
                    let loads = now >= held.meta().retry_us.load(Ordering::Relaxed);
                    (Some((held.clone(), true, false)), Some(held), loads)
                }
                Look::Doubtful(held) if away.is_some() && self.outlasts(&held, now) => {
                    let stale = now >= held.meta().fresh_until_us;
                    (Some((held, stale, true)), None, false)
                }
                Look::Doubtful(held) => (None, Some(held), true),
                Look::Nothing => (None, None, true),
            };
            let waits = served.is_none();
            found.push(served.and_then(|(held, stale, degraded)| {
                self.serve(held, Source::Memory, stale, degraded)
            }));
            if !loads {
                continue;
            }
            let (follower, leader) = self.flights.join(key);
            let leads = leader.is_some();
            if let Some(leader) = leader {
                let begun = self.begin(key);
                let fallback = self.still(key, fallback);
                if let Some(held) = fallback.as_ref().filter(|_| !waits) {
                    leader.answer(self.in_memory(held, false));
                }
                flown.push(Flown {
                    leader,
                    begun,
                    fallback,
                });
            }
            if waits {
                waiting.push((place, follower, leads));
            }
        }
        let is_away = away.is_some();
        if !flown.is_empty() {
            let inner = self.itself()?;
            spawn(inner.fly_all(flown, loader, away))?;
        }
        for (place, follower, leads) in waiting {
            if !leads {
                self.counters.one(Count::Coalesced);
            }
            let key = keys.get(place).copied().unwrap_or_default();
            let landed = self.landed(key, follower).await?;
            let degraded = landed.degraded || is_away;
            let served = self.serve(landed.held, landed.source, landed.stale, degraded);
            if let Some(place) = found.get_mut(place) {
                *place = served;
            }
        }
        Ok(found)
    }

    /// One flight for several keys.
    async fn fly_all(
        self: Arc<Self>,
        mut flown: Vec<Flown<T>>,
        loader: BatchLoader<T>,
        away: Option<Error>,
    ) {
        let mut failure = away;
        if failure.is_none() {
            let keys: Vec<&str> = flown.iter().map(|it| it.leader.key()).collect();
            match self.read_many(&keys).await {
                Ok(stored) => {
                    let mut missing = Vec::new();
                    for (mut it, stored) in flown.into_iter().zip(stored) {
                        it.begun.seen = Some(stored.seen);
                        let key: Box<str> = it.leader.key().into();
                        match self.use_stored(&key, stored.held, &it.begun, &it.leader) {
                            Used::Landed => continue,
                            Used::Saves(held) => it.fallback = Some(held),
                            Used::Not => {
                                let is_shared = self.is_shared();
                                it.fallback = it.begun.unless_replaced(it.fallback, is_shared);
                            }
                        }
                        missing.push(it);
                    }
                    flown = missing;
                }
                Err(error) => failure = Some(error),
            }
        }
        if flown.is_empty() {
            return;
        }
        if failure.is_none() {
            failure = self.prime().await.err();
        }
        if let Some(error) = &failure
            && self.settings.policy == Policy::Closed
        {
            for it in &flown {
                it.leader.land(Err(error.clone().into()));
            }
            return;
        }
        let moment = self.tags.tick();
        let stamp = self.hub.stamp();
        for it in &mut flown {
            it.begun.moment = moment;
            it.begun.stamp = stamp;
        }
        let missing: Vec<String> = flown.iter().map(|it| it.leader.key().to_owned()).collect();
        self.counters.one(Count::Loads);
        if flown.iter().all(|it| it.leader.has_answered()) {
            self.counters.one(Count::Refreshes);
        }
        let patience = self.settings.hard_timeout;
        let loading = tokio::time::timeout(patience, run(move || loader(missing)));
        let late = || {
            for it in &flown {
                if let Some(held) = &it.fallback {
                    it.leader
                        .answer_late(self.in_memory(held, failure.is_some()));
                }
            }
        };
        let loaded = patiently(self.settings.soft_timeout, loading, late).await;
        match loaded {
            Ok(Ok(loaded)) => self.land_all(flown, loaded).await,
            Ok(Err(error)) => {
                self.counters.one(Count::LoadFailures);
                self.save_all(flown, &error);
            }
            Err(_) => {
                self.counters.one(Count::LoadTimeouts);
                self.save_all(flown, &CacheError::Timeout(patience));
            }
        }
    }

    fn save_all(&self, flown: Vec<Flown<T>>, error: &CacheError) {
        for it in flown {
            let key: Box<str> = it.leader.key().into();
            let saved = self.save(&key, it.fallback, &it.begun, error.clone());
            it.leader.land(saved);
        }
    }

    /// Keeps what was loaded: one round trip.
    async fn land_all(&self, flown: Vec<Flown<T>>, mut loaded: Loads<T>) {
        let mut ready: Vec<(Flown<T>, Prepared<T>)> = Vec::with_capacity(flown.len());
        for it in flown {
            let loaded = loaded
                .remove(it.leader.key())
                .unwrap_or_else(Loaded::nothing);
            match self.prepare(loaded, it.fallback.as_ref(), Some(it.begun.stamp)) {
                Ok(prepared) => ready.push((it, prepared)),
                Err(error) => it.leader.land(Err(error)),
            }
        }
        let fits = |(it, prepared): &(Flown<T>, Prepared<T>)| {
            let may_be_kept = it.begun.seen.is_some() && prepared.is_kept();
            let may_fill = || self.may_fill(it.leader.key(), prepared, &it.begun);
            may_be_kept.then(may_fill).flatten()
        };
        let fillings: Vec<Option<Filling>> = ready.iter().map(fits).collect();
        let fit: Vec<bool> = fillings.iter().map(Option::is_some).collect();
        let kept = ready.iter().zip(&fit).filter(|(_, fits)| **fits);
        let kept: Vec<&Prepared<T>> = kept.map(|((_, it), _)| it).collect();
        // All of one flight began at one moment.
        let began = ready.first().map(|(it, _)| it.begun.moment);
        let sealed = if kept.is_empty() {
            Ok(Vec::new())
        } else {
            self.seal_all(&kept, began).await
        };
        let mut failed = sealed.as_ref().err().cloned();
        let mut sealed = sealed.unwrap_or_default().into_iter();
        let tracked = ready.iter().zip(&fit).filter(|(_, fits)| **fits);
        let tracked: Vec<(&str, &Prepared<T>)> = tracked
            .map(|((it, prepared), _)| (it.leader.key(), prepared))
            .collect();
        // Without its place in a set a key would not be found when that is invalidated.
        if failed.is_none() && self.is_shared() {
            failed = self.in_time(self.track(&tracked)).await.err();
        }
        let mut commands = Commands::new();
        let mut sent: Vec<Option<Sealed>> = Vec::with_capacity(ready.len());
        for ((flown, _), fits) in ready.iter().zip(fit) {
            let it = fits
                .then(|| sealed.next().flatten())
                .flatten()
                .filter(|_| failed.is_none());
            if let (Some(sealed), Some(seen)) = (&it, &flown.begun.seen) {
                self.push_fill(&mut commands, flown.leader.key(), seen, sealed);
            }
            sent.push(it);
        }
        let store = &self.hub.store;
        let mut replies = Vec::new();
        let mut late = None;
        if !commands.is_empty() {
            let filling = async {
                replies = store.pipeline(&commands).await;
                answered(&replies)
            };
            late = self.in_time(filling).await.err();
        }
        let mut replies = replies.into_iter();
        let mut next = || {
            let missing = || Err(late.clone().unwrap_or_else(unfilled));
            replies.next().unwrap_or_else(missing)
        };
        let next = |sealed: &Option<Sealed>| sealed.as_ref().map(|_| next());
        let replies: Vec<_> = sent.iter().map(next).collect();
        let mut filled = Vec::new();
        for (((it, prepared), sealed), reply) in ready.iter().zip(&sent).zip(&replies) {
            if let (Some(sealed), Some(Ok(reply))) = (sealed, reply)
                && is_written(reply)
            {
                filled.push(Filled {
                    key: it.leader.key(),
                    prepared,
                    bytes: &sealed.bytes,
                    begun: &it.begun,
                });
            }
        }
        let mut stay = self.take_back(&filled).await.into_iter();
        let mut stays = |reply: &Reply| is_written(reply) && stay.next().unwrap_or(false);
        for (((it, prepared), sealed), reply) in ready.into_iter().zip(sent).zip(replies) {
            let reply = reply.map(|reply| reply.map(|reply| stays(&reply)));
            it.leader
                .land(self.settle(&it, prepared, sealed, reply, failed.as_ref()));
        }
        drop(fillings);
    }

    fn push_fill(&self, commands: &mut Commands, key: &str, seen: &Seen, sealed: &Sealed) {
        let name = self.keys.value(key);
        match seen {
            Seen::Absent => {
                self.billed(1);
                let ms = sealed.ttl.as_millis().max(1).to_string();
                commands.push(&[b"SET", &name, &sealed.bytes, b"PX", ms.as_bytes(), b"NX"]);
            }
            Seen::Head(whole) if self.is_shared() => {
                self.billed(3);
                let op = replacement(&name, whole, &sealed.bytes, sealed.ttl);
                push_op(commands, &op);
            }
            Seen::Head(head) => {
                self.billed(3);
                let op = Fill {
                    key: &name,
                    seen: head,
                    value: &sealed.bytes,
                    ttl: Ttl::In(sealed.ttl),
                };
                push_op(commands, &op);
            }
        }
    }

    /// What became of one key of a batch.
    fn settle(
        &self,
        it: &Flown<T>,
        prepared: Prepared<T>,
        sealed: Option<Sealed>,
        written: Option<Result<bool, Error>>,
        failed: Option<&Error>,
    ) -> Outcome<T> {
        let key = it.leader.key();
        let landed = |held, degraded| Landed {
            held,
            source: Source::Loader,
            stale: false,
            degraded,
        };
        match (sealed, written) {
            (Some(sealed), Some(Ok(written))) => {
                if !written {
                    self.counters.one(Count::Overtaken);
                    return Ok(landed(prepared.unkept(), false));
                }
                let held = self.with_marks(prepared, sealed);
                self.memory.put(key, held.clone(), it.begun.ticket);
                Ok(landed(held, false))
            }
            (None, _) if !prepared.is_kept() => {
                Ok(landed(prepared.unkept(), it.begun.seen.is_none()))
            }
            (None, _) if failed.is_none() && it.begun.seen.is_some() => {
                self.counters.one(Count::Overtaken);
                Ok(landed(prepared.unkept(), false))
            }
            (_, reply) => {
                if self.settings.policy == Policy::Closed {
                    let own = reply.and_then(Result::err).or_else(|| failed.cloned());
                    return Err(own.unwrap_or_else(unfilled).into());
                }
                Ok(landed(self.hold(key, prepared, &it.begun), true))
            }
        }
    }
}

/// Whether the store answered all of them, be it with a refusal.
fn answered(replies: &[Result<Reply, Error>]) -> Result<(), Error> {
    let is_away = |error: &&Error| matches!(error, Error::Unavailable(_) | Error::Indeterminate(_));
    let mut errors = replies.iter().filter_map(|reply| reply.as_ref().err());
    errors
        .find(is_away)
        .map_or(Ok(()), |error| Err(error.clone()))
}

fn unfilled() -> Error {
    Error::Reply("a reply to each command was expected".to_owned())
}

/// What the store answered to a fill.
fn is_written(reply: &Reply) -> bool {
    !matches!(reply, Reply::Null | Reply::Int(0))
}
