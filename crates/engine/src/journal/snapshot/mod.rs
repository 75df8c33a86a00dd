//! Snapshots: the state of each keyspace at a cut (docs/journal.md).
//!
//! - [`record`]: a key with its value as bytes;
//! - [`block`]: the parts of the file, the same for reading and writing;
//! - [`encoded`], [`mod@write`]: how one is made of keyspaces that live on;
//! - [`read`]: whether a file is a whole snapshot, and what is in it.

pub mod block;
pub mod encoded;
pub mod read;
pub mod record;
#[cfg(test)]
mod tests;
pub mod write;

pub use encoded::Encoded;
pub use read::{Damage, Part, Summary, load, verify};
pub use write::{Made, Plan, Progress, SnapshotError, SnapshotWriter, make};

use crate::effect::Seq;
use crate::keyspace::Class;

/// What opens a section of a snapshot: a keyspace at its cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section<'a> {
    /// Number of the keyspace.
    pub keyspace: u32,
    /// Its class.
    pub class: Class,
    /// The last unit that the section contains.
    pub cut: Seq,
    /// Its name.
    pub name: &'a str,
}

/// The name of the complete snapshot with this lowest cut.
pub fn snapshot_name(cut: Seq) -> String {
    format!("snapshot-{:020}.snap", cut.0)
}

/// The cut that a snapshot's name says.
pub fn snapshot_of(name: &str) -> Option<Seq> {
    let digits = name.strip_prefix("snapshot-")?.strip_suffix(".snap")?;
    (digits.len() == 20)
        .then(|| digits.parse().ok().map(Seq))
        .flatten()
}
