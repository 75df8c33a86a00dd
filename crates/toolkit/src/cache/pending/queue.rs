//! What waits, newest of each key, within bounds.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::bus::Change;
use super::super::key::TagId;
use super::{PendingCache, Unsent};

/// Keys and tags that may wait.
pub(super) const COUNT_MAX: usize = 10_000;
/// Bytes of them that may.
pub(super) const BYTES_MAX: usize = 32 << 20;
/// What is counted for each beside its key and value.
const OVERHEAD: usize = 128;
/// How often the store may refuse one.
const TRIES: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Queue {
    caches: HashMap<Box<str>, Waiting, ahash::RandomState>,
    /// The number of the newest.
    last: u64,
    count: usize,
    bytes: usize,
    /// Whether a task sends.
    pub(super) is_sent: bool,
}

/// What waits of a cache.
#[derive(Debug)]
struct Waiting {
    cache: Arc<PendingCache>,
    keys: HashMap<Box<str>, (Arc<Unsent>, Item), ahash::RandomState>,
    tags: HashMap<TagId, Item, ahash::RandomState>,
    bytes: usize,
}

/// Which one it is, and how often the store refused it.
#[derive(Debug, Clone, Copy)]
struct Item {
    number: u64,
    refused: u32,
}

/// What happened that is to be sent.
#[derive(Debug, Clone)]
pub(super) enum What {
    Key(Box<str>, Arc<Unsent>),
    Tag(TagId),
}

/// One that is being sent.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) cache: Arc<PendingCache>,
    pub(super) what: What,
    number: u64,
}

impl Sending {
    pub(super) fn change(&self) -> Change {
        match &self.what {
            What::Key(key, _) => Change::Key(key.clone()),
            What::Tag(tag) => Change::Tag(*tag),
        }
    }
}

fn bytes(key: &str, unsent: &Unsent) -> usize {
    let value = match unsent {
        Unsent::Value { bytes, .. } => bytes.len(),
        Unsent::Deleted { .. } => 0,
    };
    OVERHEAD + key.len() + value
}

impl Waiting {
    fn new(cache: Arc<PendingCache>) -> Self {
        Waiting {
            cache,
            keys: HashMap::default(),
            tags: HashMap::default(),
            bytes: 0,
        }
    }

    fn len(&self) -> usize {
        self.keys.len() + self.tags.len()
    }

    fn is_whole(&self) -> bool {
        self.tags.contains_key(&TagId::ALL)
    }

    fn clear(&mut self) {
        self.keys = HashMap::default();
        self.tags = HashMap::default();
        self.bytes = 0;
    }

    fn insert(&mut self, what: What, item: Item) {
        match what {
            What::Key(key, unsent) => {
                self.remove_key(&key);
                self.bytes += bytes(&key, &unsent);
                self.keys.insert(key, (unsent, item));
            }
            What::Tag(tag) => {
                self.remove_tag(tag);
                self.bytes += OVERHEAD;
                self.tags.insert(tag, item);
            }
        }
    }

    fn remove_key(&mut self, key: &str) {
        if let Some((unsent, _)) = self.keys.remove(key) {
            self.bytes -= bytes(key, &unsent);
        }
    }

    fn remove_tag(&mut self, tag: TagId) {
        if self.tags.remove(&tag).is_some() {
            self.bytes -= OVERHEAD;
        }
    }

    /// What was sent, unless something newer is in its place.
    fn item(&mut self, one: &Sending) -> Option<&mut Item> {
        let item = match &one.what {
            What::Key(key, _) => self.keys.get_mut(key).map(|(_, item)| item),
            What::Tag(tag) => self.tags.get_mut(tag),
        };
        item.filter(|item| item.number == one.number)
    }

