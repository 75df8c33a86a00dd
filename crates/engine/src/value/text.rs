//! A string under change: replaced part by part, each part remembered where it
//! may have to be put back.
//!
//! An edit costs what it touches, not the length of the string.

use std::ops::Range;

use smallvec::SmallVec;

/// How to take one change back: what stands in `place` was `old`.
#[derive(Debug)]
pub(crate) struct Covered {
    pub(crate) place: Range<usize>,
    pub(crate) old: SmallVec<[u8; 16]>,
}

/// A string that is being changed in place.
#[derive(Debug)]
pub struct TextEdit<'a> {
    text: &'a mut Vec<u8>,
    inverses: Option<Vec<Covered>>,
    changes: u64,
}

impl<'a> TextEdit<'a> {
    /// Begins to change `text`; `recording` keeps what is needed to undo it.
    pub(crate) fn new(text: &'a mut Vec<u8>, recording: bool) -> Self {
        TextEdit {
            text,
            inverses: recording.then(Vec::new),
            changes: 0,
        }
    }

    /// The string as it is now.
    pub fn bytes(&self) -> &[u8] {
        self.text
    }

    /// Number of changes so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The inverses of all changes, oldest first, if they were recorded.
    pub(crate) fn into_inverses(self) -> Vec<Covered> {
        self.inverses.unwrap_or_default()
    }

    /// Puts `new` in the place of the bytes in `place`, which ends within the
    /// string; what is after them moves.
    pub fn replace(&mut self, place: Range<usize>, new: &[u8]) {
        debug_assert!(place.end <= self.text.len());
        self.changes += 1;
        if let Some(inverses) = &mut self.inverses {
            inverses.push(Covered {
                place: place.start..place.start + new.len(),
                old: SmallVec::from_slice(self.text.get(place.clone()).unwrap_or_default()),
            });
        }
        replace(self.text, place, new);
    }
}

/// Puts `new` in the place of the bytes in `place`.
pub(crate) fn replace(text: &mut Vec<u8>, place: Range<usize>, new: &[u8]) {
    let Range { start, end } = place;
    let len = text.len();
    let (old, wanted) = (end - start, new.len());
    if wanted > old {
        text.resize(len + wanted - old, 0);
    }
    if wanted != old {
        text.copy_within(end..len, start + wanted);
    }
    text.truncate(len - old + wanted);
    if let Some(target) = text.get_mut(start..start + wanted) {
        target.copy_from_slice(new);
    }
}
