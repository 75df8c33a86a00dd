//! SCAN: a walk in the order of positions.
//!
//! The cursor is the smallest position not yet visited. Positions do not
//! change when segments split or merge, so an entry that is there for the whole
//! walk is visited exactly once, whatever else comes and goes meanwhile.
//! Entries inside a segment are not kept in that order: a call looks at each
//! segment it touches whole, and takes the smallest positions.

use super::{POSITION_BITS, Segment, Table, position};

impl<T> Table<T> {
    /// The entries of the segment that `cursor` is in, and where the next one
    /// begins; `None` behind the last. Some of them may stand before the
    /// cursor, if segments merged since it was the begin of one.
    pub(crate) fn segment_at(
        &self,
        cursor: u64,
    ) -> Option<(impl ExactSizeIterator<Item = &T>, u64)> {
        if cursor >= 1 << POSITION_BITS {
            return None;
        }
        let segment = self
            .segments
            .get(self.segment_of(cursor << super::POSITION_SHIFT))?;
        Some((segment.table.iter(), segment.end()))
    }

    /// Visits about `count` entries (at least one if any is left, and more
    /// where positions collide) from `cursor` on, and returns the cursor to
    /// continue with: 0 when the walk is over, as it is where it starts. A
    /// cursor never needs more than 48 bits, and any number is safe as one.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        hasher: impl Fn(&T) -> u64,
        mut visit: impl FnMut(&'a T),
    ) -> u64 {
        let mut cursor = cursor;
        let mut wanted = count.max(1);
        let mut found: Vec<(u64, &T)> = Vec::new();
        while cursor < 1 << POSITION_BITS {
            // `segment_of` reads a hash; this one has the cursor as its position.
            let hash = cursor << super::POSITION_SHIFT;
            let Some(segment) = self.segments.get(self.segment_of(hash)) else {
                return 0;
            };
            let Segment { table, .. } = segment;
            found.clear();
            found.extend(
                table
                    .iter()
                    .map(|entry| (position(hasher(entry)), entry))
                    .filter(|(position, _)| *position >= cursor),
            );
            if found.len() > wanted {
                let (_, last, _) = found.select_nth_unstable_by_key(wanted - 1, |found| found.0);
                let last = last.0;
                for (position, entry) in &found {
                    if *position <= last {
                        visit(entry);
                    }
                }
                return (last + 1) & ((1 << POSITION_BITS) - 1);
            }
            for (_, entry) in &found {
                visit(entry);
            }
            wanted -= found.len();
            let end = segment.end();
            if wanted == 0 && end < 1 << POSITION_BITS {
                return end;
            }
            cursor = end;
        }
        0
    }
}
