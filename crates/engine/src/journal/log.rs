//! The log as it is written: the newest segment, its rotation, the watermark.
//!
//! Only the writer thread has one. Every method that fails leaves the journal
//! poisoned by its caller; nothing here tries a sync twice.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::frame;
use super::queue::Shared;
use super::segment::{SEGMENT_HEADER, SPARE, SegmentHeader, segment_name};
use super::spare::Spares;
use super::storage::{Storage, StorageFile};
use super::watermark::Watermark;
use super::{Fsync, LogId};
use crate::clock::Clock;
use crate::effect::Seq;
use crate::random::Random;

pub(super) struct Log {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    pub(super) spares: Arc<Spares>,
    pub(super) id: LogId,
    pub(super) random: Random,
    pub(super) watermark: Watermark,
    pub(super) segment_size: u64,
    pub(super) segment: Option<Segment>,
}

/// The segment that is being written.
pub(super) struct Segment {
    file: Box<dyn StorageFile>,
    first: Seq,
    salt: u64,
    size: u64,
    /// Where the next frame goes.
    offset: u64,
}

impl Log {
    /// Seals and writes whole frames, in as few calls as segments allow.
    pub(super) fn write(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let (mut start, mut end) = (0, 0);
        while let Some(size) = bytes.get(end..).and_then(frame::size_at) {
            let fits = self.segment.as_ref().is_some_and(|segment| {
                segment.offset + (end - start + size) as u64 <= segment.size
            });
            if !fits {
                self.put(bytes.get(start..end).unwrap_or_default())?;
                start = end;
                let first = bytes.get(end..).and_then(frame::seq_at).unwrap_or_default();
                self.rotate(first, size as u64)?;
            }
            let salt = self.segment.as_ref().map_or(0, |segment| segment.salt);
            let durable = self.shared.durable.reached();
            let sealed = bytes
                .get_mut(end..)
                .and_then(|frame| frame::seal(frame, salt, durable));
            end += sealed.unwrap_or(size);
        }
        self.put(bytes.get(start..end).unwrap_or_default())?;
        self.shared
            .log_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(segment) = self.segment.as_mut().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        // The room was taken ahead, but not every file system keeps its word;
        // writing the same bytes at the same place again is harmless.
        let mut was_full = false;
        while let Err(error) = segment.file.write_all_at(segment.offset, bytes) {
            was_full = true;
            if !is_full(&error) || !self.spares.wait_for_room() {
                return Err(error);
            }
        }
        segment.offset += bytes.len() as u64;
        if was_full {
            self.spares.there_is_room();
        }
        Ok(())
    }

    /// Makes everything that was written durable; `last` is its last seq.
    pub(super) fn sync(&mut self, last: Seq) -> io::Result<()> {
        if let Some(segment) = &mut self.segment {
            let started = quanta::Instant::now();
            segment.file.sync()?;
            self.shared.syncs.fetch_add(1, Ordering::Relaxed);
            if started.elapsed().as_secs() > 0 {
                self.shared.slow_syncs.fetch_add(1, Ordering::Relaxed);
            }
        }
        // First, so that whatever was acknowledged is known to have been durable.
        self.watermark.write(last)?;
        self.shared.durable.advance(last);
        Ok(())
    }

    /// Ends the segment and begins the one whose first frame, of `need` bytes,
    /// has the seq `first`. Waits for room where there is none.
    fn rotate(&mut self, first: Seq, need: u64) -> io::Result<()> {
        self.end_segment(first)?;
        let size = self.segment_size.max(SEGMENT_HEADER as u64 + need);
        // Taken even where it is too small: whoever made it has to be done with
        // the name, and must not keep the file that gets it now.
        let spare = self.spares.take();
        let file = match spare.filter(|_| size == self.segment_size) {
            Some(file) => file,
            None => loop {
                match self.storage.create(SPARE, size, false) {
                    Err(error) if is_full(&error) && self.spares.wait_for_room() => {}
                    outcome => break outcome?,
                }
            },
        };
        self.use_segment(file, first, size)
    }

    /// Begins a new segment at `first`, unless the newest begins there; where
    /// there is no room for one answers false and leaves the newest, and what
    /// is left of it, alone.
    pub(super) fn begin_segment(&mut self, first: Seq) -> io::Result<bool> {
        if let Some(segment) = &self.segment
            && segment.first == first
        {
            return Ok(true);
        }
        let file = match self.spares.take() {
            Some(file) => file,
            None => match self.storage.create(SPARE, self.segment_size, false) {
                Err(error) if is_full(&error) => {
                    self.spares.refill(self.fills());
                    return Ok(false);
                }
                outcome => outcome?,
            },
        };
        self.end_segment(first)?;
        self.use_segment(file, first, self.segment_size)?;
        Ok(true)
    }

    /// Cuts the segment to what is in it and makes all of it durable: all that
    /// comes before `next`.
    fn end_segment(&mut self, next: Seq) -> io::Result<()> {
        if let Some(segment) = &mut self.segment {
            segment.file.set_len(segment.offset)?;
        }
        self.sync(Seq(next.0.saturating_sub(1)))?;
        self.watermark.sync()
    }

    /// Makes the file with the spare's name the newest segment.
    fn use_segment(
        &mut self,
        mut file: Box<dyn StorageFile>,
        first: Seq,
        size: u64,
    ) -> io::Result<()> {
        let header = SegmentHeader {
            log: self.id,
            first,
            made_ms: self.clock.now_micros() / 1000,
            salt: self.random.next(),
        };
        file.write_all_at(0, &header.to_bytes())?;
        file.sync()?;
        self.storage.rename(SPARE, &segment_name(first))?;
        self.storage.sync_folder()?;
        self.segment = Some(Segment {
            file,
            first,
            salt: header.salt,
            size,
            offset: SEGMENT_HEADER as u64,
        });
        self.spares.refill(self.fills());
        Ok(())
    }

    /// Whether the next spare is to be filled with zeros.
    fn fills(&self) -> bool {
        self.shared.policy() == Fsync::Always
    }

    /// Ends the log for now; `last` is its last seq.
    pub(super) fn close(&mut self, last: Seq) -> io::Result<()> {
        self.end_segment(Seq(last.0 + 1))
    }
}

/// Whether an error means that there is no room, which may come back.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
