//! Backup: the whole state as one checksummed stream, made while a writer goes
//! on, and the way back into an empty folder.
//!
//! What is copied is a prefix of the history: the newest whole snapshot and the
//! valid frames of the segments behind it, everything that was durable when the
//! backup began among them. Nothing is locked and nobody waits: frames that were
//! written once never change, and files that go away meanwhile stay readable
//! through the handles that were taken first.
//!
//! Memory: one segment. Every byte is read twice or more: judged first, since
//! what was sent cannot be taken back.

mod restore;

pub use restore::{RestoreError, Restored, restore};

use std::io::{self, Write};

use super::LogId;
use super::scan::{Folder, Frames, Presence, Stop};
use super::segment::{
    SEGMENT_HEADER, SegmentHeader, check_header, log_id_at, seal_header, segment_name, u64_at,
};
use super::snapshot::block::{BLOCK_HEADER, BlockHeader, BlockKind};
use super::snapshot::{self, snapshot_name};
use super::storage::{Storage, StorageFile};
use super::watermark::{WATERMARK, Watermark};
use crate::effect::Seq;

const MAGIC: [u8; 8] = *b"SANGAMBK";
const VERSION: u32 = 1;
/// Bytes before the first block.
const BACKUP_HEADER: usize = SEGMENT_HEADER;
/// Most bytes of a file in one block.
const PIECE: usize = 1 << 20;
/// Longest name of a file, in bytes.
const NAME: usize = 64;
/// Times that files may go away under the backup before it gives up.
const TRIES: usize = 32;

// The blocks are those of a snapshot, in other roles.
const FILE: BlockKind = BlockKind::Section;
const BYTES: BlockKind = BlockKind::Records;
const FILE_END: BlockKind = BlockKind::SectionEnd;
const FOOTER: BlockKind = BlockKind::Footer;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupSummary {
    /// The log's name.
    pub log: LogId,
    /// The last unit in it.
    pub last: Seq,
    /// Files in it.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// Why there is no backup; what was sent of one is to be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// Where the backup goes failed.
    #[error("the backup cannot be written: {0}")]
    Output(io::Error),
    /// A backup of what is damaged would hide it.
    #[error("{file} is damaged at byte {offset}: {reason}. `sangam check` says more")]
    Damaged {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// There is no data.
    #[error("there is nothing to back up")]
    Empty,
    /// Each time that the files were opened, some of them had gone.
    #[error("the files change faster than they can be opened")]
    Restless,
}

fn in_file(name: &str) -> impl FnOnce(io::Error) -> BackupError {
    let file = name.to_owned();
    move |source| BackupError::Io { file, source }
}

/// Sends everything that `storage` holds to `out`. A writer may go on in the
/// same folder, and snapshots may be made. `progress` is told bytes done, of how
/// many.
pub fn backup(
    storage: &dyn Storage,
    now_ms: u64,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackupSummary, BackupError> {
    let source = Source::open(storage)?;
    let total = source.files.iter().map(|file| file.length).sum();
    let mut sender = Sender {
        out,
        salt: now_ms,
        number: 0,
    };
    sender.send(&header(source.log, now_ms))?;
    let mut done = 0;
    let mut piece = vec![0; PIECE];
    for file in &source.files {
        sender.block(FILE, file.name.as_bytes())?;
        let mut offset = 0;
        while offset < file.length {
            let wanted = (file.length - offset).min(PIECE as u64) as usize;
            let into = piece.get_mut(..wanted).unwrap_or_default();
            let count = file.handle.read_full_at(offset, into);
            if count.map_err(in_file(&file.name))? < wanted {
                return Err(BackupError::Damaged {
                    file: file.name.clone(),
                    offset,
                    reason: "the file has become shorter".to_owned(),
                });
            }
            sender.block(BYTES, into)?;
            offset += wanted as u64;
            done += wanted as u64;
            progress(done, total);
        }
        sender.block(FILE_END, &file.length.to_le_bytes())?;
    }
    let summary = BackupSummary {
        log: source.log,
        last: source.last,
        files: source.files.len() as u64,
        bytes: total,
    };
    let footer = [summary.files, summary.bytes, summary.last.0].map(u64::to_le_bytes);
    sender.block(FOOTER, footer.as_flattened())?;
    sender.out.flush().map_err(BackupError::Output)?;
    Ok(summary)
}

fn header(log: LogId, made_ms: u64) -> [u8; BACKUP_HEADER] {
    let mut bytes = [0; BACKUP_HEADER];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..32].copy_from_slice(&log.0);
    bytes[40..48].copy_from_slice(&made_ms.to_le_bytes());
    seal_header(&mut bytes);
    bytes
}

/// Log and time of a valid header.
fn read_header(bytes: &[u8; BACKUP_HEADER]) -> Option<(LogId, u64)> {
    check_header(bytes, MAGIC, VERSION)?;
    Some((log_id_at(bytes), u64_at(bytes, 40)))
}

struct Sender<'a> {
    out: &'a mut dyn Write,
    /// Begins each crc, so that no block of another backup passes.
    salt: u64,
    number: u32,
}

