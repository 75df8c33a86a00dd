//! The data of a keyspace, and the only way to change it.
//!
//! Commands never hold a record: they go through the methods here, and each of
//! these keeps, for every change, the books that a command must not forget:
//! memory in use, the deadline index, WATCH flags, the undo list, the count of
//! changes (`dirty`, from which dispatch knows that there is an effect to log).
//! A collection that a change leaves empty is removed, unless its kind is kept.
//!
//! Expiry is exact: a record past its deadline is removed by whoever meets it
//! first, a command or the timer, and the removal is logged as `DEL`. Fields of
//! hashes have deadlines of their own: see `fields`.
//!
//! Cost of a lookup: one hash of the key and one probe.

use std::sync::Arc;

use ahash::RandomState;
use smallvec::SmallVec;

use super::access::{Access, with_frequency};
use super::cut::Cut;
use super::record::{Expire, Key, Record, StrRef};
use super::requests::Requests;
use super::tracking::Tracking;
use super::undo::{Cleared, Undo, UndoList};
use super::unit::{Recorder, with_recorder};
use super::waiting::WaitingRoom;
use super::watch::{Changed, WatchFlag, WatchTable};
use crate::acl::Users;
use crate::command::stat::CommandStats;
use crate::config::Settings;
use crate::effect::{Effects, Seq};
use crate::error::CommandError;
use crate::expiry::{Deadlines, NEVER};
use crate::notify::{Event, Outbox};
use crate::pubsub::Hub;
use crate::random::Random;
use crate::script::functions::{Counts, Libraries};
use crate::script::{self, Scripts};
use crate::value::{Collection, Covered, EMBEDDED, Slot, Table, TextEdit, Value, make_raw};

/// Counts that INFO shows.
#[derive(Debug, Default, Clone)]
pub struct DbStats {
    /// Lookups for reading that found a key.
    pub hits: u64,
    /// Lookups for reading that found none.
    pub misses: u64,
    /// Keys removed since their deadline passed.
    pub expired: u64,
    /// Fields of hashes removed since their deadline passed.
    pub expired_fields: u64,
    /// Keys removed to make room.
    pub evicted: u64,
    /// Commands executed.
    pub commands: u64,
    /// Commands that the plan bills, those inside scripts among them.
    pub billed: u64,
}

/// The data behind a keyspace's lock.
#[derive(Default)]
pub struct Db {
    pub(super) table: Table<Box<Record>>,
    pub(super) hasher: HashKeys,
    pub(super) deadlines: Deadlines,
    /// The earliest deadline of a field of each hash that has any.
    pub(super) field_deadlines: Deadlines,
    pub(super) watch: WatchTable,
    pub(super) undo: UndoList,
    /// The moment that is being written out, if any.
    pub(super) cut: Option<Box<Cut>>,
    pub(super) used: usize,
    /// The keyspace's users.
    pub(crate) users: Arc<Users>,
    /// What was answered to requests with an id.
    pub(crate) requests: Requests,
    /// Changes made by commands, for ever growing.
    pub(crate) dirty: u64,
    /// Whether keys go when their time comes though nobody asks for them.
    pub(crate) expires_unasked: bool,
    /// Effects of the running unit.
    pub(crate) effects: Effects,
    /// What the running unit has to publish.
    pub(crate) outbox: Outbox,
    /// Where it began in `outbox`.
    pub(super) outbox_mark: usize,
    /// Whether the running command has said its effects itself.
    pub(crate) explicit_effects: bool,
    /// Set when a script was killed inside a larger unit, which then goes too.
    pub(crate) must_roll_back: bool,
    /// Time of the running unit, milliseconds since the epoch.
    pub(crate) now_ms: u64,
    /// Time of the running command in microseconds.
    pub(crate) now_us: u64,
    pub(crate) seq: Seq,
    pub(crate) settings: Arc<Settings>,
    pub(crate) settings_version: u64,
    pub(crate) random: Random,
    pub(crate) stats: DbStats,
    pub(crate) commands: CommandStats,
    pub(crate) scripts: Option<Box<Scripts>>,
    /// The VM of the libraries.
    pub(crate) functions: Option<Box<Scripts>>,
    pub(super) libraries: Arc<Libraries>,
    pub(crate) library_counts: Arc<Counts>,
    /// Whether libraries changed since the last commit tick.
    pub(super) libraries_changed: bool,
    /// Of `math.random`; outlives the scripts.
    pub(crate) script_random: script::Random,
    pub(crate) peak: usize,
}

