//! Walking over a list from one end towards the other.

use std::collections::vec_deque;

use super::End;
use super::entry::{self, Element};
use super::node::Node;

/// Iterator over elements; made by `List::walk`.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    nodes: vec_deque::Iter<'a, Node>,
    /// Entries of the node that is being walked.
    entries: &'a [u8],
    towards: End,
    left: usize,
}

impl<'a> Walk<'a> {
    /// Begins with the last entry of the `entries` of a node, or with the
    /// first; goes on with `nodes` and ends after `left` elements.
    pub(super) fn new(
        entries: &'a [u8],
        nodes: vec_deque::Iter<'a, Node>,
        towards: End,
        left: usize,
    ) -> Self {
        Walk {
            nodes,
            entries,
            towards,
            left,
        }
    }

    /// The next element as its entry begins: up to the end of its node.
    #[inline]
    pub(super) fn next_bytes(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        if self.entries.is_empty() {
            let node = match self.towards {
                End::Tail => self.nodes.next()?,
                End::Head => self.nodes.next_back()?,
            };
            self.entries = node.entries();
        }
        let entries = self.entries;
        match self.towards {
            End::Tail => {
                self.entries = entries.get(entry::first_size(entries)?..)?;
                Some(entries)
            }
            End::Head => {
                let start = entries.len().checked_sub(entry::last_size(entries)?)?;
                let (rest, entry) = entries.split_at_checked(start)?;
                self.entries = rest;
                Some(entry)
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.towards == End::Head {
            return entry::first(self.next_bytes()?).map(|(element, _)| element);
        }
        // One look at the head is enough on the way to the tail.
        self.left = self.left.checked_sub(1)?;
        if self.entries.is_empty() {
            self.entries = self.nodes.next()?.entries();
        }
        let (element, size) = entry::first(self.entries)?;
        self.entries = self.entries.get(size..)?;
        Some(element)
    }

    /// The same with what a step needs in registers: half the cost of a range.
    fn fold<B, F: FnMut(B, Element<'a>) -> B>(self, init: B, mut each: F) -> B {
        let mut result = init;
        let mut left = self.left;
        if self.towards == End::Head {
            for element in self {
                result = each(result, element);
            }
            return result;
        }
        let nodes = self.nodes.map(Node::entries);
        for mut entries in std::iter::once(self.entries).chain(nodes) {
            while left > 0
                && let Some((element, size)) = entry::first(entries)
            {
                result = each(result, element);
                left -= 1;
                entries = entries.get(size..).unwrap_or_default();
            }
            if left == 0 {
                break;
            }
        }
        result
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}
