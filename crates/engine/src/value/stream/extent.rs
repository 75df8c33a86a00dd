//! What a stream's counters can tell of how far a group has come.

use std::cmp::Ordering;

use super::group::Group;
use super::id::StreamId;
use super::{Header, Stream};

/// Counters stay within what a command can say.
pub(crate) fn one_more(count: u64) -> u64 {
    (count + 1).min(i64::MAX as u64)
}

impl Stream {
    /// What its counters can tell.
    pub fn extent(&self) -> Extent {
        Extent {
            header: self.header,
            length: self.length as u64,
            first_id: self.first_id(),
        }
    }
}

/// A stream's counters, which tell how far a group has come.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    header: Header,
    length: u64,
    first_id: StreamId,
}

impl Extent {
    /// How many entries were ever added up to `id`, where that can be known
    /// without counting.
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        let Header {
            last_id,
            max_deleted,
            added,
        } = self.header;
        if added == 0 {
            return Some(0);
        }
        if id == last_id || (self.length == 0 && id < last_id) {
            return Some(added);
        }
        let first_id = self.first_id;
        if id > last_id || (max_deleted != StreamId::MIN && max_deleted >= first_id) {
            return None;
        }
        let before = added.wrapping_sub(self.length);
        match id.cmp(&first_id) {
            Ordering::Less => Some(before),
            Ordering::Equal => Some(before.wrapping_add(1)),
            Ordering::Greater => None,
        }
    }

    /// Whether an entry at or behind `id` may have been deleted.
    pub fn has_gaps_from(&self, id: StreamId) -> bool {
        let max_deleted = self.header.max_deleted;
        self.length > 0
            && max_deleted != StreamId::MIN
            && max_deleted >= self.first_id
            && id <= max_deleted
    }

    /// How many entries a group has still before it, where that can be known.
    pub fn lag(&self, group: &Group) -> Option<u64> {
        let added = self.header.added;
        let read = match group.entries_read() {
            _ if added == 0 => return Some(0),
            Some(read) if !self.has_gaps_from(group.last_id()) => read,
            _ => self.added_up_to(group.last_id())?,
        };
        Some(added.wrapping_sub(read))
    }
}