#[derive(Debug, Clone)]
pub(super) struct HashKeys(RandomState);

impl HashKeys {
    #[inline]
    pub(super) fn of(&self, key: &[u8]) -> u64 {
        self.0.hash_one(key)
    }
}

impl Default for HashKeys {
    fn default() -> Self {
        // An empty database hashes nothing: fixed keys cost no entropy.
        HashKeys(RandomState::with_seeds(1, 2, 3, 4))
    }
}

impl Db {
    /// An empty database; `seed` decides hashing and every random choice, `effects`
    /// whether what units do is kept for the journal.
    pub fn new(seed: u64, settings: Arc<Settings>, effects: Effects) -> Self {
        let mut random = Random::new(seed);
        let hasher =
            RandomState::with_seeds(random.next(), random.next(), random.next(), random.next());
        Db {
            hasher: HashKeys(hasher),
            expires_unasked: true,
            effects,
            settings,
            random,
            ..Db::default()
        }
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.of(key)
    }

    // ---- reading ----

    /// Number of keys, expired ones that nobody met yet among them.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Commands that the plan bills, those inside scripts and operations among
    /// them, of all that ran under the lock.
    pub fn billed(&self) -> u64 {
        self.stats.billed
    }

    /// Number of keys with a deadline.
    pub fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// Sum of all deadlines' distances, for INFO's average.
    pub(crate) fn average_ttl_ms(&self) -> u64 {
        let count = self.deadlines.len() as u64;
        let sample = self.deadlines.iter().take(1000);
        let (sum, seen) = sample.fold((0u64, 0u64), |(sum, seen), deadline| {
            (
                sum.saturating_add(deadline.saturating_sub(self.now_ms)),
                seen + 1,
            )
        });
        if count == 0 { 0 } else { sum / seen.max(1) }
    }

    /// Bytes in use by keys, values, tables, the code of libraries, and replies
    /// that are remembered.
    pub fn used_memory(&self) -> usize {
        self.used + self.table.heap_bytes() + self.libraries.bytes() + self.requests.bytes()
    }

    /// The record, without counting a hit or moving its access time; removes
    /// it if its deadline has passed.
    pub(crate) fn peek(&mut self, key: &[u8]) -> Option<&Record> {
        let slot = self.live(self.hash(key), key)?;
        self.table.at(slot).map(|record| &**record)
    }

    /// Where the live record stands.
    fn live(&mut self, hash: u64, key: &[u8]) -> Option<Slot> {
        let slot = self.table.locate(hash, |record| *record.key == *key)?;
        let record = self.table.at(slot)?;
        if record.deadline <= self.now_ms {
            self.expire(hash, key);
            return None;
        }
        if record.value.is_behind(self.now_ms) {
            return self.meet_fields(slot, hash, key);
        }
        Some(slot)
    }

    fn live_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Record> {
        let slot = self.live(hash, key)?;
        self.table.at_mut(slot).map(|record| &mut **record)
    }

    /// The value for a reading command: counts a hit or a miss and marks the
    /// access.
    pub fn read(&mut self, key: &[u8]) -> Option<&Value> {
        let hash = self.hash(key);
        let Some(slot) = self.live(hash, key) else {
            self.stats.misses += 1;
            self.notify(Event::Miss, "keymiss", key);
            return None;
        };
        self.stats.hits += 1;
        let access = self.access();
        let record = self.table.at_mut(slot)?;
        access.note(&mut record.accessed);
        Some(&record.value)
    }

