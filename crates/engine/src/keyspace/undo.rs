//! The undo list of an atomic unit.
//!
//! A script, a transaction or an atomic operation is all or nothing: when it is
//! killed or refused half-way, [`super::Db::rollback`] walks this list from its
//! end. Whole values are moved into it, never copied; edits inside a collection
//! are recorded by the collection itself; a string records the bytes that an
//! edit covered.

use std::sync::Arc;

use super::watch::Changed;
use super::{Key, Record};
use crate::acl::users::Before;
use crate::expiry::Deadlines;
use crate::script::functions::Libraries;
use crate::value::{Covered, Table};

/// Steps that an emptied list keeps room for: units are short and many.
const KEPT: usize = 64;

/// What the running unit has done, if it records.
#[derive(Debug, Default)]
pub(super) struct UndoList {
    recording: bool,
    steps: Vec<Undo>,
}

impl UndoList {
    pub(super) fn begin(&mut self) {
        self.recording = true;
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording
    }

    /// The steps, while a unit records.
    pub(super) fn open(&mut self) -> Option<&mut Vec<Undo>> {
        self.recording.then_some(&mut self.steps)
    }

    /// Ends the recording and gives its steps out.
    pub(super) fn end(&mut self) -> Vec<Undo> {
        self.recording = false;
        std::mem::take(&mut self.steps)
    }

    /// Takes the room of a list that [`UndoList::end`] gave out.
    pub(super) fn reuse(&mut self, mut steps: Vec<Undo>) {
        if steps.capacity() <= KEPT {
            steps.clear();
            self.steps = steps;
        }
    }
}

#[derive(Debug)]
pub(super) enum Undo {
    /// The key did not exist.
    Created(Key),
    /// The key had this value and deadline.
    Replaced(Key, crate::value::Value, u64),
    /// The record was taken out.
    Removed(Box<Record>),
    /// The collection has recorded its own inverses.
    Edited(Key),
    /// The record stood at `from`.
    Renamed { from: Key, to: Key },
    /// The whole table was taken out.
    Cleared(Box<Cleared>),
    /// The libraries of functions were these.
    Libraries(Arc<Libraries>),
    /// The deadline was this.
    Deadline(Key, u64),
    /// The user of this name was this.
    User(Vec<u8>, Before),
    /// What stands in `place` of the string was `old`.
    Spliced {
        key: Key,
        covered: Covered,
        /// Whether it had outgrown the compact encoding.
        raw: bool,
    },
}

/// What FLUSHALL took.
#[derive(Debug)]
pub(super) struct Cleared {
    pub(super) table: Table<Box<Record>>,
    pub(super) deadlines: Deadlines,
    pub(super) field_deadlines: Deadlines,
    pub(super) used: usize,
    /// Whether a cut waits for this table.
    pub(super) lent: bool,
    /// What the next commit tick had to write before.
    pub(super) changed: Option<Box<Changed>>,
}
