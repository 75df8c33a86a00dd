//! Walking over entries, in either direction.

use std::collections::{BTreeMap, btree_map};

use super::Stream;
use super::block::{Block, Entry};
use super::id::StreamId;

/// Entries of a range of ids, in order or from the last to the first.
#[derive(Debug)]
pub struct Entries<'a> {
    sealed: btree_map::Range<'a, StreamId, Block>,
    tail: Option<&'a Block>,
    /// The block in hand and where the next entry begins, or ends if the walk
    /// goes back.
    open: Option<(&'a Block, usize)>,
    start: StreamId,
    end: StreamId,
    reverse: bool,
}

impl Stream {
    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId, reverse: bool) -> Entries<'_> {
        Entries::over((&self.sealed, self.tail.as_ref()), start, end, reverse)
    }
}

impl<'a> Entries<'a> {
    pub(super) fn over(
        (sealed, tail): (&'a BTreeMap<StreamId, Block>, Option<&'a Block>),
        start: StreamId,
        end: StreamId,
        reverse: bool,
    ) -> Self {
        let tail = tail.filter(|tail| start <= end && tail.first() <= end);
        let sealed = match tail {
            _ if start > end => btree_map::Range::default(),
            Some(tail) if tail.first() <= start => btree_map::Range::default(),
            _ => {
                // The last block that begins before `start` may reach into it.
                let before = sealed.range(..=start).next_back();
                let from = before.map_or(start, |(first, _)| *first);
                sealed.range(from..=end)
            }
        };
        Entries {
            sealed,
            tail,
            open: None,
            start,
            end,
            reverse,
        }
    }

    fn next_block(&mut self) -> Option<(&'a Block, usize)> {
        if self.reverse {
            let block = match self.tail.take() {
                Some(tail) => tail,
                None => self.sealed.next_back()?.1,
            };
            let end = match self.end.next() {
                Some(behind) if block.first() < behind => block.seek(behind),
                _ => block.end(),
            };
            return Some((block, end));
        }
        let block = match self.sealed.next() {
            Some((_, block)) => block,
            None => self.tail.take()?,
        };
        Some((block, block.seek(self.start)))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let (block, at) = match self.open.take() {
                Some(open) => open,
                None => self.next_block()?,
            };
            let placed = if self.reverse {
                // Everything before the front is deleted.
                (at > block.front()).then(|| block.before(at)).flatten()
            } else {
                block.placed(at)
            };
            let Some(placed) = placed else { continue };
            let id = placed.entry.id;
            if id > self.end && placed.dead {
                // The next block may begin below it: XSETID can go back.
                continue;
            }
            if id < self.start || id > self.end {
                // A walk that goes on meets none of the range any more.
                self.tail = None;
                self.sealed = btree_map::Range::default();
                return None;
            }
            let next = if self.reverse { placed.at } else { placed.next };
            self.open = Some((block, next));
            if !placed.dead {
                return Some(placed.entry);
            }
        }
    }
}
