//! A sorted set: members ordered by score, equal scores by the members' bytes,
//! in Redis' two encodings.
//!
//! `listpack` is one buffer in order, for few and short members; `skiplist` (the
//! name on the wire; a B+tree in truth) adds a dictionary and an order-statistic
//! tree, with ranks and bounds in O(log n). The change from the first to the
//! second is one-way, except that a rollback restores the encoding too.
//!
//! Scores are never NaN: callers refuse those. Minus zero equals zero.

mod bound;
mod indexed;
mod members;
mod packed;
#[cfg(test)]
mod tests;
mod tree;

pub use bound::{Bound, LexBound};

use super::table::{below, choose};
use super::{Collection, Kind, Value, all_differ};
use indexed::{Entries, Indexed};
use members::Member;
use packed::{Inserted, Packed};

/// Up to where a sorted set keeps the compact encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZSetLimits {
    /// Most members (`zset-max-listpack-entries`).
    pub max_entries: usize,
    /// Longest member in bytes (`zset-max-listpack-value`).
    pub max_value: usize,
}

impl Default for ZSetLimits {
    fn default() -> Self {
        ZSetLimits {
            max_entries: 128,
            max_value: 64,
        }
    }
}

#[derive(Debug, Clone)]
enum Form {
    Packed(Packed),
    Indexed(Box<Indexed>),
}

/// How to take back one change: the score that the member had, if any.
type Inverse = (Member, Option<f64>);

/// What is remembered while changes can still be taken back: the compact
/// encoding whole, the other one change by change.
#[derive(Debug)]
struct Undo {
    edits: u64,
    packed: Option<Packed>,
    inverses: Vec<Inverse>,
}

/// A sorted set; see the module.
#[derive(Debug)]
pub struct ZSet {
    form: Form,
    edits: u64,
    undo: Option<Box<Undo>>,
}