impl Sender<'_> {
    fn block(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(), BackupError> {
        let header = BlockHeader::seal(self.salt, kind, self.number, payload)
            .ok_or_else(|| BackupError::Output(io::ErrorKind::FileTooLarge.into()))?;
        self.number = self.number.wrapping_add(1);
        debug_assert_eq!(header.bytes().len(), BLOCK_HEADER);
        self.send(header.bytes())?;
        self.send(payload)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes).map_err(BackupError::Output)
    }
}

/// What is copied: files that were opened, and judged, before a byte is sent.
struct Source {
    log: LogId,
    last: Seq,
    files: Vec<Opened>,
}

struct Opened {
    name: String,
    handle: Box<dyn StorageFile>,
    /// Bytes that are copied.
    length: u64,
}

impl Source {
    fn open(storage: &dyn Storage) -> Result<Self, BackupError> {
        let mut before = None;
        for _ in 0..TRIES {
            let folder = Folder::read(storage).map_err(in_file("the folder"))?;
            match Self::of(storage, &folder) {
                // A file that has gone, or a part of the log that was not yet
                // listed, is no damage if the folder looks different now.
                Err(BackupError::Io { .. } | BackupError::Damaged { .. })
                    if before.as_ref() != Some(&folder) => {}
                outcome => return outcome,
            }
            before = Some(folder);
        }
        Err(BackupError::Restless)
    }

    fn of(storage: &dyn Storage, folder: &Folder) -> Result<Self, BackupError> {
        if folder.restoring || folder.presence() == Presence::New {
            return Err(BackupError::Empty);
        }
        // Before the segments: what it calls durable is in them.
        let watermark = Watermark::open(storage)
            .map_err(in_file(WATERMARK))?
            .ok_or_else(|| damaged(WATERMARK, 0, "neither of its slots is valid"))?;
        let (log, durable) = (watermark.log(), watermark.durable());
        let open = |name: String| {
            let handle = storage.open(&name).map_err(in_file(&name))?;
            Ok(Opened {
                length: handle.len().map_err(in_file(&name))?,
                handle,
                name,
            })
        };
        let mut snapshots = Vec::new();
        for cut in &folder.snapshots {
            snapshots.push((*cut, open(snapshot_name(*cut))?));
        }
        let mut segments = Vec::new();
        for first in &folder.segments {
            segments.push((*first, open(segment_name(*first))?));
        }
        // From here on nothing can go away.
        let mut source = Source {
            log,
            last: Seq(0),
            files: Vec::new(),
        };
        let mut durable = durable;
        for (cut, file) in snapshots {
            let whole = snapshot::verify(&*file.handle, log);
            if let Ok(summary) = whole
                && summary.cut == cut
                && folder.segments_from(cut).is_some()
            {
                source.last = cut;
                durable = durable.max(summary.highest);
                source.files.push(file);
                break;
            }
        }
        let needed = folder.segments_from(source.last).ok_or_else(|| {
            let first = folder.segments.first().copied().unwrap_or_default();
            damaged(&segment_name(first), 0, "the log begins too late")
        })?;
        segments.drain(..folder.segments.len() - needed.len());
        source.segments(segments, durable)?;
        Ok(source)
    }

    /// Judges the segments and takes their valid frames.
    fn segments(&mut self, segments: Vec<(Seq, Opened)>, durable: Seq) -> Result<(), BackupError> {
        let count = segments.len();
        let mut expected = None;
        for (at, (first, mut file)) in segments.into_iter().enumerate() {
            let name = &file.name;
            if expected.is_some_and(|expected| expected != first) {
                return Err(damaged(name, 0, "the frames before it are missing"));
            }
            let mut bytes = vec![0; file.length as usize];
            let read = file.handle.read_full_at(0, &mut bytes);
            bytes.truncate(read.map_err(in_file(name))?);
            let header = bytes
                .first_chunk()
                .and_then(SegmentHeader::read)
                .filter(|header| header.first == first && header.log == self.log)
                .ok_or_else(|| damaged(name, 0, "the header is not this segment's"))?;
            let mut frames = Frames::new(&bytes, &header);
            frames.by_ref().for_each(drop);
            let used = frames.offset() as u64;
            let reason = match frames.stop() {
                Stop::End => None,
                Stop::Misplaced(reason) => Some(reason),
                // The writer may be in the middle of it.
                Stop::Invalid if at + 1 == count && frames.expected() > durable => None,
                Stop::Invalid => Some("these bytes are no valid frame"),
            };
            if let Some(reason) = reason {
                return Err(damaged(name, used, reason));
            }
            file.length = used;
            expected = Some(frames.expected());
            self.last = self.last.max(Seq(frames.expected().0 - 1));
            self.files.push(file);
        }
        if self.last < durable {
            let file = self.files.last();
            let name = file.map_or("the log", |file| &file.name);
            let length = file.map_or(0, |file| file.length);
            return Err(damaged(name, length, "units that were durable are missing"));
        }
        Ok(())
    }
}

fn damaged(file: &str, offset: u64, reason: &str) -> BackupError {
    BackupError::Damaged {
        file: file.to_owned(),
        offset,
        reason: reason.to_owned(),
    }
}
