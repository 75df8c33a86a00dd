//! Handles to entries: look a key up once, then read and change it without
//! another probe.

use super::Table;

/// Where an entry stands; good until the table's next insertion or removal.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    segment: usize,
    bucket: usize,
}

impl<T> Table<T> {
    /// Where the entry with this hash that `eq` accepts stands.
    #[inline]
    pub fn locate(&self, hash: u64, eq: impl FnMut(&T) -> bool) -> Option<Slot> {
        let segment = self.segment_of(hash);
        let bucket = self
            .segments
            .get(segment)?
            .table
            .find_bucket_index(hash, eq)?;
        Some(Slot { segment, bucket })
    }

    /// The entry at `slot`.
    #[inline]
    pub fn at(&self, slot: Slot) -> Option<&T> {
        self.segments
            .get(slot.segment)?
            .table
            .get_bucket(slot.bucket)
    }

    /// The same, to change it (not in what its hash is made of).
    #[inline]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.segments
            .get_mut(slot.segment)?
            .table
            .get_bucket_mut(slot.bucket)
    }
}
