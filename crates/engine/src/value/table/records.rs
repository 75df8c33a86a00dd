//! Byte records in a table, each found by the key inside it: the large encoding
//! of hashes and sets, and what they need to undo changes.
//!
//! A record is one allocation. A slot of the table is 16 bytes, its address and
//! its length.

use std::fmt;
use std::marker::PhantomData;
use std::mem;

use super::{Iter, Table, hash_bytes};

/// Says which part of a record is its key.
pub(in crate::value) trait Keyed {
    /// The key inside `record`.
    fn key(record: &[u8]) -> &[u8];
}

/// How to take back one change to the records.
#[derive(Debug, Clone)]
pub(in crate::value) enum Inverse {
    /// There was no record with this key.
    Absent(Box<[u8]>),
    /// There was this record.
    Present(Box<[u8]>),
}

/// What a collection with a compact encoding `S` and records remembers while
/// its changes can still be taken back.
///
/// The compact encoding is small by definition: it is kept whole, which gives
/// back its order and the encoding itself. Records are kept one by one.
#[derive(Debug)]
pub(in crate::value) struct Undo<S> {
    /// The collection's count of edits at the start.
    pub(in crate::value) edits: u64,
    /// Its contents at the start, if they were compact.
    pub(in crate::value) compact: Option<S>,
    /// The inverses of all changes since, if they were not.
    pub(in crate::value) inverses: Vec<Inverse>,
}

impl<S> Undo<S> {
    /// Where to note inverses, if it is of any use.
    pub(in crate::value) fn log(undo: &mut Option<Box<Self>>) -> Option<&mut Vec<Inverse>> {
        match undo.as_deref_mut() {
            Some(Undo {
                compact: None,
                inverses,
                ..
            }) => Some(inverses),
            _ => None,
        }
    }
}

/// A table of byte records; see the module.
pub(in crate::value) struct Records<K> {
    table: Table<Box<[u8]>>,
    /// Bytes of all records.
    bytes: usize,
    keyed: PhantomData<fn() -> K>,
}

#[expect(
    clippy::borrowed_box,
    reason = "the table's hasher takes a reference to its entry"
)]
fn hash_of<K: Keyed>(record: &Box<[u8]>) -> u64 {
    hash_bytes(K::key(record))
}

impl<K: Keyed> Records<K> {
    /// No records yet, with room for `count`.
    pub(in crate::value) fn with_capacity(count: usize) -> Self {
        Records {
            table: Table::with_capacity(count),
            ..Records::default()
        }
    }

    pub(in crate::value) const fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes on the heap, with the record's own, without `size_of::<Self>()`.
    pub(in crate::value) const fn heap_bytes(&self) -> usize {
        self.table.heap_bytes() + self.bytes
    }

    #[cfg(test)]
    pub(in crate::value) const fn table_bytes(&self) -> usize {
        self.table.heap_bytes()
    }

    /// The record with this key.
    pub(in crate::value) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let record = self
            .table
            .find(hash_bytes(key), |record| K::key(record) == key)?;
        Some(record)
    }

    /// Adds the record that `make` makes for `key`, unless there is one; says
    /// whether it was added.
    pub(in crate::value) fn add(
        &mut self,
        key: &[u8],
        make: impl FnOnce() -> Box<[u8]>,
        log: Option<&mut Vec<Inverse>>,
    ) -> bool {
        let (record, added) = self.table.find_or_insert_with(
            hash_bytes(key),
            |record| K::key(record) == key,
            make,
            hash_of::<K>,
        );
        if added {
            self.bytes += record.len();
            if let Some(log) = log {
                log.push(Inverse::Absent(key.into()));
            }
        }
        added
    }

    /// Adds the record that `make` makes for `key`, or puts it in the old one's
    /// place; says whether there was none.
    pub(in crate::value) fn set(
        &mut self,
        key: &[u8],
        make: impl Fn() -> Box<[u8]>,
        log: Option<&mut Vec<Inverse>>,
    ) -> bool {
        let (record, added) = self.table.find_or_insert_with(
            hash_bytes(key),
            |record| K::key(record) == key,
            &make,
            hash_of::<K>,
        );
        let inverse = if added {
            self.bytes += record.len();
            log.is_some().then(|| Inverse::Absent(key.into()))
        } else {
            let old = mem::replace(record, make());
            self.bytes = self.bytes + record.len() - old.len();
            Some(Inverse::Present(old))
        };
        if let (Some(log), Some(inverse)) = (log, inverse) {
            log.push(inverse);
        }
        added
    }

    /// Removes the record with this key; says whether there was one.
    pub(in crate::value) fn remove(&mut self, key: &[u8], log: Option<&mut Vec<Inverse>>) -> bool {
        let hash = hash_bytes(key);
        let removed = self
            .table
            .remove(hash, |record| K::key(record) == key, hash_of::<K>);
        let Some(record) = removed else { return false };
        self.bytes -= record.len();
        if let Some(log) = log {
            log.push(Inverse::Present(record));
        }
        true
    }

    /// Takes a random record out.
    pub(in crate::value) fn remove_random(
        &mut self,
        rng: &mut impl FnMut() -> u64,
        log: Option<&mut Vec<Inverse>>,
    ) -> Option<Box<[u8]>> {
        let record = self.table.remove_random(rng, hash_of::<K>)?;
        self.bytes -= record.len();
        if let Some(log) = log {
            log.push(Inverse::Present(record.clone()));
        }
        Some(record)
    }

    /// Applies inverses, newest first.
    pub(in crate::value) fn revert(&mut self, inverses: Vec<Inverse>) {
        for inverse in inverses.into_iter().rev() {
            match inverse {
                Inverse::Absent(key) => {
                    self.remove(&key, None);
                }
                Inverse::Present(record) => {
                    self.remove(K::key(&record), None);
                    self.bytes += record.len();
                    self.table
                        .insert_unique(hash_of::<K>(&record), record, hash_of::<K>);
                }
            }
        }
    }

    pub(in crate::value) fn iter(&self) -> Iter<'_, Box<[u8]>> {
        self.table.iter()
    }

    pub(in crate::value) fn random(&self, rng: &mut impl FnMut() -> u64) -> Option<&[u8]> {
        self.table.random(rng).map(AsRef::as_ref)
    }

    pub(in crate::value) fn random_distinct(
        &self,
        count: usize,
        rng: &mut impl FnMut() -> u64,
    ) -> impl Iterator<Item = &[u8]> {
        let chosen = self.table.random_distinct(count, rng);
        chosen.into_iter().map(AsRef::as_ref)
    }

    pub(in crate::value) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'a [u8]),
    ) -> u64 {
        self.table
            .scan(cursor, count, hash_of::<K>, |record| visit(record))
    }
}

impl<K> Default for Records<K> {
    fn default() -> Self {
        Records {
            table: Table::new(),
            bytes: 0,
            keyed: PhantomData,
        }
    }
}

impl<K> Clone for Records<K> {
    fn clone(&self) -> Self {
        Records {
            table: self.table.clone(),
            bytes: self.bytes,
            keyed: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Records<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Records").field(&self.table).finish()
    }
}
