//! A keyspace: one database of one tenant, behind one lock.
//!
//! Commands, scripts and transactions of a keyspace run one after the other
//! under [`Keyspace::data`], so each is atomic by construction; keyspaces run
//! in parallel. What must answer while the lock is held (SCRIPT KILL, /live,
//! metrics) is kept beside it.

mod class;
mod cut;
mod db;
mod lock;
mod record;
mod removal;
mod slow;
#[cfg(test)]
pub(crate) mod tests;
mod undo;
mod unit;
mod watch;

pub use class::{Class, Durability};
pub use cut::{Rest, Walk};
pub use db::{Db, DbStats};
pub use lock::{Busy, Guard, Lock};
pub use record::{Expire, Key, Record, StrRef};
pub(crate) use slow::{SlowEntry, SlowLog};
pub use watch::WatchFlag;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::command::stat::CommandStats;
use crate::pubsub::Hub;

/// One database; see the module.
pub struct Keyspace {
    /// Its number in the log.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it promises.
    pub class: Class,
    pub(crate) data: Lock<Db>,
    pub(crate) hub: Hub,
    pub(crate) script: RunningScript,
    pub(crate) slow_log: Mutex<SlowLog>,
    /// Counts of what ran or was refused without the lock.
    pub(crate) unlocked: Mutex<CommandStats>,
    /// Position of its last write, readable without the lock.
    pub(crate) last_seq: AtomicU64,
}

/// The script that holds the lock right now, if any.
#[derive(Debug, Default)]
pub struct RunningScript {
    running: AtomicBool,
    kill: AtomicBool,
}

impl RunningScript {
    pub(crate) fn start(&self) {
        self.kill.store(false, Ordering::SeqCst);
        self.running.store(true, Ordering::SeqCst);
    }

    pub(crate) fn finish(&self) {
        self.running.store(false, Ordering::SeqCst);
        self.kill.store(false, Ordering::SeqCst);
    }

    /// Asks the running script to stop; whether there is one.
    pub(crate) fn request_kill(&self) -> bool {
        if !self.running.load(Ordering::SeqCst) {
            return false;
        }
        self.kill.store(true, Ordering::SeqCst);
        true
    }

    pub(crate) fn kill_requested(&self) -> bool {
        self.kill.load(Ordering::Relaxed)
    }
}

impl Keyspace {
    pub(crate) fn new(id: u32, name: String, class: Class, db: Db) -> Self {
        Keyspace {
            id,
            name,
            class,
            data: Lock::new(db),
            hub: Hub::default(),
            script: RunningScript::default(),
            slow_log: Mutex::default(),
            unlocked: Mutex::default(),
            last_seq: AtomicU64::new(0),
        }
    }

    /// Position of its last write.
    pub fn last_seq(&self) -> crate::effect::Seq {
        crate::effect::Seq(self.last_seq.load(Ordering::Acquire))
    }

    /// Whether a script runs past its limit: callers get BUSY.
    pub fn is_busy(&self) -> bool {
        self.data.is_busy()
    }
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
