//! The journal: what is acknowledged is never lost.
//!
//! One ordered log for the process, a frame for each atomic unit, snapshots
//! that bound what has to be replayed. The format and the argument why recovery
//! is right stand in docs/journal.md; this folder is their code:
//!
//! - [`storage`]: files, real or failing on purpose;
//! - [`frame`], [`segment`], [`watermark`]: the log's parts as bytes;
//! - [`snapshot`]: the state at a cut.

pub mod frame;
pub mod segment;
pub mod snapshot;
pub mod storage;
pub mod watermark;

/// Names the files that belong together: random, made with the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId(pub [u8; 16]);
