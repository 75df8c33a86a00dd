//! The second tier: what the store has of a key, and whether it still holds.

use std::time::Duration;

use sangam_engine::Reply;
use sangam_store::{Commands, Error};
use smallvec::SmallVec;

use super::inner::{Inner, Value, micros, never, tag_ttl};
use super::key::TagId;
use super::memory::{Content, Held, Meta};
use super::report::Count;
use super::settings::Encoding;
use super::tags::{self, Mark};
use super::value::{self, Kind, Read, Stamp};

/// How long other apps' values may stay in memory, for nobody tells when they change.
const SHARED_MEMORY: Duration = Duration::from_secs(10);

/// What was seen in the store, so that only that is written over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// No key.
    Absent,
    /// A value that begins so; in the form of other apps, one that is so.
    Head(SmallVec<[u8; value::HEAD]>),
}

/// What the store has of a key.
#[derive(Debug)]
pub(super) struct Stored<T> {
    pub(super) seen: Seen,
    /// The value, which may be stale; none where there is none of any use.
    pub(super) held: Option<Held<T>>,
}

/// Marks of a value's tags.
pub(super) type Marks = SmallVec<[Mark; 2]>;

/// What a process remembers of tags that a value names.
enum Recalled {
    /// They have these versions.
    Same(Marks),
    /// One has another.
    Other,
    /// One is not remembered.
    Unknown,
}

/// The bytes of a key, and for how long they live where the form does not say.
type Raw = Option<(Vec<u8>, Option<Duration>)>;

impl<T: Value> Inner<T> {
    /// What the store has of a key.
    pub(super) async fn read(&self, key: &str) -> Result<Stored<T>, Error> {
        if self.is_shared() || self.hub.pending.len() > 0 {
            return self.read_many(&[key]).await?.pop().ok_or_else(odd);
        }
        // The same as of several, without what waits and without lists.
        self.billed(1);
        let name = self.keys.value(key);
        let Some(bytes) = self.in_time(self.hub.store.get(&name)).await? else {
            return Ok(Stored {
                seen: Seen::Absent,
                held: None,
            });
        };
        let seen = Seen::Head(SmallVec::from_slice(value::head(&bytes)));
        let Some(read) = self.own(bytes) else {
            return Ok(Stored { seen, held: None });
        };
        let held = match self.recall(&read.tags) {
            Recalled::Same(marks) => self.held(read, marks),
            Recalled::Other => None,
            Recalled::Unknown => {
                let named: Vec<TagId> = read.tags.iter().map(|(tag, _)| *tag).collect();
                self.learn(&named).await?;
                match self.recall(&read.tags) {
                    Recalled::Same(marks) => self.held(read, marks),
                    Recalled::Other | Recalled::Unknown => None,
                }
            }
        };
        Ok(Stored { seen, held })
    }

    /// The same of several, in order: one command, and one for tags that are not
    /// known yet.
    pub(super) async fn read_many(&self, keys: &[&str]) -> Result<Vec<Stored<T>>, Error> {
        // Asked first: what is sent meanwhile was not sent when it was read.
        let waits = |key: &&str| self.hub.pending.has_key(&self.name, key);
        let waits: Vec<bool> = keys.iter().map(waits).collect();
        let raw = self.in_time(self.read_raw(keys)).await?;
        self.judge(waits.into_iter().zip(raw).collect()).await
    }

    async fn read_raw(&self, keys: &[&str]) -> Result<Vec<Raw>, Error> {
        let store = &self.hub.store;
        let names: Vec<Vec<u8>> = keys.iter().map(|key| self.keys.value(key)).collect();
        if self.is_shared() {
            return self.read_shared(&names).await;
        }
        self.billed(1);
        if let [name] = &names[..] {
            return Ok(vec![store.get(name).await?.map(|bytes| (bytes, None))]);
        }
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let found = store.get_many(&names).await?;
        Ok(found
            .into_iter()
            .map(|bytes| Some((bytes?, None)))
            .collect())
    }

    /// Other apps' values, and for how long they live.
    async fn read_shared(&self, names: &[Vec<u8>]) -> Result<Vec<Raw>, Error> {
        let mut commands = Commands::new();
        for name in names {
            commands.push(&[b"GET", name]).push(&[b"PTTL", name]);
        }
        self.billed(commands.len() as u64);
        let mut replies = self.hub.store.pipeline(&commands).await.into_iter();
        let mut found = Vec::with_capacity(names.len());
        while let Some((value, ttl)) = replies.next().zip(replies.next()) {
            found.push(match (value?, ttl?) {
                // Gone, perhaps in between.
                (_, Reply::Int(-2)) => None,
                (Reply::Bulk(bytes), Reply::Int(ms)) => {
                    // One without a time to live is held as long as any.
                    let ms = u64::try_from(ms).unwrap_or(u64::MAX >> 20);
                    Some((bytes, Some(Duration::from_millis(ms))))
                }
                (Reply::Null, _) => None,
                _ => return Err(odd()),
            });
        }
        Ok(found)
    }

