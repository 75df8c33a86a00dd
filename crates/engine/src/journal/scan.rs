//! Reading the log: which files a folder has, the frames of a segment in their
//! order, and what stands where they stop.
//!
//! Any bytes may come: nothing here panics, and no more memory is taken than
//! the file has bytes. Recovery, `check` and backups judge by the same eyes.

use std::io;

use super::frame::{self, FRAME_ALIGN, FRAME_HEADER, Frame};
use super::segment::{SEGMENT_HEADER, SPARE, SegmentHeader, segment_name, segment_of};
use super::snapshot::snapshot_of;
use super::storage::Storage;
use super::watermark::WATERMARK;
use super::{LogId, RESTORING};
use crate::effect::Seq;

/// What the name of a file that is being made ends with.
pub(super) const DRAFT: &str = ".tmp";

/// What stands between the name of a file and the time at which bytes of it
/// were set apart.
pub(super) const QUARANTINE: &str = ".quarantine.";

/// What a folder holds, by the names of its files.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// First seqs of the segments, in order.
    pub(super) segments: Vec<Seq>,
    /// Cuts of the snapshots, the newest first.
    pub(super) snapshots: Vec<Seq>,
    /// Whether there is a watermark.
    pub(super) watermark: bool,
    /// Whether a restore began here and did not end.
    pub(super) restoring: bool,
    /// Files that were being made, and the spare segment.
    pub(super) drafts: Vec<String>,
    /// Everything else, quarantined bytes among it.
    pub(super) others: Vec<String>,
}

/// What of the journal a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing, and there never was.
    New,
    /// Parts without a watermark, which is made before them.
    Headless,
    /// A log.
    Log,
}

impl Folder {
    pub(super) fn read(storage: &dyn Storage) -> io::Result<Self> {
        let mut folder = Folder::default();
        for name in storage.list()? {
            if let Some(first) = segment_of(&name) {
                folder.segments.push(first);
            } else if let Some(cut) = snapshot_of(&name) {
                folder.snapshots.push(cut);
            } else if name == WATERMARK {
                folder.watermark = true;
            } else if name == RESTORING {
                folder.restoring = true;
            } else if name == SPARE || name.ends_with(DRAFT) {
                folder.drafts.push(name);
            } else {
                folder.others.push(name);
            }
        }
        folder.segments.sort_unstable();
        folder.snapshots.sort_unstable_by(|a, b| b.cmp(a));
        folder.drafts.sort_unstable();
        folder.others.sort_unstable();
        Ok(folder)
    }

    /// Whether nothing is there but the mark of a restore.
    pub(super) fn is_cleared(&self) -> bool {
        *self
            == Folder {
                restoring: true,
                ..Folder::default()
            }
    }

    pub(super) fn presence(&self) -> Presence {
        let quarantined = self.others.iter().any(|name| name.contains(QUARANTINE));
        if self.watermark {
            Presence::Log
        } else if quarantined || !self.segments.is_empty() || !self.snapshots.is_empty() {
            Presence::Headless
        } else {
            Presence::New
        }
    }

    /// The segments from which a state that contains everything up to `cut` can
    /// go on; `None` where the log begins too late.
    pub(super) fn segments_from(&self, cut: Seq) -> Option<&[Seq]> {
        let before = self
            .segments
            .partition_point(|first| first.0 <= cut.0.saturating_add(1));
        match before.checked_sub(1) {
            Some(start) => self.segments.get(start..),
            None if self.segments.is_empty() => Some(&[]),
            None => None,
        }
    }
}

/// A segment in memory.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) header: SegmentHeader,
    pub(super) bytes: Vec<u8>,
}

/// Why a segment's file is none of this log's.
#[derive(Debug)]
pub(super) enum Unreadable {
    Io(io::Error),
    Header(String),
}

