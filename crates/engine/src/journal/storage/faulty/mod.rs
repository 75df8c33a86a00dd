//! Storage in memory that fails as disks and machines do.
//!
//! For tests, those of this crate and those of whoever embeds the engine: what
//! a loss of power leaves behind is decided by a seed, so that a failure can be
//! repeated. Two images are kept, of each file and of the folder: the *live*
//! one, which the process sees, and the *durable* one, which the disk has.
//! [`StorageFile::sync`] brings a file's contents and length over,
//! [`Storage::sync_folder`] the folder's entries.
//!
//! What is modelled, and how strictly:
//!
//! - [`FaultyStorage::crash`]: a loss of power. Each change that was not synced
//!   is kept, lost or torn for itself, whatever came before or after it; a write
//!   within one sector of 512 bytes is never torn, a longer one keeps a prefix
//!   or any of its sectors; a lost write may still have made its file longer.
//!   Changes of the folder's entries are kept up to a point in their order.
//! - [`FaultyStorage::kill`]: the process dies, the machine goes on.
//! - After either, old handles answer with errors, so a thread that outlives
//!   the crash cannot write into the new life.
//! - [`Faults`]: a full disk, errors, short writes, slow syncs.
//! - A sync that fails leaves the changes in the live image, forgets that they
//!   are not durable, and lets the next sync succeed, as Linux does.
//!
//! ```
//! use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
//!
//! let storage = FaultyStorage::new();
//! let mut file = storage.create("a", 0, false)?;
//! file.write_all_at(0, b"kept")?;
//! file.sync()?;
//! file.write_all_at(4, b" or not")?;
//! storage.sync_folder()?;
//! let storage = storage.crash(7);
//! assert!(storage.contents("a")?.starts_with(b"kept"));
//! assert!(file.sync().is_err(), "a handle of the life before");
//! # Ok::<(), std::io::Error>(())
//! ```

mod contents;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::{Storage, StorageFile};
use crate::random::Random;
use contents::Contents;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What goes wrong from now on. Counts count down as calls are made: 1 is the
/// next call, and only that one fails.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Bytes that all files together may take; more is ENOSPC.
    pub capacity: Option<u64>,
    /// The n-th write fails with EIO.
    pub write_error: Option<u64>,
    /// The n-th sync of a file or of the folder fails with EIO.
    pub sync_error: Option<u64>,
    /// A write that fails leaves a part of its bytes.
    pub torn: bool,
    /// Most bytes that one write takes.
    pub short_writes: Option<usize>,
    /// How long a sync takes.
    pub sync_delay: Duration,
    /// After this many changes (creations, writes, cuts, syncs, renamings,
    /// removals) every further one fails with EIO: the point of a crash.
    pub stop_after: Option<u64>,
}

/// A folder in memory. Clones share it; see the module.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

impl Default for FaultyStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyStorage {
    /// An empty folder without faults.
    pub fn new() -> Self {
        FaultyStorage {
            disk: Arc::new(Mutex::new(Disk::default())),
            life: 0,
        }
    }

    /// What goes wrong from now on, in place of what did.
    pub fn set_faults(&self, faults: Faults) {
        self.disk.lock().faults = faults;
    }

    /// What is still to go wrong.
    pub fn faults(&self) -> Faults {
        self.disk.lock().faults.clone()
    }

    /// Changes that were made so far, as [`Faults::stop_after`] counts them.
    pub fn changes(&self) -> u64 {
        self.disk.lock().changes
    }

    /// Syncs of files and of the folder that were tried so far.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// Loses power; `seed` decides what of the changes since the last syncs is
    /// left. Answers the folder as the next start finds it, without faults.
    #[must_use]
    pub fn crash(&self, seed: u64) -> FaultyStorage {
        self.next_life(|disk| disk.crash(&mut Some(Random::new(seed))))
    }

    /// Loses power and with it every change that was not synced.
    #[must_use]
    pub fn crash_hard(&self) -> FaultyStorage {
        self.next_life(|disk| disk.crash(&mut None))
    }

