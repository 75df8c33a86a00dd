//! Where the members of a large sorted set live, each found by a small number.
//!
//! The dictionary and the tree both refer to a member by its id: 4 bytes, and
//! no reference count. Members of up to 16 bytes take no allocation of their
//! own. Slots come in pages, so that growth copies nothing and a page that
//! empties (old entries of a sliding window leave together) gives its memory
//! back.

use smallvec::SmallVec;

/// Slots of a page; the low 8 bits of an id.
const PAGE: usize = 256;

/// A member's bytes.
pub(super) type Member = SmallVec<[u8; 16]>;

#[derive(Debug, Clone)]
struct Slot {
    member: Member,
    score: f64,
}

#[derive(Debug, Clone, Default)]
struct Page {
    slots: Vec<Slot>,
    /// Slots whose member was removed.
    free: Vec<u8>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() == PAGE
    }

    fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.free.capacity()
    }
}

/// Members and their scores by id; see the module.
#[derive(Debug, Default)]
pub(super) struct Members {
    pages: Vec<Page>,
    /// Exactly the pages that are not full.
    open: Vec<u32>,
    /// Bytes of the slots and of the members that are not inside them.
    heap: usize,
}

impl Members {
    pub(super) const fn heap_bytes(&self) -> usize {
        self.heap
            + self.pages.capacity() * size_of::<Page>()
            + self.open.capacity() * size_of::<u32>()
    }

    fn slot(&self, id: u32) -> &Slot {
        &self.pages[id as usize / PAGE].slots[id as usize % PAGE]
    }

    pub(super) fn member(&self, id: u32) -> &[u8] {
        &self.slot(id).member
    }

    pub(super) fn score(&self, id: u32) -> f64 {
        self.slot(id).score
    }

    pub(super) fn set_score(&mut self, id: u32, score: f64) {
        self.pages[id as usize / PAGE].slots[id as usize % PAGE].score = score;
    }

    pub(super) fn insert(&mut self, member: &[u8], score: f64) -> u32 {
        let page_number = if let Some(open) = self.open.last() {
            *open
        } else {
            self.pages.push(Page::default());
            let last = self.pages.len() as u32 - 1;
            self.open.push(last);
            last
        };
        let page = &mut self.pages[page_number as usize];
        let slot = Slot {
            member: Member::from_slice(member),
            score,
        };
        self.heap += spilled_bytes(&slot.member);
        let at = if let Some(at) = page.free.pop() {
            page.slots[usize::from(at)] = slot;
            usize::from(at)
        } else {
            let before = page.heap_bytes();
            // Only the first page grows bit by bit.
            if page.slots.capacity() == 0 && page_number > 0 {
                page.slots.reserve_exact(PAGE);
            }
            page.slots.push(slot);
            self.heap += page.heap_bytes() - before;
            page.slots.len() - 1
        };
        if page.is_full() {
            self.open.pop();
        }
        page_number * PAGE as u32 + at as u32
    }

    /// Takes a member out; its id may be given to another one.
    pub(super) fn remove(&mut self, id: u32) -> (Member, f64) {
        let page = &mut self.pages[id as usize / PAGE];
        if page.is_full() {
            self.open.push(id / PAGE as u32);
        }
        let slot = &mut page.slots[id as usize % PAGE];
        let (member, score) = (std::mem::take(&mut slot.member), slot.score);
        self.heap -= spilled_bytes(&member);
        let before = page.heap_bytes();
        page.free.push((id as usize % PAGE) as u8);
        if page.free.len() == page.slots.len() {
            *page = Page::default();
        }
        self.heap = self.heap + page.heap_bytes() - before;
        (member, score)
    }

    /// What `heap` must be.
    fn counted_heap(&self) -> usize {
        let slots = self.pages.iter().flat_map(|page| &page.slots);
        self.pages.iter().map(Page::heap_bytes).sum::<usize>()
            + slots.map(|slot| spilled_bytes(&slot.member)).sum::<usize>()
    }

    /// Checks that the memory is counted right.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.counted_heap(), self.heap);
        let open = self.pages.iter().filter(|page| !page.is_full());
        assert_eq!(open.count(), self.open.len());
    }
}

/// A clone's vectors have no slack: its memory is counted anew.
impl Clone for Members {
    fn clone(&self) -> Members {
        let mut members = Members {
            pages: self.pages.clone(),
            open: self.open.clone(),
            heap: 0,
        };
        members.heap = members.counted_heap();
        members
    }
}

/// Bytes of the member's own allocation, if it has one.
fn spilled_bytes(member: &Member) -> usize {
    if member.spilled() {
        member.capacity()
    } else {
        0
    }
}
