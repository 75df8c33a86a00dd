//! Walking over a hash.

use super::deadlines::FieldDeadlines;
use super::pairs::{PairsIter, split_element};
use super::{Form, Hash};
use crate::value::Collection;
use crate::value::table::Iter;

#[derive(Debug)]
enum AnyIter<'a> {
    Packed(PairsIter<'a>),
    Records(Iter<'a, Box<[u8]>>),
}

impl<'a> Iterator for AnyIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            AnyIter::Packed(pairs) => pairs.next(),
            AnyIter::Records(records) => records.next().map(|record| split_element(record)),
        }
    }
}

/// Iterator over the fields and values of a hash.
#[derive(Debug)]
pub struct HashIter<'a> {
    all: AnyIter<'a>,
    /// Fields that are still to come.
    left: usize,
    /// Says which are to be left out, if any are.
    hider: Option<&'a FieldDeadlines>,
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.hider {
            None => self.all.next(),
            Some(hider) => self.all.find(|(field, _)| !hider.hides(field)),
        };
        self.left -= usize::from(next.is_some());
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HashIter<'_> {}

impl Hash {
    /// All fields with their values; in insertion order while the encoding is
    /// compact.
    pub fn iter(&self) -> HashIter<'_> {
        HashIter {
            left: self.len(),
            hider: self.deadlines.as_deref().filter(|hider| hider.hidden() > 0),
            ..self.stored_iter()
        }
    }

    /// The same with those that are hidden.
    pub(super) fn stored_iter(&self) -> HashIter<'_> {
        HashIter {
            all: match &self.form {
                Form::Packed(pairs) => AnyIter::Packed(pairs.iter()),
                Form::Records(records) => AnyIter::Records(records.iter()),
            },
            left: self.stored_len(),
            hider: None,
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
