//! A list of strings: a deque of packed [nodes](node::Node).
//!
//! Elements stand one behind the other in buffers of some 8 KB
//! (`list-max-listpack-size`), integers as integers, each with its length on
//! both sides, so that a node can be walked from either end. A short element
//! costs two bytes besides its own; one that is larger than a node has a node of
//! its own.
//!
//! | | cost |
//! |---|---|
//! | push, pop at either end | constant |
//! | an index | the nodes before it, from the nearer end, and half a node |
//! | a range | the index of its start, then its elements |
//! | insert, set | the index, then the bytes of one node |
//! | remove a range | the nodes on its ends, and a step for each node between |
//! | remove by value, find | all elements, compared as bytes |
//!
//! Nodes follow from the history and are not part of the value: what a rollback
//! restores is the sequence. Inverses therefore name elements by their index.

mod change;
mod entry;
mod node;
#[cfg(test)]
mod tests;
mod undo;
mod walk;

use std::collections::VecDeque;

use super::{Collection, Kind, Value};
use entry::Entry;
use node::Node;
use undo::{Inverse, Undo};

pub use entry::Element;
pub use walk::Walk;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where index 0 is: left.
    Head,
    /// Where index -1 is: right.
    Tail,
}

impl End {
    /// The other one.
    pub const fn other(self) -> End {
        match self {
            End::Head => End::Tail,
            End::Tail => End::Head,
        }
    }
}

/// How large a node may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// `list-max-listpack-size`: -1 to -5 for 4, 8, 16, 32 or 64 KB; positive
    /// for so many elements, of 8 KB at most together.
    pub node_size: i32,
}

impl Default for ListLimits {
    fn default() -> Self {
        ListLimits { node_size: -2 }
    }
}

impl ListLimits {
    /// Bytes of all entries of a node.
    #[inline]
    const fn bytes(self) -> usize {
        match self.node_size {
            0.. | -2 => 8 << 10,
            -1 => 4 << 10,
            -3 => 16 << 10,
            -4 => 32 << 10,
            _ => 64 << 10,
        }
    }

    /// Entries of a node.
    #[inline]
    const fn entries(self) -> usize {
        match self.node_size {
            0 => 1,
            most @ 1.. => most as usize,
            _ => usize::MAX,
        }
    }
}

/// A list; see the module.
#[derive(Debug, Default)]
pub struct List {
    nodes: VecDeque<Node>,
    length: usize,
    /// Bytes of the nodes' buffers.
    buffers: usize,
    edits: u64,
    undo: Option<Box<Undo>>,
}

/// The place of an element.
#[derive(Debug, Clone, Copy)]
struct Place {
    node: usize,
    /// Its number in the node.
    number: usize,
}

