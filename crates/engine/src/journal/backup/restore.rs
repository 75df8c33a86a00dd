//! From a backup to a folder.
//!
//! A file says that a restore is under way, durably, before the first byte is
//! written, and goes last: recovery refuses a folder that has it, so half a
//! restore is never taken for data. Beginning again throws the half away.

use std::io::{self, Read};

use super::{BACKUP_HEADER, BYTES, FILE, FILE_END, FOOTER, NAME, PIECE, read_header};
use crate::effect::Seq;
use crate::journal::check::{Survey, Verdict};
use crate::journal::scan::Folder;
use crate::journal::segment::segment_of;
use crate::journal::snapshot::block::{BLOCK_HEADER, BlockHeader, BlockKind, numbers};
use crate::journal::snapshot::snapshot_of;
use crate::journal::storage::{Storage, StorageFile};
use crate::journal::watermark::Watermark;
use crate::journal::{LogId, RESTORING};

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The log's name.
    pub log: LogId,
    /// The last unit.
    pub last: Seq,
    /// Files, without the watermark.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Why nothing was restored; the folder is empty then, unless storage failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Storage failed.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The backup cannot be read.
    #[error("the backup cannot be read: {0}")]
    Input(io::Error),
    /// A restore goes into an empty folder only.
    #[error("the folder is not empty: it has {0}")]
    NotEmpty(String),
    /// The bytes are no backup, or a damaged one.
    #[error("the backup is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where the block begins that is not right.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The files are as they were sent, and yet no sound state.
    #[error("the backup holds no sound state: {0}")]
    Unsound(String),
}

fn in_file(name: &str) -> impl FnOnce(io::Error) -> RestoreError {
    let file = name.to_owned();
    move |source| RestoreError::Io { file, source }
}

