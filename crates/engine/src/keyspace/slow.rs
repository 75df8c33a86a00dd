//! The slow log of a keyspace: nobody sees another tenant's commands.

use std::collections::VecDeque;

/// One entry of SLOWLOG.
#[derive(Debug, Clone)]
pub(crate) struct SlowEntry {
    pub(crate) id: u64,
    pub(crate) unix_seconds: u64,
    pub(crate) micros: u64,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) addr: String,
    pub(crate) name: String,
}

#[derive(Debug, Default)]
pub(crate) struct SlowLog {
    pub(crate) entries: VecDeque<SlowEntry>,
    pub(crate) next_id: u64,
}
