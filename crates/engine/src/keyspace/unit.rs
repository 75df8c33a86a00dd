//! Atomic units: keeping what was done, or restoring what was there.

use super::db::Db;
use super::record::Record;
use super::undo::{Cleared, Ended, Undo};
use crate::value::{Collection, Value, replace};

impl Db {
    /// Starts to record how to undo what follows.
    pub(crate) fn begin_undo(&mut self) {
        self.undo.begin();
        self.outbox_mark = self.outbox.mark();
    }

    /// Whether an undoable unit is running.
    pub(crate) fn is_recording(&self) -> bool {
        self.undo.is_recording()
    }

    /// Keeps what was done since [`Db::begin_undo`].
    pub(crate) fn commit(&mut self) {
        let mut ended = self.undo.end();
        for undo in ended.steps.drain(..) {
            match undo {
                Undo::Edited(key) | Undo::Renamed { to: key, .. } => {
                    let hash = self.hash(&key);
                    if let Some(record) = self.table.find_mut(hash, |record| *record.key == *key) {
                        let before = record.bytes();
                        with_recorder(&mut record.value, Recorder::Commit);
                        self.used = self.used - before + record.bytes();
                    }
                }
                Undo::Cleared(cleared) if cleared.lent => self.give_table(cleared.table),
                _ => {}
            }
        }
        self.undo.reuse(ended);
    }

    /// Restores what was there at [`Db::begin_undo`], and forgets what was to be
    /// told since.
    pub(crate) fn rollback(&mut self) {
        self.outbox.truncate(self.outbox_mark);
        let Ended { steps, mut text } = self.undo.end();
        for undo in steps.into_iter().rev() {
            match undo {
                Undo::Overwritten {
                    key,
                    value,
                    deadline,
                } => {
                    let before = text.split_off(text.len() - key - value);
                    let (key, value) = before.split_at(key);
                    self.restore(key, |record| {
                        record.value = Value::Str(value.to_vec());
                        record.deadline = deadline;
                    });
                }
                Undo::Created(key) => {
                    let hash = self.hash(&key);
                    self.watch.touch(&key);
                    self.unlink(hash, &key);
                }
                Undo::Removed(record) => {
                    self.watch.touch(&record.key);
                    let hash = self.hash(&record.key);
                    self.link(hash, record);
                }
                Undo::Cleared(cleared) => self.put_back(*cleared),
                Undo::Libraries(libraries) => {
                    self.library_counts.set(&libraries);
                    self.libraries = libraries;
                }
                Undo::User(name, before) => self.restore_user(&name, before),
                Undo::Renamed { from, to } => {
                    self.watch.touch(&from);
                    self.watch.touch(&to);
                    self.move_record(&to, &from);
                }
                Undo::Replaced(key, value, deadline) => self.restore(&key, |record| {
                    record.value = value;
                    record.deadline = deadline;
                }),
                Undo::Deadline(key, deadline) => {
                    self.restore(&key, |record| record.deadline = deadline);
                }
                Undo::Edited(key) => {
                    self.restore(&key, |record| {
                        with_recorder(&mut record.value, Recorder::Rollback);
                    });
                }
                Undo::Spliced { key, covered, raw } => self.restore(&key, |record| {
                    if let Value::Str(text) = &mut record.value {
                        replace(text, covered.place, &covered.old);
                        if !raw {
                            text.shrink_to_fit();
                        }
                    }
                }),
            }
        }
    }

    /// Takes FLUSHALL back: whatever came after it is taken back already.
    fn put_back(&mut self, cleared: Cleared) {
        debug_assert!(self.table.is_empty());
        (self.table, self.deadlines) = (cleared.table, cleared.deadlines);
        self.field_deadlines = cleared.field_deadlines;
        self.used = cleared.used;
        let (table, hasher) = (&self.table, &self.hasher);
        self.watch.touch_where(|key| {
            table
                .find(hasher.of(key), |record| *record.key == *key)
                .is_some()
        });
        self.watch.put_back(cleared.changed);
        if cleared.lent {
            self.table_is_back();
        }
    }

    fn restore(&mut self, key: &[u8], change: impl FnOnce(&mut Record)) {
        // No cut begins inside a unit: what the unit changed is preserved.
        let hash = self.hash(key);
        self.watch.touch(key);
        let Some(record) = self.table.find_mut(hash, |record| *record.key == *key) else {
            return;
        };
        let (before, old_deadline) = (record.bytes(), record.deadline);
        let old_fields = record.value.next_deadline();
        change(record);
        let (after, deadline) = (record.bytes(), record.deadline);
        let fields = (old_fields, record.value.next_deadline());
        self.used = self.used - before + after;
        if deadline != old_deadline {
            self.deadlines.remove(old_deadline, hash);
            self.deadlines.insert(deadline, hash);
        }
        self.field_deadlines.replace(fields, hash);
    }
}

#[derive(Clone, Copy)]
pub(super) enum Recorder {
    Commit,
    Rollback,
}

pub(super) fn with_recorder(value: &mut Value, what: Recorder) {
    fn apply<T: Collection>(collection: &mut T, what: Recorder) {
        match what {
            Recorder::Commit => collection.commit_undo(),
            Recorder::Rollback => collection.rollback(),
        }
    }
    match value {
        Value::Int(_) | Value::Str(_) => {}
        Value::Hash(hash) => apply(&mut **hash, what),
        Value::Set(set) => apply(&mut **set, what),
        Value::ZSet(zset) => apply(&mut **zset, what),
        Value::List(list) => apply(&mut **list, what),
        Value::Stream(stream) => apply(&mut **stream, what),
    }
}
