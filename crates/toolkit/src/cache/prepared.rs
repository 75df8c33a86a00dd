//! A value on its way into both tiers.

use std::time::Duration;

use sangam_store::Error;

use super::error::CacheError;
use super::inner::{Inner, Value, micros};
use super::key::TagId;
use super::loaded::{Loaded, Outcome};
use super::memory::{Content, Held, Meta};
use super::report::Count;
use super::settings::ttl;
use super::stored::Marks;
use super::tags::Mark;
use super::value::{self, Envelope, Kind, Stamp};

/// Most tags of a value.
const TAGS_MAX: usize = 256;

/// A value that was checked and encoded.
pub(super) struct Prepared<T> {
    value: Option<Content<T>>,
    /// What is known of it where it is not kept.
    meta: Meta,
    tags: Vec<TagId>,
    /// The tags as they were said.
    pub(super) named: Vec<String>,
    validator: Option<Box<str>>,
    stamp: Stamp,
    made_us: u64,
    fresh_until_us: u64,
    ends_us: u64,
    body: Vec<u8>,
    kept: bool,
}

/// A value as the store has it.
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    pub(super) ttl: Duration,
    marks: Marks,
}

impl<T> Prepared<T> {
    /// Whether it is one that the tiers may have.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn tags(&self) -> &[TagId] {
        &self.tags
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// As it is served where it is not kept.
    pub(super) fn unkept(self) -> Held<T> {
        Held::new(self.value, self.meta)
    }

    /// How long it lives from when it was made.
    pub(super) fn lives(&self) -> Duration {
        Duration::from_micros(self.ends_us.saturating_sub(self.made_us))
    }

    pub(super) fn ends_ms(&self) -> u64 {
        self.ends_us / 1000
    }
}

impl<T: Value> Inner<T> {
    /// Checks and encodes a value. What a loader found and cannot be kept, for it is too
    /// large or has no time to live, is only served; of a call it is an error. What was
    /// loaded has a name from before.
    pub(super) fn prepare(
        &self,
        loaded: Loaded<T>,
        former: Option<&Held<T>>,
        of_load: Option<Stamp>,
    ) -> Result<Prepared<T>, CacheError> {
        let is_load = of_load.is_some();
        let mut named = loaded.tags;
        let mut validator = loaded.validator.map(String::into_boxed_str);
        let mut ids = ids(&named)?;
        let value = match loaded.outcome {
            Outcome::Value(value) => Some(Content::Own(value)),
            Outcome::Nothing => None,
            Outcome::NotModified => {
                let former = former.ok_or(CacheError::NotModified)?;
                if ids.is_empty() {
                    let marks = former.meta().marks.iter();
                    ids = marks.map(Mark::id).filter(|id| *id != TagId::ALL).collect();
                    named.clear();
                }
                validator = validator.or_else(|| former.meta().validator.clone());
                match former {
                    Held::Value(entry) => Some(Content::of(entry)),
                    Held::Nothing(_) => None,
                }
            }
        };
        let usual = match value {
            Some(_) => self.settings.ttl,
            None => self.settings.negative_ttl,
        };
        let fresh = match loaded.ttl {
            Some(exact) => exact,
            None => self.jittered(usual),
        };
        if fresh > ttl::LONGEST || (fresh.is_zero() && !is_load) {
            return Err(CacheError::Ttl(fresh));
        }
        let mut kept = !fresh.is_zero() && (value.is_some() || !self.is_shared());
        let body = match &value {
            None => Vec::new(),
            Some(value) => {
                let max = self.settings.max_value;
                match value::encode(&**value, self.settings.encoding, max) {
                    Err(CacheError::TooLarge { .. }) if is_load => {
                        self.counters.one(Count::Oversized);
                        kept = false;
                        Vec::new()
                    }
                    body => body?,
                }
            }
        };
        let stamp = of_load.unwrap_or_else(|| self.hub.stamp());
        let made_us = self.now();
        let fresh_until_us = made_us.saturating_add(micros(fresh));
        let grace = match value {
            Some(_) if !self.is_shared() => self.settings.grace(),
            _ => Duration::ZERO,
        };
        let ends_us = fresh_until_us.saturating_add(micros(grace));
        let meta = Meta {
            validator: validator.clone(),
            ..self.meta(stamp, made_us, made_us, fresh_until_us, ends_us)
        };
        Ok(Prepared {
            value,
            meta,
            tags: ids,
            named,
            validator,
            stamp,
            made_us,
            fresh_until_us,
            ends_us,
            body,
            kept,
        })
    }

    /// A time with a little of it taken off by chance.
    fn jittered(&self, usual: Duration) -> Duration {
        let mut bytes = [0; 4];
        // Without chance they only end together.
        let _ = getrandom::fill(&mut bytes);
        let chance = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
        usual.mul_f64(1.0 - self.settings.jitter * chance)
    }

    /// A value as the store is to have it, with marks of its tags: from before the
    /// moment `began`, if it was loaded since. None, if one was invalidated meanwhile.
    pub(super) async fn seal(
        &self,
        prepared: &Prepared<T>,
        began: Option<u64>,
    ) -> Result<Option<Sealed>, Error> {
        let mut sealed = self.seal_all(&[prepared], began).await?;
        Ok(sealed.pop().flatten())
    }

