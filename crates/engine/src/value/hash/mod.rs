//! A hash: fields to values, in Redis' two encodings.
//!
//! `listpack` is one buffer of pairs in insertion order, for few and short
//! ones; `hashtable` is a [`Table`](super::Table) of records, one allocation for
//! a field and its value. The change from the first to the second is one-way,
//! except that a rollback restores the encoding too. Fields may have
//! [`deadlines`]; both encodings keep their names then.

mod deadlines;
mod iter;
mod pairs;
#[cfg(test)]
mod tests;

pub use deadlines::{LATEST_FIELD_DEADLINE, StoredField};
pub use iter::HashIter;

use super::table::{Keyed, Records, Undo, below, choose};
use super::{Collection, Kind, Value, all_differ};
use deadlines::FieldDeadlines;
use pairs::{Pairs, length_size, push_length, split_element};

/// Up to where a hash keeps the compact encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashLimits {
    /// Most fields (`hash-max-listpack-entries`).
    pub max_entries: usize,
    /// Longest field or value in bytes (`hash-max-listpack-value`).
    pub max_value: usize,
}

impl Default for HashLimits {
    fn default() -> Self {
        HashLimits {
            max_entries: 512,
            max_value: 64,
        }
    }
}

/// A record is a field behind its length, then the value.
struct FieldOf;

impl Keyed for FieldOf {
    #[inline]
    fn key(record: &[u8]) -> &[u8] {
        split_element(record).0
    }
}

fn record(field: &[u8], value: &[u8]) -> Box<[u8]> {
    let size = length_size(field.len()) + field.len() + value.len();
    let mut record = Vec::with_capacity(size);
    push_length(&mut record, field.len());
    record.extend_from_slice(field);
    record.extend_from_slice(value);
    record.into_boxed_slice()
}

#[derive(Debug, Clone)]
enum Form {
    Packed(Pairs),
    Records(Box<Records<FieldOf>>),
}

/// A hash; see the module.
#[derive(Debug)]
pub struct Hash {
    form: Form,
    edits: u64,
    undo: Option<Box<Undo<Pairs>>>,
    /// Made when the first field gets a deadline.
    deadlines: Option<Box<FieldDeadlines>>,
}

/// Draws that [`Hash::random`] makes among fields of which some are hidden.
const DRAWS: usize = 64;

