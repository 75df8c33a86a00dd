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
    /// The last number that was given.
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

/// Which one it is, when it is its turn, and how often the store refused it.
#[derive(Debug, Clone, Copy)]
struct Item {
    number: u64,
    /// The number that it, or the last try to send it, came with.
    turn: u64,
    refused: u32,
}

/// What becomes of one that the store refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is tried again, or something newer is in its place.
    Waits,
    /// The key is to be deleted instead.
    Deletes,
    Dropped,
}

/// What happened that is to be sent.
#[derive(Debug, Clone)]
pub(super) enum What {
    Key(Box<str>, Arc<Unsent>),
    Tag(TagId),
}

/// The same, in the queue.
#[derive(Clone, Copy)]
enum Waits<'a> {
    Key(&'a str, &'a Arc<Unsent>),
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

    /// The number of what waits of a key or tag.
    fn number(&self, change: &Change) -> Option<u64> {
        match change {
            Change::Key(key) => Some(self.keys.get(key)?.1.number),
            Change::Tag(tag) => Some(self.tags.get(tag)?.number),
        }
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
        let number = self.next();
        let item = Item {
            number,
            turn: number,
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

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The store has something newer of these than what came up to a number.
    pub(super) fn settled(&mut self, cache: &str, changes: &[Change], last: u64) {
        let Some(cache) = self.caches.get(cache).map(|it| it.cache.clone()) else {
            return;
        };
        self.with(&cache, |waiting| {
            for change in changes {
                if waiting.number(change).is_some_and(|it| it <= last) {
                    match change {
                        Change::Key(key) => waiting.remove_key(key),
                        Change::Tag(tag) => waiting.remove_tag(*tag),
                    }
                }
            }
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

    /// Those whose turn it is, of at most so many bytes but for one: the oldest, and
    /// after them those that were tried already, so that none keeps others waiting.
    pub(super) fn batch(&self, count: usize, mut room: usize) -> Vec<Sending> {
        let mut all: Vec<(&Item, &Arc<PendingCache>, Waits<'_>)> = Vec::with_capacity(self.count);
        for waiting in self.caches.values() {
            let keys = waiting.keys.iter();
            all.extend(keys.map(|(key, (it, item))| (item, &waiting.cache, Waits::Key(key, it))));
            let tags = waiting.tags.iter();
            all.extend(tags.map(|(tag, item)| (item, &waiting.cache, Waits::Tag(*tag))));
        }
        if count < all.len() {
            all.select_nth_unstable_by_key(count, |(item, ..)| item.turn);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|(item, ..)| item.turn);
        let mut batch = Vec::with_capacity(all.len());
        for (item, cache, waits) in all {
            let size = match waits {
                Waits::Key(key, unsent) => bytes(key, unsent),
                Waits::Tag(_) => OVERHEAD,
            };
            if size > room && !batch.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            batch.push(Sending {
                cache: cache.clone(),
                what: match waits {
                    Waits::Key(key, unsent) => What::Key(key.into(), unsent.clone()),
                    Waits::Tag(tag) => What::Tag(tag),
                },
                number: item.number,
            });
        }
        batch
    }

    /// One could not be sent now; the others come first.
    pub(super) fn later(&mut self, one: &Sending) {
        let turn = self.next();
        self.with(&one.cache, |waiting| {
            if let Some(item) = waiting.item(one) {
                item.turn = turn;
            }
        });
    }

    /// Whether it waits still, and nothing newer in its place.
    pub(super) fn waits(&mut self, one: &Sending) -> bool {
        let waiting = self.caches.get_mut(&one.cache.name);
        waiting.is_some_and(|it| it.item(one).is_some())
    }

    /// One was sent; it goes, unless something newer took its place.
    pub(super) fn sent(&mut self, one: &Sending) {
        self.with(&one.cache, |waiting| {
            if waiting.item(one).is_some() {
                waiting.remove(&one.what);
            }
        });
    }

    /// The store refused one.
    pub(super) fn refused(&mut self, one: &Sending) -> Refused {
        let turn = self.next();
        self.with(&one.cache, |waiting| {
            let Some(item) = waiting.item(one) else {
                return Refused::Waits;
            };
            item.turn = turn;
            item.refused += 1;
            if item.refused < TRIES {
                return Refused::Waits;
            }
            item.refused = 0;
            let item = *item;
            match &one.what {
                What::Key(key, unsent) if let Unsent::Value { stamp, .. } = &**unsent => {
                    let deleted = Unsent::Deleted { stamp: *stamp };
                    waiting.insert(What::Key(key.clone(), Arc::new(deleted)), item);
                    Refused::Deletes
                }
                what => {
                    waiting.remove(what);
                    Refused::Dropped
                }
            }
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
