//! Changes inside a list: elements set, put in and taken out anywhere.
//!
//! A node that has no room for an element is split at its place; the pieces are
//! joined with their neighbours where they fit.

use std::collections::VecDeque;

use super::entry::{Element, Entry};
use super::node::Node;
use super::undo::Inverse;
use super::{End, List, ListLimits};

impl List {
    /// Sets the element at this index; whether there is one.
    pub fn set(&mut self, index: usize, text: &[u8], limits: ListLimits) -> bool {
        if index >= self.length {
            return false;
        }
        if self.undo.is_some()
            && let Some(old) = self.get(index).map(Element::to_vec)
            && let Some(undo) = &mut self.undo
        {
            undo.note(Inverse::Set(index, old.into()));
        }
        self.set_entry(index, &Entry::of(text), limits);
        self.edits += 1;
        true
    }

    pub(super) fn set_entry(&mut self, index: usize, entry: &Entry<'_>, limits: ListLimits) {
        let place = self.place(index);
        let Some(node) = self.nodes.get_mut(place.node) else {
            return;
        };
        let at = node.offset(place.number);
        let old = node.offset(place.number + 1) - at;
        let before = node.heap_bytes();
        if node.count() == 1 {
            *node = Node::of(entry);
        } else if entry.size() <= old || node.fits(0, entry.size() - old, limits) {
            node.replace(at, old, 1, entry);
        } else {
            node.remove(at, at + old, 1);
            self.buffers = self.buffers + node.heap_bytes() - before;
            self.length -= 1;
            self.insert_entry(index, entry, limits);
            return;
        }
        self.buffers = self.buffers + node.heap_bytes() - before;
    }

    /// Puts an element before that of this index, or behind the last.
    pub fn insert(&mut self, index: usize, text: &[u8], limits: ListLimits) {
        let index = index.min(self.length);
        self.insert_entry(index, &Entry::of(text), limits);
        self.edits += 1;
        if let Some(undo) = &mut self.undo {
            undo.note(Inverse::Inserted(index));
        }
    }

    fn insert_entry(&mut self, index: usize, entry: &Entry<'_>, limits: ListLimits) {
        if index == 0 || index >= self.length {
            let end = if index == 0 { End::Head } else { End::Tail };
            return self.push_entry(end, entry, limits);
        }
        let place = self.place(index);
        if let Some(node) = self.nodes.get_mut(place.node)
            && node.fits(1, entry.size(), limits)
        {
            let before = node.heap_bytes();
            node.replace(node.offset(place.number), 0, 0, entry);
            self.buffers = self.buffers + node.heap_bytes() - before;
            self.length += 1;
            return;
        }
        self.insert_nodes(index, vec![Node::of(entry)], limits);
    }

    /// Puts nodes before the element of this index.
    pub(super) fn insert_nodes(&mut self, index: usize, nodes: Vec<Node>, limits: ListLimits) {
        if nodes.is_empty() {
            return;
        }
        let at = self.split(index);
        let count = nodes.len();
        for node in &nodes {
            self.length += node.count();
            self.buffers += node.heap_bytes();
        }
        if at == self.nodes.len() {
            self.nodes.extend(nodes);
        } else if at == 0 {
            for node in nodes.into_iter().rev() {
                self.nodes.push_front(node);
            }
        } else {
            let mut behind = self.nodes.split_off(at);
            self.nodes.extend(nodes);
            self.nodes.append(&mut behind);
        }
        // From the higher seam on: joining moves what is behind.
        self.join(at + count, limits);
        self.join(at, limits);
    }

    /// Sees to it that the element of this index begins a node, and answers
    /// which.
    fn split(&mut self, index: usize) -> usize {
        let place = self.place(index);
        let Some(node) = self.nodes.get_mut(place.node) else {
            return 0;
        };
        if place.number == 0 {
            return place.node;
        }
        let count = node.count() - place.number;
        if count > 0 {
            let (before, size) = (node.heap_bytes(), node.size());
            let from = node.offset(place.number);
            let behind = node.copy(from, size, count);
            node.remove(from, size, count);
            node.settle();
            self.buffers = self.buffers + node.heap_bytes() + behind.heap_bytes() - before;
            self.nodes.insert(place.node + 1, behind);
        }
        place.node + 1
    }

    /// Makes one of this node and the one before, if they are small enough.
    fn join(&mut self, at: usize, limits: ListLimits) {
        let (Some(before), Some(node)) = (at.checked_sub(1), self.nodes.get(at)) else {
            return;
        };
        let joins = self
            .nodes
            .get(before)
            .is_some_and(|before| before.fits(node.count(), node.size(), limits));
        if joins
            && let Some(node) = self.nodes.remove(at)
            && let Some(target) = self.nodes.get_mut(before)
        {
            let old = target.heap_bytes();
            target.join(&node);
            self.buffers = self.buffers + target.heap_bytes() - old - node.heap_bytes();
        }
    }

