//! A hash: fields to values, in Redis' two encodings.
//!
//! `listpack` is one buffer of pairs in insertion order, for few and short
//! ones; `hashtable` is a [`Table`](super::Table) of records, one allocation for
//! a field and its value. The change from the first to the second is one-way,
//! except that a rollback restores the encoding too.

mod pairs;
#[cfg(test)]
mod tests;

use super::table::{Iter, Keyed, Records, Undo, below, choose};
use super::{Collection, Kind, Value, all_differ};
use pairs::{Pairs, PairsIter, length_size, push_length, split_element};

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
}

impl Hash {
    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match &self.form {
            Form::Packed(pairs) => pairs.get(field),
            Form::Records(records) => records.get(field).map(|record| split_element(record).1),
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

    /// Sets a field; says whether it is new. Counts as an edit even when the
    /// value stays the same, as `HSET` does for WATCH.
    pub fn insert(&mut self, field: &[u8], value: &[u8], limits: HashLimits) -> bool {
        self.edits += 1;
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
        let removed = match &mut self.form {
            Form::Packed(pairs) => pairs.remove(field),
            Form::Records(records) => records.remove(field, Undo::log(&mut self.undo)),
        };
        self.edits += u64::from(removed);
        removed
    }

    /// All fields with their values; in insertion order while the encoding is
    /// compact.
    pub fn iter(&self) -> HashIter<'_> {
        HashIter(match &self.form {
            Form::Packed(pairs) => AnyIter::Packed(pairs.iter()),
            Form::Records(records) => AnyIter::Records(records.iter()),
        })
    }

    /// HSCAN: visits about `count` fields from `cursor` on and returns the next
    /// cursor, 0 at the end. A compact hash comes at once, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        match &self.form {
            Form::Packed(pairs) => {
                pairs.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Records(records) => records.scan(cursor, count, |record| {
                let (field, value) = split_element(record);
                visit(field, value);
            }),
        }
    }

    /// A field and its value, each field with the same probability.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        match &self.form {
            Form::Packed(pairs) if pairs.len() > 0 => pairs.iter().nth(below(rng, pairs.len())),
            Form::Packed(_) => None,
            Form::Records(records) => records.random(rng).map(split_element),
        }
    }

    /// `count` different fields with their values in random order, or all of
    /// them if there are not more.
    pub fn random_distinct(
        &self,
        count: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> Vec<(&[u8], &[u8])> {
        match &self.form {
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
        }
    }
}

impl<'a> IntoIterator for &'a Hash {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = HashIter<'a>;

    fn into_iter(self) -> HashIter<'a> {
        self.iter()
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
        match &self.form {
            Form::Packed(pairs) => pairs.len(),
            Form::Records(records) => records.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Packed(pairs) => pairs.heap_bytes(),
                Form::Records(records) => size_of_val(records.as_ref()) + records.heap_bytes(),
            }
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
        }
    }

    fn is_recording(&self) -> bool {
        self.undo.is_some()
    }

    fn commit_undo(&mut self) {
        self.undo = None;
    }

    fn rollback(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.edits = undo.edits;
        match (undo.compact, &mut self.form) {
            (Some(pairs), form) => *form = Form::Packed(pairs),
            (None, Form::Records(records)) => records.revert(undo.inverses),
            (None, Form::Packed(_)) => {}
        }
    }
}

#[derive(Debug)]
enum AnyIter<'a> {
    Packed(PairsIter<'a>),
    Records(Iter<'a, Box<[u8]>>),
}

/// Iterator over the fields and values of a hash.
#[derive(Debug)]
pub struct HashIter<'a>(AnyIter<'a>);

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            AnyIter::Packed(pairs) => pairs.next(),
            AnyIter::Records(records) => records.next().map(|record| split_element(record)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            AnyIter::Packed(pairs) => pairs.size_hint(),
            AnyIter::Records(records) => records.size_hint(),
        }
    }
}

impl ExactSizeIterator for HashIter<'_> {}
