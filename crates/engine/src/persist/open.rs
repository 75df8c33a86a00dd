//! An engine on a folder: recovered, then journaled.

use std::io;
use std::sync::Arc;

use super::restore::{Progress, Restorer};
use crate::effect::Seq;
use crate::engine::{Engine, Options};
use crate::journal::recover::{self, RecoverError, Recovered};
use crate::journal::storage::Storage;
use crate::journal::{Begin, Journal, JournalOptions, LogId};
use crate::random::Random;

/// Why an engine cannot be opened on its folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is there cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The journal cannot go on behind it.
    #[error("the journal cannot be continued: {0}")]
    Start(#[from] io::Error),
}

/// What was found in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whether the folder was new.
    pub new: bool,
    /// The snapshot that was loaded.
    pub snapshot: Option<Seq>,
    /// Units that were replayed from the log.
    pub frames: u64,
    /// The last unit.
    pub last: Seq,
    /// Bytes of a torn tail that were set apart, and the file they are in.
    pub quarantined: Option<(String, u64)>,
    /// Snapshots that were not whole, and why.
    pub skipped: Vec<(String, String)>,
}

impl Engine {
    /// An engine with what `storage` holds, which journals to it from now on.
    /// `options.sink` is not used. Blocks until everything is loaded; `progress`
    /// hears how many bytes are done, of how many.
    pub fn open(
        options: Options,
        storage: Arc<dyn Storage>,
        journal: JournalOptions,
        progress: Progress<'_>,
    ) -> Result<(Engine, Opened), OpenError> {
        let clock = options.clock.clone();
        let engine = Engine::empty(options);
        let mut random = Random::new(engine.next_seed());
        let mut name = [0; 16];
        for half in name.chunks_exact_mut(8) {
            half.copy_from_slice(&random.next().to_le_bytes());
        }
        let start = recover::Start {
            fresh: LogId(name),
            now_ms: clock.now_micros() / 1000,
        };
        let mut restorer = Restorer::new(&engine, progress);
        let recovered = recover::recover(&*storage, start, &mut restorer)?;
        restorer.finish();
        let opened = Opened::of(&recovered);
        let journal = Journal::start(
            Begin {
                storage,
                clock,
                random,
                last: recovered.last,
                log_bytes: recovered.log_bytes,
                snapshot_bytes: recovered.snapshot_bytes,
                watermark: recovered.watermark,
            },
            journal,
        )?;
        engine.begin_journal(&Arc::new(journal));
        engine.keyspace("default");
        engine.expire_all();
        Ok((engine, opened))
    }

    /// Ends a snapshot that is being made, commits what is to be kept, writes
    /// and syncs it. What is written later is lost.
    pub fn close(&self) {
        let Some(journal) = self.journal() else {
            return;
        };
        self.stop_saving();
        super::commit_latest(self);
        journal.close();
    }

    /// Removes every key whose time came while nobody looked. It is logged, as
    /// any expiry is: what comes later was decided without these keys.
    fn expire_all(&self) {
        for keyspace in self.keyspaces() {
            if let Some(mut batch) = self.try_batch(&keyspace) {
                batch.expire(usize::MAX);
            }
        }
    }
}

impl Opened {
    fn of(recovered: &Recovered) -> Self {
        Opened {
            new: recovered.new,
            snapshot: recovered.snapshot,
            frames: recovered.frames,
            last: recovered.last,
            quarantined: recovered
                .quarantined
                .as_ref()
                .map(|cut| (cut.file.clone(), cut.bytes)),
            skipped: recovered.skipped.clone(),
        }
    }
}
