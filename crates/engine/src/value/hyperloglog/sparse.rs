//! Registers as runs: most of few elements are zero.
//!
//! A run is one byte or two: `00nnnnnn` is 1 to 64 zeros, `01nnnnnn nnnnnnnn` 1
//! to 16,384 zeros, `1vvvvvnn` 1 to 4 registers of a value from 1 to 32. Together
//! the runs count all registers; a string from outside may not, and is corrupted.
//! How runs are split and joined is Redis', so that the bytes are too.

use smallvec::SmallVec;

use super::{Corrupted, HEADER, Histogram, REGISTERS, dense};
use crate::value::TextEdit;

/// The highest value that a run can have.
const VALUE_MAX: u8 = 32;
/// Longest run of a value.
const VALUES_MAX: usize = 4;
/// Longest run of zeros in one byte.
const ZEROS_MAX: usize = 64;
/// How many runs from the one before a change on are looked at for joining.
const JOINED: usize = 5;

/// What a run stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// 0 for zeros.
    pub(super) value: u8,
    pub(super) len: usize,
    /// Bytes that it takes; a second byte beyond the end counts as 0.
    bytes: usize,
}

impl Run {
    fn read(text: &[u8], at: usize) -> Option<Run> {
        let first = *text.get(at)?;
        Some(match first >> 6 {
            0 => Run {
                value: 0,
                len: usize::from(first) + 1,
                bytes: 1,
            },
            1 => {
                let second = text.get(at + 1).copied().unwrap_or(0);
                Run {
                    value: 0,
                    len: usize::from(u16::from_be_bytes([first & 63, second])) + 1,
                    bytes: 2,
                }
            }
            _ => Run {
                value: (first >> 2 & 31) + 1,
                len: usize::from(first & 3) + 1,
                bytes: 1,
            },
        })
    }

    /// Whether it takes the longer form of zeros.
    pub(super) const fn is_long(self) -> bool {
        self.bytes == 2
    }
}

/// All runs of the bytes after the header.
pub(super) fn runs(text: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = Run::read(text, at)?;
        at += run.bytes;
        Some(run)
    })
}

/// All zeros.
pub(super) const EMPTY: [u8; 2] = [0x7f, 0xff];

fn push_zeros(out: &mut SmallVec<[u8; 32]>, len: usize) {
    if len > ZEROS_MAX {
        let [high, low] = ((len - 1) as u16).to_be_bytes();
        out.extend([0x40 | high, low]);
    } else if len > 0 {
        out.push((len - 1) as u8);
    }
}

fn push_values(out: &mut SmallVec<[u8; 32]>, value: u8, len: usize) {
    if len > 0 {
        out.push(0x80 | (value - 1) << 2 | (len - 1) as u8);
    }
}

/// Visits the value of each register that is not zero.
pub(super) fn each(runs_text: &[u8], mut visit: impl FnMut(usize, u8)) -> Result<(), Corrupted> {
    let mut index = 0;
    for run in runs(runs_text) {
        if run.value > 0 {
            if index + run.len > REGISTERS {
                return Err(Corrupted);
            }
            (index..index + run.len).for_each(|index| visit(index, run.value));
        }
        index += run.len;
    }
    if index == REGISTERS {
        Ok(())
    } else {
        Err(Corrupted)
    }
}

pub(super) fn histogram(runs_text: &[u8]) -> Result<Histogram, Corrupted> {
    let mut histogram = [0_u32; 64];
    let mut total = 0;
    for run in runs(runs_text) {
        total += run.len;
        if let Some(count) = histogram.get_mut(usize::from(run.value)) {
            *count = count.saturating_add(run.len as u32);
        }
    }
    if total == REGISTERS {
        Ok(histogram)
    } else {
        Err(Corrupted)
    }
}

/// Where a run begins: in the string, and its first register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    at: usize,
    first: usize,
}

impl Cursor {
    /// Before all registers.
    pub(super) const START: Cursor = Cursor {
        at: HEADER,
        first: 0,
    };
}

/// The run in which a register lies, and what is around it.
struct Found {
    run: Run,
    place: Cursor,
    /// Where the run before it begins, or it itself.
    before: usize,
    /// Where to look for later registers, whatever joins the run before.
    resume: Cursor,
}

fn find(text: &[u8], from: Cursor, index: usize) -> Option<Found> {
    let mut place = from;
    let mut passed = [from; 3];
    loop {
        let run = Run::read(text, place.at)?;
        if index < place.first + run.len {
            let [resume, _, before] = passed;
            return Some(Found {
                run,
                place,
                before: before.at,
                resume,
            });
        }
        passed = [passed[1], passed[2], place];
        place = Cursor {
            at: place.at + run.bytes,
            first: place.first + run.len,
        };
    }
}

