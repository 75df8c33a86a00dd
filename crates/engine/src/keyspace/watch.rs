//! Who has to know that a key was touched: sessions that WATCH it, clients that
//! wait for it, clients that cache it, and the commit tick of a keyspace that
//! keeps the latest values only.
//!
//! A session shares one flag for all the keys that it watches; a change to a
//! key raises the flags of its watchers. Sessions may vanish without a word:
//! the table holds weak references and forgets the dead as it meets them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use ahash::{AHashMap, AHashSet};

use super::record::Key;
use super::tracking::Tracking;
use super::waiting::Written;

/// Raised when a watched key changed.
#[derive(Debug, Default)]
pub struct WatchFlag(AtomicBool);

impl WatchFlag {
    /// Whether a watched key changed since WATCH.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
pub(super) struct WatchTable {
    keys: AHashMap<Box<[u8]>, Vec<Weak<WatchFlag>>>,
    prune_at: usize,
    /// There while a client caches what it reads.
    pub(super) tracking: Option<Box<Tracking>>,
    /// Kept only for keyspaces of that class.
    pub(super) changed: Option<Box<Changed>>,
    /// For clients that wait.
    pub(super) written: Written,
}

/// What was touched since the last commit tick.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    pub(crate) keys: AHashSet<Key>,
    /// Everything was removed before `keys` changed.
    pub(crate) cleared: bool,
    /// Names of users.
    pub(crate) users: AHashSet<Vec<u8>>,
}

impl WatchTable {
    pub(super) fn add(&mut self, key: &[u8], flag: &Arc<WatchFlag>) {
        if self.keys.len() >= self.prune_at.max(64) {
            self.keys.retain(|_, flags| {
                flags.retain(|flag| flag.strong_count() > 0);
                !flags.is_empty()
            });
            self.prune_at = self.keys.len() * 2;
        }
        let flags = self.keys.entry(key.into()).or_default();
        flags.retain(|flag| flag.strong_count() > 0);
        flags.push(Arc::downgrade(flag));
    }

    pub(super) fn touch(&mut self, key: &[u8]) {
        if let Some(tracking) = &mut self.tracking {
            tracking.invalidate(key, false);
        }
        self.touch_watched(key);
    }

    /// The same where no command changed the key.
    pub(super) fn touch_unasked(&mut self, key: &[u8]) {
        if let Some(tracking) = &mut self.tracking {
            tracking.invalidate(key, true);
        }
        self.touch_watched(key);
    }

    fn touch_watched(&mut self, key: &[u8]) {
        if let Some(changed) = &mut self.changed {
            changed.keys.insert(key.into());
        }
        self.written.note(key);
        if self.keys.is_empty() {
            return;
        }
        for flag in self
            .keys
            .remove(key)
            .iter()
            .flatten()
            .filter_map(Weak::upgrade)
        {
            flag.0.store(true, Ordering::Release);
        }
    }

    /// FLUSHALL: everything that exists is touched. Answers what was noted
    /// before, which means nothing any more unless the data comes back.
    pub(super) fn touch_where(&mut self, exists: impl Fn(&[u8]) -> bool) -> Option<Box<Changed>> {
        self.written.note_where(&exists);
        self.keys.retain(|key, flags| {
            if !exists(key) {
                return true;
            }
            for flag in flags.iter().filter_map(Weak::upgrade) {
                flag.0.store(true, Ordering::Release);
            }
            false
        });
        let noted = self.changed.as_mut()?;
        // Users are not data: nothing happened to them.
        let changed = Changed {
            cleared: true,
            users: noted.users.clone(),
            ..Changed::default()
        };
        Some(std::mem::replace(noted, Box::new(changed)))
    }

    /// FLUSHALL is taken back, and all that came after it: what was noted
    /// `before` it counts again.
    pub(super) fn put_back(&mut self, before: Option<Box<Changed>>) {
        if let Some(mut before) = before {
            if let Some(changed) = &mut self.changed {
                before.users.extend(changed.users.drain());
            }
            self.changed = Some(before);
        }
    }
}
