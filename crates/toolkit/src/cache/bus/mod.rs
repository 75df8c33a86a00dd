//! How instances hear what the others invalidated.
//!
//! The truth is a stream in the store, `<prefix>{cache}:bus`. Who writes appends what
//! it changed; who reads compares ([`Bus::verify`]): it reads the entries after the
//! last one that it knows, and that one too, to see that it stands there still. So no
//! word is ever lost without being noticed: a stream that was trimmed, flushed, or went
//! with a failed node does not hold the entry any more, and then everything counts as
//! invalidated ([`Listener::lost`]). Pub/sub says the same words sooner and is believed
//! in nothing else ([`listen`]): what it loses, the next comparison finds.
//!
//! Invariants:
//!
//! - What was in the stream before a comparison was sent is applied when it ends.
//! - What is in memory holds for the heartbeat after a comparison that succeeded
//!   ([`Bus::is_trusted`]), and not before the time at which that was sent, so that a
//!   clock that was put back extends nothing beyond it.
//! - A position in the stream is always an entry. Where there is no stream, the
//!   comparison begins one; nothing else does (`NOMKSTREAM`). So every stream has a
//!   time to live from its first moment, and an empty one is never taken for "nothing
//!   was said": without a stream nobody has a position that holds.
//! - Words of this process are skipped: who says them has applied them.
//! - Finding the end of the stream, for the first time too, counts as words lost: what
//!   is in memory by then was never compared.
//!
//! What a comparison cannot see is a failover that loses acknowledged writes: an entry
//! that this process never read, lost while what it spoke of was kept. Both go together
//! where they lie on one node; in a cluster the value may lie on another, and what is in
//! memory then lives on until its own end.
//!
//! In billed commands: what is said costs 2 (XADD and PUBLISH), without push 1. A
//! comparison costs 1, and 1 more for each 1,000 messages since the last; there is one in
//! every heartbeat in which something is read (after nine tenths of it, where reading
//! goes on), one after each 500 messages that were pushed, at the next read, and none
//! while nothing is read. The stream's time to live is renewed by 1 each 15 minutes in
//! which this process says or compares anything. After words were lost, a comparison
//! costs 2 to 4 once.
//!
//! The stream keeps 10,000 messages; fewer, but 1,000, where they are so large that they
//! would have more than 16 MiB.

mod heard;
mod listen;
mod message;
mod position;
mod soon;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Commands, Error, Status, Store};

use super::key::{self, TagId};
use crate::background::Background;
use heard::Heard;
use message::Instance;
use position::Position;
use soon::Pause;
use turns::{Step, Turns};

/// Entries that the stream keeps at least: the fewest, and the most.
const KEPT: (usize, usize) = (1000, 10_000);
/// Bytes of them from which on it keeps fewer.
const KEPT_BYTES: usize = 16 << 20;
/// Messages after which memory is compared before the heartbeat ends, so that the stream
/// does not outrun who reads.
const MANY: u64 = 500;
/// How long the stream lives after it was renewed, in seconds.
const TTL: &[u8] = b"3600";
/// How often it is renewed.
const RENEW_US: u64 = 15 * 60 * 1_000_000;
/// The field of an entry that has the message.
const FIELD: &[u8] = b"m";

/// What was invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Key(Box<str>),
    Tag(TagId),
}

/// Changes of one cache, as one message says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) cache: Box<str>,
    pub(super) changes: Vec<Change>,
}

/// Who is told. It is told in no lock of the bus, and must not wait.
pub(super) trait Listener: Send + Sync {
    /// Others changed this. It may be told twice.
    fn changed(&self, changes: &Changes);
    /// Words were lost: anything may have been invalidated.
    fn lost(&self);
}

/// How instances hear of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coherence {
    /// By messages that the store pushes, and by comparing with the store once in a
    /// heartbeat.
    Push,
    /// By comparing alone.
    Poll,
    /// Not at all: there is one instance, or values may be as old as they live.
    Off,
}

