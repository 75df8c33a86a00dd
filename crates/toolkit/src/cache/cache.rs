//! What callers do with a cache.

use std::fmt;
use std::sync::Arc;

use super::error::CacheError;
use super::fetch::{BoxError, Loader};
use super::finish::finish;
use super::found::{Found, Lookup, Source};
use super::hub::{Hub, Member as _};
use super::inner::{Inner, Look, Value};
use super::key::{Keys, TagId};
use super::loaded::{Former, Loaded};
use super::memory::Held;
use super::report::{Count, Stats};
use super::settings::{Policy, Settings};
use super::write::Reach;

/// A cache of one name for values of one type. Cloning it costs a reference count.
pub struct Cache<T>(pub(super) Arc<Inner<T>>);

impl<T: Value> Cache<T> {
    pub(super) fn new(hub: &Arc<Hub>, name: &str, settings: Settings) -> Self {
        Cache(Inner::new(hub, name, settings))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// A value that this process has in memory and may serve as it is. Asks nothing,
    /// waits for nothing.
    pub fn peek(&self, key: &str) -> Option<Found<T>> {
        self.0.hit(key)
    }

    /// The value of a key; none, where there is none or there is known to be nothing, and
    /// where the store is away and memory has none ([`lookup`](Self::lookup) tells).
    pub async fn get(&self, key: &str) -> Result<Option<Found<T>>, CacheError> {
        if let Some(found) = self.0.hit(key) {
            return Ok(Some(found));
        }
        Keys::check(key)?;
        Ok(self.0.get_slowly(key).await?.found)
    }

    /// The same, and whether the store could say.
    pub async fn lookup(&self, key: &str) -> Result<Lookup<T>, CacheError> {
        if let Some(found) = self.0.hit(key) {
            let degraded = found.degraded;
            let found = Some(found);
            return Ok(Lookup { found, degraded });
        }
        Keys::check(key)?;
        self.0.get_slowly(key).await
    }

    /// The value of a key, or what `loader` makes of it, which is kept. Of those who
    /// ask at once one loads. The loader is told of the former value; it may be a plain
    /// value that it answers, or [`Loaded`] with a time to live and tags of its own.
    ///
    /// ```
    /// # use sangam::{cache::{Caches, Loaded, Settings}, store::Store};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let names = Caches::new(Store::memory()).cache::<String>("names", Settings::default())?;
    /// let found = names
    ///     .get_or_set("7", |_| async {
    ///         Ok::<_, std::io::Error>(Loaded::value("Ann".to_owned()).tags(["people"]))
    ///     })
    ///     .await?;
    /// assert_eq!(*found, "Ann");
    /// names.invalidate_tag("people").await?;
    /// assert!(names.get("7").await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the loader failed with, where there is nothing to serve instead; and
    /// [`CacheError::Nothing`] where it found nothing: see [`find`](Self::find).
    pub async fn get_or_set<L, F, R, E>(&self, key: &str, loader: L) -> Result<Found<T>, CacheError>
    where
        L: FnOnce(Former<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<T>>,
        E: Into<BoxError>,
    {
        self.find(key, loader).await?.ok_or(CacheError::Nothing)
    }

    /// The same for what may not exist: a loader that answers `None` is remembered too.
    pub async fn find<L, F, R, E>(
        &self,
        key: &str,
        loader: L,
    ) -> Result<Option<Found<T>>, CacheError>
    where
        L: FnOnce(Former<T>) -> F + Send + 'static,
        F: Future<Output = Result<R, E>> + Send + 'static,
        R: Into<Loaded<T>>,
        E: Into<BoxError>,
    {
        if let Some(found) = self.0.hit(key) {
            return Ok(Some(found));
        }
        Keys::check(key)?;
        let loader: Loader<T> = Box::new(move |former| {
            Box::pin(async move { loader(former).await.map(Into::into).map_err(Into::into) })
        });
        Box::pin(self.0.fetch(key, loader)).await
    }

    /// Writes a value, or [`Loaded`] with a time to live and tags.
    pub async fn set(&self, key: &str, value: impl Into<Loaded<T>>) -> Result<Reach, CacheError> {
        self.0.set(key, value.into()).await
    }

    /// Removes a key's value.
    pub async fn delete(&self, key: &str) -> Result<Reach, CacheError> {
        self.0.delete_all(&[key]).await
    }

    /// Removes the values of several keys: one round trip for 500.
    pub async fn delete_many(&self, keys: &[&str]) -> Result<Reach, CacheError> {
        self.0.delete_all(keys).await
    }

    /// Whether a key has a value that holds.
    pub async fn exists(&self, key: &str) -> Result<bool, CacheError> {
        Ok(self.get(key).await?.is_some())
    }

    /// Invalidates all values that have a tag, in constant time. Of a
    /// [shared](super::Shared) cache: the keys that are in the set of that name.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<Reach, CacheError> {
        self.invalidate_tags(&[tag]).await
    }

    /// The same for several tags.
    pub async fn invalidate_tags(&self, tags: &[&str]) -> Result<Reach, CacheError> {
        let ids: Result<Vec<TagId>, CacheError> = tags.iter().map(|it| TagId::new(it)).collect();
        let ids = ids?;
        if !self.0.is_shared() {
            return self.0.invalidate_tags(&ids).await;
        }
        let mut reach = Reach::Everywhere;
        for tag in tags {
            let (inner, tag) = (self.0.clone(), (*tag).to_owned());
            let emptied = finish(async move { inner.invalidate_set(&tag).await });
            reach = reach.and(emptied.await?);
        }
        Ok(reach)
    }

    /// Invalidates all values of the cache, in constant time.
    ///
    /// # Errors
    /// Of a [shared](super::Shared) cache nobody knows the keys: it cannot be cleared.
    pub async fn clear(&self) -> Result<Reach, CacheError> {
        if self.0.is_shared() {
            let text = "`shared`: nobody knows the keys of a shared cache, so that it cannot be cleared: invalidate its tags";
            return Err(CacheError::Setting(text.to_owned()));
        }
        self.0.invalidate_tags(&[TagId::ALL]).await
    }

    /// What it did in this process, and what it holds.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

impl<T: Value> Inner<T> {
    async fn get_slowly(&self, key: &str) -> Result<Lookup<T>, CacheError> {
        let away = self.compared(|| self.has_lasting(key)).await.err();
        let now = self.now();
        let fallback = match self.look(key, now) {
            Look::Fresh(held) | Look::Eager(held) => {
                return Ok(self.looked_up(held, false, false));
            }
            Look::Stale(held) => return Ok(self.looked_up(held, true, false)),
            Look::Doubtful(held) => Some(held),
            Look::Nothing => None,
        };
        let was_asked = away.is_none();
        let read = match away {
            Some(error) => Err(error),
            None => self.read_one(key).await,
        };
        match read {
            Ok(found) => Ok(Lookup {
                found,
                degraded: false,
            }),
            Err(error) if self.settings.policy == Policy::Closed => Err(error.into()),
            // The store's own word on this key, such as a value of another type.
            Err(error @ sangam_store::Error::Command(_)) if was_asked => Err(error.into()),
            Err(_) => {
                let now = self.now();
                let Some(held) = fallback.filter(|held| self.outlasts(held, now)) else {
                    self.counters.one(Count::Misses);
                    self.counters.one(Count::Degraded);
                    return Ok(Lookup {
                        found: None,
                        degraded: true,
                    });
                };
                let stale = now >= held.meta().fresh_until_us;
                Ok(self.looked_up(held, stale, true))
            }
        }
    }

    /// What memory has, as an answer.
    fn looked_up(&self, held: Held<T>, stale: bool, degraded: bool) -> Lookup<T> {
        let degraded = degraded || held.meta().degraded;
        Lookup {
            found: self.serve(held, Source::Memory, stale, degraded),
            degraded,
        }
    }

    /// A value out of the store, which memory has from now on.
    async fn read_one(&self, key: &str) -> Result<Option<Found<T>>, sangam_store::Error> {
        let ticket = self.memory.ticket(key);
        let held = self.read(key).await?.held;
        let now = self.now();
        let held = held.filter(|held| now < self.served_until(held));
        let Some(held) = held else {
            self.counters.one(Count::Misses);
            return Ok(None);
        };
        self.memory.put(key, held.clone(), ticket);
        let stale = now >= held.meta().fresh_until_us;
        Ok(self.serve(held, Source::Store, stale, false))
    }
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
