//! Writes: the store first, then memory; the other instances are told in the same step.
//!
//! While a key is written, what was read of it before or meanwhile cannot come into
//! memory, and nobody joins a load that began before; so once a write has ended, no read
//! of this process sees what was there before it. Where two writes of a key overlap,
//! memory has neither, and the next read asks the store which one was the last.

use sangam_engine::Reply;
use sangam_store::{Commands, Error};

use super::bus::Change;
use super::error::CacheError;
use super::finish::finish;
use super::hub::Member;
use super::inner::{Inner, Value, tag_ttl};
use super::key::{Keys, TagId};
use super::loaded::Loaded;
use super::memory::Ticket;
use super::pending::{Unsent, passes};
use super::prepared::{Prepared, Sealed};
use super::report::Count;
use super::settings::{Encoding, Policy};
use super::tags;
use super::value::{Envelope, Kind, Stamp};

/// Keys or tags that are written in one step.
pub(super) const TOGETHER: usize = 500;

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The store has it, and the other instances are told.
    Everywhere,
    /// Only this process has it: the store is away. It is sent when the store is back.
    Here,
}

impl Reach {
    /// The lesser of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Reach::Here { self } else { other }
    }
}

impl<T: Value> Inner<T> {
    pub(super) async fn set(&self, key: &str, loaded: Loaded<T>) -> Result<Reach, CacheError> {
        let (reach, _) = self.set_all(vec![(key.into(), loaded)]).await?;
        Ok(reach)
    }

    /// Writes several; how far they came, and how many there were. All of them are
    /// checked before any is written.
    pub(super) async fn set_all(
        &self,
        values: Vec<(Box<str>, Loaded<T>)>,
    ) -> Result<(Reach, usize), CacheError> {
        let mut prepared = Vec::with_capacity(values.len());
        for (key, loaded) in values {
            Keys::check(&key)?;
            prepared.push((key, self.prepare(loaded, None, None)?));
        }
        let count = prepared.len();
        self.counters.add(Count::Sets, count as u64);
        let mut reach = Reach::Everywhere;
        while !prepared.is_empty() {
            let rest = prepared.split_off(prepared.len().min(TOGETHER));
            let inner = self.itself()?;
            let set = finish(async move { inner.set_some(prepared).await });
            reach = reach.and(set.await?);
            prepared = rest;
        }
        Ok((reach, count))
    }

    async fn set_some(&self, prepared: Vec<(Box<str>, Prepared<T>)>) -> Result<Reach, CacheError> {
        let compared = if self.hub.bus.was_verified() {
            Ok(())
        } else {
            // The first comparison empties memory: better before it is filled.
            self.verify().await
        };
        let keys: Vec<Box<str>> = prepared.iter().map(|(key, _)| key.clone()).collect();
        let _alone = self.alone(&keys).await;
        let tickets = self.shut(&keys);
        let last = self.hub.pending.last();
        let began = self.tags.tick();
        let written = match compared {
            Ok(()) => self.write_all(&keys, &prepared).await,
            Err(error) => Err(error),
        };
        let failed = written.as_ref().err().cloned();
        let waits = failed.as_ref().is_some_and(|it| self.waits(it));
        let mut sealed = written.unwrap_or_default().into_iter();
        let mut held = Vec::with_capacity(keys.len());
        for ((key, prepared), ticket) in prepared.into_iter().zip(tickets) {
            let holds = match sealed.next() {
                Some(sealed) => Some(self.with_marks(prepared, sealed)),
                None if !waits => None,
                None => {
                    self.queue(&key, &prepared);
                    let held = prepared.is_kept().then(|| self.degraded(prepared));
                    held.filter(|held| !self.was_touched(held, began))
                }
            };
            held.push((key, holds, ticket));
        }
        self.memory.replace_all(held);
        self.open(&keys);
        self.reached(failed, &keys_changed(&keys), last)
    }

    /// Writes values into the store and tells the others.
    async fn write_all(
        &self,
        keys: &[Box<str>],
        prepared: &[(Box<str>, Prepared<T>)],
    ) -> Result<Vec<Sealed>, Error> {
        self.prime().await?;
        let all: Vec<&Prepared<T>> = prepared.iter().map(|(_, it)| it).collect();
        let sealed = self.seal_now(&all).await?;
        let mut commands = Commands::new();
        self.note_in_sets(&mut commands, prepared.iter().map(|(key, it)| (&**key, it)));
        for ((key, prepared), sealed) in prepared.iter().zip(&sealed) {
            let name = self.keys.value(key);
            if !prepared.is_kept() {
                // There is no way to say that there is nothing.
                commands.push(&[b"DEL", &name]);
                continue;
            }
            let ms = sealed.ttl.as_millis().max(1).to_string();
            commands.push(&[b"SET", &name, &sealed.bytes, b"PX", ms.as_bytes()]);
        }
        self.send(commands, keys_changed(keys)).await?;
        Ok(sealed)
    }