    fn remove(&mut self, what: &What) {
        match what {
            What::Key(key, _) => self.remove_key(key),
            What::Tag(tag) => self.remove_tag(*tag),
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_key(&self, cache: &str, key: &str) -> bool {
        let waiting = self.caches.get(cache);
        waiting.is_some_and(|it| it.keys.contains_key(key))
    }

    pub(super) fn has_tag(&self, cache: &str, tag: TagId) -> bool {
        let waiting = self.caches.get(cache);
        waiting.is_some_and(|it| it.tags.contains_key(&tag))
    }

    pub(super) fn push_key(&mut self, cache: &Arc<PendingCache>, key: &str, unsent: Unsent) {
        self.push(cache, What::Key(key.into(), Arc::new(unsent)));
    }

    pub(super) fn push_tag(&mut self, cache: &Arc<PendingCache>, tag: TagId) {
        self.push(cache, What::Tag(tag));
    }

    fn push(&mut self, cache: &Arc<PendingCache>, mut what: What) {
        self.last += 1;
        let item = Item {
            number: self.last,
            refused: 0,
        };
        self.with(cache, |waiting| {
            // All of the cache covers the rest, if it is sent after it.
            let whole = matches!(what, What::Tag(TagId::ALL)) || waiting.is_whole();
            if whole && !waiting.cache.shared {
                waiting.clear();
                what = What::Tag(TagId::ALL);
            }
            waiting.insert(what, item);
        });
    }

    pub(super) fn remove_key(&mut self, cache: &str, key: &str) {
        if let Some(waiting) = self.caches.get(cache) {
            let cache = waiting.cache.clone();
            self.with(&cache, |waiting| waiting.remove_key(key));
        }
    }

    /// Makes room where there is too much: the caches that are invalidated as a whole,
    /// and how many of their changes are never sent.
    pub(super) fn collapse(&mut self) -> Vec<(Box<str>, u64)> {
        let mut collapsed = Vec::new();
        while self.count > COUNT_MAX || self.bytes > BYTES_MAX {
            let by_bytes = self.bytes > BYTES_MAX;
            let open = self
                .caches
                .values()
                .filter(|it| it.len() > 1 || !it.is_whole());
            let most = open.max_by_key(|it| if by_bytes { it.bytes } else { it.len() });
            let Some(cache) = most.map(|it| it.cache.clone()) else {
                break;
            };
            let dropped = if cache.shared {
                self.with(&cache, |waiting| {
                    let dropped = waiting.len() as u64;
                    waiting.clear();
                    dropped
                })
            } else {
                self.push_tag(&cache, TagId::ALL);
                0
            };
            collapsed.push((cache.name.clone(), dropped));
        }
        collapsed
    }

    /// Some of what waits, of at most so many bytes but for one.
    pub(super) fn batch(&self, count: usize, mut room: usize) -> Vec<Sending> {
        let mut batch = Vec::new();
        let all = self.caches.values().flat_map(|waiting| {
            let keys = waiting.keys.iter();
            let keys = keys.map(|(key, (unsent, item))| {
                let what = What::Key(key.clone(), unsent.clone());
                (bytes(key, unsent), what, item)
            });
            let tags = waiting.tags.iter();
            let tags = tags.map(|(tag, item)| (OVERHEAD, What::Tag(*tag), item));
            keys.chain(tags).map(|it| (&waiting.cache, it))
        });
        for (cache, (size, what, item)) in all {
            if batch.len() == count || (size > room && !batch.is_empty()) {
                break;
            }
            room = room.saturating_sub(size);
            batch.push(Sending {
                cache: cache.clone(),
                what,
                number: item.number,
            });
        }
        batch
    }

    /// One was sent; it goes, unless something newer took its place.
    pub(super) fn sent(&mut self, one: &Sending) {
        self.with(&one.cache, |waiting| {
            if waiting.item(one).is_some() {
                waiting.remove(&one.what);
            }
        });
    }

    /// The store refused one; whether it goes for that.
    pub(super) fn refused(&mut self, one: &Sending) -> bool {
        self.with(&one.cache, |waiting| {
            let Some(item) = waiting.item(one) else {
                return false;
            };
            item.refused += 1;
            let goes = item.refused >= TRIES;
            if goes {
                waiting.remove(&one.what);
            }
            goes
        })
    }

    /// Changes what waits of a cache, and counts it anew.
    fn with<A>(&mut self, cache: &Arc<PendingCache>, change: impl FnOnce(&mut Waiting) -> A) -> A {
        let waiting = self
            .caches
            .entry(cache.name.clone())
            .or_insert_with(|| Waiting::new(cache.clone()));
        let (count, bytes) = (waiting.len(), waiting.bytes);
        let outcome = change(waiting);
        self.count = self.count - count + waiting.len();
        self.bytes = self.bytes - bytes + waiting.bytes;
        if waiting.len() == 0 {
            self.caches.remove(&cache.name);
        }
        outcome
    }
}
