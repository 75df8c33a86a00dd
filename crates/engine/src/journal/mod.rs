//! The journal: what is acknowledged is never lost.
//!
//! One ordered log for the process, a frame for each atomic unit, snapshots
//! that bound what has to be replayed. The format and the argument why recovery
//! is right stand in docs/journal.md; this folder is their code:
//!
//! - [`storage`]: files, real or failing on purpose;
//! - [`frame`], [`segment`], [`watermark`]: the log's parts as bytes;
//! - [`snapshot`]: the state at a cut;
//! - `queue`: where callers leave frames; `writer`: the thread that takes them;
//!   `log`: the segment it writes to; `spare`: the one allocated ahead;
//!   `waiters`: who waits for a sync; `group`: how many one sync serves;
//! - [`scan`]: a segment's frames, and what stands where they stop;
//! - [`recover`]: from the files to the state, at start;
//! - [`check`]: what is wrong with the files, and its repair;
//! - [`backup`]: a copy while it runs, and the way back.
//!
//! Cost to a caller: one lock and one copy of its effects.

pub mod backup;
pub mod check;
pub mod frame;
mod group;
mod log;
mod quarantine;
mod queue;
pub mod recover;
mod repair;
pub mod scan;
pub mod segment;
pub mod snapshot;
mod spare;
pub mod storage;
mod waiters;
pub mod watermark;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::effect::{EffectSink, Effects, Seq};
use crate::keyspace::Class;
use crate::random::Random;
use frame::FrameKind;
use log::Log;
use queue::Shared;
use spare::Spares;
use storage::{Storage, WaryStorage};
use watermark::Watermark;
use writer::Writer;

pub use queue::Health;
pub use waiters::Lost;
pub(crate) use waiters::Waiters;

/// How long a snapshot waits for the writer on a full disk.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);

/// Stands in a folder while a backup is restored into it.
pub const RESTORING: &str = "restoring";

/// Names the files that belong together: random, made with the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// When the log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before the reply.
    Always = 0,
    /// Each second.
    #[default]
    EverySecond = 1,
    /// When the system likes.
    No = 2,
}

impl Fsync {
    /// Its name, as Redis' `appendfsync` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
            Fsync::No => "no",
        }
    }

    /// The policy of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Fsync::Always, Fsync::EverySecond, Fsync::No]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }
}

/// How a journal is kept.
#[derive(Debug, Clone, Copy)]
pub struct JournalOptions {
    /// When it is synced.
    pub fsync: Fsync,
    /// Bytes of a segment; small ones are for tests.
    pub segment_size: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions {
            fsync: Fsync::default(),
            segment_size: segment::SEGMENT_SIZE,
        }
    }
}

/// Where a journal goes on.
pub(crate) struct Begin {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) watermark: Watermark,
    /// The last seq of what is there, all of it durable.
    pub(crate) last: Seq,
    /// Bytes of frames since the last snapshot.
    pub(crate) log_bytes: u64,
    /// Bytes of that.
    pub(crate) snapshot_bytes: u64,
}

/// The running journal. Dropping it writes and syncs what is queued.
pub struct Journal {
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    storage: Arc<dyn Storage>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    id: LogId,
    /// Bytes of the last snapshot.
    snapshot_bytes: AtomicU64,
}

