//! Client-side caching: who may have which key in its cache, and the word that
//! it changed.
//!
//! In the default mode the table remembers, for each key that a tracking client
//! read, who read it; the first change tells these and forgets the key. In
//! broadcast mode a client names prefixes and hears of every change under them,
//! whatever it read; such changes are gathered and told once a unit, sorted, as
//! Redis tells them once a turn of its loop.
//!
//! Words go straight to mailboxes, under the keyspace lock: a reply that shows
//! the new value is made after them. Those to the client whose command runs wait
//! for the end of its unit and follow its reply.
//!
//! A client that vanishes leaves its numbers in the table; they mean nobody, and
//! go with the keys' next change. The table is bounded in keys
//! (`tracking-table-max-keys`): what goes to make room counts as changed.
//!
//! Cost of a change: nothing while nobody tracks, otherwise one lookup and a
//! comparison with each prefix. Of a tracked read: one lookup.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::{AHashMap, RandomState};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::record::Key;
use crate::mailbox::{Invalidation, Post};
use crate::session::Client;

/// Keys that one unit tells of one by one; past that it tells that all changed.
const TOLD_MAX: usize = 1 << 16;

/// Milliseconds between looks for clients that are gone.
const PRUNE_EVERY_MS: u64 = 1000;

/// What others see of a client's tracking (CLIENT LIST).
#[derive(Debug, Default)]
pub(crate) struct Visible {
    flags: AtomicU8,
    redirect: AtomicU64,
}

const ON: u8 = 1;
const BROADCAST: u8 = 2;
const BROKEN: u8 = 4;
/// It is told in another client's place, or was.
const TARGET: u8 = 8;

impl Visible {
    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    pub(crate) fn is_on(&self) -> bool {
        self.has(ON)
    }

    pub(crate) fn broadcasts(&self) -> bool {
        self.has(BROADCAST)
    }

    /// Whether the client that it redirects to was found gone.
    pub(crate) fn is_broken(&self) -> bool {
        self.has(BROKEN)
    }

    /// The client that is told in its place; 0 for none.
    pub(crate) fn redirect(&self) -> u64 {
        self.redirect.load(Ordering::Relaxed)
    }

    /// Whether it may hear of what another client's cache lost.
    pub(crate) fn is_target(&self) -> bool {
        self.has(TARGET)
    }

    fn set(&self, flags: u8, redirect: u64) {
        let target = self.flags.load(Ordering::Relaxed) & TARGET;
        self.flags.store(flags | target, Ordering::Relaxed);
        self.redirect.store(redirect, Ordering::Relaxed);
    }
}

/// A client's place in the table, for as long as its session is there: who stops
/// tracking and begins again still hears of what it read before, as in Redis.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) number: u64,
    client: Arc<Client>,
}

impl Mark {
    pub(crate) fn new(client: &Arc<Client>) -> Arc<Self> {
        /// Tables come and go, and no number is given twice.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Mark {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            client: client.clone(),
        })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.client.tracking.set(0, 0);
    }
}

/// How a client tracks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    pub(crate) broadcast: bool,
    /// Not told of its own changes.
    pub(crate) no_loop: bool,
    /// Who is told in its place.
    pub(crate) redirect: Option<(u64, Weak<Client>)>,
}

#[derive(Debug)]
struct Tracker {
    mark: Weak<Mark>,
    /// Not between CLIENT TRACKING OFF and ON.
    active: bool,
    manner: Manner,
}

/// A key and who read it, by number, sorted.
#[derive(Debug)]
struct Tracked {
    hash: u64,
    key: Key,
    readers: SmallVec<[u64; 2]>,
}

/// A prefix, who hears of it, and the keys that changed in this unit with who
/// changed them first.
#[derive(Debug, Default)]
struct Prefix {
    trackers: Vec<u64>,
    changed: BTreeMap<Key, u64>,
    /// There were more than [`TOLD_MAX`].
    overflowed: bool,
}

/// Who tracks what in one keyspace.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    trackers: AHashMap<u64, Tracker>,
    /// Places in `keys`.
    index: HashTable<usize>,
    keys: Vec<Tracked>,
    /// Pairs of a key and a reader.
    items: usize,
    hasher: RandomState,
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    /// The tracker whose command runs; 0 for none.
    author: u64,
    /// The client whose command runs.
    runs: Weak<Client>,
    /// What the author is to be told after its reply.
    own: Vec<Option<Key>>,
    /// Whether the running unit has something to tell at its end.
    pending: bool,
    /// While a script runs whose reads count, its caller's number and its keys.
    script: Option<(u64, Vec<Key>)>,
    /// What scripts change is nobody's doing to who hears of prefixes, as in Redis.
    scripted: bool,
    /// The next one to go when the table is full.
    hand: usize,
    pruned_ms: u64,
}

