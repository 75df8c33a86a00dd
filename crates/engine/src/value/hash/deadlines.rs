//! Deadlines of a hash's fields.
//!
//! A sorted set of the fields that have one, with the deadline as the score: it
//! finds a field's deadline and the earliest of all, counts those up to a
//! moment in O(log n), undoes its changes and counts its memory. A score holds
//! every deadline exactly, since none is beyond 2^46. A hash without deadlines
//! has no such index.
//!
//! A value has no clock, so the keyspace says what time it is: it *hides* the
//! fields that are due. Hidden fields are still in memory, but no reader and no
//! writer finds them; the keyspace removes them a few at a time, however many
//! are due at once. A writer that touches a hidden field removes it first and
//! notes that it did, so that the keyspace can log it.

use super::Hash;
use crate::expiry::NEVER;
use crate::value::{Bound, Collection, ZSet, ZSetLimits};

/// The latest deadline that a field may have, in milliseconds since the epoch;
/// the same as Redis'.
pub const LATEST_FIELD_DEADLINE: u64 = (1 << 46) - 1;

/// Which fields of a hash have deadlines; see the module.
#[derive(Debug, Default)]
pub(super) struct FieldDeadlines {
    index: ZSet,
    /// Fields due at this moment are hidden.
    horizon: u64,
    /// How many those are.
    hidden: usize,
    /// Hidden fields that writers have removed and nobody heard of yet.
    met: Vec<Box<[u8]>>,
    /// Made since inverses are being recorded: a rollback drops it whole.
    is_new: bool,
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for FieldDeadlines {
    fn clone(&self) -> Self {
        FieldDeadlines {
            index: self.index.clone(),
            horizon: self.horizon,
            hidden: self.hidden,
            met: Vec::new(),
            is_new: false,
        }
    }
}

impl FieldDeadlines {
    fn get(&self, field: &[u8]) -> Option<u64> {
        self.index.score(field).map(|score| score as u64)
    }

    fn set(&mut self, field: &[u8], deadline: u64) {
        let limits = ZSetLimits::default();
        let old = self.index.insert(field, deadline as f64, limits);
        let was_hidden = old.is_some_and(|old| old as u64 <= self.horizon);
        self.hidden += usize::from(deadline <= self.horizon);
        self.hidden -= usize::from(was_hidden);
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Some(old) = self.index.remove(field) else {
            return false;
        };
        self.hidden -= usize::from(old as u64 <= self.horizon);
        true
    }

    fn first(&self) -> u64 {
        let first = self.index.iter_range(0, 1, false).next();
        first.map_or(NEVER, |(_, score)| score as u64)
    }

    fn last(&self) -> u64 {
        let last = self.index.len().saturating_sub(1);
        let last = self.index.iter_range(last, 1, true).next();
        last.map_or(0, |(_, score)| score as u64)
    }

    /// Number of fields that are due at `now_ms`.
    fn due(&self, now_ms: u64) -> usize {
        let until = Bound::Included(now_ms as f64);
        self.index.score_range(Bound::Included(0.0), until).1
    }

    pub(super) fn hides(&self, field: &[u8]) -> bool {
        self.hidden > 0 && self.get(field).is_some_and(|at| at <= self.horizon)
    }

    pub(super) const fn hidden(&self) -> usize {
        self.hidden
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<ZSet>() + self.index.heap_bytes()
    }

    pub(super) fn begin_undo(&mut self) {
        self.index.begin_undo();
    }

    /// Whether there is any use for it left.
    pub(super) fn commit_undo(&mut self) -> bool {
        self.index.commit_undo();
        self.is_new = false;
        !self.index.is_empty()
    }

    /// Whether it was there before.
    pub(super) fn rollback(&mut self) -> bool {
        self.index.rollback();
        self.hidden = self.due(self.horizon);
        self.met.clear();
        !self.is_new
    }
}

/// What is kept for a field: its name, its value, and its deadline if it has one.
pub type StoredField<'a> = (&'a [u8], &'a [u8], Option<u64>);

impl Hash {
    /// The deadline of a field, in milliseconds since the epoch; `None` where
    /// it has none or there is no such field.
    pub fn deadline(&self, field: &[u8]) -> Option<u64> {
        let deadlines = self.deadlines.as_deref()?;
        let at = deadlines.get(field)?;
        (deadlines.hidden == 0 || at > deadlines.horizon).then_some(at)
    }

    /// Sets the deadline of a field, up to [`LATEST_FIELD_DEADLINE`], or takes
    /// it away; says whether there was such a field, and a deadline to take.
    /// Counts as an edit even when the deadline stays the same.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) -> bool {
        self.drop_if_hidden(field);
        if !self.contains(field) {
            return false;
        }
        let changed = match deadline {
            None => self.clear_deadline(field),
            Some(at) => {
                let is_new = self.undo.is_some();
                let deadlines = self.deadlines.get_or_insert_with(|| {
                    Box::new(FieldDeadlines {
                        is_new,
                        ..FieldDeadlines::default()
                    })
                });
                deadlines.set(field, at.min(LATEST_FIELD_DEADLINE));
                true
            }
        };
        self.edits += u64::from(changed);
        changed
    }

