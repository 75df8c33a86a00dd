//! What this process remembers of identifiers, to spare the store: refusals, so that
//! who is refused again and again costs nothing, and until when a bucket is not full,
//! so that the script can guess right (`check.lua`).
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

/// Moments in microseconds since the epoch, by key.
type Moments = Mutex<HashMap<Box<[u8]>, u64>>;

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: Moments,
    filling: Moments,
}

impl Memory {
    /// Microseconds until a refusal that is remembered for `key` is over.
    pub(super) fn refuses(&self, key: &[u8], now_us: u64) -> Option<Duration> {
        let until = *self.refused.lock().get(key)?;
        let left = until.checked_sub(now_us).filter(|left| *left > 0)?;
        Some(Duration::from_micros(left))
    }

    /// Remembers that `key` is refused for so long.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.min(LONGEST).as_micros() as u64);
        keep(&self.refused, key, until, now_us);
    }

    /// Whether a bucket is full, as far as this process knows.
    pub(super) fn is_full(&self, key: &[u8], now_us: u64) -> bool {
        let filling = self.filling.lock();
        filling.get(key).is_none_or(|until| *until <= now_us)
    }

    /// Remembers that a bucket is full again in so long.
    pub(super) fn fills(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.as_micros() as u64);
        keep(&self.filling, key, until, now_us);
    }

    /// Forgets all refusals: the rules are others now.
    pub(super) fn forget_refusals(&self) {
        self.refused.lock().clear();
    }

    /// Forgets it.
    pub(super) fn forget(&self, key: &[u8]) {
        self.refused.lock().remove(key);
    }
}

/// Keeps a moment, unless there are too many that still count.
fn keep(moments: &Moments, key: &[u8], until: u64, now_us: u64) {
    let mut moments = moments.lock();
    if let Some(known) = moments.get_mut(key) {
        *known = until;
        return;
    }
    if moments.len() >= ENTRIES_MAX {
        moments.retain(|_, until| *until > now_us);
    }
    if moments.len() < ENTRIES_MAX {
        moments.insert(key.into(), until);
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
        assert!(memory.is_full(b"b", 0));
        memory.fills(b"b", 10, Duration::from_micros(5));
        assert!(!memory.is_full(b"b", 14) && memory.is_full(b"b", 15));
    }
}