impl Tracker {
    /// Tells it that `keys` changed, or all; behind the reply to the client that
    /// is `behind`, if it is that one which is told.
    fn tell(&self, keys: Option<Arc<[Key]>>, behind: &Weak<Client>) {
        let Some(mark) = self.mark.upgrade().filter(|_| self.active) else {
            return;
        };
        let client = &mark.client;
        let follows = |told: &Arc<Client>| std::ptr::eq(behind.as_ptr(), Arc::as_ptr(told));
        let Some((id, target)) = &self.manner.redirect else {
            client.mailbox.deliver(Post::Invalidation(Invalidation {
                keys,
                redirected: false,
                own: follows(client),
            }));
            return;
        };
        let keyspace = |client: &Client| client.scope().map(|(keyspace, _)| keyspace);
        let target = target.upgrade();
        let target = target.filter(|target| keyspace(target) == keyspace(client));
        if let Some(target) = target {
            target.mailbox.deliver(Post::Invalidation(Invalidation {
                keys,
                redirected: true,
                own: follows(&target),
            }));
        } else {
            client.tracking.flags.fetch_or(BROKEN, Ordering::Relaxed);
            client.mailbox.deliver(Post::RedirectBroken(*id));
        }
    }
}

fn one(key: &[u8]) -> Option<Arc<[Key]>> {
    Some(Arc::from([Key::from(key)]))
}

impl Tracking {
    /// From now on the client is told, in this manner.
    pub(crate) fn enable(&mut self, mark: &Arc<Mark>, manner: Manner, prefixes: &[&[u8]]) {
        if manner.broadcast {
            let everything: &[&[u8]] = &[b""];
            let prefixes = if prefixes.is_empty() {
                everything
            } else {
                prefixes
            };
            for prefix in prefixes {
                let prefix = self.prefixes.entry((*prefix).into()).or_default();
                if !prefix.trackers.contains(&mark.number) {
                    prefix.trackers.push(mark.number);
                }
            }
        }
        let flags = if manner.broadcast { ON | BROADCAST } else { ON };
        let redirect = manner.redirect.as_ref().map_or(0, |(id, _)| *id);
        mark.client.tracking.set(flags, redirect);
        let target = manner.redirect.as_ref();
        if let Some(target) = target.and_then(|(_, target)| target.upgrade()) {
            target.tracking.flags.fetch_or(TARGET, Ordering::Relaxed);
        }
        let tracker = Tracker {
            mark: Arc::downgrade(mark),
            active: true,
            manner,
        };
        self.trackers.insert(mark.number, tracker);
    }

    /// Ends what [`Tracking::enable`] began.
    pub(crate) fn disable(&mut self, mark: &Mark) {
        mark.client.tracking.set(0, 0);
        if let Some(tracker) = self.trackers.get_mut(&mark.number) {
            tracker.active = false;
        }
        self.leave_prefixes(|other| other != mark.number);
    }

    fn leave_prefixes(&mut self, stays: impl Fn(u64) -> bool) {
        self.prefixes.retain(|_, prefix| {
            prefix.trackers.retain(|number| stays(*number));
            !prefix.trackers.is_empty()
        });
    }

    /// The prefixes that a client hears of, sorted.
    pub(crate) fn prefixes_of(&self, number: u64) -> impl Iterator<Item = &[u8]> {
        let heard = self.prefixes.iter();
        heard
            .filter(move |(_, prefix)| prefix.trackers.contains(&number))
            .map(|(name, _)| &**name)
    }