/// Raises a register of a whole string; whether it was lower. Where the runs
/// would take more than `max_bytes` with the header, or cannot hold the value,
/// the string becomes dense. Who raises registers in their order passes the same
/// `cursor` again.
pub(super) fn raise(
    text: &mut TextEdit<'_>,
    cursor: &mut Cursor,
    index: usize,
    value: u8,
    max_bytes: usize,
) -> Result<bool, Corrupted> {
    if value > VALUE_MAX {
        return promote(text, index, value);
    }
    let Found {
        run,
        place: Cursor { at, first },
        before,
        resume,
    } = find(text.bytes(), *cursor, index).ok_or(Corrupted)?;
    *cursor = resume;
    if run.value >= value {
        return Ok(false);
    }
    // The run before, which the new ones may join; then up to three for this one.
    let old = text.bytes();
    let mut new: SmallVec<[u8; 32]> = SmallVec::from_slice(old.get(before..at).unwrap_or_default());
    let lead = new.len();
    let (left, right) = (index - first, first + run.len - index - 1);
    if run.value == 0 {
        push_zeros(&mut new, left);
        push_values(&mut new, value, 1);
        push_zeros(&mut new, right);
    } else {
        push_values(&mut new, run.value, left);
        push_values(&mut new, value, 1);
        push_values(&mut new, run.value, right);
    }
    let end = at + run.bytes;
    let grown = new.len() - lead;
    if grown > run.bytes && old.len() + grown - run.bytes > max_bytes {
        return promote(text, index, value);
    }
    if end > old.len() {
        // Half of a run is corrupted anyway; the string keeps its length, as
        // Redis counts it.
        new.pop();
    }
    let end = end.min(old.len());
    let beyond = old.len().min(end + 2 * JOINED + 6);
    new.extend_from_slice(old.get(end..beyond).unwrap_or_default());
    join(&mut new);
    replace_differing(text, before..beyond, &new);
    Ok(true)
}

/// Joins runs of one value at the head of `runs`.
fn join(runs: &mut SmallVec<[u8; 32]>) {
    let mut at = 0;
    for _ in 0..JOINED {
        let Some(run) = Run::read(runs, at) else {
            return;
        };
        let next = Run::read(runs, at + 1).filter(|next| next.value == run.value);
        match next {
            Some(next) if run.value > 0 && run.len + next.len <= VALUES_MAX => {
                if let Some(byte) = runs.get_mut(at) {
                    *byte = 0x80 | (run.value - 1) << 2 | (run.len + next.len - 1) as u8;
                }
                runs.remove(at + 1);
            }
            _ => at += run.bytes,
        }
    }
}

/// Replaces what is in `place`, without the bytes that stay as they are.
fn replace_differing(text: &mut TextEdit<'_>, place: std::ops::Range<usize>, new: &[u8]) {
    let old = text.bytes().get(place.clone()).unwrap_or_default();
    let alike = |pairs: &mut dyn Iterator<Item = (&u8, &u8)>| {
        pairs.take_while(|(one, other)| one == other).count()
    };
    let head = alike(&mut old.iter().zip(new));
    let shorter = old.len().min(new.len()) - head;
    let tail = alike(&mut old.iter().rev().zip(new.iter().rev()).take(shorter));
    let new = new.get(head..new.len() - tail).unwrap_or_default();
    text.replace(place.start + head..place.end - tail, new);
}

/// Makes the string dense, then raises the register.
fn promote(text: &mut TextEdit<'_>, index: usize, value: u8) -> Result<bool, Corrupted> {
    to_dense(text)?;
    Ok(dense::raise(text, index, value))
}

/// Makes the string dense; what else its header says stays.
pub(super) fn to_dense(text: &mut TextEdit<'_>) -> Result<(), Corrupted> {
    let old = text.bytes();
    let (header, runs) = old.split_at_checked(HEADER).ok_or(Corrupted)?;
    let mut new = vec![0; HEADER + dense::BYTES];
    let (new_header, registers) = new.split_at_mut(HEADER);
    new_header.copy_from_slice(header);
    if let Some(encoding) = new_header.get_mut(super::ENCODING_AT) {
        *encoding = super::DENSE;
    }
    each(runs, |index, value| dense::set(registers, index, value))?;
    let length = old.len();
    text.replace(0..length, &new);
    Ok(())
}
