//! An order-statistic B+tree of (score, member id), the order half of a large
//! sorted set.
//!
//! Each inner node knows the smallest entry and the number of entries below
//! each child, so that ranks, entries by rank and bounds cost one descent: 3
//! levels for 80,000 entries in random order, 4 for three million. The order
//! between equal scores is that of the members, which live elsewhere: whoever
//! compares passes a predicate on ids, which only ties ask.
//!
//! Invariants: all leaves are equally deep; `mins` and `counts` are exact; no
//! child is empty (the root may be a leaf that is). Nodes split in halves,
//! except at their ends, where entries that come in order leave full nodes
//! behind; nodes below a quarter merge with a neighbour or even out with it.

/// Entries of a leaf, children of an inner node. 63 makes a leaf 760 bytes,
/// just under an allocator's class of 768.
const CAPACITY: usize = 63;
/// A node with fewer is merged or evened out.
const SPARSE: usize = CAPACITY / 4;
/// Two neighbours with no more than this in sum become one.
const MERGED: usize = CAPACITY / 4 * 3;

/// A place between entries: behind those of a lower score, and behind those of
/// this score whose ids `before` accepts.
pub(super) struct Bound<F> {
    pub(super) score: f64,
    pub(super) before: F,
}

/// A sorted run of entries: a leaf, or the smallest entries of some children.
#[derive(Debug, Clone)]
struct Run {
    len: u32,
    ids: [u32; CAPACITY],
    scores: [f64; CAPACITY],
}

impl Run {
    const EMPTY: Run = Run {
        len: 0,
        ids: [0; CAPACITY],
        scores: [0.0; CAPACITY],
    };

    const fn len(&self) -> usize {
        self.len as usize
    }

    fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    fn scores(&self) -> &[f64] {
        &self.scores[..self.len()]
    }

    /// Number of entries before `bound`: those at the front.
    #[inline]
    fn partition(&self, bound: &Bound<impl Fn(u32) -> bool>) -> usize {
        // Branches on purpose: the processor guesses its way on while a
        // comparison waits for memory, which no branchless search can.
        let (ids, scores) = (self.ids(), self.scores());
        let (mut low, mut high) = (0, ids.len());
        while low < high {
            let middle = low.midpoint(high);
            let score = scores[middle];
            if score < bound.score || (score == bound.score && (bound.before)(ids[middle])) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Inserts into a run that is not full.
    fn insert(&mut self, at: usize, (score, id): (f64, u32)) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.ids.copy_within(at..len, at + 1);
        self.len += 1;
        self.set(at, (score, id));
    }

    fn set(&mut self, at: usize, (score, id): (f64, u32)) {
        self.scores[at] = score;
        self.ids[at] = id;
    }

    fn remove(&mut self, at: usize, count: usize) {
        let len = self.len();
        self.scores.copy_within(at + count..len, at);
        self.ids.copy_within(at + count..len, at);
        self.len -= count as u32;
    }

    /// Moves the last `count` entries to the front of the run on the right.
    fn move_right(&mut self, right: &mut Run, count: usize) {
        let (start, end) = (self.len() - count, self.len());
        let right_len = right.len();
        right.scores.copy_within(..right_len, count);
        right.ids.copy_within(..right_len, count);
        right.scores[..count].copy_from_slice(&self.scores[start..end]);
        right.ids[..count].copy_from_slice(&self.ids[start..end]);
        right.len += count as u32;
        self.len -= count as u32;
    }

    /// Moves the first `count` entries of the run on the right to the end.
    fn move_left(&mut self, right: &mut Run, count: usize) {
        let (start, end) = (self.len(), self.len() + count);
        self.scores[start..end].copy_from_slice(&right.scores[..count]);
        self.ids[start..end].copy_from_slice(&right.ids[..count]);
        self.len += count as u32;
        right.remove(0, count);
    }
}

#[derive(Debug)]
struct Inner {
    /// The smallest entry below each child.
    mins: Run,
    /// The number of entries below each child.
    counts: Vec<u32>,
    children: Vec<Node>,
}

impl Inner {
    fn new() -> Inner {
        Inner {
            mins: Run::EMPTY,
            counts: Vec::with_capacity(CAPACITY),
            children: Vec::with_capacity(CAPACITY),
        }
    }

    fn insert(&mut self, at: usize, child: Node) {
        self.mins.insert(at, child.min());
        self.counts.insert(at, child.count() as u32);
        self.children.insert(at, child);
    }

    fn remove(&mut self, at: usize) {
        self.mins.remove(at, 1);
        self.counts.remove(at);
        self.children.remove(at);
    }

