//! Where callers leave their frames for the writer, and what both know.
//!
//! A caller holds its keyspace's lock and takes the queue's for the time of one
//! copy. It wakes the writer only when that sleeps with nothing to do, or when
//! much has gathered: a busy journal costs its callers no system call.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::Fsync;
use super::frame::{self, FrameKind};
use super::waiters::Waiters;
use crate::effect::Seq;

/// Bytes that wake the writer before its tick.
const FLUSH_BYTES: usize = 1 << 20;
/// Bytes above which callers wait before they take a keyspace's lock.
const BACKLOG_BYTES: usize = 32 << 20;
/// What the length of a frame can say, with room for its header.
const PAYLOAD_MAX: usize = u32::MAX as usize - 64;
/// A buffer keeps at most this capacity when it is empty.
const KEEP_BYTES: usize = 4 << 20;
/// How long frames may gather before they are given to the system, where
/// nobody waits for them.
pub(super) const WRITE_TICK: Duration = Duration::from_millis(10);

/// Whether writes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// They are.
    Good,
    /// Not until there is room on the disk.
    Full,
    /// Never again: a write or a sync failed; the text says how.
    Poisoned(String),
}

const GOOD: u8 = 0;
const FULL: u8 = 1;
const POISONED: u8 = 2;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) bytes: Vec<u8>,
    pub(super) last: Seq,
    /// The writer sleeps and `bytes` was empty.
    pub(super) parked: bool,
    /// The writer waits for this one, to sync a whole group.
    pub(super) wake_at: Seq,
    /// Somebody wants what is here synced now.
    pub(super) sync: bool,
    /// Somebody wants a new segment.
    pub(super) rotate: bool,
    pub(super) stop: bool,
}

impl Queue {
    /// Whether the writer should not wait for its tick.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() >= FLUSH_BYTES
    }
}

pub(super) struct Shared {
    queue: Mutex<Queue>,
    pub(super) work: Condvar,
    /// Up to where the log is durable.
    pub(super) durable: Waiters,
    /// Up to where it was given to the system.
    pub(super) written: Waiters,
    /// Up to where wishes for a new segment, which name the seq that it would
    /// begin with, were dealt with.
    pub(super) rotated: Waiters,
    policy: AtomicU8,
    health: AtomicU8,
    reason: Mutex<String>,
    backlogged: AtomicBool,
    /// Bytes of frames in the log since the last snapshot.
    pub(super) log_bytes: AtomicU64,
    /// Syncs so far, and those that took longer than a second.
    pub(super) syncs: AtomicU64,
    pub(super) slow_syncs: AtomicU64,
}

impl Shared {
    pub(super) fn new(last: Seq, policy: Fsync, log_bytes: u64) -> Self {
        let shared = Shared {
            queue: Mutex::new(Queue {
                last,
                ..Queue::default()
            }),
            work: Condvar::new(),
            durable: Waiters::default(),
            written: Waiters::default(),
            rotated: Waiters::default(),
            policy: AtomicU8::new(policy as u8),
            health: AtomicU8::new(GOOD),
            reason: Mutex::default(),
            backlogged: AtomicBool::new(false),
            log_bytes: AtomicU64::new(log_bytes),
            syncs: AtomicU64::new(0),
            slow_syncs: AtomicU64::new(0),
        };
        shared.durable.advance(last);
        shared.written.advance(last);
        shared
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Takes a frame; `payload` is not empty. One command's effects are about
    /// as large as its request, units of several are bounded before they come
    /// here: what no frame can hold ends the journal rather than be cut.
    pub(super) fn append(
        &self,
        now_ms: u64,
        keyspace: u32,
        kind: FrameKind,
        payload: &[u8],
    ) -> Seq {
        if payload.len() > PAYLOAD_MAX {
            self.poison("a unit is larger than 4 GiB".to_owned());
            return self.queue.lock().last;
        }
        let mut queue = self.queue.lock();
        let seq = Seq(queue.last.0 + 1);
        queue.last = seq;
        let before = queue.bytes.len();
        frame::append(&mut queue.bytes, seq, now_ms, keyspace, kind, payload);
        let after = queue.bytes.len();
        let wake =
            queue.parked || queue.wake_at == seq || (before < FLUSH_BYTES && after >= FLUSH_BYTES);
        queue.parked = false;
        drop(queue);
        if wake {
            self.work.notify_one();
        }
        if after > BACKLOG_BYTES {
            self.backlogged.store(true, Ordering::Release);
        }
        seq
    }

    /// Moves what is queued into `buffer`, which is empty.
    pub(super) fn take(&self, queue: &mut Queue, buffer: &mut Vec<u8>) -> Seq {
        if buffer.capacity() > KEEP_BYTES {
            *buffer = Vec::new();
        }
        std::mem::swap(&mut queue.bytes, buffer);
        self.backlogged.store(false, Ordering::Release);
        queue.last
    }

    /// Whether callers are to wait before they write more.
    pub(super) fn is_backlogged(&self) -> bool {
        self.backlogged.load(Ordering::Acquire) && self.health.load(Ordering::Relaxed) == GOOD
    }

    /// Asks for a sync now.
    pub(super) fn request_sync(&self) {
        self.request(|queue| queue.sync = true);
    }

    pub(super) fn request_rotation(&self) -> Seq {
        self.request(|queue| {
            queue.rotate = true;
            Seq(queue.last.0 + 1)
        })
    }

    pub(super) fn request_stop(&self) {
        self.request(|queue| queue.stop = true);
    }

    fn request<R>(&self, ask: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.queue.lock();
        queue.parked = false;
        let answer = ask(&mut queue);
        drop(queue);
        self.work.notify_one();
        answer
    }

    pub(super) fn policy(&self) -> Fsync {
        match self.policy.load(Ordering::Relaxed) {
            0 => Fsync::Always,
            1 => Fsync::EverySecond,
            _ => Fsync::No,
        }
    }

    pub(super) fn set_policy(&self, policy: Fsync) {
        self.policy.store(policy as u8, Ordering::Relaxed);
        // Who waited under the old one is served by a sync now.
        self.request_sync();
    }

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Acquire) {
            GOOD => Health::Good,
            FULL => Health::Full,
            _ => Health::Poisoned(self.reason.lock().clone()),
        }
    }

    /// Whether writes are taken, at the cost of a load.
    pub(super) fn is_good(&self) -> bool {
        self.health.load(Ordering::Relaxed) == GOOD
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.health.load(Ordering::Relaxed) == POISONED
    }

    pub(super) fn set_full(&self, full: bool) {
        let (from, to) = if full { (GOOD, FULL) } else { (FULL, GOOD) };
        let _ = self
            .health
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends all writing, for good. The first reason stays.
    pub(super) fn poison(&self, reason: String) {
        let mut first = self.reason.lock();
        if first.is_empty() {
            *first = reason;
        }
        drop(first);
        self.health.store(POISONED, Ordering::Release);
        self.durable.fail();
        self.written.fail();
        self.rotated.fail();
    }
}