    /// Keys remembered, pairs of a key and a reader, prefixes.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.keys.len(), self.items, self.prefixes.len())
    }

    /// Says whose command runs next: which client's, and its number; 0 for none.
    pub(crate) fn set_author(&mut self, number: u64, client: &Arc<Client>) {
        self.author = number;
        self.runs = Arc::downgrade(client);
    }

    /// Says that what changes next is nobody's doing.
    pub(crate) fn set_no_author(&mut self) {
        self.author = 0;
        self.runs = Weak::new();
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let same = |at: &usize| {
            self.keys
                .get(*at)
                .is_some_and(|tracked| *tracked.key == *key)
        };
        self.index.find(hash, same).copied()
    }

    /// Remembers that a client read `key`.
    pub(crate) fn remember(&mut self, number: u64, key: &[u8], max_keys: usize) {
        let hash = self.hasher.hash_one(key);
        let at = self.find(hash, key).unwrap_or_else(|| {
            let at = self.keys.len();
            self.keys.push(Tracked {
                hash,
                key: key.into(),
                readers: SmallVec::new(),
            });
            let keys = &self.keys;
            self.index.insert_unique(hash, at, |at| {
                keys.get(*at).map_or(0, |tracked| tracked.hash)
            });
            at
        });
        if let Some(tracked) = self.keys.get_mut(at)
            && let Err(place) = tracked.readers.binary_search(&number)
        {
            tracked.readers.insert(place, number);
            self.items += 1;
        }
        while max_keys > 0 && self.keys.len() > max_keys {
            self.hand = (self.hand + 1) % self.keys.len();
            let evicted = self.take(self.hand);
            self.tell_readers(evicted);
        }
    }

    /// Takes a key out of the table.
    fn take(&mut self, at: usize) -> Option<Tracked> {
        let hash = self.keys.get(at)?.hash;
        if let Ok(entry) = self.index.find_entry(hash, |place| *place == at) {
            entry.remove();
        }
        let last = self.keys.len() - 1;
        let taken = self.keys.swap_remove(at);
        self.items -= taken.readers.len();
        if at != last
            && let Some(moved) = self.keys.get(at)
            && let Some(place) = self.index.find_mut(moved.hash, |place| *place == last)
        {
            *place = at;
        }
        Some(taken)
    }

    fn tell_readers(&mut self, tracked: Option<Tracked>) {
        let Some(Tracked { key, readers, .. }) = tracked else {
            return;
        };
        for number in readers {
            let Some(tracker) = self.trackers.get(&number) else {
                continue;
            };
            // Whoever has changed to broadcasting hears of it as such.
            if tracker.manner.broadcast {
                continue;
            }
            if number != self.author {
                tracker.tell(one(&key), &Weak::new());
            } else if !tracker.manner.no_loop {
                self.pending = true;
                if self.own.len() < TOLD_MAX {
                    self.own.push(Some(key.clone()));
                } else if self.own.len() == TOLD_MAX {
                    self.own.push(None);
                }
            }
        }
    }

    /// A key changed, by the running command or (`unasked`) by the engine.
    pub(super) fn invalidate(&mut self, key: &[u8], unasked: bool) {
        let by = if unasked || self.scripted {
            0
        } else {
            self.author
        };
        for (name, prefix) in &mut self.prefixes {
            if !key.starts_with(name) {
                continue;
            }
            self.pending = true;
            if prefix.changed.len() < TOLD_MAX {
                prefix.changed.entry(key.into()).or_insert(by);
            } else {
                prefix.overflowed = true;
            }
        }
        if self.keys.is_empty() {
            return;
        }
        if let Some(at) = self.find(self.hasher.hash_one(key), key) {
            let tracked = self.take(at);
            self.tell_readers(tracked);
        }
    }

    /// FLUSHALL: everybody forgets everything.
    pub(super) fn invalidate_all(&mut self) {
        self.index = HashTable::new();
        self.keys = Vec::new();
        self.items = 0;
        for (number, tracker) in &self.trackers {
            if *number == self.author {
                self.own.push(None);
                self.pending = true;
            } else {
                tracker.tell(None, &Weak::new());
            }
        }
    }

    /// Tells what waits for the end of the unit.
    pub(crate) fn flush(&mut self) {
        if !std::mem::take(&mut self.pending) {
            return;
        }
        for prefix in self.prefixes.values_mut() {
            let changed = std::mem::take(&mut prefix.changed);
            let overflowed = std::mem::take(&mut prefix.overflowed);
            if changed.is_empty() {
                continue;
            }
            let all: Arc<[Key]> = changed.keys().cloned().collect();
            for number in &prefix.trackers {
                let Some(tracker) = self.trackers.get(number) else {
                    continue;
                };
                let keys = if tracker.manner.no_loop {
                    let others = changed.iter().filter(|(_, by)| *by != number);
                    others.map(|(key, _)| key.clone()).collect()
                } else {
                    all.clone()
                };
                if !keys.is_empty() || overflowed {
                    tracker.tell((!overflowed).then_some(keys), &self.runs);
                }
            }
        }
        let own = std::mem::take(&mut self.own);
        if let Some(tracker) = self.trackers.get(&self.author) {
            for key in own {
                tracker.tell(key.map(|key| Arc::from([key])), &self.runs);
            }
        }
    }

    /// A script begins. What it reads counts as reads of the keys that it
    /// declared, by the client `reader`, as in Redis 7.0.
    pub(crate) fn begin_script(&mut self, reader: Option<u64>, keys: &[&[u8]]) {
        self.scripted = true;
        let keys = || keys.iter().map(|key| Key::from(*key)).collect();
        self.script = reader.map(|number| (number, keys()));
    }

    /// The script has read something.
    pub(crate) fn script_read(&mut self, max_keys: usize) {
        if let Some((number, keys)) = self.script.take() {
            for key in &keys {
                self.remember(number, key, max_keys);
            }
            self.script = Some((number, keys));
        }
    }

    pub(crate) fn end_script(&mut self) {
        self.script = None;
        self.scripted = false;
    }

    /// Forgets clients that are gone, now and then; answers whether anybody is
    /// left.
    pub(crate) fn prune(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.pruned_ms) >= PRUNE_EVERY_MS {
            self.pruned_ms = now_ms;
            self.trackers
                .retain(|_, tracker| tracker.mark.strong_count() > 0);
            let trackers = std::mem::take(&mut self.trackers);
            self.leave_prefixes(|number| trackers.contains_key(&number));
            self.trackers = trackers;
        }
        !self.trackers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(tracking: &mut Tracking, manner: Manner, prefixes: &[&[u8]]) -> Arc<Mark> {
        let client = Arc::new(Client::new(1, String::new(), String::new(), 0));
        let mark = Mark::new(&client);
        tracking.enable(&mark, manner, prefixes);
        mark
    }

    fn told(mark: &Mark) -> Vec<Option<Vec<Vec<u8>>>> {
        let posts = std::iter::from_fn(|| mark.client.mailbox.try_next());
        let keys = posts.map(|post| match post {
            Post::Invalidation(invalidation) => invalidation
                .keys
                .map(|keys| keys.iter().map(|key| key.to_vec()).collect()),
            other => panic!("{other:?}"),
        });
        keys.collect()
    }

    #[test]
    fn the_table_stays_whole_whatever_leaves_it() {
        let mut tracking = Tracking::default();
        let mark = tracker(&mut tracking, Manner::default(), &[]);
        let mut random = crate::random::Random::new(5);
        let mut known = std::collections::BTreeSet::new();
        for _ in 0..20_000 {
            let key = (random.next() % 300).to_string().into_bytes();
            if random.next().is_multiple_of(2) {
                tracking.remember(mark.number, &key, 0);
                known.insert(key);
            } else {
                tracking.invalidate(&key, false);
                let expected: Vec<_> = known
                    .take(&key)
                    .map(|key| Some(vec![key]))
                    .into_iter()
                    .collect();
                assert_eq!(told(&mark), expected);
            }
            assert_eq!(tracking.counts().0, known.len());
            assert_eq!(tracking.counts().1, known.len());
        }
    }

    #[test]
    fn what_goes_to_make_room_counts_as_changed() {
        let mut tracking = Tracking::default();
        let mark = tracker(&mut tracking, Manner::default(), &[]);
        for number in 0..100 {
            tracking.remember(mark.number, number.to_string().as_bytes(), 10);
            assert!(tracking.counts().0 <= 10);
        }
        let mut gone: Vec<_> = told(&mark).into_iter().flatten().flatten().collect();
        gone.sort();
        gone.dedup();
        assert_eq!(gone.len(), 90);
    }

    #[test]
    fn a_unit_that_changes_too_much_to_tell_tells_so() {
        let mut tracking = Tracking::default();
        let manner = Manner {
            broadcast: true,
            ..Manner::default()
        };
        let mark = tracker(&mut tracking, manner, &[b"a"]);
        for number in 0..=TOLD_MAX {
            tracking.invalidate(format!("a{number}").as_bytes(), false);
        }
        tracking.flush();
        assert_eq!(told(&mark), [None]);
        tracking.invalidate(b"b", false);
        tracking.invalidate(b"a", false);
        tracking.flush();
        assert_eq!(told(&mark), [Some(vec![b"a".to_vec()])]);
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut tracking = Tracking::default();
        let manner = Manner {
            broadcast: true,
            ..Manner::default()
        };
        let mark = tracker(&mut tracking, manner, &[]);
        assert!(tracking.prune(5000));
        drop(mark);
        tracking.invalidate(b"a", false);
        tracking.flush();
        assert!(!tracking.prune(6000));
        assert_eq!(tracking.counts().2, 0);
    }
}