    /// Which of what was read still holds; what waits to be changed does not.
    async fn judge(&self, raw: Vec<(bool, Raw)>) -> Result<Vec<Stored<T>>, Error> {
        let mut judged = Vec::with_capacity(raw.len());
        let mut reads: Vec<Option<Read>> = Vec::with_capacity(raw.len());
        for (waits, raw) in raw {
            let Some((bytes, ttl)) = raw else {
                judged.push(Stored {
                    seen: Seen::Absent,
                    held: None,
                });
                reads.push(None);
                continue;
            };
            // Other apps' values have no head that names a writing.
            let named = if ttl.is_some() {
                &bytes[..]
            } else {
                value::head(&bytes)
            };
            let seen = Seen::Head(SmallVec::from_slice(named));
            let (held, read) = match ttl {
                Some(ttl) => (self.foreign(bytes, ttl), None),
                None => (None, self.own(bytes)),
            };
            judged.push(Stored {
                seen,
                held: held.filter(|_| !waits),
            });
            reads.push(read.filter(|_| !waits));
        }
        let mut named: Vec<TagId> = reads
            .iter()
            .flatten()
            .flat_map(|read| read.tags.iter().map(|(tag, _)| *tag))
            .collect();
        named.sort_unstable();
        named.dedup();
        let waits = |tag: &TagId| self.hub.pending.has_tag(&self.name, *tag);
        let waiting: Vec<TagId> = named.iter().copied().filter(waits).collect();
        self.learn(&named).await?;
        for (stored, read) in judged.iter_mut().zip(reads) {
            if let Some(read) = read
                && !read.tags.iter().any(|(tag, _)| waiting.contains(tag))
                && let Recalled::Same(marks) = self.recall(&read.tags)
            {
                stored.held = self.held(read, marks);
            }
        }
        Ok(judged)
    }

    /// A value of our own form, if it is one that may hold.
    fn own(&self, bytes: Vec<u8>) -> Option<Read> {
        match value::read(bytes, self.settings.max_value) {
            Ok(read) if read.kind == Kind::Deleted => None,
            Ok(read) if read.schema == self.settings.schema => Some(read),
            Ok(_) | Err(_) => {
                self.counters.one(Count::Unreadable);
                None
            }
        }
    }

    /// Another app's value.
    fn foreign(&self, bytes: Vec<u8>, ttl: Duration) -> Option<Held<T>> {
        let read = value::read_shared(bytes, self.settings.max_value)
            .and_then(|body| Ok((value::decode::<T>(&body, Encoding::Json)?, body.len())));
        let Ok((value, length)) = read else {
            self.counters.one(Count::Unreadable);
            return None;
        };
        let now = self.now();
        let ends_us = now.saturating_add(micros(ttl));
        // Nobody says when it was made: as if its maker had these settings.
        let made_us = ends_us.saturating_sub(micros(self.settings.ttl)).min(now);
        let stamp = Stamp {
            time_us: now,
            writer: 0,
        };
        let meta = Meta {
            weight: length as u32,
            ..self.meta(stamp, made_us, now, ends_us, ends_us)
        };
        Some(Held::new(Some(Content::Own(value)), meta))
    }

    /// Whether tags have the versions that a value names.
    fn recall(&self, tags: &[(TagId, u64)]) -> Recalled {
        let mut marks = Marks::with_capacity(tags.len());
        let mut unknown = false;
        for (tag, version) in tags {
            match self.tags.remembered(*tag) {
                Some(it) if it.mark.version == *version => marks.push(it.mark),
                Some(_) => return Recalled::Other,
                None => unknown = true,
            }
        }
        if unknown {
            Recalled::Unknown
        } else {
            Recalled::Same(marks)
        }
    }

    /// A value whose tags are as they were.
    fn held(&self, read: Read, marks: Marks) -> Option<Held<T>> {
        let now = self.now();
        let ends_us = read.ends_ms.saturating_mul(1000);
        if now >= ends_us {
            return None;
        }
        let value = match read.kind {
            Kind::Value => {
                let Ok(value) = value::decode::<T>(&read.body, read.encoding) else {
                    self.counters.one(Count::Unreadable);
                    return None;
                };
                Some(Content::Own(value))
            }
            Kind::Nothing | Kind::Deleted => None,
        };
        let fresh_until_us = read.fresh_until_ms.saturating_mul(1000);
        let made_us = read.stamp.time_us;
        let meta = self.meta(read.stamp, made_us, now, fresh_until_us, ends_us);
        Some(Held::new(
            value,
            Meta {
                marks,
                validator: read.validator,
                weight: read.body.len() as u32,
                ..meta
            },
        ))
    }

