//! The exact cut: the state of a keyspace at one moment, written out while
//! commands go on.
//!
//! A walk visits the table in the order of hash positions, a piece under each
//! acquisition of the lock. Between the pieces commands run, and the first of
//! them to touch a key that the walk has not reached writes its record out
//! beforehand, [`Db::preserve`], and notes that this was done; the walk skips
//! what is noted. So each record of the moment is written once, as it was.
//!
//! What is noted is the hash of the key: when one is preserved, all records
//! with the same full hash are, and a new key's hash is noted too, so that the
//! walk passes it by. Where no cut is, the hook costs one predictable branch.
//!
//! FLUSHALL takes the table away whole: the rest of it is then the walk's own
//! ([`Rest`]), and is written without the lock. Inside a unit the table stands
//! in the undo list until the unit is kept (it goes to the walk) or rolled
//! back (it returns).
//!
//! Exact means keys, values, encodings and deadlines; the second of the last
//! access, which reading moves, is that of the writing.
//!
//! Costs while a cut lasts: the first change of each key copies its value, a
//! collection whole, under the lock; the walk's hold exceeds its time by one
//! record at most, and a collection is one record (some 50 ns an element).
//! Memory: the records that commands preserved and nobody fetched yet, at most
//! the keyspace once more, and some 20 bytes for each key that changed ahead of
//! the walk.

use super::db::{Db, HashKeys};
use super::record::Record;
use crate::effect::Seq;
use crate::journal::snapshot::Encoded;
use crate::value::{Table, position};

type Records = Table<Box<Record>>;

/// Bytes of records after which a walk looks at the clock again.
const STEP: usize = 4 << 10;
/// What a record costs beyond its bytes, in bytes.
const RECORD: usize = 128;

/// A cut that is being walked.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Everything at a lower position is written.
    cursor: u64,
    /// Hashes at higher positions that are not to be written any more.
    noted: Table<u64>,
    /// Records that commands changed before the walk reached them.
    preserved: Encoded,
    /// What remained of the table when FLUSHALL took it away.
    taken: Option<Records>,
    /// Whether the undo list has the table for now.
    in_undo: bool,
    /// Hashes of the segment in hand: written, and skipped.
    written: Vec<u64>,
    skipped: Vec<u64>,
}

/// What a piece of the walk came to.
#[derive(Debug)]
pub enum Walk {
    /// There is more.
    More,
    /// The keyspace has no part in it any more: [`Rest::walk`] ends it, without
    /// the lock.
    Ended(Rest),
}

/// The end of a cut: what FLUSHALL left to it, or nothing. To be dropped
/// without the lock, since that may free a whole table.
#[derive(Debug)]
#[must_use = "it may hold records that are not written yet"]
pub struct Rest {
    cut: Box<Cut>,
    table: Records,
    hasher: HashKeys,
}

impl Rest {
    /// Goes on with the walk; whether it is over.
    pub fn walk(&mut self, out: &mut Encoded, out_of_time: &mut dyn FnMut() -> bool) -> bool {
        self.cut.walk(&self.table, &self.hasher, out, out_of_time)
    }
}

impl Db {
    /// Begins a cut of the state as it is now, and says which unit was its
    /// last; `None` while another one is being walked.
    pub fn begin_cut(&mut self) -> Option<Seq> {
        if self.cut.is_some() || self.is_recording() {
            return None;
        }
        self.cut = Some(Box::default());
        Some(self.seq)
    }

    /// Moves what was preserved to `out` and goes on with the walk until
    /// `out_of_time` says so, which is asked every few kilobytes; at least one
    /// record is written. `None` where there is no cut.
    pub fn walk_cut(
        &mut self,
        out: &mut Encoded,
        out_of_time: &mut dyn FnMut() -> bool,
    ) -> Option<Walk> {
        let mut cut = self.cut.take()?;
        out.append(&mut cut.preserved);
        if cut.taken.is_none() && !cut.walk(&self.table, &self.hasher, out, out_of_time) {
            self.cut = Some(cut);
            return Some(Walk::More);
        }
        Some(Walk::Ended(self.end(cut)))
    }

