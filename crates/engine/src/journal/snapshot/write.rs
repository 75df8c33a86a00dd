//! Writing a snapshot, and making one of living keyspaces.
//!
//! A keyspace's lock is held for about a millisecond at a time, while records
//! are encoded into memory; every write and sync happens without it. A value is
//! encoded whole, so a giant one holds the lock as long as copying it takes.
//!
//! The file counts only under its own name, which it gets when it and, before
//! it, the log up to its highest cut are durable: a snapshot never knows units
//! that the log could still lose.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::block::{BLOCK_HEADER, BlockHeader, BlockKind, SNAPSHOT_HEADER, SnapshotHeader};
use super::encoded::Encoded;
use super::{Section, snapshot_name};
use crate::effect::{Effects, Seq};
use crate::journal::LogId;
use crate::journal::storage::{Storage, StorageFile};
use crate::keyspace::requests::Place;
use crate::keyspace::{Db, Durability, Guard, Keyspace, Rest, Walk};

/// Time of one hold of a keyspace's lock, microseconds.
const HOLD_US: u64 = 1000;
/// How long to leave a keyspace alone whose script runs past its limit.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Why there is no snapshot. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its caller no longer wants it.
    #[error("the snapshot was cancelled")]
    Cancelled,
    /// Storage failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A block holds up to 4 GiB, and so does a value.
    #[error("a value takes more than 4 GiB in a snapshot")]
    TooLarge,
    /// Two snapshots of one keyspace at a time.
    #[error("another snapshot of keyspace {0} is being made")]
    InProgress(String),
}

/// A snapshot that was made, durable under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub name: String,
    /// Every unit up to here is in it: the log is not needed so far.
    pub cut: Seq,
    /// Bytes of the file.
    pub bytes: u64,
    /// Keyspaces in it.
    pub sections: u64,
    /// Keys in it.
    pub records: u64,
}

/// A snapshot on its way into a file.
///
/// Dropped before [`SnapshotWriter::finish`], it takes the file away.
pub struct SnapshotWriter<'a> {
    storage: &'a dyn Storage,
    /// `None` once it is finished.
    file: Option<Box<dyn StorageFile>>,
    draft: String,
    header: SnapshotHeader,
    offset: u64,
    number: u32,
    /// Records of the open section.
    in_section: u64,
    sections: u64,
    records: u64,
}

impl<'a> SnapshotWriter<'a> {
    /// Makes the file under a name that does not count yet.
    pub fn begin(storage: &'a dyn Storage, header: SnapshotHeader) -> Result<Self, SnapshotError> {
        let draft = format!("{}.tmp", snapshot_name(header.cut));
        let mut writer = SnapshotWriter {
            storage,
            file: Some(storage.create(&draft, 0, false)?),
            draft,
            header,
            offset: 0,
            number: 0,
            in_section: 0,
            sections: 0,
            records: 0,
        };
        writer.write(&header.to_bytes())?;
        debug_assert_eq!(writer.offset, SNAPSHOT_HEADER as u64);
        Ok(writer)
    }

    /// Opens the section of a keyspace.
    pub fn section(&mut self, section: &Section<'_>) -> Result<(), SnapshotError> {
        self.sections += 1;
        self.in_section = 0;
        self.block(BlockKind::Section, &section.to_payload())
    }

    /// Writes the users of the open section, as the commands that make them; to be
    /// called before any record is written.
    pub fn users(&mut self, commands: &Effects) -> Result<(), SnapshotError> {
        if commands.is_empty() {
            return Ok(());
        }
        self.block(BlockKind::Users, commands.as_bytes())
    }

    /// Writes a library of the open section, before its records.
    pub fn library(&mut self, code: &[u8]) -> Result<(), SnapshotError> {
        self.block(BlockKind::Library, code)
    }

    /// Writes a piece of what the open section's keyspace remembers of requests,
    /// before its records.
    pub fn requests(&mut self, block: &[u8]) -> Result<(), SnapshotError> {
        self.block(BlockKind::Requests, block)
    }

    /// Writes the blocks of `encoded` that are full.
    pub fn records(&mut self, encoded: &mut Encoded) -> Result<(), SnapshotError> {
        for mut gathered in encoded.take_closed() {
            let Some((place, payload)) = gathered.bytes.split_first_chunk_mut::<BLOCK_HEADER>()
            else {
                continue;
            };
            *place = *self.seal(BlockKind::Records, payload)?.bytes();
            self.write(&gathered.bytes)?;
            self.in_section += gathered.records;
            encoded.recycle(gathered);
        }
        Ok(())
    }