impl ZSet {
    /// The member's score.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Packed(packed) => packed.score(member),
            Form::Indexed(indexed) => indexed.score(member),
        }
    }

    /// Number of members before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.form {
            Form::Packed(packed) => packed.rank(member),
            Form::Indexed(indexed) => indexed.rank(member),
        }
    }

    /// Sets a member's score; returns the one that it had. A score equal to
    /// that is no change.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: ZSetLimits) -> Option<f64> {
        debug_assert!(!score.is_nan());
        if let Form::Packed(packed) = &mut self.form {
            match packed.insert(member, score, limits.max_entries, limits.max_value) {
                Inserted::New => {
                    self.edits += 1;
                    return None;
                }
                Inserted::Moved(old) => {
                    self.edits += 1;
                    return Some(old);
                }
                Inserted::Same(old) => return Some(old),
                Inserted::NoRoom => {}
            }
        }
        self.leave_packed();
        let Form::Indexed(indexed) = &mut self.form else {
            return None;
        };
        let old = indexed.insert(member, score);
        if old != Some(score) {
            self.edits += 1;
            if let Some(log) = log(&mut self.undo) {
                log.push((Member::from_slice(member), old));
            }
        }
        old
    }

    /// Changes to the large encoding.
    fn leave_packed(&mut self) {
        if let Form::Packed(packed) = &self.form {
            let mut indexed = Box::new(Indexed::new());
            for (member, score) in packed.iter() {
                indexed.insert(member, score);
            }
            self.form = Form::Indexed(indexed);
        }
    }

    /// Removes a member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = match &mut self.form {
            Form::Packed(packed) => packed.remove(member)?,
            Form::Indexed(indexed) => {
                let (member, score) = indexed.remove(member)?;
                if let Some(log) = log(&mut self.undo) {
                    log.push((member, Some(score)));
                }
                score
            }
        };
        self.edits += 1;
        Some(score)
    }

    /// Removes up to `count` members from rank `start` on, in rank order;
    /// returns how many there were.
    pub fn remove_range_by_rank(
        &mut self,
        start: usize,
        count: usize,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let done = match &mut self.form {
            Form::Packed(packed) => packed.remove_range(start, count, removed),
            Form::Indexed(indexed) => {
                let mut log = log(&mut self.undo);
                indexed.remove_range(start, count, |member, score| {
                    removed(&member, score);
                    if let Some(log) = &mut log {
                        log.push((member, Some(score)));
                    }
                })
            }
        };
        self.edits += done as u64;
        done
    }

    /// Removes the first member.
    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(0)
    }

    /// Removes the last member.
    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(self.len().checked_sub(1)?)
    }

    fn pop(&mut self, rank: usize) -> Option<(Vec<u8>, f64)> {
        let mut popped = None;
        self.remove_range_by_rank(rank, 1, |member, score| {
            popped = Some((member.to_vec(), score));
        });
        popped
    }

    /// The ranks of a range of scores: the first, and how many.
    pub fn score_range(&self, min: Bound, max: Bound) -> (usize, usize) {
        let (start, end) = match &self.form {
            Form::Packed(packed) => (
                packed.partition(|_, score| min.starts_after(score)),
                packed.partition(|_, score| max.reaches(score)),
            ),
            Form::Indexed(indexed) => (
                match min {
                    Bound::Included(min) => indexed.count_scores(min, false),
                    Bound::Excluded(min) => indexed.count_scores(min, true),
                },
                match max {
                    Bound::Included(max) => indexed.count_scores(max, true),
                    Bound::Excluded(max) => indexed.count_scores(max, false),
                },
            ),
        };
        (start, end.saturating_sub(start))
    }

    /// The ranks of a range of members: the first, and how many. It means
    /// something only where all scores are equal.
    pub fn lex_range(&self, min: &LexBound, max: &LexBound) -> (usize, usize) {
        let (start, end) = match &self.form {
            Form::Packed(packed) => (
                packed.partition(|member, _| min.starts_after(member)),
                packed.partition(|member, _| max.reaches(member)),
            ),
            Form::Indexed(indexed) => (
                indexed.partition_members(|member| min.starts_after(member)),
                indexed.partition_members(|member| max.reaches(member)),
            ),
        };
        (start, end.saturating_sub(start))
    }

    /// All members with their scores, in order.
    pub fn iter(&self) -> ZSetIter<'_> {
        self.iter_range(0, usize::MAX, false)
    }

    /// The members of the `count` ranks from `start` on, in that order or,
    /// with `reverse`, the same members from the last to the first.
    pub fn iter_range(&self, start: usize, count: usize, reverse: bool) -> ZSetIter<'_> {
        let len = self.len();
        let start = start.min(len);
        let count = count.min(len - start);
        let entries = match &self.form {
            Form::Packed(packed) => {
                let mut all = packed.iter();
                if reverse {
                    all.by_ref().rev().take(len - start - count).for_each(drop);
                    AnyIter::PackedBack(all)
                } else {
                    all.by_ref().take(start).for_each(drop);
                    AnyIter::Packed(all)
                }
            }
            Form::Indexed(indexed) if reverse => {
                AnyIter::Indexed(indexed.walk((start + count).saturating_sub(1), count, true))
            }
            Form::Indexed(indexed) => AnyIter::Indexed(indexed.walk(start, count, false)),
        };
        ZSetIter {
            entries,
            left: count,
        }
    }

    /// ZSCAN: visits about `count` members from `cursor` on and returns the
    /// next cursor, 0 at the end. A compact set comes at once, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'a [u8], f64),
    ) -> u64 {
        match &self.form {
            Form::Packed(packed) => {
                packed
                    .iter()
                    .for_each(|(member, score)| visit(member, score));
                0
            }
            Form::Indexed(indexed) => indexed.scan(cursor, count, visit),
        }
    }

    /// A member and its score, each member with the same probability.
    pub fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(&[u8], f64)> {
        match &self.form {
            Form::Packed(packed) if packed.len() > 0 => packed.iter().nth(below(rng, packed.len())),
            Form::Packed(_) => None,
            Form::Indexed(indexed) => indexed.random(rng),
        }
    }

    /// `count` different members with their scores in random order, or all of
    /// them if there are not more.
    pub fn random_distinct(
        &self,
        count: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> Vec<(&[u8], f64)> {
        match &self.form {
            Form::Packed(packed) => choose(packed.iter().collect(), count, rng),
            Form::Indexed(indexed) => indexed.random_distinct(count, rng),
        }
    }

    /// A sorted set of these members, which must come in order, in the encoding
    /// that is asked for, whatever the limits say; `None` where they are out of
    /// order, a member comes twice, or a score is no number.
    pub(crate) fn build<'a>(
        compact: bool,
        entries: impl ExactSizeIterator<Item = (&'a [u8], f64)> + Clone,
    ) -> Option<Self> {
        let mut last: Option<(f64, &[u8])> = None;
        for (member, score) in entries.clone() {
            let entry = (score, member);
            if score.is_nan() || last.is_some_and(|last| packed::compare(last, entry).is_ge()) {
                return None;
            }
            last = Some(entry);
        }
        let form = if compact {
            if !all_differ(entries.clone().map(|(member, _)| member)) {
                return None;
            }
            Form::Packed(Packed::build(entries))
        } else {
            let mut indexed = Box::new(Indexed::with_capacity(entries.len()));
            for (member, score) in entries {
                if indexed.insert(member, score).is_some() {
                    return None;
                }
            }
            Form::Indexed(indexed)
        };
        Some(ZSet {
            form,
            ..ZSet::default()
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
            Form::Indexed(_) => "skiplist",
        }
    }
}

/// Where to note inverses, if it is of any use.
fn log(undo: &mut Option<Box<Undo>>) -> Option<&mut Vec<Inverse>> {
    undo.as_deref_mut()
        .filter(|undo| undo.packed.is_none())
        .map(|undo| &mut undo.inverses)
}

impl Default for ZSet {
    fn default() -> Self {
        ZSet {
            form: Form::Packed(Packed::default()),
            edits: 0,
            undo: None,
        }
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for ZSet {
    fn clone(&self) -> Self {
        ZSet {
            form: self.form.clone(),
            edits: self.edits,
            undo: None,
        }
    }
}

impl<'a> IntoIterator for &'a ZSet {
    type Item = (&'a [u8], f64);
    type IntoIter = ZSetIter<'a>;

    fn into_iter(self) -> ZSetIter<'a> {
        self.iter()
    }
}

impl Collection for ZSet {
    const KIND: Kind = Kind::ZSet;

    fn of(value: &Value) -> Option<&Self> {
        if let Value::ZSet(zset) = value {
            Some(zset)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::ZSet(zset) = value {
            Some(zset)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::ZSet(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        match &self.form {
            Form::Packed(packed) => packed.len(),
            Form::Indexed(indexed) => indexed.len(),
        }
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.form {
                Form::Packed(packed) => packed.heap_bytes(),
                Form::Indexed(indexed) => size_of_val(indexed.as_ref()) + indexed.heap_bytes(),
            }
    }

    fn edits(&self) -> u64 {
        self.edits
    }

    fn begin_undo(&mut self) {
        if self.undo.is_none() {
            let packed = match &self.form {
                Form::Packed(packed) => Some(packed.clone()),
                Form::Indexed(_) => None,
            };
            self.undo = Some(Box::new(Undo {
                edits: self.edits,
                packed,
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
        if let Some(packed) = undo.packed {
            self.form = Form::Packed(packed);
        } else if let Form::Indexed(indexed) = &mut self.form {
            for (member, score) in undo.inverses.into_iter().rev() {
                match score {
                    Some(score) => drop(indexed.insert(&member, score)),
                    None => drop(indexed.remove(&member)),
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum AnyIter<'a> {
    Packed(packed::Iter<'a>),
    PackedBack(packed::Iter<'a>),
    Indexed(Entries<'a>),
}

/// Iterator over the members of a sorted set with their scores.
#[derive(Debug, Clone)]
pub struct ZSetIter<'a> {
    entries: AnyIter<'a>,
    left: usize,
}

impl<'a> Iterator for ZSetIter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.entries {
            AnyIter::Packed(entries) => entries.next(),
            AnyIter::PackedBack(entries) => entries.next_back(),
            AnyIter::Indexed(entries) => entries.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ZSetIter<'_> {}