    /// Gives a cut up; the keyspace keeps nothing of it.
    pub fn abandon_cut(&mut self) -> Option<Rest> {
        let cut = self.cut.take()?;
        Some(self.end(cut))
    }

    #[cfg(test)]
    pub(crate) fn has_cut(&self) -> bool {
        self.cut.is_some()
    }

    fn end(&self, mut cut: Box<Cut>) -> Rest {
        Rest {
            table: cut.taken.take().unwrap_or_default(),
            cut,
            hasher: self.hasher.clone(),
        }
    }

    /// To be called before anything at this hash changes: a value, a deadline,
    /// the presence of a key.
    #[inline]
    pub(super) fn preserve(&mut self, hash: u64) {
        if let Some(cut) = &mut self.cut {
            cut.preserve(&self.table, &self.hasher, hash);
        }
    }

    /// Says that the undo list took the table; answers whether it is the cut's.
    pub(super) fn lend_table(&mut self) -> bool {
        match &mut self.cut {
            Some(cut) if cut.taken.is_none() && !cut.in_undo => {
                cut.in_undo = true;
                true
            }
            _ => false,
        }
    }

    /// Says that the lent table is back in its place.
    pub(super) fn table_is_back(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.in_undo = false;
        }
    }

    /// Gives the cut a table that is gone for good, the lent one or the present
    /// one.
    pub(super) fn give_table(&mut self, table: Records) {
        if let Some(cut) = &mut self.cut
            && cut.taken.is_none()
        {
            cut.in_undo = false;
            cut.taken = Some(table);
        }
    }
}

impl Cut {
    #[cold]
    #[inline(never)]
    fn preserve(&mut self, table: &Records, hasher: &HashKeys, hash: u64) {
        if self.in_undo || self.taken.is_some() || position(hash) < self.cursor {
            return;
        }
        if self.note(hash) {
            for record in table.iter_hash(hash) {
                if hasher.of(&record.key) == hash {
                    self.preserved.push(record);
                }
            }
        }
    }

    fn note(&mut self, hash: u64) -> bool {
        let (_, added) =
            self.noted
                .find_or_insert_with(hash, |other| *other == hash, || hash, |hash| *hash);
        added
    }

    /// Writes segments until time is out; whether it came to the end.
    fn walk(
        &mut self,
        table: &Records,
        hasher: &HashKeys,
        out: &mut Encoded,
        out_of_time: &mut dyn FnMut() -> bool,
    ) -> bool {
        let mut since_asked = 0;
        while let Some((records, end)) = table.segment_at(self.cursor) {
            self.written.clear();
            self.skipped.clear();
            let (mut over, mut left) = (false, false);
            for record in records {
                let hash = hasher.of(&record.key);
                // A segment may begin before the cursor: two have merged.
                if position(hash) < self.cursor {
                    continue;
                }
                if self.noted.find(hash, |other| *other == hash).is_some() {
                    self.skipped.push(hash);
                    continue;
                }
                if over && self.written.binary_search(&hash).is_err() {
                    left = true;
                    continue;
                }
                let before = out.bytes();
                out.push(record);
                if over {
                    // Another one with a hash that is to be noted.
                    continue;
                }
                self.written.push(hash);
                since_asked += out.bytes() - before + RECORD;
                if since_asked >= STEP {
                    since_asked = 0;
                    over = out_of_time();
                    if over {
                        self.written.sort_unstable();
                    }
                }
            }
            if left {
                // The segment is to be met again: what it had is done.
                for hash in std::mem::take(&mut self.written) {
                    self.note(hash);
                }
                return false;
            }
            self.cursor = end;
            for hash in self.skipped.drain(..) {
                self.noted
                    .remove(hash, |other| *other == hash, |hash| *hash);
            }
            if over || out_of_time() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
