//! A set of strings, in Redis' two encodings.
//!
//! `intset` is a sorted array, for a few hundred integers at most; `hashtable`
//! is a [`Table`](super::Table) of the members. The change from the first to the
//! second is one-way, except that a rollback restores the encoding too.

mod intset;
mod member;
#[cfg(test)]
mod tests;

use super::table::{Iter, Keyed, Records, Undo, below, choose};
use super::{Collection, Kind, Value};
use intset::{IntSet, parse};

pub(crate) use intset::parse as parse_integer;
pub use member::Member;

/// Up to where a set keeps the compact encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetLimits {
    /// Most members, all integers (`set-max-intset-entries`).
    pub max_intset_entries: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        SetLimits {
            max_intset_entries: 512,
        }
    }
}

/// A record is the member itself.
struct Whole;

impl Keyed for Whole {
    #[inline]
    fn key(record: &[u8]) -> &[u8] {
        record
    }
}

#[derive(Debug, Clone)]
enum Form {
    Integers(IntSet),
    Records(Box<Records<Whole>>),
}

/// A set; see the module.
#[derive(Debug)]
pub struct Set {
    form: Form,
    edits: u64,
    undo: Option<Box<Undo<IntSet>>>,
}

impl Set {
    /// Whether this is a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.form {
            Form::Integers(integers) => {
                parse(member).is_some_and(|integer| integers.contains(integer))
            }
            Form::Records(records) => records.get(member).is_some(),
        }
    }

    /// Adds a member; says whether it is new.
    pub fn insert(&mut self, member: &[u8], limits: SetLimits) -> bool {
        let inserted = self.insert_unnoted(member, limits);
        self.edits += u64::from(inserted);
        inserted
    }

    fn insert_unnoted(&mut self, member: &[u8], limits: SetLimits) -> bool {
        if let Form::Integers(integers) = &mut self.form {
            if let Some(integer) = parse(member) {
                let inserted = integers.insert(integer);
                if inserted && integers.len() > limits.max_intset_entries {
                    self.leave_integers();
                }
                return inserted;
            }
            self.leave_integers();
        }
        match &mut self.form {
            Form::Records(records) => {
                records.add(member, || member.into(), Undo::log(&mut self.undo))
            }
            Form::Integers(_) => false,
        }
    }

    fn leave_integers(&mut self) {
        if let Form::Integers(integers) = &self.form {
            let mut records = Box::new(Records::default());
            let mut buffer = itoa::Buffer::new();
            for integer in integers.iter() {
                let text = buffer.format(integer).as_bytes();
                records.add(text, || text.into(), None);
            }
            self.form = Form::Records(records);
        }
    }

    /// Removes a member; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let removed = match &mut self.form {
            Form::Integers(integers) => {
                parse(member).is_some_and(|integer| integers.remove(integer))
            }
            Form::Records(records) => records.remove(member, Undo::log(&mut self.undo)),
        };
        self.edits += u64::from(removed);
        removed
    }

    /// Takes a random member out.
    pub fn pop(&mut self, rng: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        let popped = match &mut self.form {
            Form::Integers(integers) if integers.len() > 0 => {
                let integer = integers.get(below(rng, integers.len()))?;
                integers.remove(integer);
                Member::from(integer).to_vec()
            }
            Form::Integers(_) => return None,
            Form::Records(records) => records
                .remove_random(rng, Undo::log(&mut self.undo))?
                .into_vec(),
        };
        self.edits += 1;
        Some(popped)
    }

    /// All members; from the smallest to the largest while the encoding is
    /// compact.
    pub fn iter(&self) -> SetIter<'_> {
        SetIter(match &self.form {
            Form::Integers(integers) => AnyIter::Integers(integers, 0),
            Form::Records(records) => AnyIter::Records(records.iter()),
        })
    }

    /// SSCAN: visits about `count` members from `cursor` on and returns the next
    /// cursor, 0 at the end. A compact set comes at once, as in Redis.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'a>)) -> u64 {
        match &self.form {
            Form::Integers(integers) => {
                integers
                    .iter()
                    .for_each(|integer| visit(Member::from(integer)));
                0
            }
            Form::Records(records) => {
                records.scan(cursor, count, |record| visit(Member::from(record)))
            }
        }
    }

    /// A member, each with the same probability.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<Member<'_>> {
        match &self.form {
            Form::Integers(integers) if integers.len() > 0 => {
                integers.get(below(rng, integers.len())).map(Member::from)
            }
            Form::Integers(_) => None,
            Form::Records(records) => records.random(rng).map(Member::from),
        }
    }

    /// `count` different members in random order, or all of them if there are
    /// not more.
    pub fn random_distinct(&self, count: usize, rng: &mut impl FnMut() -> u64) -> Vec<Member<'_>> {
        match &self.form {
            Form::Integers(integers) => {
                choose(integers.iter().map(Member::from).collect(), count, rng)
            }
            Form::Records(records) => records
                .random_distinct(count, rng)
                .map(Member::from)
                .collect(),
        }
    }

    /// A set of these members, in the encoding that is asked for, whatever the
    /// limits say; `None` where a member comes twice, or where the compact one
    /// cannot hold them: that takes integers in ascending order.
    pub(crate) fn build<'a>(
        compact: bool,
        members: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Option<Self> {
        let form = if compact {
            let mut last = None;
            for member in members.clone() {
                let integer = parse(member)?;
                if last.is_some_and(|last| last >= integer) {
                    return None;
                }
                last = Some(integer);
            }
            Form::Integers(IntSet::build(members.filter_map(parse)))
        } else {
            let mut records = Box::new(Records::with_capacity(members.len()));
            for member in members {
                if !records.add(member, || member.into(), None) {
                    return None;
                }
            }
            Form::Records(records)
        };
        Some(Set {
            form,
            ..Set::default()
        })
    }

    /// Its members in ascending order with the bytes that each is kept in, if it
    /// has the compact encoding.
    pub(crate) fn integers(&self) -> Option<(usize, impl ExactSizeIterator<Item = i64>)> {
        match &self.form {
            Form::Integers(integers) => Some((integers.width(), integers.iter())),
            Form::Records(_) => None,
        }
    }

    /// Whether it has the compact encoding, `intset`.
    pub const fn is_compact(&self) -> bool {
        matches!(self.form, Form::Integers(_))
    }

    /// What `OBJECT ENCODING` answers.
    pub const fn encoding(&self) -> &'static str {
        match self.form {
            Form::Integers(_) => "intset",
            Form::Records(_) => "hashtable",
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Set {
            form: Form::Integers(IntSet::default()),
            edits: 0,
            undo: None,
        }
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for Set {
    fn clone(&self) -> Self {
        Set {
            form: self.form.clone(),
            edits: self.edits,
            undo: None,
        }
    }
}

impl<'a> IntoIterator for &'a Set {
    type Item = Member<'a>;
    type IntoIter = SetIter<'a>;

    fn into_iter(self) -> SetIter<'a> {
        self.iter()
    }
}

