//! Clients that wait for a key to be written: BLPOP, BZPOPMIN, XREAD BLOCK and
//! their like.
//!
//! A command that finds nothing puts its client here, under each of its keys, in
//! the order of arrival. A write to such a key notes the key; when the unit that
//! wrote is over, dispatch goes through the noted keys in the order of their
//! first write and runs the commands of those who wait for each, the longest
//! waiting first, as units of their own. So nobody is passed over, and whoever
//! waits sees a transaction or a script as a whole.
//!
//! A client that is done with waiting (served, timed out, unblocked, gone) is
//! taken out at once. The room has a mutex of its own for that: leaving it takes
//! no keyspace lock.
//!
//! Locks are taken in this order: keyspace, a waiter's state, the room.
//!
//! Cost where nobody waits: one relaxed load for each write. Otherwise a lookup
//! by key for each write, and `O(log n)` to come and to go, `n` being the clients
//! at the same key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use ahash::{AHashMap, AHashSet};
use parking_lot::{Mutex, MutexGuard};

use super::record::Key;
use crate::effect::Seq;
use crate::reply::Reply;
use crate::session::{Request, Wait};

/// A client that waits for one of its keys.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// Its place in the order of arrival.
    number: u64,
    keys: Vec<Key>,
    /// Whether it is asked also when a key is gone.
    pub(crate) minds_removal: bool,
    /// What it asked for, to be run again.
    pub(crate) request: Request,
    /// Its reply when it waits no longer.
    otherwise: Reply,
    state: Mutex<State>,
    room: Arc<WaitingRoom>,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    /// Its reply, and the last write that this depends on.
    Served(Reply, Seq),
    Gone,
}

impl Waiter {
    /// Holds the waiter still while its command runs again; `None` if it waits
    /// no more.
    pub(crate) fn attend(&self) -> Option<Attended<'_>> {
        let state = self.state.lock();
        matches!(*state, State::Waiting(_)).then_some(Attended(state))
    }

    /// Ends its wait with this error, or as if its time were over, unless it has
    /// ended; whether it did.
    pub(crate) fn unblock(&self, error: Option<Reply>) -> bool {
        let Some(attended) = self.attend() else {
            return false;
        };
        let reply = error.unwrap_or_else(|| self.otherwise.clone());
        attended.serve(reply, Seq::default());
        self.room.leave(self);
        true
    }

    /// Ready when its wait has ended.
    pub(crate) fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self.state.lock() {
            State::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Served(..) | State::Gone => Poll::Ready(()),
        }
    }

    /// Ends its wait; answers its reply and the last write that this depends on.
    pub(crate) fn leave(&self) -> (Reply, Seq) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Gone);
        match state {
            State::Waiting(_) => self.room.leave(self),
            State::Served(reply, seq) => return (reply, seq),
            State::Gone => {}
        }
        (self.otherwise.clone(), Seq::default())
    }
}

/// A waiter that cannot go away meanwhile.
pub(crate) struct Attended<'a>(MutexGuard<'a, State>);

impl Attended<'_> {
    /// Gives it its reply and wakes its client.
    pub(crate) fn serve(mut self, reply: Reply, seq: Seq) {
        let state = std::mem::replace(&mut *self.0, State::Served(reply, seq));
        drop(self);
        if let State::Waiting(Some(waker)) = state {
            waker.wake();
        }
    }
}

/// Everybody who waits in a keyspace; see the module.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    /// Number of clients; 0 lets a write pass without the mutex.
    count: AtomicUsize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    keys: AHashMap<Key, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: BTreeMap<u64, Arc<Waiter>>,
    /// How many of them mind a removal.
    mind_removal: usize,
}

impl WaitingRoom {
    /// Number of clients that wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Puts a client behind the others at each of its keys.
    pub(crate) fn enter(self: &Arc<Self>, request: Request, wait: Wait<'_>) -> Arc<Waiter> {
        let mut seen = AHashSet::with_capacity(wait.keys.len());
        let keys = wait.keys.iter().filter(|key| seen.insert(**key));
        let keys = keys.map(|key| Key::from(*key)).collect();
        let mut seats = self.seats.lock();
        seats.next += 1;
        let waiter = Arc::new(Waiter {
            number: seats.next,
            keys,
            minds_removal: wait.minds_removal,
            request,
            otherwise: wait.otherwise,
            state: Mutex::new(State::Waiting(None)),
            room: self.clone(),
        });
        for key in &waiter.keys {
            let queue = seats.keys.entry(key.clone()).or_default();
            queue.mind_removal += usize::from(waiter.minds_removal);
            queue.waiters.insert(waiter.number, waiter.clone());
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        waiter
    }

    /// Takes a client out.
    pub(crate) fn leave(&self, waiter: &Waiter) {
        let mut seats = self.seats.lock();
        let mut found = false;
        for key in &waiter.keys {
            let Some(queue) = seats.keys.get_mut(key) else {
                continue;
            };
            if queue.waiters.remove(&waiter.number).is_some() {
                found = true;
                queue.mind_removal -= usize::from(waiter.minds_removal);
            }
            if queue.waiters.is_empty() {
                seats.keys.remove(key);
            }
        }
        drop(seats);
        if found {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Who came to `key` first after `number`; for a key that is gone, only
    /// those who mind.
    pub(crate) fn next(&self, key: &Key, number: u64, exists: bool) -> Option<(u64, Arc<Waiter>)> {
        let seats = self.seats.lock();
        let queue = seats.keys.get(key)?;
        if !exists && queue.mind_removal == 0 {
            return None;
        }
        queue
            .waiters
            .range(number + 1..)
            .find(|(_, waiter)| exists || waiter.minds_removal)
            .map(|(number, waiter)| (*number, waiter.clone()))
    }
}

/// Keys that were written and that somebody waits for, in the order of their
/// first write.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) room: Arc<WaitingRoom>,
    keys: Vec<Key>,
    noted: AHashSet<Key>,
}

impl Written {
    /// To be called for each key that a unit writes or removes.
    #[inline]
    pub(super) fn note(&mut self, key: &[u8]) {
        if self.room.len() > 0 {
            self.note_awaited(key);
        }
    }

    #[cold]
    fn note_awaited(&mut self, key: &[u8]) {
        let key = Key::from(key);
        if self.room.seats.lock().keys.contains_key(&key) && self.noted.insert(key.clone()) {
            self.keys.push(key);
        }
    }

    /// The same for all awaited keys that `is_written` names.
    pub(super) fn note_where(&mut self, is_written: impl Fn(&[u8]) -> bool) {
        if self.room.len() == 0 {
            return;
        }
        let room = self.room.clone();
        for key in room.seats.lock().keys.keys() {
            if is_written(key) && self.noted.insert(key.clone()) {
                self.keys.push(key.clone());
            }
        }
    }

    /// Whether none is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys noted so far, which are forgotten.
    pub(super) fn take(&mut self) -> Vec<Key> {
        self.noted.clear();
        std::mem::take(&mut self.keys)
    }
}