impl List {
    /// Adds an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, text: &[u8], limits: ListLimits) {
        self.push_entry(end, &Entry::of(text), limits);
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.note_push(end);
        }
    }

    fn push_entry(&mut self, end: End, entry: &Entry<'_>, limits: ListLimits) {
        self.length += 1;
        let outermost = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        };
        if let Some(node) = outermost {
            let before = node.heap_bytes();
            if node.push(end, entry, limits) {
                self.buffers = self.buffers + node.heap_bytes() - before;
                return;
            }
            node.settle();
            self.buffers = self.buffers + node.heap_bytes() - before;
        }
        self.link(end, Node::of(entry));
    }

    /// Adds a node at an end.
    fn link(&mut self, end: End, node: Node) {
        self.buffers += node.heap_bytes();
        if self.nodes.capacity() == 0 {
            // Most lists have one node; the deque would begin with four.
            self.nodes.reserve_exact(1);
        }
        match end {
            End::Head => self.nodes.push_front(node),
            End::Tail => self.nodes.push_back(node),
        }
    }

    /// Takes the outermost element at an end out.
    #[inline]
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        let popped = self.pop_entry(end)?;
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.note(Inverse::Popped(end, popped.as_slice().into()));
        }
        Some(popped)
    }

    fn pop_entry(&mut self, end: End) -> Option<Vec<u8>> {
        let node = match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        }?;
        let (element, size) = node.peek(end)?;
        let popped = element.to_vec();
        self.length -= 1;
        if node.count() > 1 {
            let before = node.heap_bytes();
            node.drop_entry(end, size);
            self.buffers = self.buffers + node.heap_bytes() - before;
        } else {
            self.buffers -= node.heap_bytes();
            match end {
                End::Head => drop(self.nodes.pop_front()),
                End::Tail => drop(self.nodes.pop_back()),
            }
            self.shrink();
        }
        Some(popped)
    }

    /// Gives back most of a deque that is nearly empty.
    fn shrink(&mut self) {
        let capacity = self.nodes.capacity();
        if capacity > 8 && self.nodes.len() < capacity / 4 {
            self.nodes.shrink_to(capacity / 2);
        }
    }

    /// The element at this index.
    pub fn get(&self, index: usize) -> Option<Element<'_>> {
        if index >= self.length {
            return None;
        }
        self.walk(index, 1, End::Tail).next()
    }

    /// About the bytes of so many elements.
    pub fn share(&self, count: usize) -> usize {
        (self.buffers / self.length.max(1) + 1).saturating_mul(count.min(self.length))
    }

    /// All elements, from the head on.
    pub fn iter(&self) -> Walk<'_> {
        self.walk(0, self.length, End::Tail)
    }

    /// Up to `count` elements from this index on, towards the given end.
    pub fn walk(&self, index: usize, count: usize, towards: End) -> Walk<'_> {
        if index >= self.length {
            return Walk::new(&[], self.nodes.range(..0), towards, 0);
        }
        let place = self.place(index);
        let entries = self.nodes.get(place.node).map_or(&[][..], Node::entries);
        let split = |number| {
            let node = self.nodes.get(place.node);
            node.map_or(0, |node| node.offset(number))
        };
        match towards {
            End::Tail => Walk::new(
                entries.get(split(place.number)..).unwrap_or_default(),
                self.nodes.range(place.node + 1..),
                towards,
                count.min(self.length - index),
            ),
            End::Head => Walk::new(
                entries.get(..split(place.number + 1)).unwrap_or_default(),
                self.nodes.range(..place.node),
                towards,
                count.min(index + 1),
            ),
        }
    }

    /// Where the element of this index is: the nodes are skipped from the
    /// nearer end. Behind the last element is the end of the last node.
    fn place(&self, index: usize) -> Place {
        if index <= self.length / 2 {
            let mut number = index;
            for (at, node) in self.nodes.iter().enumerate() {
                if number < node.count() {
                    return Place { node: at, number };
                }
                number -= node.count();
            }
        } else {
            let mut behind = self.length - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                if behind <= node.count() {
                    let number = node.count() - behind;
                    return Place { node: at, number };
                }
                behind -= node.count();
            }
        }
        let last = self.nodes.len().saturating_sub(1);
        Place {
            node: last,
            number: self.nodes.get(last).map_or(0, Node::count),
        }
    }

    /// The distance to each element that equals `text` among the first `most`
    /// from `end` on, `visit`ed until it answers false.
    pub fn find(&self, text: &[u8], end: End, most: usize, mut visit: impl FnMut(usize) -> bool) {
        let wanted = Entry::of(text);
        let start = if end == End::Head {
            0
        } else {
            self.length.saturating_sub(1)
        };
        let mut walk = self.walk(start, most, end.other());
        let mut distance = 0;
        while let Some(bytes) = walk.next_bytes() {
            if wanted.begins(bytes) && !visit(distance) {
                return;
            }
            distance += 1;
        }
    }

    /// A list of these elements.
    pub(crate) fn build<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut list = List::default();
        for text in texts {
            list.push_entry(End::Tail, &Entry::of(text), ListLimits::default());
        }
        if let Some(last) = list.nodes.back_mut() {
            let before = last.heap_bytes();
            last.settle();
            list.buffers = list.buffers + last.heap_bytes() - before;
        }
        list
    }

    /// What `OBJECT ENCODING` answers.
    pub const fn encoding(&self) -> &'static str {
        "quicklist"
    }
}

/// A clone is a value of its own: it does not go on recording.
impl Clone for List {
    fn clone(&self) -> Self {
        let nodes: VecDeque<Node> = self.nodes.iter().cloned().collect();
        List {
            buffers: nodes.iter().map(Node::heap_bytes).sum(),
            nodes,
            length: self.length,
            edits: self.edits,
            undo: None,
        }
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = Element<'a>;
    type IntoIter = Walk<'a>;

    fn into_iter(self) -> Walk<'a> {
        self.iter()
    }
}

impl Collection for List {
    const KIND: Kind = Kind::List;

    fn of(value: &Value) -> Option<&Self> {
        if let Value::List(list) = value {
            Some(list)
        } else {
            None
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::List(list) = value {
            Some(list)
        } else {
            None
        }
    }

    fn into_value(self) -> Value {
        Value::List(Box::new(self))
    }

    fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn len(&self) -> usize {
        self.length
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.nodes.capacity() * size_of::<Node>() + self.buffers
    }

    fn edits(&self) -> u64 {
        self.edits
    }

    fn begin_undo(&mut self) {
        if self.undo.is_none() {
            self.undo = Some(Box::new(Undo::new(self.edits)));
        }
    }

    fn is_recording(&self) -> bool {
        self.undo.is_some()
    }

    fn commit_undo(&mut self) {
        self.undo = None;
    }

    fn rollback(&mut self) {
        if let Some(undo) = self.undo.take() {
            self.revert(*undo);
        }
    }
}