    /// Ends the process only: what it wrote is there, synced or not.
    #[must_use]
    pub fn kill(&self) -> FaultyStorage {
        self.next_life(|_| ())
    }

    /// An independent folder with what is live in this one, all of it durable.
    #[must_use]
    pub fn copy(&self) -> FaultyStorage {
        let disk = self.disk.lock();
        let mut copy = Disk::default();
        for (name, number) in &disk.live {
            let Some(inode) = disk.inodes.get(number) else {
                continue;
            };
            copy.inodes.insert(
                *number,
                Inode {
                    live: inode.live.clone(),
                    durable: inode.live.clone(),
                    room: inode.room,
                    ..Inode::default()
                },
            );
            copy.live.insert(name.clone(), *number);
        }
        copy.next = disk.next;
        copy.durable = copy.live.clone();
        FaultyStorage {
            disk: Arc::new(Mutex::new(copy)),
            life: 0,
        }
    }

    /// All bytes of a file.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let file = self.open(name)?;
        let mut bytes = vec![0; file.len()? as usize];
        file.read_full_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Puts a file there, durable with all that the folder has, past every
    /// fault: how a test damages a file.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut disk = self.disk.lock();
        let number = disk.link(name);
        if let Some(inode) = disk.inodes.get_mut(&number) {
            let mut contents = Contents::default();
            contents.write(0, bytes);
            inode.durable = contents.clone();
            inode.live = contents;
            inode.pending.clear();
            inode.room = bytes.len() as u64;
        }
        disk.settle_folder(usize::MAX);
    }

    fn next_life(&self, change: impl FnOnce(&mut Disk)) -> FaultyStorage {
        let mut disk = self.disk.lock();
        disk.life += 1;
        disk.faults = Faults::default();
        change(&mut disk);
        for inode in disk.inodes.values_mut() {
            inode.handles = 0;
        }
        disk.forget_unreachable();
        FaultyStorage {
            disk: self.disk.clone(),
            life: disk.life,
        }
    }

    fn delay(&self) {
        let delay = self.disk.lock().faults.sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
    }
}