    /// Puts child `at` in order after entries were removed below it.
    fn repair(&mut self, at: usize, heap: &mut usize) {
        let len = self.children[at].len();
        if len == 0 {
            *heap -= self.children[at].own_bytes();
            self.remove(at);
            return;
        }
        self.mins.set(at, self.children[at].min());
        if len >= SPARSE || self.children.len() == 1 {
            return;
        }
        let at = at.min(self.children.len() - 2);
        let [left, right] = &mut self.children[at..at + 2] else {
            return;
        };
        let sum = left.len() + right.len();
        if sum <= MERGED {
            left.move_left(right, right.len());
            *heap -= right.own_bytes();
            self.counts[at] += self.counts[at + 1];
            self.remove(at + 1);
            return;
        }
        if left.len() < sum / 2 {
            left.move_left(right, sum / 2 - left.len());
        } else {
            left.move_right(right, left.len() - sum / 2);
        }
        self.mins.set(at + 1, right.min());
        self.counts[at] = left.count() as u32;
        self.counts[at + 1] = right.count() as u32;
    }
}

/// Keeps the capacity, which `Vec`'s own clone would not.
impl Clone for Inner {
    fn clone(&self) -> Inner {
        let mut inner = Inner::new();
        inner.mins = self.mins.clone();
        inner.counts.extend_from_slice(&self.counts);
        inner.children.extend_from_slice(&self.children);
        inner
    }
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Box<Run>),
    Inner(Box<Inner>),
}

impl Node {
    /// Entries of a leaf, children of an inner node.
    fn len(&self) -> usize {
        match self {
            Node::Leaf(run) => run.len(),
            Node::Inner(inner) => inner.children.len(),
        }
    }

    /// Entries below it.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(run) => run.len(),
            Node::Inner(inner) => sum(&inner.counts),
        }
    }

    /// The smallest entry of a node that is not empty.
    fn min(&self) -> (f64, u32) {
        let run = match self {
            Node::Leaf(run) => run,
            Node::Inner(inner) => &inner.mins,
        };
        (run.scores[0], run.ids[0])
    }

    /// Bytes that it holds without its children's.
    const fn own_bytes(&self) -> usize {
        match self {
            Node::Leaf(_) => size_of::<Run>(),
            Node::Inner(_) => {
                size_of::<Inner>() + CAPACITY * (size_of::<u32>() + size_of::<Node>())
            }
        }
    }

    fn move_right(&mut self, right: &mut Node, count: usize) {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.move_right(right, count),
            (Node::Inner(left), Node::Inner(right)) => {
                let start = left.children.len() - count;
                left.mins.move_right(&mut right.mins, count);
                right.counts.splice(..0, left.counts.drain(start..));
                right.children.splice(..0, left.children.drain(start..));
            }
            _ => debug_assert!(false, "neighbours are of one kind"),
        }
    }

    fn move_left(&mut self, right: &mut Node, count: usize) {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.move_left(right, count),
            (Node::Inner(left), Node::Inner(right)) => {
                left.mins.move_left(&mut right.mins, count);
                left.counts.extend(right.counts.drain(..count));
                left.children.extend(right.children.drain(..count));
            }
            _ => debug_assert!(false, "neighbours are of one kind"),
        }
    }

    /// Splits a full node into which something is to come at `at`; the second
    /// half is returned.
    fn split(&mut self, at: usize, heap: &mut usize) -> Node {
        let mut right = match self {
            Node::Leaf(_) => Node::Leaf(Box::new(Run::EMPTY)),
            Node::Inner(_) => Node::Inner(Box::new(Inner::new())),
        };
        let moved = match at {
            CAPACITY => 0,
            0 => CAPACITY,
            _ => CAPACITY / 2,
        };
        self.move_right(&mut right, moved);
        *heap += right.own_bytes();
        right
    }

    /// Adds an entry at `bound`; returns the node that
    /// now stands to the right of this one, if it had to split.
    fn insert(
        &mut self,
        entry: (f64, u32),
        bound: &Bound<impl Fn(u32) -> bool>,
        heap: &mut usize,
    ) -> Option<Node> {
        match self {
            Node::Leaf(run) => {
                let at = run.partition(bound);
                if run.len() < CAPACITY {
                    run.insert(at, entry);
                    return None;
                }
            }
            Node::Inner(inner) => {
                let behind = inner.mins.partition(bound);
                let at = behind.saturating_sub(1);
                if behind == 0 {
                    inner.mins.set(0, entry);
                }
                let added = inner.children[at].insert(entry, bound, heap);
                let Some(added) = added else {
                    inner.counts[at] += 1;
                    return None;
                };
                inner.counts[at] = inner.children[at].count() as u32;
                return self.insert_child(at + 1, added, heap);
            }
        }
        let Node::Leaf(run) = self else { return None };
        let at = run.partition(bound);
        let mut right = self.split(at, heap);
        if let (Node::Leaf(left), Node::Leaf(right)) = (self, &mut right) {
            // At the seam, the emptier half takes it.
            if at < left.len() || (at == left.len() && left.len() <= right.len()) {
                left.insert(at, entry);
            } else {
                right.insert(at - left.len(), entry);
            }
        }
        Some(right)
    }

    /// Adds a child to an inner node; as `insert` does, it returns a second half.
    fn insert_child(&mut self, at: usize, child: Node, heap: &mut usize) -> Option<Node> {
        if self.len() < CAPACITY {
            if let Node::Inner(inner) = self {
                inner.insert(at, child);
            }
            return None;
        }
        let mut right = self.split(at, heap);
        if let (Node::Inner(left), Node::Inner(right)) = (self, &mut right) {
            if at <= left.children.len() && left.children.len() < CAPACITY {
                left.insert(at, child);
            } else {
                right.insert(at - left.children.len(), child);
            }
        }
        Some(right)
    }

    /// Removes up to `most` entries of one leaf from where `seek` points on;
    /// returns how many.
    fn remove(
        &mut self,
        seek: &mut impl Seek,
        most: usize,
        removed: &mut impl FnMut(u32),
        heap: &mut usize,
    ) -> usize {
        match self {
            Node::Leaf(run) => {
                let at = seek.entry(run).min(run.len());
                let count = most.min(run.len() - at);
                run.ids[at..at + count].iter().for_each(|id| removed(*id));
                run.remove(at, count);
                count
            }
            Node::Inner(inner) => {
                let at = seek.child(inner);
                let count = inner.children[at].remove(seek, most, removed, heap);
                inner.counts[at] -= count as u32;
                inner.repair(at, heap);
                count
            }
        }
    }
}

