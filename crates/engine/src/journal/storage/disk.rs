//! Files of a real folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::{Storage, StorageFile};

/// Zeros are written in pieces of this size.
const FILL: usize = 1 << 20;

/// A folder on a disk, made if it is not there.
#[derive(Debug)]
pub struct DiskStorage {
    folder: PathBuf,
}

impl DiskStorage {
    /// Takes `folder`; that no other process does is its caller's business.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let storage = DiskStorage {
            folder: folder.to_owned(),
        };
        // The folder's own name has to survive a loss of power too.
        if let Some(parent) = folder.parent().filter(|parent| parent.exists()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(storage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Storage for DiskStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(name))?;
        Ok(Box::new(DiskFile(file)))
    }

    fn create(&self, name: &str, size: u64, filled: bool) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.path(name))?;
        if let Err(error) = reserve(&file, size, filled) {
            // What it got keeps others from it.
            let _ = file.set_len(0);
            return Err(error);
        }
        Ok(Box::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn available(&self) -> io::Result<u64> {
        let stat = statvfs(&self.folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn reserve(file: &File, size: u64, filled: bool) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) if !filled => Ok(()),
        // Where a file system cannot promise room, writing takes it.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(file, size),
        Err(error) => Err(error.into()),
    }
}

fn fill(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL];
    let mut offset = 0;
    while offset < size {
        let count = zeros.len().min((size - offset) as usize);
        file.write_all_at(zeros.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    Ok(())
}

struct DiskFile(File);

impl StorageFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
