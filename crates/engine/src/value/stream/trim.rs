//! Cutting a stream at its front, as Redis does.

use super::Stream;
use super::block::Block;
use super::id::StreamId;

/// What is to be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many entries.
    Newest(u64),
    /// The entries from this id on.
    From(StreamId),
}

/// What happens to entries that groups wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// They go, and stay pending.
    #[default]
    Keep,
    /// They go, and are pending nowhere any more.
    Forget,
    /// They stay.
    Respect,
}

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What is to be left.
    pub keep: Keep,
    /// Only whole blocks go.
    pub about: bool,
    /// Most entries that go; 0 for no limit.
    pub limit: u64,
    /// What happens to entries that groups wait for.
    pub references: References,
}

impl Stream {
    /// Removes entries from the front; answers how many. Where groups are asked,
    /// an entry costs a lookup in each.
    pub fn trim(&mut self, trim: Trim) -> usize {
        let before = self.length;
        if trim.references == References::Keep || self.groups.is_empty() {
            self.trim_blocks(trim);
        } else {
            self.trim_entries(trim);
        }
        before - self.length
    }

    /// Whether the block goes whole.
    fn goes(&self, block: &Block, keep: Keep) -> bool {
        match keep {
            Keep::Newest(count) => (self.length - block.live()) as u64 >= count,
            Keep::From(id) => block.last() < id,
        }
    }

    /// Whether there is nothing left to remove, as far as numbers tell.
    fn is_short_enough(&self, keep: Keep) -> bool {
        matches!(keep, Keep::Newest(count) if self.length as u64 <= count)
    }

    fn trim_blocks(&mut self, trim: Trim) {
        let before = self.length;
        while !self.is_short_enough(trim.keep)
            && let Some(block) = self.front()
        {
            let removed = (before - self.length + block.live()) as u64;
            if trim.limit > 0 && removed > trim.limit {
                return;
            }
            let first = block.first();
            if self.goes(block, trim.keep) {
                self.remove_block(first);
                continue;
            }
            if trim.about || matches!(trim.keep, Keep::From(id) if first >= id) {
                return;
            }
            self.trim_front(first, trim.keep);
            if self.front().is_some_and(|block| block.first() == first) {
                return;
            }
        }
    }

    /// Marks the entries of the first block that are not to be kept.
    fn trim_front(&mut self, first: StreamId, keep: Keep) {
        while !self.is_short_enough(keep)
            && let Some(placed) = self
                .front()
                .filter(|block| block.first() == first)
                .and_then(|block| block.placed(block.front()))
        {
            if matches!(keep, Keep::From(id) if placed.entry.id >= id) {
                return;
            }
            let at = placed.at;
            self.kill(first, at);
        }
    }

    /// Goes entry by entry: each may be pending, or have to stay.
    fn trim_entries(&mut self, trim: Trim) {
        let before = self.length;
        let mut next = self.front().map(Block::first);
        while !self.is_short_enough(trim.keep)
            && let Some(block) = next.and_then(|first| self.block_of(first))
        {
            let removed = (before - self.length + block.live()) as u64;
            if trim.limit > 0 && removed > trim.limit {
                return;
            }
            let first = block.first();
            let whole = self.goes(block, trim.keep);
            if !whole && (trim.about || matches!(trim.keep, Keep::From(id) if first >= id)) {
                return;
            }
            let doomed: Vec<(StreamId, usize)> = block
                .walk(block.front())
                .filter(|placed| !placed.dead)
                .map(|placed| (placed.entry.id, placed.at))
                .take_while(|(id, _)| !matches!(trim.keep, Keep::From(from) if *id >= from))
                .collect();
            if trim.references == References::Respect {
                if trim.about && doomed.iter().any(|(id, _)| self.is_referenced(*id)) {
                    return;
                }
                for (id, at) in doomed {
                    if self.is_short_enough(trim.keep) {
                        return;
                    }
                    if !self.is_referenced(id) {
                        self.kill(first, at);
                    }
                }
            } else {
                for (id, at) in doomed {
                    if self.is_short_enough(trim.keep) {
                        return;
                    }
                    self.forget_references(id);
                    self.kill(first, at);
                }
            }
            next = self.block_after(first);
        }
    }

    /// First id of the block behind the one that begins with `first`.
    fn block_after(&self, first: StreamId) -> Option<StreamId> {
        let sealed = self.sealed.range(first..).map(|(first, _)| *first);
        sealed
            .chain(self.tail.as_ref().map(Block::first))
            .find(|next| *next > first)
    }
}
