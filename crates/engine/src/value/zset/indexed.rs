//! The large encoding, `skiplist` on the wire: a dictionary from members and a
//! tree in score order, over members that are stored once.
//!
//! Per entry with a member of up to 16 bytes: 32 bytes for the member and its
//! score, some 6 to 11 in the dictionary, 12 to 18 in the tree.

use super::super::table::{Table, hash_bytes};
use super::members::{Member, Members};
use super::tree::{Bound, Tree, Walk};

/// Dictionary, tree and members; see the module.
#[derive(Debug, Clone)]
pub(super) struct Indexed {
    dictionary: Table<u32>,
    tree: Tree,
    members: Members,
}

impl Indexed {
    pub(super) fn new() -> Indexed {
        Indexed {
            dictionary: Table::new(),
            tree: Tree::new(),
            members: Members::default(),
        }
    }

    /// The same with room for `count` members in the dictionary.
    pub(super) fn with_capacity(count: usize) -> Indexed {
        Indexed {
            dictionary: Table::with_capacity(count),
            ..Indexed::new()
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.tree.len()
    }

    /// Bytes on the heap, without `size_of::<Self>()`.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.dictionary.heap_bytes() + self.tree.heap_bytes() + self.members.heap_bytes()
    }

    fn id(&self, hash: u64, member: &[u8]) -> Option<u32> {
        let members = &self.members;
        let id = self
            .dictionary
            .find(hash, |id| members.member(*id) == member)?;
        Some(*id)
    }

    fn entry(&self, id: u32) -> (&[u8], f64) {
        (self.members.member(id), self.members.score(id))
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let id = self.id(hash_bytes(member), member)?;
        Some(self.members.score(id))
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        let up_to = up_to(&self.members, score, member);
        self.tree.partition(&up_to).checked_sub(1)
    }

    /// Number of members with a lower score, or with this one too.
    pub(super) fn count_scores(&self, score: f64, or_equal: bool) -> usize {
        let before = |_| or_equal;
        self.tree.partition(&Bound { score, before })
    }

    /// Number of members that `before` accepts, which are at the front. It looks
    /// only at those that have the first one's score.
    pub(super) fn partition_members(&self, before: impl Fn(&[u8]) -> bool) -> usize {
        let Some((score, _)) = self.tree.walk(0, 1, false).next() else {
            return 0;
        };
        let before = |id| before(self.members.member(id));
        self.tree.partition(&Bound { score, before })
    }

    /// Sets a member's score; returns the one that it had.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = hash_bytes(member);
        let Some(id) = self.id(hash, member) else {
            let id = self.members.insert(member, score);
            let members = &self.members;
            let hasher = |id: &u32| hash_bytes(members.member(*id));
            self.dictionary.insert_unique(hash, id, hasher);
            self.tree.insert(id, &up_to(members, score, member));
            return None;
        };
        let old = self.members.score(id);
        if old != score {
            let members = &self.members;
            self.tree.remove(up_to(members, old, member));
            self.tree.insert(id, &up_to(members, score, member));
            self.members.set_score(id, score);
        }
        Some(old)
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<(Member, f64)> {
        let members = &self.members;
        let hasher = |id: &u32| hash_bytes(members.member(*id));
        let is_it = |id: &u32| members.member(*id) == member;
        let id = self.dictionary.remove(hash_bytes(member), is_it, hasher)?;
        self.tree.remove(up_to(members, members.score(id), member));
        Some(self.members.remove(id))
    }

    /// Removes up to `count` entries from rank `start` on.
    pub(super) fn remove_range(
        &mut self,
        start: usize,
        count: usize,
        mut removed: impl FnMut(Member, f64),
    ) -> usize {
        let mut left = count;
        let mut ids = Vec::new();
        while left > 0 {
            ids.clear();
            let cut = self.tree.remove_some(start, left, |id| ids.push(id));
            if cut == 0 {
                break;
            }
            left -= cut;
            for &id in &ids {
                let members = &self.members;
                let hasher = |id: &u32| hash_bytes(members.member(*id));
                self.dictionary
                    .remove(hasher(&id), |other| *other == id, hasher);
                let (member, score) = self.members.remove(id);
                removed(member, score);
            }
        }
        count - left
    }

    /// `count` entries from rank `start` on, or backwards from there.
    pub(super) fn walk(&self, start: usize, count: usize, reverse: bool) -> Entries<'_> {
        Entries {
            walk: self.tree.walk(start, count, reverse),
            members: &self.members,
        }
    }

    pub(super) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'a [u8], f64),
    ) -> u64 {
        let hasher = |id: &u32| hash_bytes(self.members.member(*id));
        self.dictionary.scan(cursor, count, hasher, |id| {
            let (member, score) = self.entry(*id);
            visit(member, score);
        })
    }

    pub(super) fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<(&[u8], f64)> {
        self.dictionary.random(rng).map(|id| self.entry(*id))
    }

    pub(super) fn random_distinct(
        &self,
        count: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> Vec<(&[u8], f64)> {
        let ids = self.dictionary.random_distinct(count, rng);
        ids.into_iter().map(|id| self.entry(*id)).collect()
    }

    /// Checks every invariant.
    #[cfg(test)]
    pub(super) fn check(&self) {
        self.tree.check(|a, b| {
            let (a, b) = (
                (a.0, self.members.member(a.1)),
                (b.0, self.members.member(b.1)),
            );
            super::packed::compare(a, b).is_lt()
        });
        assert_eq!(self.dictionary.len(), self.tree.len());
        self.members.check();
        for (score, id) in self.tree.walk(0, usize::MAX, false) {
            let (member, stored) = self.entry(id);
            assert_eq!(stored.to_bits(), score.to_bits());
            assert_eq!(self.id(hash_bytes(member), member), Some(id));
        }
    }
}

/// The place behind this entry.
fn up_to(members: &Members, score: f64, member: &[u8]) -> Bound<impl Fn(u32) -> bool> {
    Bound {
        score,
        before: move |id| members.member(id) <= member,
    }
}

/// Members and scores in rank order.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    walk: Walk<'a>,
    members: &'a Members,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (score, id) = self.walk.next()?;
        Some((self.members.member(id), score))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.walk.size_hint()
    }
}
