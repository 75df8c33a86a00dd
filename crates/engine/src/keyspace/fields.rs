//! Fields of hashes that are past their deadlines.
//!
//! Exact, as for keys: from its deadline on nobody finds a field. A hash that
//! is looked up first hides what is due ([`Hash::hide_due`], O(log n)), and one
//! that has nothing else is gone. What is hidden is then removed a few at a
//! time: [`AT_ONCE`] by each command that meets the hash, as many as its limit
//! allows by the timer, which finds the hash by its earliest deadline. A million
//! fields that are due together stop nobody for longer than that.
//!
//! A removal is logged as `HDEL`, the end of a hash that has only hidden fields
//! as `DEL`. Both count as changes for WATCH, and neither as the running
//! command's own. [`Db::fields_expired`] hears of every field that goes this way.

use super::db::Db;
use super::undo::Undo;
use crate::notify::Event;
use crate::value::{Collection, Hash, Slot};

/// Hidden fields that a command removes from a hash that it meets.
const AT_ONCE: usize = 64;
/// Fields that one logged command names.
const IN_ONE_EFFECT: usize = 1000;

impl Db {
    /// Tells the hash at `slot` what time it is; `None` if that is its end.
    #[cold]
    pub(super) fn meet_fields(&mut self, slot: Slot, hash: u64, key: &[u8]) -> Option<Slot> {
        let now_ms = self.now_ms;
        let fields = self.hash_at(slot)?;
        fields.hide_due(now_ms);
        let hidden = fields.hidden();
        if fields.is_empty() {
            self.stats.expired_fields += hidden as u64;
            self.drop_record(hash, key);
            self.notify(Event::Hash, "hexpired", key);
            self.notify(Event::Generic, "del", key);
            return None;
        }
        if hidden > 0 {
            self.remove_hidden(slot, hash, key, AT_ONCE);
        }
        Some(slot)
    }

    /// Removes up to `limit` fields whose time has come; answers how many.
    pub(super) fn expire_due_fields(&mut self, limit: usize) -> usize {
        let mut removed = 0;
        while removed < limit {
            let Some((deadline, hash)) = self.field_deadlines.first_due(self.now_ms) else {
                break;
            };
            let due = self.table.iter_hash(hash).find(|record| {
                record.value.next_deadline() == deadline && self.hash(&record.key) == hash
            });
            let Some(key) = due.map(|record| record.key.clone()) else {
                self.field_deadlines.remove(deadline, hash);
                continue;
            };
            let now_ms = self.now_ms;
            let slot = self.table.locate(hash, |record| *record.key == *key);
            let Some((slot, fields)) = slot.and_then(|slot| Some((slot, self.hash_at(slot)?)))
            else {
                break;
            };
            fields.hide_due(now_ms);
            removed += self.remove_hidden(slot, hash, &key, limit - removed);
        }
        removed
    }

    fn hash_at(&mut self, slot: Slot) -> Option<&mut Hash> {
        Hash::of_mut(&mut self.table.at_mut(slot)?.value)
    }

    /// Removes up to `most` hidden fields, and the key with its last one;
    /// answers how many.
    fn remove_hidden(&mut self, slot: Slot, hash: u64, key: &[u8], most: usize) -> usize {
        self.preserve(hash);
        let recording = self.undo.is_recording();
        let Some(fields) = self.hash_at(slot) else {
            return 0;
        };
        let first_edit = recording && !fields.is_recording();
        if first_edit {
            fields.begin_undo();
        }
        let (bytes, next) = (fields.heap_bytes(), fields.next_deadline());
        let removed = fields.remove_hidden(most);
        let (after, next) = (fields.heap_bytes(), (next, fields.next_deadline()));
        let emptied = fields.is_empty() && fields.hidden() == 0;
        self.used = self.used - bytes + after;
        self.field_deadlines.replace(next, hash);
        if first_edit && let Some(undo) = self.undo.open() {
            undo.push(Undo::Edited(key.into()));
        }
        self.fields_expired(key, &removed);
        if emptied {
            self.unlink(hash, key);
            self.notify(Event::Generic, "del", key);
        }
        removed.len()
    }

    /// Tells of fields that are removed since their deadlines passed: the log,
    /// watchers, who listens to events, the statistics. The one place that all of them come through.
    pub(super) fn fields_expired(&mut self, key: &[u8], fields: &[Box<[u8]>]) {
        self.stats.expired_fields += fields.len() as u64;
        self.watch.touch_unasked(key);
        if !fields.is_empty() {
            self.notify(Event::Hash, "hexpired", key);
        }
        for fields in fields.chunks(IN_ONE_EFFECT) {
            let mut argv: Vec<&[u8]> = vec![b"HDEL", key];
            argv.extend(fields.iter().map(AsRef::as_ref));
            self.effects.push(&argv);
        }
    }
}