    /// Writes all that `encoded` still has and closes the section.
    pub fn end_section(&mut self, encoded: &mut Encoded) -> Result<(), SnapshotError> {
        encoded.close();
        self.records(encoded)?;
        self.records += self.in_section;
        let count = self.in_section.to_le_bytes();
        self.block(BlockKind::SectionEnd, &count)
    }

    /// Writes the footer, makes the file durable, asks `ready` whether it may
    /// count, and gives it its name.
    pub fn finish(
        mut self,
        ready: impl FnOnce() -> Result<(), SnapshotError>,
    ) -> Result<Made, SnapshotError> {
        let footer = [self.sections.to_le_bytes(), self.records.to_le_bytes()];
        self.block(BlockKind::Footer, footer.as_flattened())?;
        self.file()?.sync()?;
        ready()?;
        let name = snapshot_name(self.header.cut);
        self.storage.rename(&self.draft, &name)?;
        self.file = None;
        self.storage.sync_folder()?;
        Ok(Made {
            name,
            cut: self.header.cut,
            bytes: self.offset,
            sections: self.sections,
            records: self.records,
        })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    fn block(&mut self, kind: BlockKind, payload: &[u8]) -> Result<(), SnapshotError> {
        let header = self.seal(kind, payload)?;
        self.write(&[header.bytes(), payload].concat())
    }

    fn seal(&mut self, kind: BlockKind, payload: &[u8]) -> Result<BlockHeader, SnapshotError> {
        let header = BlockHeader::seal(self.header.salt, kind, self.number, payload);
        self.number = self.number.wrapping_add(1);
        header.ok_or(SnapshotError::TooLarge)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let offset = self.offset;
        self.file()?.write_all_at(offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut dyn StorageFile> {
        match &mut self.file {
            Some(file) => Ok(&mut **file),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for SnapshotWriter<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // A draft that stays is removed at the next start.
            let _ = self.storage.remove(&self.draft);
        }
    }
}

/// A snapshot to be made.
pub struct Plan<'a> {
    /// Where to.
    pub storage: &'a dyn Storage,
    /// The log that it belongs to.
    pub log: LogId,
    /// The last seq that had been given out before `keyspaces` was listed. It
    /// becomes the snapshot's cut: units of a keyspace that came later than the
    /// list are behind it.
    pub floor: Seq,
    /// All keyspaces; of those that are not journaled only number, class and
    /// name are kept.
    pub keyspaces: &'a [Arc<Keyspace>],
    /// Time now, milliseconds since the epoch.
    pub begun_ms: u64,
    /// A random number.
    pub salt: u64,
    /// Microseconds from any moment on.
    pub clock: &'a dyn Fn() -> u64,
    /// Ends the work when it is set.
    pub cancel: &'a AtomicBool,
    /// Makes the log durable up to this seq.
    pub sync_log: &'a dyn Fn(Seq) -> io::Result<()>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keyspaces that are done.
    pub keyspaces: usize,
    /// Bytes written.
    pub bytes: u64,
    /// The longest hold of a keyspace's lock so far, microseconds.
    pub longest_hold_us: u64,
}

/// Makes a snapshot, without stopping anybody for long. Answers it with the
/// longest hold of a keyspace's lock in microseconds.
pub fn make(
    plan: &Plan<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Made, u64), SnapshotError> {
    let mut writer = SnapshotWriter::begin(
        plan.storage,
        SnapshotHeader {
            log: plan.log,
            cut: plan.floor,
            begun_ms: plan.begun_ms,
            salt: plan.salt,
        },
    )?;
    let mut encoded = Encoded::default();
    let mut highest = plan.floor;
    let mut so_far = Progress::default();
    for keyspace in plan.keyspaces {
        let mut section = Section {
            keyspace: keyspace.id,
            class: keyspace.class,
            cut: plan.floor,
            name: &keyspace.name,
        };
        if keyspace.class.durability == Durability::None {
            writer.section(&section)?;
        } else {
            let mut walking = Walking::begin(plan, keyspace)?;
            section.cut = walking.cut;
            highest = highest.max(walking.cut);
            writer.section(&section)?;
            writer.users(&walking.users)?;
            for code in std::mem::take(&mut walking.libraries) {
                writer.library(&code)?;
            }
            let mut place = Place::default();
            while let Some(block) = walking.requests(&mut place)? {
                writer.requests(&block)?;
            }
            let mut over = false;
            while !over {
                over = walking.step(&mut encoded)?;
                writer.records(&mut encoded)?;
                so_far.bytes = writer.bytes();
                so_far.longest_hold_us = so_far.longest_hold_us.max(walking.longest_hold_us);
                progress(so_far);
            }
        }
        writer.end_section(&mut encoded)?;
        so_far.keyspaces += 1;
    }
    let made = writer.finish(|| Ok((plan.sync_log)(highest)?))?;
    Ok((made, so_far.longest_hold_us))
}

/// The walk over one keyspace's cut, which ends with it.
struct Walking<'a> {
    plan: &'a Plan<'a>,
    keyspace: &'a Keyspace,
    cut: Seq,
    /// The code of the libraries at the cut.
    libraries: Vec<Arc<[u8]>>,
    /// What makes the users of that moment.
    users: Effects,
    /// `None` while the keyspace has the cut.
    rest: Option<Rest>,
    longest_hold_us: u64,
}

impl<'a> Walking<'a> {
    fn begin(plan: &'a Plan<'a>, keyspace: &'a Keyspace) -> Result<Self, SnapshotError> {
        let mut db = lock(plan, keyspace)?;
        let Some(last) = db.begin_cut() else {
            return Err(SnapshotError::InProgress(keyspace.name.clone()));
        };
        let libraries = db.libraries().iter();
        let libraries = libraries.map(|library| Arc::clone(&library.code)).collect();
        let users = keyspace.users.to_effects();
        drop(db);
        Ok(Walking {
            plan,
            keyspace,
            users,
            // Every unit of an idle keyspace is below the floor as well.
            cut: last.max(plan.floor),
            libraries,
            rest: None,
            longest_hold_us: 0,
        })
    }