fn sum(counts: &[u32]) -> usize {
    counts.iter().map(|count| *count as usize).sum()
}

/// The way down to an entry.
trait Seek {
    fn child(&mut self, inner: &Inner) -> usize;
    fn entry(&self, leaf: &Run) -> usize;
}

/// To the last entry before the bound.
struct ByKey<F>(Bound<F>);

impl<F: Fn(u32) -> bool> Seek for ByKey<F> {
    fn child(&mut self, inner: &Inner) -> usize {
        inner.mins.partition(&self.0).saturating_sub(1)
    }

    fn entry(&self, leaf: &Run) -> usize {
        leaf.partition(&self.0).saturating_sub(1)
    }
}

/// To the entry with this rank.
struct ByRank(usize);

impl Seek for ByRank {
    fn child(&mut self, inner: &Inner) -> usize {
        for (at, &count) in inner.counts.iter().enumerate() {
            if self.0 < count as usize {
                return at;
            }
            self.0 -= count as usize;
        }
        inner.counts.len() - 1
    }

    fn entry(&self, _: &Run) -> usize {
        self.0
    }
}

/// The tree; see the module.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    root: Node,
    len: usize,
    /// Bytes of all nodes.
    heap: usize,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node::Leaf(Box::new(Run::EMPTY));
        let heap = root.own_bytes();
        Tree { root, len: 0, heap }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.heap
    }

    /// Number of entries before `bound`.
    pub(super) fn partition(&self, bound: &Bound<impl Fn(u32) -> bool>) -> usize {
        let mut node = &self.root;
        let mut rank = 0;
        loop {
            match node {
                Node::Leaf(run) => return rank + run.partition(bound),
                Node::Inner(inner) => {
                    let Some(at) = inner.mins.partition(bound).checked_sub(1) else {
                        return rank;
                    };
                    rank += sum(&inner.counts[..at]);
                    node = &inner.children[at];
                }
            }
        }
    }

    /// The scores and ids of the leaf with this rank, and where in it that is.
    /// The rank must be below the length.
    fn leaf_at(&self, rank: usize) -> (&[f64], &[u32], usize) {
        let mut seek = ByRank(rank);
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(run) => return (run.scores(), run.ids(), seek.0),
                Node::Inner(inner) => node = &inner.children[seek.child(inner)],
            }
        }
    }

    /// The entries of `count` ranks from `start` on, or backwards from there.
    pub(super) fn walk(&self, start: usize, count: usize, reverse: bool) -> Walk<'_> {
        let left = if start >= self.len {
            0
        } else if reverse {
            count.min(start + 1)
        } else {
            count.min(self.len - start)
        };
        Walk {
            tree: self,
            scores: &[],
            ids: &[],
            at: 0,
            rank: start,
            left,
            reverse,
        }
    }

    /// Adds an entry at `bound`, which has its score.
    pub(super) fn insert(&mut self, id: u32, bound: &Bound<impl Fn(u32) -> bool>) {
        self.len += 1;
        let entry = (bound.score, id);
        let Some(right) = self.root.insert(entry, bound, &mut self.heap) else {
            return;
        };
        let root = Node::Inner(Box::new(Inner::new()));
        self.heap += root.own_bytes();
        let left = std::mem::replace(&mut self.root, root);
        if let Node::Inner(root) = &mut self.root {
            root.insert(0, left);
            root.insert(1, right);
        }
    }

    /// Removes the last entry before `bound`.
    pub(super) fn remove(&mut self, bound: Bound<impl Fn(u32) -> bool>) {
        self.remove_found(&mut ByKey(bound), 1, &mut |_| {});
    }

    /// Removes at least one and up to `most` entries from `rank` on, if there
    /// are any; returns how many.
    pub(super) fn remove_some(
        &mut self,
        rank: usize,
        most: usize,
        mut removed: impl FnMut(u32),
    ) -> usize {
        if rank >= self.len {
            return 0;
        }
        self.remove_found(&mut ByRank(rank), most, &mut removed)
    }

    fn remove_found(
        &mut self,
        seek: &mut impl Seek,
        most: usize,
        removed: &mut impl FnMut(u32),
    ) -> usize {
        let count = self.root.remove(seek, most, removed, &mut self.heap);
        self.len -= count;
        while let Node::Inner(inner) = &mut self.root {
            match inner.children.len() {
                0 => *self = Tree::new(),
                1 => {
                    if let Some(child) = inner.children.pop() {
                        self.heap -= self.root.own_bytes();
                        self.root = child;
                    }
                }
                _ => break,
            }
        }
        count
    }

    /// Checks every invariant, given the order of the entries.
    #[cfg(test)]
    pub(super) fn check(&self, before: impl Fn((f64, u32), (f64, u32)) -> bool) {
        fn visit(node: &Node, is_root: bool, entries: &mut Vec<(f64, u32)>) -> (usize, usize) {
            assert!(is_root || node.len() > 0);
            match node {
                Node::Leaf(run) => {
                    entries.extend(run.scores().iter().copied().zip(run.ids().iter().copied()));
                    (1, node.own_bytes())
                }
                Node::Inner(inner) => {
                    let mut heap = node.own_bytes();
                    let mut depths = Vec::new();
                    assert_eq!(inner.mins.len(), inner.children.len());
                    assert_eq!(inner.counts.len(), inner.children.len());
                    assert!(inner.counts.capacity() == CAPACITY);
                    assert!(inner.children.capacity() == CAPACITY);
                    for (at, child) in inner.children.iter().enumerate() {
                        let start = entries.len();
                        let (depth, bytes) = visit(child, false, entries);
                        heap += bytes;
                        depths.push(depth);
                        assert_eq!(inner.counts[at] as usize, entries.len() - start);
                        assert_eq!((inner.mins.scores[at], inner.mins.ids[at]), entries[start]);
                    }
                    assert!(depths.windows(2).all(|pair| pair[0] == pair[1]));
                    (depths[0] + 1, heap)
                }
            }
        }
        let mut entries = Vec::new();
        let (_, heap) = visit(&self.root, true, &mut entries);
        assert_eq!(heap, self.heap);
        assert_eq!(entries.len(), self.len);
        assert!(entries.windows(2).all(|pair| before(pair[0], pair[1])));
    }
}

/// Entries in rank order, forwards or backwards; a descent each leaf.
#[derive(Debug, Clone)]
pub(super) struct Walk<'a> {
    tree: &'a Tree,
    scores: &'a [f64],
    ids: &'a [u32],
    /// The next entry's place in the leaf, or one behind it when backwards.
    at: usize,
    rank: usize,
    left: usize,
    reverse: bool,
}

impl Iterator for Walk<'_> {
    type Item = (f64, u32);

    #[inline]
    fn next(&mut self) -> Option<(f64, u32)> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let at = if self.reverse {
            if self.at == 0 {
                (self.scores, self.ids, self.at) = self.tree.leaf_at(self.rank);
                self.at += 1;
            }
            self.at -= 1;
            self.rank = self.rank.wrapping_sub(1);
            self.at
        } else {
            if self.at == self.ids.len() {
                (self.scores, self.ids, self.at) = self.tree.leaf_at(self.rank);
            }
            self.at += 1;
            self.rank += 1;
            self.at - 1
        };
        Some((*self.scores.get(at)?, *self.ids.get(at)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