    /// The same of several, whose tags are looked up together.
    pub(super) async fn seal_all(
        &self,
        prepared: &[&Prepared<T>],
        began: Option<u64>,
    ) -> Result<Vec<Option<Sealed>>, Error> {
        if self.is_shared() {
            return Ok(prepared
                .iter()
                .map(|it| Some(self.seal_shared(it)))
                .collect());
        }
        let tags = prepared.iter().flat_map(|it| it.tags.iter().copied());
        let mut tags: Vec<TagId> = tags.collect();
        tags.sort_unstable();
        tags.dedup();
        let ends_us = prepared.iter().map(|it| it.ends_us).max().unwrap_or(0);
        let mut marks = self.marks(&tags, began, ends_us).await?;
        marks.sort_unstable_by_key(Mark::id);
        let mark = |id: TagId| {
            let place = marks.binary_search_by_key(&id, Mark::id).ok()?;
            marks.get(place).cloned()
        };
        let seal = |it: &&Prepared<T>| {
            // One that is missing was invalidated meanwhile.
            let of_it = std::iter::once(TagId::ALL).chain(it.tags.iter().copied());
            let of_it: Marks = of_it.map(mark).collect::<Option<_>>()?;
            Some(self.seal_own(it, of_it))
        };
        Ok(prepared.iter().map(seal).collect())
    }

    /// Its key stays for as long as a load may take, even if it ends before that: where
    /// nothing stands, a load that began before it would put what it had read then.
    fn seal_own(&self, prepared: &Prepared<T>, marks: Marks) -> Sealed {
        let tags: Vec<(TagId, u64)> = marks.iter().map(|it| (it.id(), it.version)).collect();
        let envelope = Envelope {
            kind: match prepared.value {
                Some(_) => Kind::Value,
                None => Kind::Nothing,
            },
            stamp: prepared.stamp,
            schema: self.settings.schema,
            fresh_until_ms: prepared.fresh_until_us / 1000,
            ends_ms: prepared.ends_us / 1000,
            tags: &tags,
            validator: prepared.validator.as_deref(),
            encoding: self.settings.encoding,
            body: &prepared.body,
        };
        let bytes = envelope.write(self.settings.compression);
        let sealed = self.sealed(prepared, bytes, marks);
        Sealed {
            ttl: sealed.ttl.max(self.settings.longest_load()),
            ..sealed
        }
    }

    /// The same without asking the store, if the versions of all of its tags are
    /// remembered.
    pub(super) fn seal_known(&self, prepared: &Prepared<T>) -> Option<Sealed> {
        if self.is_shared() {
            return Some(self.seal_shared(prepared));
        }
        let tags = std::iter::once(TagId::ALL).chain(prepared.tags.iter().copied());
        let marks: Option<Marks> = tags
            .map(|tag| Some(self.tags.remembered(tag)?.mark))
            .collect();
        Some(self.seal_own(prepared, marks?))
    }

    fn seal_shared(&self, prepared: &Prepared<T>) -> Sealed {
        let bytes = value::write_shared(prepared.body.clone(), self.settings.compression);
        let marks = prepared.tags.iter().map(|tag| self.tags.mark(*tag));
        self.sealed(prepared, bytes, marks.collect())
    }

    fn sealed(&self, prepared: &Prepared<T>, bytes: Vec<u8>, marks: Marks) -> Sealed {
        let plain = prepared.body.len() as u64;
        self.counters.add(Count::BytesPlain, plain);
        self.counters.add(Count::BytesSent, bytes.len() as u64);
        Sealed {
            bytes,
            ttl: Duration::from_micros(prepared.ends_us.saturating_sub(self.now())),
            marks,
        }
    }

    /// A value as memory has it once the store has it too.
    pub(super) fn with_marks(&self, prepared: Prepared<T>, sealed: Sealed) -> Held<T> {
        let now = self.now();
        let meta = self.meta(
            prepared.stamp,
            prepared.made_us,
            now,
            prepared.fresh_until_us,
            prepared.ends_us,
        );
        Held::new(
            prepared.value,
            Meta {
                marks: sealed.marks,
                validator: prepared.validator,
                weight: prepared.body.len() as u32,
                ..meta
            },
        )
    }

    /// A value as memory has it while the store is away: for a short time.
    pub(super) fn degraded(&self, prepared: Prepared<T>) -> Held<T> {
        let now = self.now();
        let short = now.saturating_add(micros(self.settings.degraded_ttl));
        let until = prepared.fresh_until_us.min(short);
        let tags = std::iter::once(TagId::ALL).chain(prepared.tags.iter().copied());
        let meta = self.meta(prepared.stamp, prepared.made_us, now, until, until);
        Held::new(
            prepared.value,
            Meta {
                degraded: true,
                marks: tags.map(|tag| self.tags.mark(tag)).collect(),
                validator: prepared.validator,
                weight: prepared.body.len() as u32,
                ..meta
            },
        )
    }

    /// Whether a tag of a value was invalidated between a moment and the making of its
    /// marks, which tell of what comes after.
    pub(super) fn was_touched(&self, held: &Held<T>, began: u64) -> bool {
        let mut marks = held.meta().marks.iter();
        marks.any(|mark| self.tags.changed_since(mark.id(), began))
    }
}

/// Tags by their identifiers, each once.
pub(super) fn ids<S: AsRef<str>>(tags: &[S]) -> Result<Vec<TagId>, CacheError> {
    if tags.len() > TAGS_MAX {
        return Err(CacheError::Tags(tags.len()));
    }
    let ids: Result<Vec<TagId>, CacheError> =
        tags.iter().map(|tag| TagId::new(tag.as_ref())).collect();
    let mut ids = ids?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
