//! What the caches of one app share in a process: the store, the bus, what waits to be
//! sent, and each other's names.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Error, Store, Why};

use super::bus::{Bus, Changes, Listener};
use super::caches::Options;
use super::gate::Gate;
use super::patience::Patience;
use super::pending::Pending;
use super::report::Stats;
use super::value::Stamp;

/// A cache, whatever its values are.
pub(super) trait Member: Send + Sync {
    fn name(&self) -> &str;
    fn stats(&self) -> Stats;
    /// Somebody else changed what this cache may have in memory.
    fn apply(&self, changes: &Changes);
    /// Words were lost: nothing that is in memory is to be believed.
    fn lost(&self);
}

pub(super) struct Hub {
    pub(super) store: Store,
    pub(super) prefix: String,
    pub(super) bus: Arc<Bus>,
    pub(super) pending: Pending,
    pub(super) gate: Arc<Gate>,
    patience: Patience,
    members: Arc<Members>,
    writer: u32,
    last_us: AtomicU64,
    /// Whether values and words lie in different slots of a cluster.
    apart: AtomicBool,
}

/// Caches by their names; several of one process may share one.
#[derive(Default)]
struct Members(Mutex<ByName>);

type ByName = HashMap<Box<str>, Vec<Weak<dyn Member>>>;

impl Hub {
    pub(super) fn new(store: Store, options: &Options) -> Self {
        let members = Arc::new(Members::default());
        let listener = Arc::downgrade(&members);
        let heartbeat = options.heartbeat_over(&store);
        let bus = Bus::new(
            store.clone(),
            &options.prefix,
            options.coherence,
            heartbeat,
            listener,
        );
        let bus = Arc::new(bus);
        let apart = store.is_cluster();
        let pending = Pending::new(store.clone(), bus.clone());
        Hub {
            gate: pending.gate().clone(),
            pending,
            patience: Patience::default(),
            store,
            prefix: options.prefix.clone(),
            bus,
            members,
            writer: ahash::RandomState::new().hash_one(0) as u32,
            last_us: AtomicU64::new(0),
            apart: AtomicBool::new(apart),
        }
    }

    /// The name of the next writing: later than all before of this process.
    pub(super) fn stamp(&self) -> Stamp {
        let now = self.store.now();
        let last = self
            .last_us
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                Some(now.max(last + 1))
            });
        let last = match last {
            Ok(last) | Err(last) => last,
        };
        Stamp {
            time_us: now.max(last + 1),
            writer: self.writer,
        }
    }

    /// Whether the store is not left alone now. Of those who ask while it is, one each
    /// `trial` is told that it is not.
    pub(super) fn store_is_there(&self, trial: Duration) -> Result<(), Error> {
        if self.patience.is_over(|| self.store.now(), trial) {
            let why = "it took too long, and is asked again soon".to_owned();
            return Err(Error::Unavailable(Why::Open(why)));
        }
        Ok(())
    }

    /// What became of a call says whether the store answers. Connections that fail are
    /// the store's own business: those calls do not take long.
    pub(super) fn called<A>(&self, outcome: &Result<A, Error>) {
        match outcome {
            Err(Error::Unavailable(Why::Timeout(_)) | Error::Indeterminate(Why::Timeout(_))) => {
                self.patience.failed(self.store.now());
            }
            Err(Error::Unavailable(_) | Error::Indeterminate(_)) => {}
            _ => self.patience.answered(),
        }
    }

    /// Whether a write and the word of it cannot be one step.
    pub(super) fn speaks_apart(&self) -> bool {
        self.apart.load(Ordering::Relaxed)
    }

    pub(super) fn speak_apart(&self) {
        self.apart.store(true, Ordering::Relaxed);
    }

    pub(super) fn enlist(&self, member: Weak<dyn Member>, name: &str) {
        let mut members = self.members.0.lock();
        // Names whose caches are gone do not gather.
        members.retain(|_, named| {
            named.retain(|it| it.strong_count() > 0);
            !named.is_empty()
        });
        members.entry(name.into()).or_default().push(member);
    }

    /// Tells other caches of this process that have the same name.
    pub(super) fn tell(&self, from: &dyn Member, changes: &Changes) {
        let own = std::ptr::from_ref(from).cast::<()>();
        for member in self.members.named(&changes.cache) {
            if !std::ptr::eq(Arc::as_ptr(&member).cast::<()>(), own) {
                member.apply(changes);
            }
        }
    }

    pub(super) fn stats(&self) -> Vec<(String, Stats)> {
        let all = self.members.all();
        let mut stats: Vec<_> = all
            .iter()
            .map(|member| (member.name().to_owned(), member.stats()))
            .collect();
        stats.sort_by(|one, other| one.0.cmp(&other.0));
        stats
    }
}

impl Members {
    fn named(&self, name: &str) -> Vec<Arc<dyn Member>> {
        let members = self.0.lock();
        let named = members.get(name).into_iter().flatten();
        named.filter_map(Weak::upgrade).collect()
    }

    fn all(&self) -> Vec<Arc<dyn Member>> {
        let members = self.0.lock();
        members
            .values()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }
}

impl Listener for Members {
    fn changed(&self, changes: &Changes) {
        for member in self.named(&changes.cache) {
            member.apply(changes);
        }
    }

    fn lost(&self) {
        for member in self.all() {
            member.lost();
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hub")
            .field("store", &self.store.place())
            .finish_non_exhaustive()
    }
}