/// Writes what `input` holds into the empty folder `storage`, which is data
/// once everything in it was verified and is durable. `progress` is told the
/// bytes written.
pub fn restore(
    input: &mut dyn Read,
    storage: &dyn Storage,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, RestoreError> {
    let names = storage.list().map_err(in_file("the folder"))?;
    let goes_on = names.iter().any(|name| name == RESTORING);
    match names.first() {
        Some(name) if !goes_on => return Err(RestoreError::NotEmpty(name.clone())),
        _ => {}
    }
    storage
        .create(RESTORING, 0, false)
        .map_err(in_file(RESTORING))?;
    // Makes the mark durable, too.
    clear(storage).map_err(in_file("the folder"))?;
    let restored = write(input, storage, progress).and_then(|restored| {
        verify(storage, &restored)?;
        Ok(restored)
    });
    if restored.is_err() {
        // Its failure leaves the mark, and that is enough.
        let _ = clear(storage);
    }
    if restored.is_ok() || Folder::read(storage).is_ok_and(|folder| folder.is_cleared()) {
        let unmark = || {
            storage.remove(RESTORING)?;
            storage.sync_folder()
        };
        let unmarked = unmark().map_err(in_file(RESTORING));
        return restored.and_then(|restored| unmarked.map(|()| restored));
    }
    restored
}

/// Removes everything but the mark, and syncs the folder.
fn clear(storage: &dyn Storage) -> io::Result<()> {
    for name in storage.list()? {
        if name != RESTORING {
            storage.remove(&name)?;
        }
    }
    storage.sync_folder()
}

fn write(
    input: &mut dyn Read,
    storage: &dyn Storage,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, RestoreError> {
    let mut blocks = Blocks::open(input)?;
    let mut restored = Restored {
        log: blocks.log,
        last: Seq(0),
        files: 0,
        bytes: 0,
    };
    let mut open: Option<Target> = None;
    loop {
        let kind = blocks.next()?;
        match (kind, &mut open) {
            (FILE, None) => {
                let name = std::str::from_utf8(&blocks.payload).ok();
                let name = name
                    .filter(|name| segment_of(name).is_some() || snapshot_of(name).is_some())
                    .ok_or_else(|| blocks.damaged("a file has a name of no file of a journal"))?;
                open = Some(Target {
                    file: storage.create(name, 0, false).map_err(in_file(name))?,
                    name: name.to_owned(),
                    length: 0,
                });
            }
            (BYTES, Some(target)) => {
                target
                    .file
                    .write_all_at(target.length, &blocks.payload)
                    .map_err(in_file(&target.name))?;
                target.length += blocks.payload.len() as u64;
                restored.bytes += blocks.payload.len() as u64;
                progress(restored.bytes);
            }
            (FILE_END, Some(target)) => {
                if numbers(&blocks.payload) != Some([target.length]) {
                    return Err(blocks.damaged("a file has not the length that its end tells"));
                }
                target.file.sync().map_err(in_file(&target.name))?;
                restored.files += 1;
                open = None;
            }
            (FOOTER, None) => {
                let Some([files, bytes, last]) = numbers(&blocks.payload) else {
                    return Err(blocks.damaged("the footer is not one"));
                };
                if (files, bytes) != (restored.files, restored.bytes) {
                    return Err(blocks.damaged("the backup has not what its footer tells"));
                }
                restored.last = Seq(last);
                blocks.end()?;
                return Ok(restored);
            }
            _ => return Err(blocks.damaged("a block stands where its kind has no place")),
        }
    }
}

struct Target {
    name: String,
    file: Box<dyn StorageFile>,
    length: u64,
}

/// Makes the watermark and looks at the folder as recovery will.
fn verify(storage: &dyn Storage, restored: &Restored) -> Result<(), RestoreError> {
    Watermark::create(storage, restored.log, restored.last)
        .and_then(|_| storage.sync_folder())
        .map_err(in_file("the watermark"))?;
    let mut survey = Survey::read(storage, None, &mut |_, _| ()).map_err(in_file("the folder"))?;
    survey.folder.restoring = false;
    let plan = survey.plan();
    if plan.verdict == Verdict::Good && plan.last == restored.last && !survey.has_problems() {
        Ok(())
    } else {
        Err(RestoreError::Unsound(survey.problems()))
    }
}

/// The stream, block by block.
struct Blocks<'a> {
    input: &'a mut dyn Read,
    log: LogId,
    salt: u64,
    number: u32,
    /// Where the last block began, and where the next does.
    start: u64,
    offset: u64,
    payload: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn open(input: &'a mut dyn Read) -> Result<Self, RestoreError> {
        let mut header = [0; BACKUP_HEADER];
        let mut blocks = Blocks {
            input,
            log: LogId([0; 16]),
            salt: 0,
            number: 0,
            start: 0,
            offset: 0,
            payload: Vec::new(),
        };
        blocks.fill(&mut header)?;
        (blocks.log, blocks.salt) =
            read_header(&header).ok_or_else(|| blocks.damaged("the header is not a backup's"))?;
        Ok(blocks)
    }

    fn next(&mut self) -> Result<BlockKind, RestoreError> {
        self.start = self.offset;
        let mut header = [0; BLOCK_HEADER];
        self.fill(&mut header)?;
        let header = BlockHeader::of(header);
        if header.length() > PIECE {
            return Err(self.damaged("a block is too long"));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.length(), 0);
        self.fill(&mut payload)?;
        let kind = header
            .check(self.salt, self.number, &payload)
            .map_err(|reason| self.damaged(reason))?;
        if kind == FILE && payload.len() > NAME {
            return Err(self.damaged("a name is too long"));
        }
        self.payload = payload;
        self.number = self.number.wrapping_add(1);
        Ok(kind)
    }

    fn end(&mut self) -> Result<(), RestoreError> {
        self.start = self.offset;
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows the footer")),
            Err(error) => Err(RestoreError::Input(error)),
        }
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), RestoreError> {
        match self.input.read_exact(into) {
            Ok(()) => {
                self.offset += into.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("the backup ends too early"))
            }
            Err(error) => Err(RestoreError::Input(error)),
        }
    }

    fn damaged(&self, reason: &'static str) -> RestoreError {
        RestoreError::Damaged {
            offset: self.start,
            reason,
        }
    }
}