impl Segment {
    /// Reads the segment that begins with `first`.
    pub(super) fn read(storage: &dyn Storage, first: Seq) -> Result<Self, Unreadable> {
        let name = segment_name(first);
        let bytes = read_whole(storage, &name).map_err(Unreadable::Io)?;
        let header = bytes
            .first_chunk::<SEGMENT_HEADER>()
            .ok_or_else(|| Unreadable::Header("the file ends inside its header".to_owned()))?;
        let header = SegmentHeader::check(header)
            .map_err(|refusal| Unreadable::Header(refusal.to_string()))?;
        if header.first != first || first == Seq(0) {
            return Err(Unreadable::Header(format!(
                "the header says that the segment begins with seq {}",
                header.first.0
            )));
        }
        Ok(Segment {
            name,
            header,
            bytes,
        })
    }

    /// That it belongs to `log`.
    pub(super) fn belongs_to(&self, log: LogId) -> Result<(), Unreadable> {
        if self.header.log == log {
            Ok(())
        } else {
            Err(Unreadable::Header(
                "the segment belongs to another log".to_owned(),
            ))
        }
    }

    pub(super) fn frames(&self) -> Frames<'_> {
        Frames::new(&self.bytes, &self.header)
    }
}

/// All bytes of a file.
pub(super) fn read_whole(storage: &dyn Storage, name: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(name)?;
    let mut bytes = vec![0; file.len()? as usize];
    let count = file.read_full_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// The frames of a segment, as long as they are valid and consecutive.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    salt: u64,
    at: usize,
    expected: u64,
}

/// What stands where the frames of a segment stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Zeros, or nothing, to the end.
    End,
    /// Bytes that are no valid frame.
    Invalid,
    /// A valid frame that cannot stand there, and why.
    Misplaced(&'static str),
}

impl<'a> Frames<'a> {
    /// The frames in the whole `bytes` of a segment with this header.
    pub fn new(bytes: &'a [u8], header: &SegmentHeader) -> Self {
        Frames {
            bytes,
            salt: header.salt,
            at: SEGMENT_HEADER,
            expected: header.first.0,
        }
    }

    /// Byte of the segment that was reached.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The seq that stands there, or would.
    pub fn expected(&self) -> Seq {
        Seq(self.expected)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Bytes up to the last that is not zero, from where the frames stop.
    pub fn remainder(&self) -> &'a [u8] {
        let rest = self.rest();
        let used = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        rest.get(..used).unwrap_or_default()
    }

    /// What stands here. Asked once the frames have stopped.
    pub fn stop(&self) -> Stop {
        match frame::read(self.rest(), self.salt) {
            Some((frame, _)) if frame.seq.0 != self.expected => {
                Stop::Misplaced("a valid frame of another seq")
            }
            Some(_) => Stop::Misplaced("a valid frame whose payload is malformed"),
            None if self.remainder().is_empty() => Stop::End,
            None => Stop::Invalid,
        }
    }

    /// Valid frames behind the stop which show that the seq expected there was
    /// durable when they were written: the byte of each in the segment, and up
    /// to where the log was durable.
    ///
    /// Cost: linear in the bytes, whatever they are, but for a logarithm on each
    /// place that looks like the header of a long frame.
    pub fn witnesses(&self) -> impl Iterator<Item = (usize, Seq)> {
        let (rest, expected) = (self.remainder(), self.expected);
        let highest = expected.saturating_add((rest.len() / FRAME_HEADER) as u64);
        let (all, start, salt) = (self.rest(), self.at, self.salt);
        let mut sums = None;
        (FRAME_ALIGN..rest.len())
            .step_by(FRAME_ALIGN)
            .filter_map(move |at| {
                let claim = frame::claim(all.get(at..)?)?;
                let plausible = claim.durable.0 >= expected && claim.seq.0 <= highest;
                let holds = plausible
                    && sums
                        .get_or_insert_with(|| Sums::new(all))
                        .holds(salt, &claim, at);
                holds.then_some((start + at, claim.durable))
            })
    }
}

impl<'a> Iterator for Frames<'a> {
    /// A frame and its byte in the segment.
    type Item = (usize, Frame<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (frame, size) = frame::read(self.rest(), self.salt)?;
        if frame.seq.0 != self.expected || !frame.is_well_formed() {
            return None;
        }
        let at = self.at;
        // The padding of a segment's last frame may be cut.
        self.at = (at + size).min(self.bytes.len());
        self.expected = self.expected.saturating_add(1);
        Some((at, frame))
    }
}

