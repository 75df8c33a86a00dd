//! A keyspace: one database of one tenant, behind one lock.
//!
//! Commands, scripts and transactions of a keyspace run one after the other
//! under [`Keyspace::data`], so each is atomic by construction; keyspaces run
//! in parallel. What must answer while the lock is held (SCRIPT KILL, /live,
//! metrics) is kept beside it.

mod access;
mod class;
mod cut;
mod db;
mod fields;
mod lock;
mod pause;
mod record;
mod removal;
pub mod requests;
mod running;
mod slow;
#[cfg(test)]
pub(crate) mod tests;
mod tracking;
mod undo;
mod unit;
mod users;
mod waiting;
mod watch;

pub(crate) use access::frequency;
pub use class::{Class, Durability};
pub use cut::{Rest, Walk};
pub use db::{Db, DbStats};
pub use lock::{Busy, Guard, Lock};
pub(crate) use pause::{Pause, Paused};
pub use record::{Expire, Key, Record, StrRef};
pub use running::{Running, RunningScript};
pub(crate) use slow::{SlowEntry, SlowLog};
pub(crate) use tracking::{Manner, Mark, Tracking, Visible};
pub(crate) use waiting::Waiter;
pub use watch::WatchFlag;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::acl::Users;
use crate::command::stat::CommandStats;
use crate::monitor::Monitors;
use crate::pubsub::Hub;
use crate::script::functions::Counts;

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
    pub(crate) monitors: Monitors,
    pub(crate) pause: Pause,
    /// Who may log in, and what for; changed through [`Db`] only.
    pub(crate) users: Arc<Users>,
    pub(crate) script: RunningScript,
    /// How many libraries there are.
    pub(crate) libraries: Arc<Counts>,
    pub(crate) slow_log: Mutex<SlowLog>,
    /// Counts of what ran or was refused without the lock.
    pub(crate) unlocked: Mutex<CommandStats>,
    /// Position of its last write, readable without the lock.
    pub(crate) last_seq: AtomicU64,
}

impl Keyspace {
    pub(crate) fn new(id: u32, name: String, class: Class, db: Db) -> Self {
        Keyspace {
            id,
            name,
            class,
            libraries: Arc::clone(&db.library_counts),
            users: db.users.clone(),
            data: Lock::new(db),
            hub: Hub::default(),
            monitors: Monitors::default(),
            pause: Pause::default(),
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