impl Storage for FaultyStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        disk.alive(self.life)?;
        Ok(disk.live.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        disk.alive(self.life)?;
        let number = *disk.live.get(name).ok_or(Errno::NOENT)?;
        disk.inode(number)?.handles += 1;
        Ok(Box::new(FaultyFile {
            storage: self.clone(),
            number,
        }))
    }

    fn create(&self, name: &str, size: u64, _filled: bool) -> io::Result<Box<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        disk.change(self.life)?;
        let number = disk.link(name);
        // An open that truncates goes through even where no room is left.
        disk.set_len(number, 0)?;
        disk.reserve(number, size)?;
        if size > 0 {
            disk.set_len(number, size)?;
        }
        disk.inode(number)?.handles += 1;
        Ok(Box::new(FaultyFile {
            storage: self.clone(),
            number,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change(self.life)?;
        let number = disk.live.remove(from).ok_or(Errno::NOENT)?;
        disk.live.insert(to.to_owned(), number);
        disk.entries
            .push(Entry::Rename(from.to_owned(), to.to_owned()));
        disk.forget_unreachable();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.change(self.life)?;
        disk.live.remove(name).ok_or(Errno::NOENT)?;
        disk.entries.push(Entry::Remove(name.to_owned()));
        disk.forget_unreachable();
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.delay();
        let mut disk = self.disk.lock();
        disk.change(self.life)?;
        if disk.sync_fails() {
            // What the folder lost by this it keeps losing: nothing is queued
            // any more, and only later changes reach the disk.
            disk.entries.clear();
            return Err(Errno::IO.into());
        }
        disk.settle_folder(usize::MAX);
        disk.forget_unreachable();
        Ok(())
    }

    fn available(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.alive(self.life)?;
        Ok(disk.free())
    }
}

/// An open file of a [`FaultyStorage`].
struct FaultyFile {
    storage: FaultyStorage,
    number: u64,
}

impl FaultyFile {
    fn life(&self) -> u64 {
        self.storage.life
    }
}

impl StorageFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        let mut disk = self.storage.disk.lock();
        disk.alive(self.life())?;
        Ok(disk.inode(self.number)?.live.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.storage.disk.lock();
        disk.alive(self.life())?;
        Ok(disk.inode(self.number)?.live.read(offset, into))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.storage.disk.lock();
        disk.change(self.life())?;
        disk.write(self.number, offset, bytes)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        let mut disk = self.storage.disk.lock();
        disk.change(self.life())?;
        disk.set_len(self.number, size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.delay();
        let mut disk = self.storage.disk.lock();
        disk.change(self.life())?;
        let fails = disk.sync_fails();
        let inode = disk.inode(self.number)?;
        let pending = std::mem::take(&mut inode.pending);
        if fails {
            return Err(Errno::IO.into());
        }
        for change in pending {
            change.apply(&mut inode.durable);
        }
        Ok(())
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        let mut disk = self.storage.disk.lock();
        if disk.life == self.storage.life {
            if let Some(inode) = disk.inodes.get_mut(&self.number) {
                inode.handles = inode.handles.saturating_sub(1);
            }
            disk.forget_unreachable();
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    life: u64,
    next: u64,
    inodes: BTreeMap<u64, Inode>,
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    /// Changes from `durable` to `live`, in order.
    entries: Vec<Entry>,
    faults: Faults,
    changes: u64,
    syncs: u64,
}

/// A change of the folder.
#[derive(Debug)]
enum Entry {
    Link(String, u64),
    Rename(String, String),
    Remove(String),
}

/// A file, whatever its names.
#[derive(Debug, Default)]
struct Inode {
    live: Contents,
    durable: Contents,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
    /// Bytes from its start that have room.
    room: u64,
    handles: usize,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, contents: &mut Contents) {
        match self {
            Change::Write(offset, bytes) => contents.write(*offset, bytes),
            Change::Length(len) => contents.set_len(*len),
        }
    }

    /// Leaves what a loss of power leaves of it.
    fn survive(&self, contents: &mut Contents, chance: &mut Random) {
        match (self, chance.below(3)) {
            (_, 0) => self.apply(contents),
            (Change::Write(offset, bytes), fate) => {
                let end = offset + bytes.len() as u64;
                if fate == 1 && end.div_ceil(SECTOR) - offset / SECTOR > 1 {
                    tear(*offset, bytes, contents, chance);
                }
                if end > contents.len() && chance.below(2) == 0 {
                    contents.set_len(end);
                }
            }
            (Change::Length(_), _) => {}
        }
    }
}

/// Leaves a prefix of a write, or some of its sectors.
fn tear(offset: u64, bytes: &[u8], contents: &mut Contents, chance: &mut Random) {
    if chance.below(2) == 0 {
        let length = chance.below(bytes.len());
        contents.write(offset, bytes.get(..length).unwrap_or_default());
        return;
    }
    let mut at = 0;
    while at < bytes.len() {
        let place = offset + at as u64;
        let end = bytes.len().min(at + (SECTOR - place % SECTOR) as usize);
        if chance.below(2) == 0 {
            contents.write(place, bytes.get(at..end).unwrap_or_default());
        }
        at = end;
    }
}

impl Disk {
    fn alive(&self, life: u64) -> io::Result<()> {
        if self.life == life {
            Ok(())
        } else {
            Err(io::Error::other("this process has crashed"))
        }
    }

    /// Admits one change.
    fn change(&mut self, life: u64) -> io::Result<()> {
        self.alive(life)?;
        if let Some(left) = &mut self.faults.stop_after {
            *left = left.checked_sub(1).ok_or(Errno::IO)?;
        }
        self.changes += 1;
        Ok(())
    }

    fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        Ok(self.inodes.get_mut(&number).ok_or(Errno::NOENT)?)
    }

    /// The file of that name, made if there is none.
    fn link(&mut self, name: &str) -> u64 {
        if let Some(number) = self.live.get(name) {
            return *number;
        }
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, Inode::default());
        self.live.insert(name.to_owned(), number);
        self.entries.push(Entry::Link(name.to_owned(), number));
        number
    }

    fn sync_fails(&mut self) -> bool {
        self.syncs += 1;
        countdown(&mut self.faults.sync_error)
    }

    fn free(&self) -> u64 {
        let used: u64 = self
            .inodes
            .iter()
            .filter(|(number, inode)| {
                inode.handles > 0 || self.live.values().any(|linked| linked == *number)
            })
            .map(|(_, inode)| inode.room)
            .sum();
        self.faults
            .capacity
            .unwrap_or(u64::MAX)
            .saturating_sub(used)
    }

    /// Makes room for the first `size` bytes of a file.
    fn reserve(&mut self, number: u64, size: u64) -> io::Result<()> {
        let free = self.free();
        let inode = self.inode(number)?;
        if size.saturating_sub(inode.room) > free {
            return Err(Errno::NOSPC.into());
        }
        inode.room = inode.room.max(size);
        Ok(())
    }

    fn set_len(&mut self, number: u64, size: u64) -> io::Result<()> {
        let inode = self.inode(number)?;
        if size < inode.live.len() {
            inode.room = inode.room.min(size);
        }
        inode.live.set_len(size);
        inode.pending.push(Change::Length(size));
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let fails = countdown(&mut self.faults.write_error);
        let most = match (fails, self.faults.short_writes) {
            (true, _) if self.faults.torn => bytes.len() / 2,
            (true, _) => 0,
            (false, Some(most)) => most.max(1).min(bytes.len()),
            (false, None) => bytes.len(),
        };
        let free = self.free();
        let inode = self.inode(number)?;
        let fits = inode.room.saturating_add(free).saturating_sub(offset);
        let count = (most as u64).min(fits);
        let taken = bytes.get(..count as usize).unwrap_or_default();
        if !taken.is_empty() {
            inode.room = inode.room.max(offset + count);
            inode.live.write(offset, taken);
            inode.pending.push(Change::Write(offset, taken.to_vec()));
        }
        match (fails, taken.is_empty() && !bytes.is_empty()) {
            (true, _) => Err(Errno::IO.into()),
            (false, true) => Err(Errno::NOSPC.into()),
            (false, false) => Ok(taken.len()),
        }
    }

    /// Makes the first `count` queued changes of the folder durable.
    fn settle_folder(&mut self, count: usize) {
        let count = count.min(self.entries.len());
        for entry in self.entries.drain(..count) {
            match entry {
                Entry::Link(name, number) => {
                    self.durable.insert(name, number);
                }
                Entry::Rename(from, to) => {
                    if let Some(number) = self.durable.remove(&from) {
                        self.durable.insert(to, number);
                    }
                }
                Entry::Remove(name) => {
                    self.durable.remove(&name);
                }
            }
        }
    }

    fn crash(&mut self, chance: &mut Option<Random>) {
        let kept = match chance {
            Some(chance) => chance.below(self.entries.len() + 1),
            None => 0,
        };
        self.settle_folder(kept);
        self.entries.clear();
        self.live = self.durable.clone();
        for inode in self.inodes.values_mut() {
            for change in inode.pending.drain(..) {
                if let Some(chance) = chance {
                    change.survive(&mut inode.durable, chance);
                }
            }
            inode.live = inode.durable.clone();
            inode.room = inode.live.len();
        }
    }

    /// Drops files that no name and no handle reaches.
    fn forget_unreachable(&mut self) {
        let Disk {
            inodes,
            live,
            durable,
            entries,
            ..
        } = self;
        inodes.retain(|number, inode| {
            inode.handles > 0
                || live.values().chain(durable.values()).any(|n| n == number)
                || entries
                    .iter()
                    .any(|entry| matches!(entry, Entry::Link(_, n) if n == number))
        });
    }
}

/// Counts one call; whether it is the one that fails.
fn countdown(left: &mut Option<u64>) -> bool {
    match left {
        Some(0 | 1) => {
            *left = None;
            true
        }
        Some(count) => {
            *count -= 1;
            false
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
