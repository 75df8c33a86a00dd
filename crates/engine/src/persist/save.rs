//! Making snapshots: when they are due, when somebody asks, one at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::effect::Seq;
use crate::engine::Engine;
use crate::journal::snapshot::write::{self, Made, Plan};
use crate::journal::{Journal, Waiters};

/// How long after a failure the next is tried, unless somebody asks.
const RETRY_US: u64 = 60_000_000;

/// Why no snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// One is being made.
    #[error("Background save already in progress")]
    Running,
    /// The engine keeps nothing.
    #[error("nothing is kept: the data folder is memory (setting `data`: --data or SANGAM_DATA)")]
    InMemory,
    /// It failed; the text says how.
    #[error("{0}")]
    Failed(String),
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The file and what is in it.
    pub made: Made,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// The longest that it kept others from a keyspace, microseconds.
    pub longest_hold_us: u64,
}

/// What is known of the snapshots of an engine.
#[derive(Debug, Default)]
pub struct Saves {
    running: AtomicBool,
    /// How many were begun.
    begun: AtomicU64,
    /// How many of them have ended.
    ended: Waiters,
    /// When the last good one was made, or the engine started; microseconds
    /// since the epoch.
    last_good_us: AtomicU64,
    /// When the last bad one ended; 0 if there was none.
    last_bad_us: AtomicU64,
    /// What the last one came to.
    last: Mutex<Option<Result<Saved, String>>>,
    cancel: AtomicBool,
}

impl Saves {
    pub(crate) fn new(now_us: u64) -> Self {
        Saves {
            last_good_us: AtomicU64::new(now_us),
            ..Saves::default()
        }
    }

    /// Whether one is being made.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Waits for the end of a snapshot.
    pub(crate) async fn ended(&self, ticket: Ticket) {
        let _ = self.ended.wait(Seq(ticket.0)).await;
    }

    /// Microseconds since the epoch when the last good one was made.
    pub fn last_good_us(&self) -> u64 {
        self.last_good_us.load(Ordering::Relaxed)
    }

    fn failed_lately(&self, now_us: u64) -> bool {
        let last_bad_us = self.last_bad_us.load(Ordering::Relaxed);
        last_bad_us > self.last_good_us() && now_us.saturating_sub(last_bad_us) < RETRY_US
    }

    /// What the last one came to, if there was one.
    pub fn last(&self) -> Option<Result<Saved, String>> {
        self.last.lock().clone()
    }
}

/// Which snapshot one asked for: its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Held while a snapshot is made.
struct Turn<'a>(&'a Saves);

impl Turn<'_> {
    fn ticket(&self) -> Ticket {
        Ticket(self.0.begun.load(Ordering::Acquire))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Ticket(number) = self.ticket();
        self.0.running.store(false, Ordering::Release);
        self.0.ended.advance(Seq(number));
    }
}

impl Engine {
    /// What is known of its snapshots.
    pub fn saves(&self) -> &Saves {
        &self.0.saves
    }

    /// Makes a snapshot now and waits for it. Other callers go on; the calling
    /// thread must hold no [`Batch`](crate::Batch).
    pub fn save(&self) -> Result<Saved, SaveError> {
        let _turn = self.take_turn()?;
        self.make_snapshot()
    }

    /// Makes a snapshot on a thread of its own.
    pub fn save_in_background(&self) -> Result<Ticket, SaveError> {
        let turn = self.take_turn()?;
        let ticket = turn.ticket();
        // The thread takes the turn over.
        std::mem::forget(turn);
        let engine = self.clone();
        let spawned = thread::Builder::new()
            .name("snapshot".into())
            .spawn(move || {
                let _turn = Turn(engine.saves());
                let _ = engine.make_snapshot();
            });
        spawned.map(|_| ticket).map_err(|error| {
            drop(Turn(self.saves()));
            SaveError::Failed(error.to_string())
        })
    }

    /// Makes one if the log has grown enough since the last.
    pub(crate) fn save_if_due(&self) {
        let Some(journal) = self.journal() else {
            return;
        };
        let settings = self.settings();
        let grown = journal.log_bytes();
        let share = (journal.snapshot_bytes() / 100).saturating_mul(settings.rewrite_percentage);
        if settings.rewrite_percentage > 0
            && grown >= settings.rewrite_min_size.max(share)
            && !self.saves().is_running()
            && !self.saves().failed_lately(self.now_micros())
        {
            let _ = self.save_in_background();
        }
    }

    /// Ends a snapshot that is being made and waits for its end.
    pub(crate) fn stop_saving(&self) {
        self.saves().cancel.store(true, Ordering::Release);
        while self.saves().is_running() {
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn take_turn(&self) -> Result<Turn<'_>, SaveError> {
        if self.journal().is_none() {
            return Err(SaveError::InMemory);
        }
        if self.saves().running.swap(true, Ordering::AcqRel) {
            return Err(SaveError::Running);
        }
        self.saves().begun.fetch_add(1, Ordering::AcqRel);
        Ok(Turn(self.saves()))
    }

    fn make_snapshot(&self) -> Result<Saved, SaveError> {
        let Some(journal) = self.journal() else {
            return Err(SaveError::InMemory);
        };
        let outcome = self.write_snapshot(journal);
        let saves = self.saves();
        let now_us = self.now_micros();
        let time = if outcome.is_ok() {
            &saves.last_good_us
        } else {
            &saves.last_bad_us
        };
        time.store(now_us, Ordering::Relaxed);
        *saves.last.lock() = Some(outcome.clone());
        outcome.map_err(SaveError::Failed)
    }

    fn write_snapshot(&self, journal: &Journal) -> Result<Saved, String> {
        let started = quanta::Instant::now();
        let log_bytes = journal.log_bytes();
        journal.rotate().map_err(|lost| lost.to_string())?;
        // The order counts: see `Plan::floor`.
        let floor = journal.last();
        let keyspaces = self.keyspaces();
        let plan = Plan {
            storage: &**journal.storage(),
            log: journal.id(),
            floor,
            keyspaces: &keyspaces,
            begun_ms: self.now_micros() / 1000,
            salt: self.next_seed(),
            clock: &|| started.elapsed().as_micros() as u64,
            cancel: &self.saves().cancel,
            sync_log: &|seq| journal.sync_blocking(seq),
        };
        let (made, longest_hold_us) =
            write::make(&plan, &mut |_| {}).map_err(|error| error.to_string())?;
        journal
            .discard_before(made.cut, made.bytes, log_bytes)
            .map_err(|error| error.to_string())?;
        Ok(Saved {
            made,
            took_us: started.elapsed().as_micros() as u64,
            longest_hold_us,
        })
    }
}
