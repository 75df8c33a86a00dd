//! Room: what happens when a keyspace reaches `maxmemory`.
//!
//! Eviction runs before a command, never inside a unit, and draws a few keys at
//! random to take the longest unused (approximate LRU, like Redis').

use crate::config::EvictionPolicy;
use crate::keyspace::Db;

/// Whether the limit is passed.
pub(crate) fn is_full(db: &Db) -> bool {
    db.settings.maxmemory > 0 && db.used_memory() > db.settings.maxmemory
}

/// Evicts until there is room; `false` when there is still none.
pub(crate) fn make_room(db: &mut Db) -> bool {
    while is_full(db) {
        let samples = db.settings.maxmemory_samples;
        if db.settings.policy == EvictionPolicy::NoEviction || !db.evict_one(samples) {
            return false;
        }
    }
    true
}
