//! Quarantine: bytes that are no part of the history any more, kept apart.
//!
//! Nothing that was written is deleted by recovery or repair; it moves to a
//! file that is complete and durable before the bytes go from their place.

use std::io;

use super::scan::{DRAFT, QUARANTINE};
use super::storage::Storage;

/// Bytes that were set apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The file that has them now.
    pub file: String,
    /// How many.
    pub bytes: u64,
}

/// Copies `bytes`, which stand in `file`, to a file of their own; durable when
/// this returns.
pub(super) fn copy(
    storage: &dyn Storage,
    file: &str,
    bytes: &[u8],
    now_ms: u64,
) -> io::Result<Quarantined> {
    let name = free_name(storage, file, now_ms)?;
    let draft = format!("{name}{DRAFT}");
    let mut kept = storage.create(&draft, bytes.len() as u64, false)?;
    kept.write_all_at(0, bytes)?;
    kept.sync()?;
    storage.rename(&draft, &name)?;
    storage.sync_folder()?;
    Ok(Quarantined {
        file: name,
        bytes: bytes.len() as u64,
    })
}

/// Renames a whole file; durable once the folder is synced.
pub(super) fn set_apart(storage: &dyn Storage, file: &str, now_ms: u64) -> io::Result<Quarantined> {
    let name = free_name(storage, file, now_ms)?;
    let bytes = storage.open(file)?.len()?;
    storage.rename(file, &name)?;
    Ok(Quarantined { file: name, bytes })
}

/// A name that no file has: of two quarantines in one millisecond the second
/// takes the next.
fn free_name(storage: &dyn Storage, file: &str, now_ms: u64) -> io::Result<String> {
    let taken = storage.list()?;
    let mut time = now_ms;
    loop {
        let name = format!("{file}{QUARANTINE}{time}");
        if !taken.contains(&name) {
            return Ok(name);
        }
        time += 1;
    }
}
