//! The keys that a unit has declared, where it may touch no others: scripts
//! flagged `allow-key-locking`, and atomic operations.

use ahash::RandomState;
use hashbrown::HashSet;

use super::spec::Keys;

/// A set of keys, borrowed: few are looked through, many are hashed.
pub(crate) enum Declared<'a> {
    Few(&'a [&'a [u8]]),
    Many(HashSet<&'a [u8], RandomState>),
}

impl<'a> Declared<'a> {
    pub(crate) fn new(keys: &'a [&'a [u8]]) -> Self {
        if keys.len() <= 8 {
            Declared::Few(keys)
        } else {
            Declared::Many(keys.iter().copied().collect())
        }
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        match self {
            // Most often it is the very key.
            Declared::Few(keys) => {
                keys.iter().any(|known| std::ptr::eq(*known, key)) || keys.contains(&key)
            }
            Declared::Many(keys) => keys.contains(key),
        }
    }

    /// The first key of a request that is none of them.
    pub(crate) fn stranger<'k>(&self, keys: Keys, argv: &[&'k [u8]]) -> Option<&'k [u8]> {
        if keys == Keys::None {
            return None;
        }
        let mut named = keys
            .positions(argv)
            .into_iter()
            .filter_map(|at| argv.get(at));
        named.find(|key| !self.has(key)).copied()
    }
}
