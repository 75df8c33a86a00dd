//! What this process remembers of identifiers, to spare the store: refusals, so that
//! who is refused again and again costs nothing, and until when a bucket is not full,
//! so that the script can guess right (`check.lua`).
//!
//! A refusal holds until its moment, or until this process gives back, unblocks or
//! resets the identifier; it tells when what was refused fits, so that a retry after
//! that is not in vain. A larger cost than that is asked anew. What others give back is seen when it is over, at the
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

/// What a rule has refused; times from the moment of the refusal on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) cost: u64,
    /// When this cost fits.
    pub(super) fits: Duration,
    /// Until then not even a cost of 1 does.
    pub(super) next: Duration,
}

/// A refusal's moments, in microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Refused {
    cost: u64,
    fits: u64,
    until: u64,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    refused: Mutex<HashMap<Box<[u8]>, Refused>>,
    filling: Moments,
}

impl Memory {
    /// When `cost` fits, while a refusal is remembered that says so.
    pub(super) fn refuses(&self, key: &[u8], cost: u64, now_us: u64) -> Option<Duration> {
        let refused = *self.refused.lock().get(key)?;
        let holds = refused.until > now_us && (1..=refused.cost).contains(&cost);
        holds.then(|| Duration::from_micros(refused.fits.saturating_sub(now_us)))
    }

    /// Remembers that `key` was refused.
    pub(super) fn remember(&self, key: &[u8], now_us: u64, refusal: Refusal) {
        let after = |time: Duration| now_us.saturating_add(time.as_micros() as u64);
        let refused = Refused {
            cost: refusal.cost,
            fits: after(refusal.fits),
            until: after(refusal.next.min(LONGEST)),
        };
        let mut all = self.refused.lock();
        keep(&mut all, key, refused, |other| other.until > now_us);
    }

    /// Whether a bucket is full, as far as this process knows.
    pub(super) fn is_full(&self, key: &[u8], now_us: u64) -> bool {
        let filling = self.filling.lock();
        filling.get(key).is_none_or(|until| *until <= now_us)
    }

    /// Remembers that a bucket is full again in so long.
    pub(super) fn fills(&self, key: &[u8], now_us: u64, left: Duration) {
        let until = now_us.saturating_add(left.as_micros() as u64);
        let mut all = self.filling.lock();
        keep(&mut all, key, until, |until| *until > now_us);
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

/// Keeps what is known of a key, unless there is too much that still counts.
fn keep<T>(all: &mut HashMap<Box<[u8]>, T>, key: &[u8], fact: T, counts: impl Fn(&T) -> bool) {
    if let Some(known) = all.get_mut(key) {
        *known = fact;
        return;
    }
    if all.len() >= ENTRIES_MAX {
        all.retain(|_, fact| counts(fact));
    }
    if all.len() < ENTRIES_MAX {
        all.insert(key.into(), fact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_its_moment() {
        let memory = Memory::default();
        let micros = Duration::from_micros;
        let refusal = |cost, fits, next| Refusal { cost, fits, next };
        memory.remember(b"k", 1_000, refusal(2, micros(700), micros(500)));
        assert_eq!(memory.refuses(b"k", 1, 1_499), Some(micros(201)));
        assert_eq!(memory.refuses(b"k", 2, 1_499), Some(micros(201)));
        assert_eq!(memory.refuses(b"k", 3, 1_499), None, "it may fit later");
        assert_eq!(memory.refuses(b"k", 0, 1_499), None, "it may fit now");
        assert_eq!(memory.refuses(b"k", 1, 1_500), None);
        let hours = Duration::from_hours(5);
        memory.remember(b"k", 0, refusal(1, hours, hours));
        assert_eq!(memory.refuses(b"k", 1, 0), Some(hours), "all of it");
        assert_eq!(memory.refuses(b"k", 1, LONGEST.as_micros() as u64), None);
        memory.forget(b"k");
        assert_eq!(memory.refuses(b"k", 1, 0), None);
        assert!(memory.is_full(b"b", 0));
        memory.fills(b"b", 10, Duration::from_micros(5));
        assert!(!memory.is_full(b"b", 14) && memory.is_full(b"b", 15));
    }
}