impl Collection for Set {
    const KIND: Kind = Kind::Set;

    fn of(value: &Value) -> Option<&Self> {
        if let Value::Set(set) = value {
            Some(set)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Set(set) = value {
            Some(set)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::Set(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        match &self.form {
            Form::Integers(integers) => integers.len(),
            Form::Records(records) => records.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Integers(integers) => integers.heap_bytes(),
                Form::Records(records) => size_of_val(records.as_ref()) + records.heap_bytes(),
            }
    }

    fn edits(&self) -> u64 {
        self.edits
    }

    fn begin_undo(&mut self) {
        if self.undo.is_none() {
            let compact = match &self.form {
                Form::Integers(integers) => Some(integers.clone()),
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
            (Some(integers), form) => *form = Form::Integers(integers),
            (None, Form::Records(records)) => records.revert(undo.inverses),
            (None, Form::Integers(_)) => {}
        }
    }
}

#[derive(Debug)]
enum AnyIter<'a> {
    Integers(&'a IntSet, usize),
    Records(Iter<'a, Box<[u8]>>),
}

/// Iterator over the members of a set.
#[derive(Debug)]
pub struct SetIter<'a>(AnyIter<'a>);

impl<'a> Iterator for SetIter<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match &mut self.0 {
            AnyIter::Integers(integers, next) => {
                let integer = integers.get(*next)?;
                *next += 1;
                Some(Member::from(integer))
            }
            AnyIter::Records(records) => records.next().map(|record| Member::from(record.as_ref())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            AnyIter::Integers(integers, next) => {
                let left = integers.len() - next;
                (left, Some(left))
            }
            AnyIter::Records(records) => records.size_hint(),
        }
    }
}

impl ExactSizeIterator for SetIter<'_> {}