    /// What is known of a value that lives so long.
    pub(super) fn meta(
        &self,
        stamp: Stamp,
        made_us: u64,
        now: u64,
        fresh_until_us: u64,
        ends_us: u64,
    ) -> Meta {
        let mut longest = self.settings.memory_ttl.map_or(u64::MAX, micros);
        if self.is_shared() {
            longest = longest.min(micros(SHARED_MEMORY));
        }
        let lives = fresh_until_us.saturating_sub(made_us) as f64;
        let eager = self.settings.eager;
        Meta {
            stamp,
            made_us,
            serve_until_us: fresh_until_us.min(now.saturating_add(longest)),
            eager_us: eager.map_or(u64::MAX, |share| {
                made_us.saturating_add((lives * share) as u64)
            }),
            fresh_until_us,
            ends_us,
            degraded: false,
            marks: Marks::new(),
            validator: None,
            weight: 0,
            retry_us: never(),
        }
    }

    /// Reads versions of tags that are not remembered; again, where words about them, or
    /// about tags that share their place, come meanwhile.
    async fn learn(&self, tags: &[TagId]) -> Result<(), Error> {
        for _ in 0..3 {
            let began = self.tags.tick();
            let unknown = |tag: &&TagId| self.tags.remembered(**tag).is_none();
            let unknown: Vec<TagId> = tags.iter().filter(unknown).copied().collect();
            if unknown.is_empty() {
                return Ok(());
            }
            self.billed(1);
            let reading = tags::read(&self.hub.store, &self.keys, &unknown);
            let versions = self.in_time(reading).await?;
            let mut missed = false;
            for (tag, version) in unknown.iter().zip(versions) {
                if let Some(version) = version {
                    missed |= self.tags.learn(*tag, version, began, 0).is_none();
                }
            }
            if !missed {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Marks of tags as they are now, made where they are not and kept until `ends_us`,
    /// and that of all of the cache. For values that were made since the moment
    /// `began`, the marks from before. Tags that may have been invalidated meanwhile are
    /// left out.
    pub(super) async fn marks(
        &self,
        tags: &[TagId],
        began: Option<u64>,
        ends_us: u64,
    ) -> Result<Marks, Error> {
        let mut marks = Marks::with_capacity(tags.len() + 1);
        let mut unsure = Vec::new();
        for tag in std::iter::once(TagId::ALL).chain(tags.iter().copied()) {
            let remembered = self.tags.remembered(tag);
            let before = remembered.filter(|it| began.is_none_or(|began| it.since < began));
            match before {
                Some(it) if it.kept_until_us >= ends_us => marks.push(it.mark),
                before => unsure.push((tag, before.map(|it| it.mark))),
            }
        }
        if !unsure.is_empty() {
            self.keep(unsure, began, ends_us, &mut marks).await?;
        }
        marks.retain(|mark| mark.holds());
        Ok(marks)
    }

    /// Makes or keeps versions of tags; those with a mark are known from before.
    async fn keep(
        &self,
        tags: Vec<(TagId, Option<Mark>)>,
        began: Option<u64>,
        ends_us: u64,
        marks: &mut Marks,
    ) -> Result<(), Error> {
        let moment = self.tags.tick();
        let now = self.now();
        let ttl = tag_ttl(Duration::from_micros(ends_us.saturating_sub(now)));
        let ids: Vec<TagId> = tags.iter().map(|(tag, _)| *tag).collect();
        self.billed(2 * ids.len() as u64);
        let keeping = tags::keep(&self.hub.store, &self.keys, &ids, ttl);
        let versions = self.in_time(keeping).await?;
        let kept_until_us = now.saturating_add(micros(ttl));
        let mut unheard = Vec::new();
        for ((tag, before), version) in tags.into_iter().zip(versions) {
            let Some(mark) = self.tags.learn(tag, version, moment, kept_until_us) else {
                continue;
            };
            match before {
                // Changed without a word so far.
                Some(before) if before.version != version => {}
                Some(_) => marks.push(mark),
                None => unheard.push(mark),
            }
        }
        if let Some(began) = began
            && !unheard.is_empty()
        {
            // Nobody knows these versions from before: whoever changed one meanwhile
            // said so in the same step.
            self.verify().await?;
            unheard.retain(|mark| !self.tags.changed_since(mark.id(), began));
        }
        marks.extend(unheard);
        Ok(())
    }

    /// Sees to it that the version of all of the cache is known, which every value has.
    /// A store that answers and takes no writes can be read all the same.
    pub(super) async fn prime(&self) -> Result<(), Error> {
        if self.is_shared() || self.tags.remembered(TagId::ALL).is_some() {
            return Ok(());
        }
        let lives = self.settings.ttl + self.settings.grace();
        let ends_us = self.now().saturating_add(micros(lives));
        match self.marks(&[], None, ends_us).await {
            Ok(_) | Err(Error::Command(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn odd() -> Error {
    Error::Reply("expected a string and its time to live".to_owned())
}