    /// The next piece of what is remembered of requests.
    fn requests(&mut self, place: &mut Place) -> Result<Option<Vec<u8>>, SnapshotError> {
        let plan = self.plan;
        let db = lock(plan, self.keyspace)?;
        let begun = (plan.clock)();
        let piece = db.requests.piece(place, self.cut);
        let held = (plan.clock)().saturating_sub(begun);
        drop(db);
        self.longest_hold_us = self.longest_hold_us.max(held);
        Ok(piece)
    }

    /// Encodes a piece; whether it was the last.
    fn step(&mut self, out: &mut Encoded) -> Result<bool, SnapshotError> {
        let plan = self.plan;
        if plan.cancel.load(Ordering::Relaxed) {
            return Err(SnapshotError::Cancelled);
        }
        if let Some(rest) = &mut self.rest {
            let begun = (plan.clock)();
            return Ok(rest.walk(out, &mut || (plan.clock)() >= begun + HOLD_US));
        }
        let mut db = lock(plan, self.keyspace)?;
        let begun = (plan.clock)();
        let walk = db.walk_cut(out, &mut || (plan.clock)() >= begun + HOLD_US);
        let held = (plan.clock)().saturating_sub(begun);
        drop(db);
        self.longest_hold_us = self.longest_hold_us.max(held);
        match walk {
            Some(Walk::More) => {}
            Some(Walk::Ended(rest)) => self.rest = Some(rest),
            None => return Err(SnapshotError::InProgress(self.keyspace.name.clone())),
        }
        Ok(false)
    }
}

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        if self.rest.is_some() {
            return;
        }
        let mut db = loop {
            match self.keyspace.data.lock_blocking() {
                Ok(db) => break db,
                Err(_) => thread::sleep(BUSY_PAUSE),
            }
        };
        let rest = db.abandon_cut();
        drop(db);
        drop(rest);
    }
}

/// The keyspace's lock, however long its script runs.
fn lock<'a>(plan: &Plan<'_>, keyspace: &'a Keyspace) -> Result<Guard<'a, Db>, SnapshotError> {
    loop {
        if plan.cancel.load(Ordering::Relaxed) {
            return Err(SnapshotError::Cancelled);
        }
        match keyspace.data.lock_blocking() {
            Ok(db) => return Ok(db),
            Err(_) => thread::sleep(BUSY_PAUSE),
        }
    }
}
