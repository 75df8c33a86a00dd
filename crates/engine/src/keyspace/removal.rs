//! Removal: by time, by room, and the bookkeeping of every removal.

use super::access::frequency;
use super::db::Db;
use super::record::{Key, Record};
use super::undo::Undo;
use crate::config::EvictionOrder;
use crate::expiry::NEVER;
use crate::notify::Event;

impl Db {
    /// The earliest deadline, milliseconds since the epoch.
    pub fn next_deadline(&self) -> Option<u64> {
        let (keys, fields) = (self.deadlines.next(), self.field_deadlines.next());
        keys.into_iter().chain(fields).min()
    }

    /// Removes up to `limit` keys and fields whose time has come; answers how
    /// many.
    pub(crate) fn expire_due(&mut self, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit {
            let Some(hash) = self.deadlines.pop_due(self.now_ms) else {
                break;
            };
            let due: Vec<Key> = self
                .table
                .iter_hash(hash)
                .filter(|record| record.deadline <= self.now_ms && self.hash(&record.key) == hash)
                .map(|record| record.key.clone())
                .collect();
            for key in due {
                self.expire(hash, &key);
                removed += 1;
            }
        }
        removed + self.expire_due_fields(limit.saturating_sub(removed))
    }

    /// Removes one key to make room, by the policy. `false` when there is none that
    /// may go.
    pub(crate) fn evict_one(&mut self, samples: usize) -> bool {
        let Some(key) = self.key_to_evict(samples) else {
            return false;
        };
        self.stats.evicted += 1;
        self.drop_record(self.hash(&key), &key);
        self.notify(Event::Evicted, "evicted", &key);
        true
    }

    fn key_to_evict(&mut self, samples: usize) -> Option<Key> {
        let (order, volatile) = self.settings.policy.choice()?;
        if order == EvictionOrder::Deadline {
            // The index knows the earliest: nothing has to be drawn.
            let (deadline, hash) = self.deadlines.first()?;
            return self.expiring_at(deadline, hash);
        }
        let samples = match order {
            EvictionOrder::Random => 1,
            _ => samples.max(1),
        };
        let mut worst: Option<(u32, Key)> = None;
        for _ in 0..samples {
            let (accessed, key) = self.draw(volatile)?;
            let rank = match order {
                EvictionOrder::Frequency => frequency(accessed, self.now_ms, &self.settings).into(),
                _ => accessed,
            };
            if worst.as_ref().is_none_or(|(least, _)| rank < *least) {
                worst = Some((rank, key));
            }
        }
        worst.map(|(_, key)| key)
    }

    /// A random key and when it was used. Of those with a deadline, where only
    /// they may go: uniformly where they are not rare, or else the next in the
    /// index after a random moment.
    fn draw(&mut self, volatile: bool) -> Option<(u32, Key)> {
        const DRAWS: usize = 16;
        let (first, last) = if volatile {
            self.deadlines.ends()?
        } else {
            (0, 0)
        };
        for _ in 0..DRAWS {
            let random = &mut self.random;
            let record = self.table.random(&mut || random.next())?;
            if !volatile || record.deadline != NEVER {
                return Some((record.accessed, record.key.clone()));
            }
        }
        let span = u128::from(last - first) + 1;
        let from = first + ((u128::from(self.random.next()) * span) >> 64) as u64;
        let (deadline, hash) = self.deadlines.next_from(from, self.random.next())?;
        let key = self.expiring_at(deadline, hash)?;
        let record = self.table.find(hash, |record| *record.key == *key)?;
        Some((record.accessed, key))
    }

    /// The key of this hash that expires then.
    fn expiring_at(&self, deadline: u64, hash: u64) -> Option<Key> {
        let mut alike = self.table.iter_hash(hash);
        alike
            .find(|record| record.deadline == deadline && self.hash(&record.key) == hash)
            .map(|record| record.key.clone())
    }

    pub(super) fn expire(&mut self, hash: u64, key: &[u8]) {
        self.stats.expired += 1;
        self.drop_record(hash, key);
        self.notify(Event::Expired, "expired", key);
    }

    /// Removes a key for the engine's own reasons, and logs it.
    pub(super) fn drop_record(&mut self, hash: u64, key: &[u8]) {
        self.watch.touch_unasked(key);
        self.effects.push(&[b"DEL", key]);
        self.unlink(hash, key);
    }

    /// Puts a record in, over one with its key, as it was on a disk: no undo,
    /// no effect, no watch, no count of changes. Answers whether there was one.
    pub fn restore_record(&mut self, record: Box<Record>) -> bool {
        let hash = self.hash(&record.key);
        let replaced = self.detach(hash, &record.key).is_some();
        self.link(hash, record);
        replaced
    }

    /// The counterpart of [`Db::restore_record`]: takes the key out without a
    /// trace. Answers whether there was one.
    pub fn forget(&mut self, key: &[u8]) -> bool {
        self.detach(self.hash(key), key).is_some()
    }

    /// Puts `records` in the place of all that is there, as they came back from a
    /// disk.
    pub(crate) fn reload(&mut self, records: Vec<Record>) {
        let keys: Vec<Key> = self.table.iter().map(|record| record.key.clone()).collect();
        for key in keys {
            self.forget(&key);
        }
        for record in records {
            self.restore_record(Box::new(record));
        }
    }

    pub(super) fn link(&mut self, hash: u64, record: Box<Record>) {
        self.preserve(hash);
        self.used += record.bytes();
        self.deadlines.insert(record.deadline, hash);
        self.field_deadlines
            .insert(record.value.next_deadline(), hash);
        let hasher = &self.hasher;
        self.table
            .insert_unique(hash, record, |record| hasher.of(&record.key));
    }

    pub(super) fn unlink(&mut self, hash: u64, key: &[u8]) {
        let Some(record) = self.detach(hash, key) else {
            return;
        };
        if let Some(undo) = self.undo.open() {
            undo.push(Undo::Removed(record));
        }
    }

    pub(super) fn detach(&mut self, hash: u64, key: &[u8]) -> Option<Box<Record>> {
        self.preserve(hash);
        let hasher = &self.hasher;
        let record = self.table.remove(
            hash,
            |record| *record.key == *key,
            |record| hasher.of(&record.key),
        )?;
        self.used -= record.bytes();
        self.deadlines.remove(record.deadline, hash);
        self.field_deadlines
            .remove(record.value.next_deadline(), hash);
        Some(record)
    }
}