    /// The earliest deadline of a field, or [`NEVER`].
    #[inline]
    pub(crate) fn next_deadline(&self) -> u64 {
        match &self.deadlines {
            None => NEVER,
            Some(deadlines) => deadlines.first(),
        }
    }

    /// Whether [`Hash::hide_due`] would change anything.
    #[inline]
    pub(crate) fn is_behind(&self, now_ms: u64) -> bool {
        match &self.deadlines {
            None => false,
            Some(deadlines) => deadlines.first() <= now_ms || deadlines.hidden > 0,
        }
    }

    /// From now on fields that are due at `now_ms` are hidden, and no others.
    /// No change as far as `edits` and undo go.
    pub(crate) fn hide_due(&mut self, now_ms: u64) {
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.hidden = deadlines.due(now_ms);
            deadlines.horizon = now_ms;
        }
    }

    /// Whether it is more than fields that are due at `now_ms`; an empty hash is.
    pub(crate) fn has_live_fields(&self, now_ms: u64) -> bool {
        self.deadlines.as_ref().is_none_or(|deadlines| {
            deadlines.index.is_empty()
                || deadlines.index.len() < self.stored_len()
                || deadlines.last() > now_ms
        })
    }

    /// Number of hidden fields.
    pub(crate) fn hidden(&self) -> usize {
        self.deadlines
            .as_ref()
            .map_or(0, |deadlines| deadlines.hidden)
    }

    /// Removes up to `most` hidden fields, those first that were due first, and
    /// gives them out. Undo takes it back; `edits` stays.
    pub(crate) fn remove_hidden(&mut self, most: usize) -> Vec<Box<[u8]>> {
        let mut removed: Vec<Box<[u8]>> = Vec::new();
        if let Some(deadlines) = &mut self.deadlines {
            let most = most.min(deadlines.hidden);
            let gone = deadlines
                .index
                .remove_range_by_rank(0, most, |field, _| removed.push(field.into()));
            deadlines.hidden -= gone;
        }
        for field in &removed {
            self.remove_stored(field);
        }
        self.drop_empty_index();
        removed
    }

    /// The hidden fields that writers have removed since the last call.
    pub(crate) fn take_met(&mut self) -> Vec<Box<[u8]>> {
        let Some(deadlines) = &mut self.deadlines else {
            return Vec::new();
        };
        let met = std::mem::take(&mut deadlines.met);
        self.drop_empty_index();
        met
    }

    /// Everything that it holds, hidden fields too.
    pub fn stored(&self) -> impl ExactSizeIterator<Item = StoredField<'_>> {
        let deadlines = self.deadlines.as_deref();
        self.stored_iter().map(move |(field, value)| {
            let deadline = deadlines.and_then(|deadlines| deadlines.get(field));
            (field, value, deadline)
        })
    }

    /// [`Hash::build`] of fields with deadlines.
    pub(crate) fn build_timed<'a>(
        compact: bool,
        fields: impl ExactSizeIterator<Item = StoredField<'a>> + Clone,
    ) -> Option<Self> {
        let pairs = fields.clone().map(|(field, value, _)| (field, value));
        let mut hash = Hash::build(compact, pairs)?;
        for (field, _, deadline) in fields {
            if let Some(deadline) = deadline {
                hash.deadlines
                    .get_or_insert_default()
                    .set(field, deadline.min(LATEST_FIELD_DEADLINE));
            }
        }
        Some(hash)
    }

    /// Whether any field has a deadline, a hidden one too.
    pub fn has_deadlines(&self) -> bool {
        self.next_deadline() != NEVER
    }

    /// Removes a hidden field for good before something else is done with it.
    pub(super) fn drop_if_hidden(&mut self, field: &[u8]) {
        let Some(deadlines) = &mut self.deadlines else {
            return;
        };
        if deadlines.hides(field) {
            deadlines.remove(field);
            deadlines.met.push(field.into());
            self.remove_stored(field);
        }
    }

    /// Takes a field's deadline away; says whether it had one.
    pub(super) fn clear_deadline(&mut self, field: &[u8]) -> bool {
        let Some(deadlines) = &mut self.deadlines else {
            return false;
        };
        let removed = deadlines.remove(field);
        self.drop_empty_index();
        removed
    }

    /// Gives an index up that has nothing left in it, unless a rollback or
    /// [`Hash::take_met`] may still want it.
    fn drop_empty_index(&mut self) {
        let is_idle = |deadlines: &FieldDeadlines| {
            deadlines.index.is_empty() && deadlines.met.is_empty() && self.undo.is_none()
        };
        if self.deadlines.as_deref().is_some_and(is_idle) {
            self.deadlines = None;
        }
    }
}

#[cfg(test)]
mod tests;