impl Hash {
    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        let value = match &self.form {
            Form::Packed(pairs) => pairs.get(field),
            Form::Records(records) => records.get(field).map(|record| split_element(record).1),
        };
        value.filter(|_| !self.hides(field))
    }

    /// Whether the field is there and hidden.
    #[inline]
    fn hides(&self, field: &[u8]) -> bool {
        match &self.deadlines {
            None => false,
            Some(deadlines) => deadlines.hides(field),
        }
    }

    /// Number of fields, hidden ones too.
    fn stored_len(&self) -> usize {
        match &self.form {
            Form::Packed(pairs) => pairs.len(),
            Form::Records(records) => records.len(),
        }
    }

    /// Whether there is such a field.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Length of the field's value, 0 if there is none.
    pub fn strlen(&self, field: &[u8]) -> usize {
        self.get(field).map_or(0, <[u8]>::len)
    }

    /// Sets a field and takes its deadline away; says whether it is new. Counts
    /// as an edit even when the value stays the same, as `HSET` does for WATCH.
    pub fn insert(&mut self, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
        let is_new = self.update(field, value, limits);
        if !is_new {
            self.clear_deadline(field);
        }
        is_new
    }

    /// The same, but the field keeps its deadline.
    pub fn update(&mut self, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
        self.edits += 1;
        self.drop_if_hidden(field);
        if let Form::Packed(pairs) = &mut self.form {
            if field.len().max(value.len()) <= limits.max_value
                && let Some(is_new) = pairs.set(field, value, limits.max_entries)
            {
                return is_new;
            }
            let mut records = Box::new(Records::default());
            for (field, value) in pairs.iter() {
                records.add(field, || record(field, value), None);
            }
            self.form = Form::Records(records);
        }
        match &mut self.form {
            Form::Records(records) => {
                records.set(field, || record(field, value), Undo::log(&mut self.undo))
            }
            Form::Packed(_) => false,
        }
    }

    /// Removes a field; says whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.drop_if_hidden(field);
        let removed = self.remove_stored(field);
        if removed {
            self.clear_deadline(field);
        }
        self.edits += u64::from(removed);
        removed
    }

    fn remove_stored(&mut self, field: &[u8]) -> bool {
        match &mut self.form {
            Form::Packed(pairs) => pairs.remove(field),
            Form::Records(records) => records.remove(field, Undo::log(&mut self.undo)),
        }
    }

    /// HSCAN: visits about `count` fields from `cursor` on and returns the next
    /// cursor, 0 at the end. A compact hash comes at once, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        let mut visit = |(field, value)| {
            if !self.hides(field) {
                visit(field, value);
            }
        };
        match &self.form {
            Form::Packed(pairs) => {
                pairs.iter().for_each(visit);
                0
            }
            Form::Records(records) => {
                records.scan(cursor, count, |record| visit(split_element(record)))
            }
        }
    }

    /// A field and its value, each field with the same probability.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        let mut draw = || match &self.form {
            Form::Packed(pairs) if pairs.len() > 0 => pairs.iter().nth(below(rng, pairs.len())),
            Form::Packed(_) => None,
            Form::Records(records) => records.random(rng).map(split_element),
        };
        if self.hidden() == 0 {
            return draw();
        }
        if self.is_empty() {
            return None;
        }
        for _ in 0..DRAWS {
            let drawn = draw().filter(|(field, _)| !self.hides(field));
            if drawn.is_some() {
                return drawn;
            }
        }
        self.iter().nth(below(rng, self.len()))
    }

    /// `count` different fields with their values in random order, or all of
    /// them if there are not more.
    pub fn random_distinct(
        &self,
        count: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> Vec<(&[u8], &[u8])> {
        match &self.form {
            _ if self.hidden() > 0 => choose(self.iter().collect(), count, rng),
            Form::Packed(pairs) => choose(pairs.iter().collect(), count, rng),
            Form::Records(records) => records
                .random_distinct(count, rng)
                .map(split_element)
                .collect(),
        }
    }

    /// A hash of these fields with their values, in the encoding that is asked
    /// for, whatever the limits say; `None` where a field comes twice. One
    /// allocation for the table or the buffer: `fields` is walked twice.
    pub(crate) fn build<'a>(
        compact: bool,
        fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Option<Self> {
        let form = if compact {
            if !all_differ(fields.clone().map(|(field, _)| field)) {
                return None;
            }
            Form::Packed(Pairs::build(fields))
        } else {
            let mut records = Box::new(Records::with_capacity(fields.len()));
            for (field, value) in fields {
                if !records.add(field, || record(field, value), None) {
                    return None;
                }
            }
            Form::Records(records)
        };
        Some(Hash {
            form,
            ..Hash::default()
        })
    }

    /// Whether it has the compact encoding, `listpack`.
    pub const fn is_compact(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    /// What `OBJECT ENCODING` answers.
    pub const fn encoding(&self) -> &'static str {
        match self.form {
            Form::Packed(_) => "listpack",
            Form::Records(_) => "hashtable",
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Hash {
            form: Form::Packed(Pairs::default()),
            edits: 0,
            undo: None,
            deadlines: None,
        }
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for Hash {
    fn clone(&self) -> Self {
        Hash {
            form: self.form.clone(),
            edits: self.edits,
            undo: None,
            deadlines: self.deadlines.clone(),
        }
    }
}

impl Collection for Hash {
    const KIND: Kind = Kind::Hash;

    fn of(value: &Value) -> Option<&Self> {
        if let Value::Hash(hash) = value {
            Some(hash)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Hash(hash) = value {
            Some(hash)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.stored_len() - self.hidden()
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Packed(pairs) => pairs.heap_bytes(),
                Form::Records(records) => size_of_val(records.as_ref()) + records.heap_bytes(),
            }
            + self
                .deadlines
                .as_deref()
                .map_or(0, FieldDeadlines::heap_bytes)
    }

    fn edits(&self) -> u64 {
        self.edits
    }

    fn begin_undo(&mut self) {
        if self.undo.is_none() {
            let compact = match &self.form {
                Form::Packed(pairs) => Some(pairs.clone()),
                Form::Records(_) => None,
            };
            self.undo = Some(Box::new(Undo {
                edits: self.edits,
                compact,
                inverses: Vec::new(),
            }));
            if let Some(deadlines) = &mut self.deadlines {
                deadlines.begin_undo();
            }
        }
    }

    fn is_recording(&self) -> bool {
        self.undo.is_some()
    }

    fn commit_undo(&mut self) {
        if self.undo.take().is_some() {
            let is_idle = |deadlines: &mut Box<FieldDeadlines>| !deadlines.commit_undo();
            if self.deadlines.as_mut().is_some_and(is_idle) {
                self.deadlines = None;
            }
        }
    }

    fn rollback(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.edits = undo.edits;
        match (undo.compact, &mut self.form) {
            (Some(pairs), form) => *form = Form::Packed(pairs),
            (None, Form::Records(records)) => records.revert(undo.inverses),
            (None, Form::Packed(_)) => {}
        }
        if self
            .deadlines
            .as_mut()
            .is_some_and(|deadlines| !deadlines.rollback())
        {
            self.deadlines = None;
        }
    }

    fn next_deadline(&self) -> u64 {
        Hash::next_deadline(self)
    }

    fn take_expired(&mut self) -> Vec<Box<[u8]>> {
        self.take_met()
    }
}
