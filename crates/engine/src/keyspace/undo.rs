//! The undo list of an atomic unit.
//!
//! A script, a transaction or an atomic operation is all or nothing: when it is
//! killed or refused half-way, [`super::Db::rollback`] walks this list from its
//! end. Whole values are moved into it, never copied; edits inside a collection
//! are recorded by the collection itself; a string records the bytes that a
//! splice covered.

use super::Record;
use crate::expiry::Deadlines;
use crate::value::Table;

#[derive(Debug)]
pub(super) enum Undo {
    /// The key did not exist.
    Created(Box<[u8]>),
    /// The key had this value and deadline.
    Replaced(Box<[u8]>, crate::value::Value, u64),
    /// The record was taken out.
    Removed(Box<Record>),
    /// The collection has recorded its own inverses.
    Edited(Box<[u8]>),
    /// The record stood at `from`.
    Renamed { from: Box<[u8]>, to: Box<[u8]> },
    /// The whole table was taken out.
    Cleared(Box<Cleared>),
    /// The deadline was this.
    Deadline(Box<[u8]>, u64),
    /// The string was `length` long and had `old` at `offset`.
    Spliced {
        key: Box<[u8]>,
        offset: usize,
        old: Vec<u8>,
        length: usize,
        /// Whether it had outgrown the compact encoding.
        raw: bool,
    },
}

/// What FLUSHALL took.
#[derive(Debug)]
pub(super) struct Cleared {
    pub(super) table: Table<Box<Record>>,
    pub(super) deadlines: Deadlines,
    pub(super) used: usize,
    /// Whether a cut waits for this table.
    pub(super) lent: bool,
}