/// The way to and from the other instances.
#[derive(Debug)]
pub(super) struct Bus {
    shared: Arc<Shared>,
    /// Tasks hold `shared` while they compare; they end with this.
    tasks: Arc<Background>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    /// Of the stream, and of the channel.
    name: Vec<u8>,
    coherence: Coherence,
    heartbeat_us: u64,
    listener: Weak<dyn Listener>,
    instance: Instance,
    /// Of the last message of this instance.
    sequence: AtomicU64,
    /// When the stream's time to live was renewed; 0 for never.
    renewed_us: AtomicU64,
    verified_at_us: AtomicU64,
    verified_until_us: AtomicU64,
    due_us: AtomicU64,
    turns: Turns,
    position: Mutex<Option<Position>>,
    heard: Mutex<Heard>,
    /// Messages that were pushed since the last comparison.
    pushed: AtomicU64,
    pause: Mutex<Pause>,
    /// Whether a comparison in the background is under way.
    soon: AtomicBool,
    /// Whether it has to be followed by another.
    again: AtomicBool,
    listening: AtomicBool,
    commands: AtomicU64,
}

impl Bus {
    pub(super) fn new(
        store: Store,
        prefix: &str,
        coherence: Coherence,
        heartbeat: Duration,
        listener: Weak<dyn Listener>,
    ) -> Self {
        let coherence = match store.state().status {
            Status::Disabled => Coherence::Off,
            _ => coherence,
        };
        let untold = match coherence {
            Coherence::Off => u64::MAX,
            Coherence::Push | Coherence::Poll => 0,
        };
        let shared = Shared {
            store,
            name: key::bus(prefix),
            coherence,
            heartbeat_us: u64::try_from(heartbeat.as_micros()).unwrap_or(u64::MAX),
            listener,
            instance: message::instance(),
            sequence: AtomicU64::new(0),
            renewed_us: AtomicU64::new(0),
            verified_at_us: AtomicU64::new(0),
            verified_until_us: AtomicU64::new(untold),
            due_us: AtomicU64::new(untold),
            turns: Turns::default(),
            position: Mutex::new(None),
            heard: Mutex::default(),
            pushed: AtomicU64::new(0),
            pause: Mutex::default(),
            soon: AtomicBool::new(false),
            again: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            commands: AtomicU64::new(0),
        };
        Bus {
            shared: Arc::new(shared),
            tasks: Arc::default(),
        }
    }

    /// Until when, by the store's clock, memory may be served as fresh; always where
    /// coherence is off, 0 before the first comparison. See [`Bus::is_trusted`].
    #[inline]
    pub(super) fn verified_until_us(&self) -> u64 {
        self.shared.verified_until_us.load(Ordering::Acquire)
    }

    /// From when on; an earlier time is one of a clock that was put back.
    #[inline]
    pub(super) fn verified_at_us(&self) -> u64 {
        self.shared.verified_at_us.load(Ordering::Acquire)
    }

    /// Whether memory was ever compared, or never is.
    pub(super) fn was_verified(&self) -> bool {
        self.verified_until_us() > 0
    }

    /// Whether memory was compared with the store within the heartbeat before this moment.
    #[inline]
    pub(super) fn is_trusted(&self, now_us: u64) -> bool {
        now_us < self.verified_until_us() && now_us >= self.verified_at_us()
    }

    /// The same, and it is not time yet to compare again.
    #[inline]
    pub(super) fn is_fresh(&self, now_us: u64) -> bool {
        now_us < self.due_us() && now_us >= self.verified_at_us()
    }

    /// From when on a read should call [`Bus::verify_soon`].
    #[inline]
    pub(super) fn due_us(&self) -> u64 {
        self.shared.due_us.load(Ordering::Acquire)
    }