    /// Removes up to `count` elements from this index on; answers how many.
    pub fn remove_range(&mut self, start: usize, count: usize) -> usize {
        let mut removed = self.undo.is_some().then(Vec::new);
        let done = self.cut(start, count, removed.as_mut());
        self.edits += done as u64;
        if done > 0
            && let Some(removed) = removed
            && let Some(undo) = &mut self.undo
        {
            undo.note(Inverse::Removed(start, removed));
        }
        done
    }

    /// The same, gathering what goes into `removed`.
    pub(super) fn cut(
        &mut self,
        start: usize,
        count: usize,
        mut removed: Option<&mut Vec<Node>>,
    ) -> usize {
        let count = count.min(self.length.saturating_sub(start));
        if count == 0 {
            return 0;
        }
        let place = self.place(start);
        let (mut at, mut skipped, mut left) = (place.node, place.number, count);
        // Nodes that go whole are next to each other.
        let mut whole = 0..0;
        while left > 0 {
            let Some(node) = self.nodes.get_mut(at) else {
                break;
            };
            let taken = left.min(node.count() - skipped);
            if taken == node.count() {
                whole = if whole.is_empty() { at } else { whole.start }..at + 1;
            } else {
                // In front of the nodes that go whole, or behind.
                if let Some(removed) = removed.as_deref_mut() {
                    removed.extend(drained(
                        &mut self.nodes,
                        &mut self.buffers,
                        &mut whole,
                        &mut at,
                    ));
                } else {
                    drained(&mut self.nodes, &mut self.buffers, &mut whole, &mut at).for_each(drop);
                }
                let Some(node) = self.nodes.get_mut(at) else {
                    break;
                };
                let before = node.heap_bytes();
                let (from, to) = (node.offset(skipped), node.offset(skipped + taken));
                if let Some(removed) = removed.as_deref_mut() {
                    removed.push(node.copy(from, to, taken));
                }
                node.remove(from, to, taken);
                self.buffers = self.buffers + node.heap_bytes() - before;
            }
            left -= taken;
            at += 1;
            skipped = 0;
        }
        let rest = drained(&mut self.nodes, &mut self.buffers, &mut whole, &mut at);
        match removed {
            Some(removed) => removed.extend(rest),
            None => rest.for_each(drop),
        }
        self.length -= count;
        self.shrink();
        count
    }

    /// Removes the elements equal to `text`, from `end` on, up to `most` of
    /// them; answers how many.
    pub fn remove(&mut self, text: &[u8], end: End, most: usize) -> usize {
        let wanted = Entry::of(text);
        let mut left = most;
        let mut emptied = false;
        // Elements in the nodes before the one that is looked at.
        let mut before = if end == End::Head { 0 } else { self.length };
        let nodes = self.nodes.len();
        for turn in 0..nodes {
            let at = if end == End::Head {
                turn
            } else {
                nodes - 1 - turn
            };
            let Some(node) = self.nodes.get_mut(at).filter(|_| left > 0) else {
                break;
            };
            if end == End::Tail {
                before -= node.count();
            }
            let found = node.find(&wanted, end, left);
            if !found.is_empty() {
                let kept = self.undo.is_some().then(|| node.clone());
                let bytes = node.heap_bytes();
                node.remove_all(&found);
                self.buffers = self.buffers + node.heap_bytes() - bytes;
                left -= found.len();
                self.length -= found.len();
                emptied |= node.count() == 0;
                if let (Some(undo), Some(kept)) = (&mut self.undo, kept) {
                    undo.note(Inverse::Thinned(before, node.count(), kept));
                }
            }
            if end == End::Head {
                before += node.count();
            }
        }
        if emptied {
            let buffers = &mut self.buffers;
            self.nodes.retain(|node| {
                let stays = node.count() > 0;
                if !stays {
                    *buffers -= node.heap_bytes();
                }
                stays
            });
            self.shrink();
        }
        let removed = most - left;
        self.edits += removed as u64;
        removed
    }
}

/// Takes the nodes in `whole` out; `at` still names the same node then.
fn drained<'a>(
    nodes: &'a mut VecDeque<Node>,
    buffers: &'a mut usize,
    whole: &mut std::ops::Range<usize>,
    at: &mut usize,
) -> impl Iterator<Item = Node> + 'a {
    let range = std::mem::take(whole);
    *at -= range.len();
    nodes
        .drain(range)
        .inspect(|node| *buffers -= node.heap_bytes())
}
