//! Refusals that this process remembers, so that who is refused again and again
//! costs the store nothing.
//!
//! A refusal holds until its moment, or until this process gives back, unblocks or
//! resets the identifier. What others give back is seen when it is over, at the
//! latest after [`LONGEST`]. Bounded: at [`ENTRIES_MAX`] what is over goes, and
//! where nothing is, nothing more is remembered.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// Refusals that are kept.
const ENTRIES_MAX: usize = 100_000;
/// Longest time that one is trusted.
const LONGEST: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Box<[u8]>, u64>>);

impl Memory {
    /// Microseconds until a refusal that is remembered for `key` is over.
    pub(super) fn refuses(&self, key: &[u8], now_us: u64) -> Option<Duration> {
        let entries = self.0.lock();
        let until = *entries.get(key)?;
        let left = until.checked_sub(now_us).filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }

    /// Remembers that `key` is refused for so long.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.min(LONGEST).as_micros() as u64);
        let mut entries = self.0.lock();
        if entries.len() >= ENTRIES_MAX {
            entries.retain(|_, until| *until > now_us);
        }
        if entries.len() < ENTRIES_MAX {
            entries.insert(key.into(), until);
        }
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &[u8]) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_its_moment() {
        let memory = Memory::default();
        memory.remember(b"k", 1_000, Duration::from_micros(500));
        assert_eq!(memory.refuses(b"k", 1_499), Some(Duration::from_micros(1)));
        assert_eq!(memory.refuses(b"k", 1_500), None);
        memory.remember(b"k", 0, Duration::from_hours(5));
        assert_eq!(memory.refuses(b"k", LONGEST.as_micros() as u64), None);
        memory.forget(b"k");
        assert_eq!(memory.refuses(b"k", 0), None);
    }
}