    /// Whether the key exists; for a writing command's conditions.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some()
    }

    /// The collection at `key`, to read.
    pub fn get<T: Collection>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(value) => T::of(value).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The collection at `key` for a command that reads several at once: it
    /// has looked at each with [`Db::get`] before.
    pub fn view<T: Collection>(&self, key: &[u8]) -> Option<&T> {
        let record = self
            .table
            .find(self.hash(key), |record| *record.key == *key)?;
        if record.is_live(self.now_ms) {
            T::of(&record.value)
        } else {
            None
        }
    }

    /// The string at `key`, to read.
    pub fn get_str(&mut self, key: &[u8]) -> Result<Option<StrRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(StrRef::Int(*number))),
            Some(Value::Str(bytes)) => Ok(Some(StrRef::Bytes(bytes))),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The string at `key`, for a writing command: counts neither hit nor miss.
    pub fn peek_str(&mut self, key: &[u8]) -> Result<Option<StrRef<'_>>, CommandError> {
        match self.peek(key).map(|record| &record.value) {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(StrRef::Int(*number))),
            Some(Value::Str(bytes)) => Ok(Some(StrRef::Bytes(bytes))),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The key's deadline in milliseconds since the epoch: outer `None` where
    /// there is no key, inner where it does not expire.
    pub fn deadline(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let record = self.peek(key)?;
        Some((record.deadline != NEVER).then_some(record.deadline))
    }

    /// Visits about `count` keys from `cursor`; answers the next cursor, 0 at
    /// the end. Every key that stays for the whole scan is visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&Record)) -> u64 {
        let now_ms = self.now_ms;
        self.table.scan(
            cursor,
            count,
            |record| self.hash(&record.key),
            |record| {
                if record.is_live(now_ms) {
                    visit(record);
                }
            },
        )
    }

    /// All live records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.table
            .iter()
            .map(|record| &**record)
            .filter(|record| record.is_live(self.now_ms))
    }

    /// A key chosen uniformly among the live ones.
    pub fn random_key(&mut self) -> Option<Vec<u8>> {
        for _ in 0..100 {
            let random = &mut self.random;
            let record = self.table.random(&mut || random.next())?;
            let key = record.key.clone();
            if self.live(self.hash(&key), &key).is_some() {
                return Some(key.to_vec());
            }
        }
        None
    }

    // ---- changing ----

    /// Sets the whole value.
    pub fn put(&mut self, key: &[u8], value: Value, expire: Expire) {
        let hash = self.hash(key);
        if expire == Expire::Keep {
            // A deadline that has passed is none to keep, and the log is to say so.
            self.live(hash, key);
        }
        self.preserve(hash);
        self.dirty += 1;
        self.watch.touch(key);
        let access = self.access();
        if let Some(record) = self.table.find_mut(hash, |record| *record.key == *key) {
            self.used -= record.bytes();
            let old_deadline = record.deadline;
            let fields = (record.value.next_deadline(), value.next_deadline());
            let deadline = match expire {
                Expire::Keep => old_deadline,
                Expire::Clear => NEVER,
                Expire::At(at) => at,
            };
            let old = std::mem::replace(&mut record.value, value);
            record.deadline = deadline;
            access.note(&mut record.accessed);
            self.used += record.bytes();
            if old_deadline != deadline {
                self.deadlines.remove(old_deadline, hash);
                self.deadlines.insert(deadline, hash);
            }
            self.field_deadlines.replace(fields, hash);
            if let Some(undo) = self.undo.open() {
                undo.push(Undo::Replaced(key.into(), old, old_deadline));
            }
            return;
        }
        let deadline = match expire {
            Expire::At(at) => at,
            Expire::Keep | Expire::Clear => NEVER,
        };
        self.link(
            hash,
            Box::new(Record {
                key: key.into(),
                value,
                deadline,
                accessed: access.first(),
            }),
        );
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::Created(key.into()));
        }
        self.notify(Event::New, "new", key);
    }

    /// Sets the string at `key` where one of the same length, and as compact, stands
    /// there: without an allocation. Otherwise answers false and changes nothing.
    pub(crate) fn overwrite(&mut self, key: &[u8], value: &[u8], expire: Expire) -> bool {
        let hash = self.hash(key);
        let Some(slot) = self.table.locate(hash, |record| *record.key == *key) else {
            return false;
        };
        let fits = self.table.at(slot).is_some_and(|record| {
            record.deadline > self.now_ms
                && matches!(&record.value, Value::Str(text)
                    if text.len() == value.len() && text.capacity() == value.len())
        });
        if !fits {
            return false;
        }
        self.preserve(hash);
        self.dirty += 1;
        self.watch.touch(key);
        let access = self.access();
        let Some(record) = self.table.at_mut(slot) else {
            return false;
        };
        access.note(&mut record.accessed);
        let old_deadline = record.deadline;
        if let Value::Str(text) = &mut record.value {
            self.undo.note_overwritten(key, text, old_deadline);
            text.copy_from_slice(value);
        }
        let deadline = match expire {
            Expire::Keep => old_deadline,
            Expire::Clear => NEVER,
            Expire::At(at) => at,
        };
        if deadline != old_deadline {
            let before = record.bytes();
            record.deadline = deadline;
            self.used = self.used - before + record.bytes();
            self.deadlines.replace((old_deadline, deadline), hash);
        }
        true
    }

    /// Changes the string at `key` in place: `bytes` at `offset`, zeros in any
    /// gap before it. Creates the key if need be; the deadline stays. Answers
    /// the new length. The caller has checked the type and the length.
    pub fn splice(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> usize {
        let hash = self.hash(key);
        self.preserve(hash);
        let recording = self.undo.is_recording();
        let access = self.access();
        let Some(record) = self.live_mut(hash, key) else {
            // One allocation of the final size: the gap may be half a gigabyte.
            let length = offset + bytes.len();
            let mut value = vec![0; length];
            if let Some(target) = value.get_mut(offset..) {
                target.copy_from_slice(bytes);
            }
            make_raw(&mut value);
            self.put(key, Value::Str(value), Expire::Clear);
            return length;
        };
        access.note(&mut record.accessed);
        let before = record.bytes();
        let mut undone = None;
        if let Value::Int(number) = record.value {
            record.value = Value::Str(itoa::Buffer::new().format(number).as_bytes().to_vec());
            undone = Some(Undo::Replaced(
                key.into(),
                Value::Int(number),
                record.deadline,
            ));
        }
        let mut length = 0;
        if let Value::Str(text) = &mut record.value {
            let old_length = text.len();
            let end = offset + bytes.len();
            if recording && undone.is_none() {
                // A gap before the bytes is new with them.
                let start = offset.min(old_length);
                let old = text.get(start..end.min(old_length));
                undone = Some(Undo::Spliced {
                    key: key.into(),
                    covered: Covered {
                        place: start..end,
                        old: SmallVec::from_slice(old.unwrap_or_default()),
                    },
                    raw: text.capacity() > EMBEDDED,
                });
            }
            if end > old_length {
                text.resize(end, 0);
            }
            make_raw(text);
            if let Some(target) = text.get_mut(offset..end) {
                target.copy_from_slice(bytes);
            }
            length = text.len();
        }
        let after = record.bytes();
        self.used = self.used - before + after;
        self.dirty += 1;
        self.watch.touch(key);
        if let (Some(undo), Some(undone)) = (self.undo.open(), undone) {
            undo.push(undone);
        }
        length
    }

    /// Changes the string at `key` in parts, at the cost of what they touch;
    /// `None` where there is no key. The deadline stays. The caller keeps to the
    /// length that a string may have.
    pub fn edit_text<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut TextEdit<'_>) -> R,
    ) -> Result<Option<R>, CommandError> {
        let hash = self.hash(key);
        let Some(slot) = self.live(hash, key) else {
            return Ok(None);
        };
        self.preserve(hash);
        let recording = self.undo.is_recording();
        let access = self.access();
        let Some(record) = self.table.at_mut(slot) else {
            return Ok(None);
        };
        access.note(&mut record.accessed);
        let text = match &mut record.value {
            Value::Str(text) => text,
            Value::Int(number) => {
                let mut text = itoa::Buffer::new().format(*number).as_bytes().to_vec();
                let mut edit = TextEdit::new(&mut text, false);
                let result = change(&mut edit);
                if edit.changes() > 0 {
                    make_raw(&mut text);
                    self.put(key, Value::Str(text), Expire::Keep);
                }
                return Ok(Some(result));
            }
            _ => return Err(CommandError::WrongType),
        };
        let (room, raw) = (text.capacity(), text.capacity() > EMBEDDED);
        let mut edit = TextEdit::new(text, recording);
        let result = change(&mut edit);
        let changes = edit.changes();
        let inverses = edit.into_inverses();
        if changes > 0 {
            make_raw(text);
            self.used = self.used + text.capacity() - room;
            self.dirty += changes;
            self.watch.touch(key);
        }
        if let Some(undo) = self.undo.open() {
            // Until the first inverse is taken back, the string stays raw.
            let steps = inverses.into_iter().enumerate();
            undo.extend(steps.map(|(at, covered)| Undo::Spliced {
                key: key.into(),
                covered,
                raw: raw || at > 0,
            }));
        }
        Ok(Some(result))
    }

    /// Changes the collection at `key`; `None` where there is no key.
    pub fn edit<T: Collection, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, CommandError> {
        let hash = self.hash(key);
        match self.live(hash, key) {
            None => Ok(None),
            Some(slot) => self.edit_at(slot, hash, key, change).map(Some),
        }
    }

    /// Changes the collection at `key`, made first if there is none; it is not
    /// kept if it ends spent, or was not changed.
    pub fn edit_or_create<T: Collection, R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, CommandError> {
        let hash = self.hash(key);
        if let Some(slot) = self.live(hash, key) {
            return self.edit_at(slot, hash, key, change);
        }
        let mut collection = T::default();
        let result = change(&mut collection);
        if collection.edits() > 0 && !collection.is_spent() {
            self.put(key, collection.into_value(), Expire::Clear);
        }
        Ok(result)
    }

    fn edit_at<T: Collection, R>(
        &mut self,
        slot: Slot,
        hash: u64,
        key: &[u8],
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, CommandError> {
        self.preserve(hash);
        let access = self.access();
        let Some(record) = self.table.at_mut(slot) else {
            return Err(CommandError::NoSuchKey);
        };
        access.note(&mut record.accessed);
        let Some(collection) = T::of_mut(&mut record.value) else {
            return Err(CommandError::WrongType);
        };
        let first_edit = self.undo.is_recording() && !collection.is_recording();
        if first_edit {
            collection.begin_undo();
        }
        let (bytes, edits) = (collection.heap_bytes(), collection.edits());
        let next = collection.next_deadline();
        let result = change(collection);
        let changes = collection.edits().wrapping_sub(edits);
        let expired = collection.take_expired();
        let spent = collection.is_spent();
        let fields = (next, collection.next_deadline());
        self.used = self.used + collection.heap_bytes() - bytes;
        self.field_deadlines.replace(fields, hash);
        if first_edit && let Some(undo) = self.undo.open() {
            undo.push(Undo::Edited(key.into()));
        }
        if !expired.is_empty() {
            self.fields_expired(key, &expired);
        }
        if changes > 0 {
            self.dirty += changes;
            self.watch.touch(key);
        }
        if spent {
            if fields.1 != NEVER {
                // All that is left is due, and nobody will say so any more.
                self.effects.push(&[b"DEL", key]);
            }
            self.unlink(hash, key);
        }
        Ok(result)
    }

    /// Removes the key; whether there was one.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        if self.live_mut(hash, key).is_none() {
            return false;
        }
        self.dirty += 1;
        self.watch.touch(key);
        self.unlink(hash, key);
        true
    }

    /// Moves the record at `from` to `to`, over whatever was there, with its
    /// deadline; whether there was one.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let hash = self.hash(from);
        if self.live(hash, from).is_none() {
            return false;
        }
        self.watch.touch(from);
        self.remove(to);
        self.dirty += 1;
        self.watch.touch(to);
        self.move_record(from, to);
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::Renamed {
                from: from.into(),
                to: to.into(),
            });
        }
        self.notify(Event::New, "new", to);
        true
    }

    pub(super) fn move_record(&mut self, from: &[u8], to: &[u8]) {
        if let Some(mut record) = self.detach(self.hash(from), from) {
            record.key = to.into();
            self.link(self.hash(to), record);
        }
    }

    /// A copy of the value at `key` with its deadline, for COPY.
    pub fn copy_of(&mut self, key: &[u8]) -> Option<(Value, Expire)> {
        let record = self.peek(key)?;
        let mut value = record.value.clone();
        if let (Value::Str(copy), Value::Str(text)) = (&mut value, &record.value)
            && text.capacity() > EMBEDDED
        {
            make_raw(copy);
        }
        let expire = if record.deadline == NEVER {
            Expire::Clear
        } else {
            Expire::At(record.deadline)
        };
        with_recorder(&mut value, Recorder::Commit);
        Some((value, expire))
    }

    /// Sets or clears the deadline; whether there was a key. A deadline that
    /// has passed is the caller's business: it removes the key.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Option<u64>) -> bool {
        let hash = self.hash(key);
        let deadline = deadline.unwrap_or(NEVER);
        self.preserve(hash);
        let Some(record) = self.live_mut(hash, key) else {
            return false;
        };
        let before = record.bytes();
        let old = std::mem::replace(&mut record.deadline, deadline);
        let after = record.bytes();
        self.used = self.used - before + after;
        self.deadlines.remove(old, hash);
        self.deadlines.insert(deadline, hash);
        self.dirty += 1;
        self.watch.touch(key);
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::Deadline(key.into(), old));
        }
        true
    }

    /// Marks the key as accessed now; whether there is one.
    pub fn touch(&mut self, key: &[u8]) -> bool {
        self.read(key).is_some()
    }

    /// A use of a key, now.
    #[inline]
    fn access(&mut self) -> Access {
        Access::new(self.now_ms, &self.settings, &mut self.random)
    }

    /// Marks the key as accessed now, and counts neither hit nor miss.
    pub(crate) fn touch_quietly(&mut self, key: &[u8]) {
        let access = self.access();
        if let Some(record) = self.live_mut(self.hash(key), key) {
            access.note(&mut record.accessed);
        }
    }

    /// Says for how many seconds the key was not used, where that is known.
    pub(crate) fn set_idle(&mut self, key: &[u8], seconds: u64) {
        let second = (self.now_ms / 1000).saturating_sub(seconds) as u32;
        let counts_uses = self.settings.policy.counts_uses();
        if let Some(record) = self.live_mut(self.hash(key), key)
            && !counts_uses
        {
            record.accessed = second;
        }
    }

    /// Says how often the key is used, where that is counted.
    pub(crate) fn set_frequency(&mut self, key: &[u8], frequency: u8) {
        let accessed = with_frequency(frequency, self.now_ms);
        let counts_uses = self.settings.policy.counts_uses();
        if let Some(record) = self.live_mut(self.hash(key), key)
            && counts_uses
        {
            record.accessed = accessed;
        }
    }

    /// Removes every key.
    pub fn clear(&mut self) {
        if let Some(tracking) = &mut self.watch.tracking {
            tracking.invalidate_all();
        }
        let removed = self.table.len() as u64;
        if removed == 0 {
            return;
        }
        let (table, now_ms, hasher) = (&self.table, self.now_ms, &self.hasher);
        let changed = self.watch.touch_where(|key| {
            table
                .find(hasher.of(key), |record| *record.key == *key)
                .is_some_and(|record| record.is_live(now_ms))
        });
        self.dirty += removed;
        let cleared = Cleared {
            table: std::mem::take(&mut self.table),
            deadlines: std::mem::take(&mut self.deadlines),
            field_deadlines: std::mem::take(&mut self.field_deadlines),
            used: std::mem::take(&mut self.used),
            lent: false,
            changed,
        };
        if self.undo.is_recording() {
            let lent = self.lend_table();
            if let Some(undo) = self.undo.open() {
                undo.push(Undo::Cleared(Box::new(Cleared { lent, ..cleared })));
            }
        } else {
            self.give_table(cleared.table);
        }
    }

    // ---- libraries ----

    /// The libraries of functions.
    pub(crate) fn libraries(&self) -> &Arc<Libraries> {
        &self.libraries
    }

    /// Changes them. FLUSHALL leaves them be.
    pub(crate) fn edit_libraries<R>(&mut self, change: impl FnOnce(&mut Libraries) -> R) -> R {
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::Libraries(Arc::clone(&self.libraries)));
        }
        self.dirty += 1;
        self.libraries_changed = true;
        let result = change(Arc::make_mut(&mut self.libraries));
        self.library_counts.set(&self.libraries);
        result
    }

    // ---- effects ----

    /// Says an effect of the running command; it then replaces the command's
    /// own text in the log.
    pub fn effect(&mut self, argv: &[&[u8]]) {
        self.explicit_effects = true;
        self.effects.push(argv);
    }

    // ---- events ----

    /// Raises an event at `key`: it is published with the unit, if anybody has
    /// chosen its kind.
    #[inline]
    pub fn notify(&mut self, kind: Event, event: &'static str, key: &[u8]) {
        if self.outbox.wants(kind) {
            self.outbox.event(event, key);
        }
    }

    /// The same for a command that took elements out of a collection: `del`
    /// follows where none is left.
    #[inline]
    pub fn notify_taken(&mut self, kind: Event, event: &'static str, key: &[u8]) {
        if self.outbox.is_on() {
            self.notify(kind, event, key);
            if !self.exists(key) {
                self.notify(Event::Generic, "del", key);
            }
        }
    }

    /// Publishes what the running unit has raised so far.
    pub(crate) fn publish_events(&mut self, hub: &Hub) {
        self.outbox.publish(hub);
        self.outbox_mark = 0;
    }

    // ---- the journal's other needs ----

    /// From now on what changes is noted for [`Db::take_changed`].
    pub(crate) fn note_changes(&mut self) {
        self.watch.changed.get_or_insert_default();
    }

    /// What changed since the last call, if that is noted.
    pub(crate) fn take_changed(&mut self) -> Option<Changed> {
        self.watch.changed.as_deref_mut().map(std::mem::take)
    }

    /// The libraries, if they changed since the last call.
    pub(crate) fn take_changed_libraries(&mut self) -> Option<Arc<Libraries>> {
        std::mem::take(&mut self.libraries_changed).then(|| Arc::clone(&self.libraries))
    }

    /// Notes keys again that were taken and not dealt with.
    pub(crate) fn note_changed(&mut self, keys: impl Iterator<Item = Key>) {
        if let Some(changed) = &mut self.watch.changed {
            changed.keys.extend(keys);
        }
    }

    /// Begins all counts anew, after data was restored.
    pub(crate) fn forget_counts(&mut self) {
        self.stats = DbStats::default();
        self.commands = CommandStats::default();
        self.dirty = 0;
        self.libraries_changed = false;
        self.peak = self.used_memory();
    }

    // ---- client-side caching ----

    /// Who tracks what; none while nobody does.
    pub(crate) fn tracking(&self) -> Option<&Tracking> {
        self.watch.tracking.as_deref()
    }

    #[inline]
    pub(crate) fn tracking_mut(&mut self) -> Option<&mut Tracking> {
        self.watch.tracking.as_deref_mut()
    }

    pub(crate) fn tracking_or_new(&mut self) -> &mut Tracking {
        self.watch.tracking.get_or_insert_default()
    }

    /// Remembers that a tracking client read `key`.
    pub(crate) fn remember_read(&mut self, number: u64, key: &[u8]) {
        let max_keys = self.settings.tracking_table_max_keys;
        if let Some(tracking) = self.tracking_mut() {
            tracking.remember(number, key, max_keys);
        }
    }

    /// A script has read something: so has the tracking client that called it.
    #[inline]
    pub(crate) fn script_read(&mut self) {
        let max_keys = self.settings.tracking_table_max_keys;
        if let Some(tracking) = self.tracking_mut() {
            tracking.script_read(max_keys);
        }
    }

    /// Forgets clients that are gone, and the table with the last of them.
    pub(crate) fn prune_tracking(&mut self) {
        let now_ms = self.now_ms;
        if self
            .tracking_mut()
            .is_some_and(|tracking| !tracking.prune(now_ms))
        {
            self.watch.tracking = None;
        }
    }

    // ---- watching and waiting ----

    /// Who waits for keys of it.
    pub(crate) fn waiting_room(&self) -> &Arc<WaitingRoom> {
        &self.watch.written.room
    }

    /// Whether [`Db::take_written`] has something.
    pub(crate) fn has_written(&self) -> bool {
        !self.watch.written.is_empty()
    }

    /// Keys written since the last call that somebody waits for, in the order
    /// of their first write.
    pub(crate) fn take_written(&mut self) -> Vec<Key> {
        self.watch.written.take()
    }

    /// Raises `flag` when `key` changes.
    pub(crate) fn watch(&mut self, key: &[u8], flag: &Arc<WatchFlag>) {
        self.peek(key);
        self.watch.add(key, flag);
    }
}
