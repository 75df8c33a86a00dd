//! The deadline index: which keys expire, in order of time. A second one has
//! the earliest deadline of a field of each hash that has such.
//!
//! Exact, not sampled: presence, locks and `expired` events need a key to go
//! when its time comes. An entry is `(deadline, hash of the key)`; the key is
//! found again through the hash, so the index copies none. Cost: 16 bytes and a
//! B-tree step per key that has a deadline; nothing for the others.

use std::collections::BTreeSet;

/// A record without a deadline.
pub(crate) const NEVER: u64 = u64::MAX;

#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(u64, u64)>);

impl Deadlines {
    pub(crate) fn insert(&mut self, deadline: u64, hash: u64) {
        if deadline != NEVER {
            self.0.insert((deadline, hash));
        }
    }

    pub(crate) fn remove(&mut self, deadline: u64, hash: u64) {
        if deadline != NEVER {
            self.0.remove(&(deadline, hash));
        }
    }

    /// Puts a deadline, or none, in the place of another one, or of none.
    pub(crate) fn replace(&mut self, (old, new): (u64, u64), hash: u64) {
        if old != new {
            self.remove(old, hash);
            self.insert(new, hash);
        }
    }

    /// An entry whose time has come, which stays.
    pub(crate) fn first_due(&self, now_ms: u64) -> Option<(u64, u64)> {
        self.0
            .first()
            .copied()
            .filter(|(deadline, _)| *deadline <= now_ms)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<u64> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// The earliest entry.
    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// The earliest and the latest deadline.
    pub(crate) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.0.first()?.0, self.0.last()?.0))
    }

    /// The first entry from there on, or the last before.
    pub(crate) fn next_from(&self, deadline: u64, hash: u64) -> Option<(u64, u64)> {
        let after = self.0.range((deadline, hash)..).next();
        after.or_else(|| self.0.last()).copied()
    }

    /// Takes one entry whose time has come.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<u64> {
        let (deadline, hash) = *self.0.first()?;
        if deadline > now_ms {
            return None;
        }
        self.0.pop_first();
        Some(hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(deadline, _)| *deadline)
    }
}
