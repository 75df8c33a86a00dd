//! Tags: names by which any number of values is invalidated at once, in constant time.
//!
//! A tag has a version in the store, a random number; a value has the versions that its
//! tags had before it was made, and holds while they are the same. To invalidate a tag
//! is to give it another number. No clock is compared, nothing is listed, and a version
//! that is gone invalidates too. All of a cache is a tag that every value has.
//!
//! A process remembers the versions that it read, until the bus says that one changed;
//! so what is remembered is at most as old as the bus is ([`super::bus`]). A version
//! that was read before such a word is not remembered after it: every reading takes a
//! time of [`Tags::tick`] first.
//!
//! Values in memory have the tag's cell and a count of what became of it here
//! ([`Mark`]), so that a hit compares one number for each tag.

mod counters;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::key::TagId;
pub(super) use counters::{keep, make, read};

/// How many cells there may be before those that nobody uses go.
const CELLS: usize = 4096;
const STRIPES: usize = 1024;

/// What a process knows of one cache's tags.
#[derive(Debug)]
pub(super) struct Tags {
    cells: Mutex<Cells>,
    /// Counts what is read and invalidated.
    clock: AtomicU64,
    /// Counts what was invalidated; grows once the marks of it do not hold any more.
    invalidated: AtomicU64,
    /// When some tag of a stripe was invalidated last.
    changed: Box<[AtomicU64]>,
    /// When all were, for words may have been lost.
    all_changed: AtomicU64,
}

#[derive(Debug)]
struct Cells {
    by_id: HashMap<TagId, Arc<Cell>, ahash::RandomState>,
    sweep_at: usize,
}

/// A tag as this process knows it.
#[derive(Debug)]
struct Cell {
    id: TagId,
    /// Grows when it is invalidated.
    generation: AtomicU64,
    known: Mutex<Option<Known>>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    version: u64,
    /// The clock's time when it was known.
    since: u64,
    /// Until when the store keeps it at least, by the store's clock.
    kept_until_us: u64,
}

/// A tag and its version when a value was made.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    cell: Arc<Cell>,
    generation: u64,
    pub(super) version: u64,
}

impl Mark {
    /// Whether it was not invalidated since, as far as this process knows.
    #[inline]
    pub(super) fn holds(&self) -> bool {
        self.cell.generation.load(Ordering::Acquire) == self.generation
    }

    pub(super) fn id(&self) -> TagId {
        self.cell.id
    }
}

/// A version as it was remembered.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) mark: Mark,
    /// The clock's time when it was known.
    pub(super) since: u64,
    pub(super) kept_until_us: u64,
}

impl Default for Tags {
    fn default() -> Self {
        Tags {
            cells: Mutex::new(Cells {
                by_id: HashMap::default(),
                sweep_at: CELLS,
            }),
            clock: AtomicU64::new(0),
            invalidated: AtomicU64::new(0),
            changed: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            all_changed: AtomicU64::new(0),
        }
    }
}

impl Tags {
    /// A moment, later than all before: what is read after it is newer than what was
    /// known before it.
    pub(super) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn stripe(&self, id: TagId) -> &AtomicU64 {
        &self.changed[(id.0 % STRIPES as u64) as usize]
    }

    /// How often anything was invalidated: while it is the same, marks that held hold.
    #[inline]
    pub(super) fn invalidated(&self) -> u64 {
        self.invalidated.load(Ordering::Acquire)
    }

    /// Whether it, or a tag of its stripe, was invalidated after a moment.
    pub(super) fn changed_since(&self, id: TagId, moment: u64) -> bool {
        self.stripe(id).load(Ordering::Acquire) > moment
            || self.all_changed.load(Ordering::Acquire) > moment
    }

    fn cell(&self, id: TagId) -> Arc<Cell> {
        let mut cells = self.cells.lock();
        if let Some(cell) = cells.by_id.get(&id) {
            return cell.clone();
        }
        if cells.by_id.len() >= cells.sweep_at {
            cells.by_id.retain(|_, cell| Arc::strong_count(cell) > 1);
            cells.sweep_at = CELLS.max(2 * cells.by_id.len());
        }
        let cell = Arc::new(Cell {
            id,
            generation: AtomicU64::new(0),
            known: Mutex::new(None),
        });
        cells.by_id.insert(id, cell.clone());
        cell
    }

    /// A tag's version, if it is remembered.
    pub(super) fn remembered(&self, id: TagId) -> Option<Remembered> {
        let cell = self.cells.lock().by_id.get(&id)?.clone();
        let known = cell.known.lock();
        let it = (*known)?;
        let generation = cell.generation.load(Ordering::Acquire);
        drop(known);
        Some(Remembered {
            mark: Mark {
                cell,
                generation,
                version: it.version,
            },
            since: it.since,
            kept_until_us: it.kept_until_us,
        })
    }

    /// A mark that holds until the tag is invalidated here, of no version.
    pub(super) fn mark(&self, id: TagId) -> Mark {
        let cell = self.cell(id);
        let generation = cell.generation.load(Ordering::Acquire);
        Mark {
            cell,
            generation,
            version: 0,
        }
    }

    /// Remembers a version that was read after the moment `began`; nothing, if the tag
    /// was invalidated meanwhile.
    pub(super) fn learn(
        &self,
        id: TagId,
        version: u64,
        began: u64,
        kept_until_us: u64,
    ) -> Option<Mark> {
        let cell = self.cell(id);
        let mut known = cell.known.lock();
        // Under the cell's lock, which an invalidation takes after it set the clock.
        if self.changed_since(id, began) {
            return None;
        }
        // An older reading of the same version stays the one that is remembered. Two
        // versions without an invalidation between: one was not heard of.
        *known = Some(match *known {
            Some(it) if it.version == version => Known {
                kept_until_us: it.kept_until_us.max(kept_until_us),
                ..it
            },
            Some(_) => {
                cell.generation.fetch_add(1, Ordering::AcqRel);
                self.invalidated.fetch_add(1, Ordering::AcqRel);
                Known {
                    version,
                    since: self.tick(),
                    kept_until_us,
                }
            }
            None => Known {
                version,
                since: self.tick(),
                kept_until_us,
            },
        });
        let generation = cell.generation.load(Ordering::Acquire);
        drop(known);
        Some(Mark {
            cell,
            generation,
            version,
        })
    }

    /// What is remembered of a tag is forgotten, and values that have it in memory do
    /// not hold any more.
    pub(super) fn invalidate(&self, id: TagId) {
        let now = self.tick();
        self.stripe(id).fetch_max(now, Ordering::AcqRel);
        let cell = self.cells.lock().by_id.get(&id).cloned();
        if let Some(cell) = cell {
            cell.invalidate();
            self.invalidated.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The same for all tags.
    pub(super) fn invalidate_all(&self) {
        let now = self.tick();
        self.all_changed.fetch_max(now, Ordering::AcqRel);
        let cells: Vec<Arc<Cell>> = self.cells.lock().by_id.values().cloned().collect();
        for cell in cells {
            cell.invalidate();
        }
        self.invalidated.fetch_add(1, Ordering::AcqRel);
    }
}

impl Cell {
    fn invalidate(&self) {
        let mut known = self.known.lock();
        *known = None;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