    /// Seals values with their tags as they are now, whichever moment that is.
    async fn seal_now(&self, prepared: &[&Prepared<T>]) -> Result<Vec<Sealed>, Error> {
        for _ in 0..5 {
            let sealed = self.seal_all(prepared, None).await?;
            let sealed: Option<Vec<Sealed>> = sealed.into_iter().collect();
            if let Some(sealed) = sealed {
                return Ok(sealed);
            }
        }
        let why = "the value's tags are invalidated all the time".to_owned();
        Err(Error::Unavailable(sangam_store::Why::Refusing(why)))
    }

    /// Keeps a value that could not be sent.
    fn queue(&self, key: &str, prepared: &Prepared<T>) {
        // Where its tags have no versions that could be sent with it, or are sets that it
        // would not be in, or there is no way to say that there is nothing, it is only
        // known to be gone.
        let is_tracked = self.is_shared() && !prepared.named.is_empty();
        let is_sent = prepared.is_kept() && !is_tracked;
        let kept = is_sent.then(|| self.seal_known(prepared));
        let unsent = match kept.flatten() {
            Some(sealed) => Unsent::Value {
                stamp: prepared.stamp(),
                bytes: sealed.bytes,
                ends_ms: prepared.ends_ms(),
            },
            None => Unsent::Deleted {
                stamp: prepared.stamp(),
            },
        };
        self.hub.pending.key(&self.unsent, key, unsent);
    }

    pub(super) async fn delete_all(&self, keys: &[&str]) -> Result<Reach, CacheError> {
        for key in keys {
            Keys::check(key)?;
        }
        self.counters.add(Count::Deletes, keys.len() as u64);
        let mut reach = Reach::Everywhere;
        for keys in keys.chunks(TOGETHER) {
            let keys: Vec<Box<str>> = keys.iter().map(|key| (*key).into()).collect();
            let inner = self.itself()?;
            let deleted = finish(async move { inner.delete_some(&keys).await });
            reach = reach.and(deleted.await?);
        }
        Ok(reach)
    }

    async fn delete_some(&self, keys: &[Box<str>]) -> Result<Reach, CacheError> {
        let _alone = self.alone(keys).await;
        self.shut(keys);
        let last = self.hub.pending.last();
        let stamp = self.hub.stamp();
        let deleted = async {
            let mut commands = Commands::new();
            let mark = self.deleted(stamp);
            let ms = self.unsent.deleted_ms.to_string();
            for key in keys {
                let name = self.keys.value(key);
                if self.is_shared() {
                    commands.push(&[b"DEL", &name]);
                } else {
                    commands.push(&[b"SET", &name, &mark, b"PX", ms.as_bytes()]);
                }
            }
            self.send(commands, keys_changed(keys)).await
        };
        let failed = deleted.await.err();
        let waits = failed.as_ref().is_some_and(|it| self.waits(it));
        for key in keys {
            if waits {
                self.hub
                    .pending
                    .key(&self.unsent, key, Unsent::Deleted { stamp });
            }
            self.memory.invalidate(key);
        }
        self.open(keys);
        self.reached(failed, &keys_changed(keys), last)
    }

    /// What stands in the place of a deleted value for as long as a load may take.
    fn deleted(&self, stamp: Stamp) -> Vec<u8> {
        let ends_ms = stamp.time_us / 1000 + self.unsent.deleted_ms;
        let envelope = Envelope {
            kind: Kind::Deleted,
            stamp,
            schema: self.settings.schema,
            fresh_until_ms: ends_ms,
            ends_ms,
            tags: &[],
            validator: None,
            encoding: Encoding::Json,
            body: &[],
        };
        envelope.write(self.settings.compression)
    }

    pub(super) async fn invalidate_tags(&self, ids: &[TagId]) -> Result<Reach, CacheError> {
        self.counters.add(Count::Invalidations, ids.len() as u64);
        let mut reach = Reach::Everywhere;
        for ids in ids.chunks(TOGETHER) {
            let (inner, ids) = (self.itself()?, ids.to_vec());
            let invalidated = finish(async move { inner.invalidate_some(&ids).await });
            reach = reach.and(invalidated.await?);
        }
        Ok(reach)
    }