impl Journal {
    /// Begins a segment behind what is there, and starts the threads.
    pub(crate) fn start(start: Begin, options: JournalOptions) -> io::Result<Self> {
        let storage: Arc<dyn Storage> = Arc::new(WaryStorage::new(start.storage));
        let shared = Arc::new(Shared::new(start.last, options.fsync, start.log_bytes));
        let spares = Arc::new(Spares::new(
            storage.clone(),
            shared.clone(),
            options.segment_size,
        ));
        let id = start.watermark.log();
        let mut log = Log {
            storage: storage.clone(),
            clock: start.clock,
            shared: shared.clone(),
            spares: spares.clone(),
            id,
            random: start.random,
            watermark: start.watermark,
            segment_size: options.segment_size,
            segment: None,
        };
        if !log.begin_segment(Seq(start.last.0 + 1))? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let allocator = spares.clone();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.into()).spawn(work)
        };
        let threads = vec![
            spawn("journal", Box::new(move || Writer::new(log).run()))?,
            spawn("journal-spare", Box::new(move || allocator.run()))?,
        ];
        Ok(Journal {
            shared,
            spares,
            storage,
            threads: Mutex::new(threads),
            id,
            snapshot_bytes: AtomicU64::new(start.snapshot_bytes),
        })
    }

    /// Takes one unit of a keyspace.
    pub(crate) fn append(&self, now_ms: u64, keyspace: u32, kind: FrameKind, bytes: &[u8]) -> Seq {
        self.shared.append(now_ms, keyspace, kind, bytes)
    }

    /// Says that a keyspace exists, before its first unit.
    pub(crate) fn declare(&self, now_ms: u64, keyspace: u32, class: Class, name: &str) -> Seq {
        let mut payload = vec![class.to_byte()];
        payload.extend_from_slice(name.as_bytes());
        self.append(now_ms, keyspace, FrameKind::Keyspace, &payload)
    }

    /// The last seq that was given.
    pub fn last(&self) -> Seq {
        self.shared.lock().last
    }

    /// Everything up to this is durable.
    pub fn durable(&self) -> Seq {
        self.shared.durable.reached()
    }

    /// Whether its policy is `always`.
    pub fn is_always(&self) -> bool {
        self.shared.policy() == Fsync::Always
    }

    /// Whether a reply that depends on `seq` has to wait.
    pub fn must_wait(&self, seq: Seq) -> bool {
        self.shared.policy() == Fsync::Always && self.durable() < seq
    }

    /// Waits until everything up to `seq` is durable.
    pub async fn wait(&self, seq: Seq) -> Result<(), Lost> {
        self.shared.durable.wait(seq).await
    }

    /// The same for a thread; `None` once `patience` is over.
    pub fn wait_blocking(&self, seq: Seq, patience: Option<Duration>) -> Option<Result<(), Lost>> {
        self.shared.durable.wait_blocking(seq, patience)
    }

    /// Makes everything up to `seq` durable, whatever the policy. Fails where
    /// the disk is full and no room comes.
    pub(crate) fn sync_blocking(&self, seq: Seq) -> io::Result<()> {
        if self.durable() < seq {
            self.request_sync();
        }
        self.wait_while_room(&self.shared.durable, seq)
            .ok_or(io::ErrorKind::StorageFull)?
            .map_err(io::Error::other)
    }

    /// Waits for `seq`; `None` where the writer waits for room meanwhile, which
    /// may be for ever.
    fn wait_while_room(&self, waiters: &Waiters, seq: Seq) -> Option<Result<(), Lost>> {
        loop {
            let outcome = waiters.wait_blocking(seq, Some(ROOM_PATIENCE));
            if outcome.is_some() || self.health() == Health::Full {
                return outcome;
            }
        }
    }

    /// Makes what was written so far durable soon, whatever the policy.
    pub fn request_sync(&self) {
        self.shared.request_sync();
    }

    /// Whether callers should wait before they write more.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.shared.is_backlogged()
    }

    /// Waits until what is queued now was given to the system.
    pub(crate) async fn drained(&self) {
        let last = self.last();
        let _ = self.shared.written.wait(last).await;
    }

    /// The same for a thread.
    pub(crate) fn drained_blocking(&self) {
        let last = self.last();
        let _ = self.shared.written.wait_blocking(last, None);
    }

    /// Ends the newest segment, so that those before it can go once a snapshot
    /// stands for them. Where the disk is full it goes on instead.
    pub(crate) fn rotate(&self) -> Result<(), Lost> {
        let first = self.shared.request_rotation();
        self.wait_while_room(&self.shared.rotated, first)
            .unwrap_or(Ok(()))
    }

    /// Removes what a snapshot with this lowest cut, durable now and of so many
    /// bytes, stands for: `log_bytes` of the log.
    pub(crate) fn discard_before(
        &self,
        cut: Seq,
        snapshot_bytes: u64,
        log_bytes: u64,
    ) -> io::Result<()> {
        let names = self.storage.list()?;
        let mut segments: Vec<Seq> = names
            .iter()
            .filter_map(|name| segment::segment_of(name))
            .collect();
        segments.sort();
        for pair in segments.windows(2) {
            if let [first, next] = pair
                && next.0 <= cut.0 + 1
            {
                self.storage.remove(&segment::segment_name(*first))?;
            }
        }
        let older = names
            .iter()
            .filter(|name| snapshot::snapshot_of(name).is_some_and(|other| other < cut));
        for name in older {
            self.storage.remove(name)?;
        }
        self.storage.sync_folder()?;
        self.snapshot_bytes.store(snapshot_bytes, Ordering::Relaxed);
        self.shared
            .log_bytes
            .fetch_sub(log_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that wait to be written.
    pub fn queued_bytes(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// Bytes of frames since the last snapshot.
    pub fn log_bytes(&self) -> u64 {
        self.shared.log_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the last snapshot, which decide when the next is due.
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes.load(Ordering::Relaxed)
    }

    /// The name of its files' log.
    pub fn id(&self) -> LogId {
        self.id
    }

    /// Where its files are.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// When it is synced.
    pub fn fsync(&self) -> Fsync {
        self.shared.policy()
    }

    /// Changes when it is synced.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.shared.set_policy(fsync);
    }

    /// Whether writes are taken.
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Syncs so far, and how many of them took longer than a second.
    pub fn syncs(&self) -> (u64, u64) {
        (
            self.shared.syncs.load(Ordering::Relaxed),
            self.shared.slow_syncs.load(Ordering::Relaxed),
        )
    }

    /// Writes and syncs what is queued, and stops. From then on writes are
    /// refused, and who waits for one that came later gets [`Lost`].
    pub fn close(&self) {
        self.spares.stop();
        self.shared.request_stop();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
        // Made anew at the next start; not worth its bytes until then.
        let _ = self.storage.remove(segment::SPARE);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("fsync", &self.fsync())
            .field("durable", &self.durable())
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl EffectSink for Arc<Journal> {
    fn wants_effects(&self) -> bool {
        true
    }

    fn admit(&self) -> Result<(), String> {
        if self.shared.is_good() {
            return Ok(());
        }
        let reason = match self.health() {
            Health::Good => return Ok(()),
            Health::Full => "No space left on device".to_owned(),
            Health::Poisoned(reason) => reason,
        };
        Err(format!("MISCONF Errors writing to the AOF file: {reason}"))
    }

    fn append(&self, keyspace: u32, now_ms: u64, effects: &Effects) -> Seq {
        Journal::append(
            self,
            now_ms,
            keyspace,
            FrameKind::Effects,
            effects.as_bytes(),
        )
    }
}
