//! The journal: what is acknowledged is never lost.
//!
//! One ordered log for the process, a frame for each atomic unit, snapshots
//! that bound what has to be replayed. The format and the argument why recovery
//! is right stand in docs/journal.md; this folder is their code:
//!
//! - [`storage`]: files, real or failing on purpose;
//! - [`frame`], [`segment`], [`watermark`]: the log's parts as bytes;
//! - [`snapshot`]: the state at a cut;
//! - [`scan`]: a segment's frames, and what stands where they stop;
//! - [`recover`]: from the files to the state, at start;
//! - [`check`]: what is wrong with the files, and its repair;
//! - [`backup`]: a copy while it runs, and the way back.

pub mod backup;
pub mod check;
pub mod frame;
mod quarantine;
pub mod recover;
pub mod scan;
pub mod segment;
pub mod snapshot;
pub mod storage;
pub mod watermark;

/// Names the files that belong together: random, made with the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub [u8; 16]);

/// Stands in a folder while a backup is restored into it.
pub const RESTORING: &str = "restoring";