    async fn invalidate_some(&self, ids: &[TagId]) -> Result<Reach, CacheError> {
        let changes: Vec<Change> = ids.iter().map(|id| Change::Tag(*id)).collect();
        let changes = self.changes(changes);
        let forget = || {
            for id in ids {
                self.forget_tag(*id);
            }
            self.hub.tell(self as &dyn Member, &changes);
        };
        forget();
        let last = self.hub.pending.last();
        let sent = async {
            let longest = tag_ttl(self.settings.ttl + self.settings.grace());
            let ms = longest.as_millis().to_string();
            let mut commands = Commands::new();
            for id in ids {
                let version = tags::make()?.to_string();
                let name = self.keys.tag(*id);
                commands.push(&[b"SET", &name, version.as_bytes(), b"PX", ms.as_bytes()]);
            }
            self.send_tags(commands, changes.changes.clone()).await
        };
        let failed = sent.await.err();
        if failed.as_ref().is_some_and(|it| self.waits(it)) {
            for id in ids {
                self.hub.pending.tag(&self.unsent, *id);
            }
        }
        forget();
        self.reached(failed, &changes.changes, last)
    }

    /// A write begins: nobody joins loads of these keys, and what was read of them
    /// cannot come into memory.
    pub(super) fn shut(&self, keys: &[Box<str>]) -> Vec<Ticket> {
        if self.is_shared() {
            for key in keys {
                self.hub.pending.forget(&self.name, key);
            }
        }
        let tickets = self.memory.invalidate_all(keys);
        self.open(keys);
        tickets
    }

    /// A write has ended, in other caches of this name too.
    pub(super) fn open(&self, keys: &[Box<str>]) {
        for key in keys {
            self.flights.detach(key);
        }
        let changes = self.changes(keys_changed(keys));
        self.hub.tell(self as &dyn Member, &changes);
    }

    /// Whether a write that failed waits to be sent later.
    pub(super) fn waits(&self, failed: &Error) -> bool {
        self.settings.policy == Policy::Open && passes(failed)
    }

    /// How far a write came. One that succeeded ends what waited of the same since
    /// before it began.
    fn reached(
        &self,
        failed: Option<Error>,
        changes: &[Change],
        last: u64,
    ) -> Result<Reach, CacheError> {
        match failed {
            None => {
                self.hub.pending.settled(&self.name, changes, last);
                Ok(Reach::Everywhere)
            }
            Some(error) if self.waits(&error) => Ok(Reach::Here),
            Some(error) => Err(error.into()),
        }
    }

    /// Writes, and says so in the same step where the store can.
    pub(super) async fn send(
        &self,
        mut commands: Commands,
        changes: Vec<Change>,
    ) -> Result<(), Error> {
        let changes = self.changes(changes);
        let (bus, store) = (&self.hub.bus, &self.hub.store);
        if self.hub.speaks_apart() {
            self.billed(commands.len() as u64);
            let writing = async { all_done(store.pipeline(&commands).await) };
            self.in_time(writing).await?;
            let mut words = Commands::new();
            bus.say(&mut words, &changes);
            self.billed(words.len() as u64);
            let saying = async { all_done(store.pipeline(&words).await) };
            return self.in_time(saying).await;
        }
        let count = commands.len();
        bus.say(&mut commands, &changes);
        match self.in_time(store.transaction(&commands)).await {
            Err(error) if error.code() == Some("CROSSSLOT") => {
                self.hub.speak_apart();
                commands.truncate(count);
                Box::pin(self.send(commands, changes.changes)).await
            }
            done => {
                self.billed(commands.len() as u64);
                all_done(done?)
            }
        }
    }

    /// The same for versions of tags, which share the bus' slot.
    pub(super) async fn send_tags(
        &self,
        mut commands: Commands,
        changes: Vec<Change>,
    ) -> Result<(), Error> {
        let changes = self.changes(changes);
        self.hub.bus.say(&mut commands, &changes);
        self.billed(commands.len() as u64);
        all_done(self.in_time(self.hub.store.transaction(&commands)).await?)
    }
}

pub(super) fn keys_changed(keys: &[Box<str>]) -> Vec<Change> {
    keys.iter().cloned().map(Change::Key).collect()
}

pub(super) fn all_done(outcomes: Vec<Result<Reply, Error>>) -> Result<(), Error> {
    for outcome in outcomes {
        outcome?;
    }
    Ok(())
}
