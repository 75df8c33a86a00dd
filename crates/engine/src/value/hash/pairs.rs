//! The compact encoding of a hash: fields and values one after the other in one
//! buffer, each behind its length (LEB128). Lookups walk it, which for a hundred
//! short fields costs about what one cache miss does.
//!
//! Insertion order is kept; an update stays in its place.

use std::ops::Range;

/// The length at the start of `bytes`, and what follows it. No length reads as
/// zero.
#[inline]
pub(super) fn read_length(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes {
        [length @ 0..0x80, rest @ ..] => (usize::from(*length), rest),
        _ => read_long_length(bytes),
    }
}

fn read_long_length(bytes: &[u8]) -> (usize, &[u8]) {
    let mut length = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (length, &bytes[i + 1..]);
        }
    }
    (0, &[])
}

/// Bytes that a length takes.
pub(super) const fn length_size(length: usize) -> usize {
    let bits = usize::BITS - (length | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Splits the length-prefixed element at the start of `bytes` off.
#[inline]
pub(super) fn split_element(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = read_length(bytes);
    rest.split_at_checked(length).unwrap_or((rest, &[]))
}

/// Appends a length.
pub(super) fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn push_element(out: &mut Vec<u8>, element: &[u8]) {
    push_length(out, element.len());
    out.extend_from_slice(element);
}

const fn element_size(element: &[u8]) -> usize {
    length_size(element.len()) + element.len()
}

/// Field and value pairs in one buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs {
    bytes: Vec<u8>,
    count: usize,
}

/// Where a pair is in the buffer.
struct Place {
    pair: Range<usize>,
    value: Range<usize>,
}

impl Pairs {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn iter(&self) -> PairsIter<'_> {
        PairsIter {
            rest: &self.bytes,
            left: self.count,
        }
    }

    pub(super) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
    }

    /// These pairs, whose fields differ.
    pub(super) fn build<'a>(
        pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Self {
        let size = pairs
            .clone()
            .map(|(field, value)| element_size(field) + element_size(value))
            .sum();
        let mut built = Pairs {
            bytes: Vec::with_capacity(size),
            count: pairs.len(),
        };
        for (field, value) in pairs {
            push_element(&mut built.bytes, field);
            push_element(&mut built.bytes, value);
        }
        built
    }

    fn find(&self, field: &[u8]) -> Option<Place> {
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let (name, after_name) = split_element(rest);
            let (_, after_value) = split_element(after_name);
            if name == field {
                let offset = |rest: &[u8]| self.bytes.len() - rest.len();
                let end = offset(after_value);
                return Some(Place {
                    pair: offset(rest)..end,
                    value: offset(after_name)..end,
                });
            }
            rest = after_value;
        }
        None
    }

    /// Sets the field, without growing beyond `max_entries`; says whether it is
    /// new, or nothing when there was no place for it.
    pub(super) fn set(&mut self, field: &[u8], value: &[u8], max_entries: usize) -> Option<bool> {
        if let Some(place) = self.find(field) {
            self.replace_value(place.value, value);
            return Some(false);
        }
        if self.count >= max_entries {
            return None;
        }
        self.reserve(element_size(field) + element_size(value));
        push_element(&mut self.bytes, field);
        push_element(&mut self.bytes, value);
        self.count += 1;
        Some(true)
    }

    /// Removes the field; says whether it was there.
    pub(super) fn remove(&mut self, field: &[u8]) -> bool {
        let Some(place) = self.find(field) else {
            return false;
        };
        self.bytes.drain(place.pair);
        self.count -= 1;
        if self.bytes.capacity() > 2 * self.bytes.len() + 64 {
            self.bytes.shrink_to(self.bytes.len() * 5 / 4);
        }
        true
    }

    fn replace_value(&mut self, old: Range<usize>, value: &[u8]) {
        let new_size = element_size(value);
        if new_size == old.len() {
            // The length is the same too: sizes grow strictly with lengths.
            self.bytes[old.end - value.len()..old.end].copy_from_slice(value);
            return;
        }
        let start = old.start;
        self.bytes.drain(old);
        self.reserve(new_size);
        push_element(&mut self.bytes, value);
        self.bytes[start..].rotate_right(new_size);
    }

    /// Grows by an eighth more than needed: there may be millions of these.
    fn reserve(&mut self, additional: usize) {
        let needed = self.bytes.len() + additional;
        if needed > self.bytes.capacity() {
            self.bytes.reserve_exact(additional + needed / 8);
        }
    }
}

/// Iterator over fields and values, in insertion order.
#[derive(Debug, Clone)]
pub(super) struct PairsIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for PairsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (field, rest) = split_element(self.rest);
        let (value, rest) = split_element(rest);
        self.rest = rest;
        Some((field, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
