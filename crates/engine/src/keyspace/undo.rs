//! The undo list of an atomic unit.
//!
//! A script, a transaction or an atomic operation is all or nothing: when it is
//! killed or refused half-way, [`super::Db::rollback`] walks this list from its
//! end. Whole values are moved into it, never copied; edits inside a collection
//! are recorded by the collection itself; a string records the bytes that an
//! edit covered. A string that is overwritten in place is copied to a buffer that
//! units share, which costs no allocation.

use std::sync::Arc;

use super::watch::Changed;
use super::{Key, Record};
use crate::acl::users::Before;
use crate::expiry::Deadlines;
use crate::script::functions::Libraries;
use crate::value::{Covered, Table};

/// Steps that an emptied list keeps room for: units are short and many.
const KEPT: usize = 64;

/// Bytes of overwritten strings that are kept room for.
const TEXT_KEPT: usize = 4096;

/// What the running unit has done, if it records.
#[derive(Debug, Default)]
pub(super) struct UndoList {
    recording: bool,
    steps: Vec<Undo>,
    text: Vec<u8>,
}

/// The steps of a unit that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) steps: Vec<Undo>,
    /// Keys and values of [`Undo::Overwritten`], one after the other.
    pub(super) text: Vec<u8>,
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

    /// Notes what stands at `key`, where a unit records.
    pub(super) fn note_overwritten(&mut self, key: &[u8], value: &[u8], deadline: u64) {
        if self.recording {
            self.text.extend_from_slice(key);
            self.text.extend_from_slice(value);
            self.steps.push(Undo::Overwritten {
                key: key.len(),
                value: value.len(),
                deadline,
            });
        }
    }

    /// Ends the recording and gives its steps out.
    pub(super) fn end(&mut self) -> Ended {
        self.recording = false;
        Ended {
            steps: std::mem::take(&mut self.steps),
            text: std::mem::take(&mut self.text),
        }
    }

    /// Takes the room of what [`UndoList::end`] gave out.
    pub(super) fn reuse(&mut self, ended: Ended) {
        let Ended {
            mut steps,
            mut text,
        } = ended;
        if steps.capacity() <= KEPT {
            steps.clear();
            self.steps = steps;
        }
        if text.capacity() <= TEXT_KEPT {
            text.clear();
            self.text = text;
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
    /// The last of the buffer's bytes, so many of a key and so many of its value,
    /// are what stood there, with this deadline.
    Overwritten {
        key: usize,
        value: usize,
        deadline: u64,
    },
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
