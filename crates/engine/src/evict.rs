//! Room: what happens when a keyspace reaches `maxmemory`.
//!
//! Eviction runs before a command, never inside a unit, and draws a few keys at
//! random to take the longest unused, or the least used, of them (approximate LRU
//! and LFU, like Redis'). Under the volatile policies only keys with a deadline go,
//! and where there are none, writes are refused.

use crate::keyspace::{Class, Db};

/// Whether the limit is passed.
pub(crate) fn is_full(db: &Db) -> bool {
    db.settings.maxmemory > 0 && db.used_memory() > db.settings.maxmemory
}

/// Evicts until there is room, if keys of this class may go; `false` when there
/// is still none.
pub(crate) fn make_room(db: &mut Db, class: Class) -> bool {
    while is_full(db) {
        let samples = db.settings.maxmemory_samples;
        if !class.evictable || !db.evict_one(samples) {
            return false;
        }
    }
    true
}