    /// All that was said before this call began is applied when it ends.
    pub(super) async fn verify(&self) -> Result<(), Error> {
        if self.shared.coherence == Coherence::Off {
            return Ok(());
        }
        listen::start(&self.shared, &self.tasks);
        self.shared.verify().await
    }

    /// The same in the background: one at a time, and after a failure not at once.
    pub(super) fn verify_soon(&self) {
        if self.shared.coherence == Coherence::Off {
            return;
        }
        listen::start(&self.shared, &self.tasks);
        soon::start(&self.shared, &self.tasks);
    }

    /// The same where it is time to.
    #[inline]
    pub(super) fn verify_if_due(&self, now_us: u64) {
        if !self.is_fresh(now_us) {
            self.verify_soon();
        }
    }

    /// Appends the commands that tell the others. That they fail or are never sent
    /// costs the others a comparison at most.
    pub(super) fn say(&self, commands: &mut Commands, changes: &Changes) {
        let shared = &*self.shared;
        if shared.coherence == Coherence::Off || changes.changes.is_empty() {
            return;
        }
        let next = || shared.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        for text in message::write(shared.instance, next, changes) {
            let kept = kept(&text);
            commands.push(&[
                b"XADD",
                &shared.name,
                b"NOMKSTREAM",
                b"MAXLEN",
                b"~",
                kept.as_bytes(),
                b"*",
                FIELD,
                &text,
            ]);
            if shared.coherence == Coherence::Push {
                commands.push(&[b"PUBLISH", &shared.name, &text]);
            }
        }
        if shared.renews() {
            commands.push(&[b"EXPIRE", &shared.name, TTL]);
        }
    }

    /// Tells this process what the bus does not, since it said it itself.
    pub(super) fn tell_here(&self, changes: &Changes) {
        if let Some(listener) = self.shared.listener.upgrade() {
            listener.changed(changes);
        }
    }

    /// How many commands comparisons have sent.
    pub(super) fn commands(&self) -> u64 {
        self.shared.commands.load(Ordering::Relaxed)
    }
}

/// How many entries the stream keeps when this one is appended.
fn kept(text: &[u8]) -> String {
    let room = KEPT_BYTES / text.len().max(1);
    room.clamp(KEPT.0, KEPT.1).to_string()
}

impl Shared {
    async fn verify(&self) -> Result<(), Error> {
        let ticket = self.turns.ticket();
        loop {
            let mut ended = std::pin::pin!(self.turns.ended());
            ended.as_mut().enable();
            match self.turns.step(ticket) {
                Step::Over(outcome) => return outcome,
                Step::Wait => ended.await,
                Step::Lead(turn) => {
                    let outcome = self.compare().await;
                    self.pause.lock().after(outcome.is_ok());
                    turn.end(outcome.clone());
                    return outcome;
                }
            }
        }
    }

    /// One comparison; its caller's turn.
    async fn compare(&self) -> Result<(), Error> {
        let began = self.store.now();
        self.pushed.store(0, Ordering::Relaxed);
        if !self.follow().await? {
            self.begin().await?;
        }
        let until = began.saturating_add(self.heartbeat_us);
        let due = until - self.heartbeat_us.min(until - began) / 10;
        self.verified_at_us.store(began, Ordering::Release);
        self.verified_until_us.store(until, Ordering::Release);
        self.due_us.store(due, Ordering::Release);
        Ok(())
    }

    /// A message was pushed. After many of them the next read compares.
    fn count_pushed(&self) {
        if self.pushed.fetch_add(1, Ordering::Relaxed) + 1 >= MANY {
            self.due_us.store(0, Ordering::Release);
        }
    }

    /// Whether the stream's time to live is to be renewed now, by the caller.
    fn renews(&self) -> bool {
        let now = self.store.now().max(1);
        let renewed = self.renewed_us.load(Ordering::Relaxed);
        let is_over = renewed == 0 || now < renewed || now - renewed >= RENEW_US;
        is_over
            && self
                .renewed_us
                .compare_exchange(renewed, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