/// Checksums of any range of bytes: those of each start of them are kept at
/// steps, and two of them make that of what lies between.
struct Sums<'a> {
    bytes: &'a [u8],
    starts: Vec<u32>,
}

const STEP: usize = 4096;

impl<'a> Sums<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut starts = vec![0];
        let mut sum = 0;
        for piece in bytes.chunks_exact(STEP) {
            sum = crc32c::crc32c_append(sum, piece);
            starts.push(sum);
        }
        Sums { bytes, starts }
    }

    /// Checksum of the first `end` bytes.
    fn until(&self, end: usize) -> u32 {
        let start = self.starts.get(end / STEP).copied().unwrap_or_default();
        let rest = self.bytes.get(end / STEP * STEP..end).unwrap_or_default();
        crc32c::crc32c_append(start, rest)
    }

    /// Whether the frame that is claimed at `at` is valid.
    fn holds(&self, salt: u64, claim: &frame::Claim<'_>, at: usize) -> bool {
        let start = at + FRAME_HEADER;
        let length = claim.length;
        if start + length > self.bytes.len() {
            return false;
        }
        let payload = if length <= STEP {
            let payload = self.bytes.get(start..start + length);
            crc32c::crc32c(payload.unwrap_or_default())
        } else {
            let before = crc32c::crc32c_combine(self.until(start), 0, length);
            self.until(start + length) ^ before
        };
        claim.holds(salt, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::frame::FrameKind;

    const HEADER: SegmentHeader = SegmentHeader {
        log: LogId([1; 16]),
        first: Seq(5),
        made_ms: 0,
        salt: 77,
    };

    /// A segment of frames with payloads of these lengths, each written when
    /// all before it were durable.
    fn segment(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = HEADER.to_bytes().to_vec();
        for (at, length) in lengths.iter().enumerate() {
            let seq = HEADER.first.0 + at as u64;
            let start = bytes.len();
            let mut name = vec![b'n'; *length];
            name[0] = 0;
            frame::append(&mut bytes, Seq(seq), 0, 0, FrameKind::Keyspace, &name);
            frame::seal(&mut bytes[start..], HEADER.salt, Seq(seq - 1)).unwrap();
        }
        bytes
    }

    #[test]
    fn frames_come_until_the_zeros() {
        let mut bytes = segment(&[3, 9000, 8]);
        let used = bytes.len();
        bytes.resize(used + 100, 0);
        let mut frames = Frames::new(&bytes, &HEADER);
        assert_eq!(frames.by_ref().count(), 3);
        assert_eq!(frames.stop(), Stop::End);
        assert_eq!((frames.offset(), frames.expected()), (used, Seq(8)));
    }

    #[test]
    fn a_later_frame_bears_witness_to_a_damaged_one() {
        for lengths in [&[3, 50, 8][..], &[3, 50, 9001], &[3, 20_000, 30_000, 8]] {
            let mut bytes = segment(lengths);
            let second = SEGMENT_HEADER + frame::frame_size(3);
            bytes[second + 40] ^= 1;
            let mut frames = Frames::new(&bytes, &HEADER);
            assert_eq!(frames.by_ref().count(), 1);
            assert_eq!(frames.stop(), Stop::Invalid);
            let third = second + frame::frame_size(lengths[1]);
            let (at, _) = frames.witnesses().next().unwrap();
            assert_eq!(at, third, "{lengths:?}");

            // Damaged as well, it says nothing.
            let last = bytes.len() - 8;
            bytes.truncate(third + 40);
            bytes.resize(last, 0);
            let mut frames = Frames::new(&bytes, &HEADER);
            frames.by_ref().count();
            assert_eq!(frames.witnesses().next(), None, "{lengths:?}");
        }
    }

    #[test]
    fn sums_are_those_of_the_ranges() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let sums = Sums::new(&bytes);
        for (start, end) in [(0, 20_000), (5, 9000), (4096, 12_288), (100, 100)] {
            let before = crc32c::crc32c_combine(sums.until(start), 0, end - start);
            assert_eq!(
                sums.until(end) ^ before,
                crc32c::crc32c(&bytes[start..end]),
                "{start}..{end}"
            );
        }
    }
}
