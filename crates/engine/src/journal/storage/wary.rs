//! A folder that is not synced again once that failed.
//!
//! The system may have dropped the change of a name that it could not store and
//! call the next sync a success. The journal and a snapshot sync the same folder
//! from two threads: without this, the failure that one met would let the other
//! write into a segment whose name the disk does not have.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Storage, StorageFile};

/// Any storage, with that one promise more.
pub(in crate::journal) struct WaryStorage {
    inner: Arc<dyn Storage>,
    /// Held during a sync: who comes next knows how it ended.
    failed: Mutex<bool>,
}

impl WaryStorage {
    pub(in crate::journal) fn new(inner: Arc<dyn Storage>) -> Self {
        WaryStorage {
            inner,
            failed: Mutex::new(false),
        }
    }
}

impl Storage for WaryStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner.open(name)
    }

    fn create(&self, name: &str, size: u64, filled: bool) -> io::Result<Box<dyn StorageFile>> {
        self.inner.create(name, size, filled)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut failed = self.failed.lock();
        if *failed {
            return Err(io::Error::other("an earlier sync of the folder failed"));
        }
        let outcome = self.inner.sync_folder();
        *failed = outcome.is_err();
        outcome
    }

    fn available(&self) -> io::Result<u64> {
        self.inner.available()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::storage::{Faults, FaultyStorage};

    #[test]
    fn a_folder_is_not_synced_again_once_that_failed() {
        let disk = FaultyStorage::new();
        let storage = WaryStorage::new(Arc::new(disk.clone()));
        drop(storage.create("a", 0, false).unwrap());
        storage.sync_folder().unwrap();
        drop(storage.create("b", 0, false).unwrap());
        disk.set_faults(Faults {
            sync_error: Some(1),
            ..Faults::default()
        });
        storage.sync_folder().unwrap_err();
        let syncs = disk.syncs();
        storage.sync_folder().unwrap_err();
        assert_eq!(disk.syncs(), syncs);
        assert_eq!(storage.list().unwrap(), ["a", "b"]);
        assert_eq!(disk.crash_hard().list().unwrap(), ["a"]);
    }
}
