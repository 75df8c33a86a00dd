//! Where the journal's files live: a disk, or memory that fails on purpose.
//!
//! The journal knows files only through these traits, so that tests decide
//! what a crash leaves behind. Every call is blocking; only the journal's own
//! threads make them.

use std::io;

mod disk;
mod faulty;
mod wary;

pub use disk::DiskStorage;
pub use faulty::{Faults, FaultyStorage};
pub(super) use wary::WaryStorage;

/// A folder of files, without sub-folders.
pub trait Storage: Send + Sync {
    /// Names of the files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Makes a file, over one of that name, of `size` zero bytes whose room is
    /// certain: writing within them cannot fail for want of space. With `filled`
    /// the zeros are really written, which makes later syncs cheaper.
    fn create(&self, name: &str, size: u64, filled: bool) -> io::Result<Box<dyn StorageFile>>;

    /// Renames a file, over one of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes what `create`, `rename` and `remove` did durable.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that can still be stored.
    fn available(&self) -> io::Result<u64>;
}

/// An open file. Dropping it closes it and syncs nothing.
pub trait StorageFile: Send {
    /// Bytes of the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads at `offset`; fewer bytes than asked for, or none, at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`; may write fewer bytes than given.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts or extends the file; new bytes are zero.
    fn set_len(&mut self, size: u64) -> io::Result<()>;

    /// Makes the file's contents and length durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_at(offset, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    offset += count as u64;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads `into.len()` bytes at `offset`, or as many as there are.
    fn read_full_at(&self, mut offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read_at(offset, rest) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
