//! The inverses of what an atomic unit did to a list.

use super::entry::Entry;
use super::node::Node;
use super::{End, List, ListLimits};

/// What undoes one change, for the list as it was right behind it.
#[derive(Debug)]
pub(super) enum Inverse {
    /// So many were pushed at this end.
    Pushed(End, usize),
    /// This was popped at this end.
    Popped(End, Box<[u8]>),
    /// The element at this index was this.
    Set(usize, Box<[u8]>),
    /// An element was put at this index.
    Inserted(usize),
    /// These were taken out before the element of this index.
    Removed(usize, Vec<Node>),
    /// So many elements from this index on are what was left of the node.
    Thinned(usize, usize, Node),
}

/// What a unit did so far.
#[derive(Debug)]
pub(super) struct Undo {
    edits: u64,
    inverses: Vec<Inverse>,
}

impl Undo {
    pub(super) fn new(edits: u64) -> Self {
        Undo {
            edits,
            inverses: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, inverse: Inverse) {
        self.inverses.push(inverse);
    }

    /// Notes an element more at this end.
    pub(super) fn note_push(&mut self, end: End) {
        match self.inverses.last_mut() {
            Some(Inverse::Pushed(last, count)) if *last == end => *count += 1,
            _ => self.note(Inverse::Pushed(end, 1)),
        }
    }
}

impl List {
    /// Takes back what was recorded, the newest first.
    pub(super) fn revert(&mut self, undo: Undo) {
        let limits = ListLimits::default();
        for inverse in undo.inverses.into_iter().rev() {
            match inverse {
                Inverse::Pushed(End::Head, count) => {
                    self.cut(0, count, None);
                }
                Inverse::Pushed(End::Tail, count) => {
                    self.cut(self.length - count, count, None);
                }
                Inverse::Popped(end, text) => self.push_entry(end, &Entry::of(&text), limits),
                Inverse::Set(index, text) => self.set_entry(index, &Entry::of(&text), limits),
                Inverse::Inserted(index) => {
                    self.cut(index, 1, None);
                }
                Inverse::Removed(index, nodes) => self.insert_nodes(index, nodes, limits),
                Inverse::Thinned(index, count, node) => {
                    self.cut(index, count, None);
                    self.insert_nodes(index, vec![node], limits);
                }
            }
        }
        self.edits = undo.edits;
    }
}
