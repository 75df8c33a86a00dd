//! Analytics of limits: how many requests were allowed and refused over time, by
//! class, and who comes and is refused most; kept for as long as a setting says.
//!
//! ```
//! use sangam::limit::analytics::{Analytics, Options, Recorded};
//! use sangam::store::Store;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::memory();
//! let analytics = Analytics::new(store.clone(), Options::default())?;
//! analytics.record("login", b"ann", Recorded::Allowed, 1);
//! analytics.record("login", b"bob", Recorded::Refused, 1);
//! analytics.flush().await?;
//! let now_ms = store.now() / 1000;
//! let report = analytics.read("login", now_ms - 60_000, now_ms + 1).await?;
//! assert_eq!((report.totals.allowed, report.totals.refused), (1, 1));
//! assert_eq!(report.top_refused.entries[0].id, b"bob");
//! # Ok(())
//! # }
//! ```
//!
//! Every instance counts in memory, in windows of ten minutes, and writes its totals
//! of a window into the hash `<prefix>limit-stats:{<class>}:<window s>:<start s>`,
//! under field names of its own: its id is drawn at each start. Totals are absolute,
//! so writing them again changes nothing: what failed is written again, and so is
//! what may have been written, and counts once. Reading adds up the instances.
//!
//! **Cost in billed commands.** Writing is two: HSET and PEXPIREAT, as one
//! transaction. An instance writes a class' window when it is over, and earlier only
//! where a tenth of its checks pays for that and for the last time: never more than
//! the larger of 2 and a tenth of the checks, in a window. RESP, which Redis bills
//! nobody for, gets a script instead of a transaction, to spare MULTI and EXEC: 3 the
//! first time in a window (and the larger of 3 and a tenth of the checks in it), then 2.
//! What is lost on the way is written again at its own cost; [`Analytics::flush`] writes
//! each class that has anything to write. In process nothing is billed, and everything
//! is written each [`Options::flush_every`]. Reading costs a HGETALL a window.
//!
//! **Retention.** A key ends [`Options::retention`] after its window. It gets its time
//! to live in the atomic unit that makes it: there is no moment, and no crash, at
//! which it has none. The end is the same moment for all instances and all repeats.
//!
//! **What can be lost.** A process that ends without [`Analytics::flush`] takes with it
//! what it had not written: at most the last window's. While the store cannot be
//! asked, windows wait in memory, 4096 of them; then the oldest are lost, and
//! [`Health::lost`] says so.
//!
//! **Memory.** At most 256 classes, each with at most 256 identifiers of at most 65
//! bytes in each of two lists, below 100 KB a class; waiting windows take some 3 KB
//! each. Others are not recorded, and [`Health::unrecorded`] counts them. The lists are
//! close to exact: see [`Frequent`].
//!
//! **An unknown outcome** ([`Error::Indeterminate`](sangam_store::Error)) is harmless:
//! the same or higher totals follow. Since what is on its way may still arrive after
//! them, and set them back, they are written once more.

mod flush;
mod options;
mod recorded;
mod report;
mod sketch;
mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use parking_lot::{Mutex, RwLock};
use sangam_store::{Error, Store};
use tokio::sync::Semaphore;

use super::class::By;
use super::guard::{Subject, Verdict};
use crate::background::Background;
use flush::{Progress, Waiting};
use window::Window;

pub use options::{AnalyticsError, Ids, Options};
pub use recorded::Recorded;
pub use report::{Frequent, Point, Ranking, Report};
pub use window::Counts;

/// Classes that are recorded.
const CLASSES_MAX: usize = 256;
/// How recording and writing go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Requests that were not recorded: of a class whose name is none, or one of more
    /// than 256.
    pub unrecorded: u64,
    /// Windows of classes that wait to be written.
    pub waiting: usize,
    /// Windows of classes that waited for too long, or with too many others, and were
    /// dropped.
    pub lost: u64,
    /// Attempts to write that failed, or of which nobody knows.
    pub failed: u64,
    /// The last of their errors.
    pub last_error: Option<Error>,
}

/// Counts what limits do, in a store that other instances share. Clones share
/// everything; the background ends with the last of them.
#[derive(Debug, Clone)]
pub struct Analytics(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    store: Store,
    options: Options,
    /// Seconds.
    window: u64,
    instance: u64,
    classes: RwLock<HashMap<Arc<str>, Arc<Class>, RandomState>>,
    /// Windows that are over and have not been written, the oldest first.
    waiting: Mutex<BTreeMap<u64, Arc<Waiting>>>,
    /// Numbers those that wait.
    next: AtomicU64,
    /// One writes at a time, so that no older totals follow newer ones.
    writing: Semaphore,
    unrecorded: AtomicU64,
    lost: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<Error>>,
    background: Background,
}

#[derive(Debug)]
struct Class {
    name: Arc<str>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    open: Option<(Window, Arc<Mutex<Progress>>)>,
    /// Which part of the instance counts.
    part: u32,
    /// The last window of that part that is over.
    ended: Option<u64>,
}

impl Analytics {
    /// Analytics in a store. Inside a tokio runtime they are written in the
    /// background; elsewhere by [`flush`](Self::flush) alone.
    ///
    /// # Errors
    /// Where a setting is out of its bounds.
    pub fn new(store: Store, options: Options) -> Result<Self, AnalyticsError> {
        options.check()?;
        let instance =
            getrandom::u64().map_err(|error| AnalyticsError::Random(error.to_string()))?;
        let inner = Arc::new(Inner {
            store,
            window: options.window.as_secs(),
            options,
            instance,
            classes: RwLock::default(),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            writing: Semaphore::new(1),
            unrecorded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_error: Mutex::default(),
            background: Background::default(),
        });
        flush::in_background(&inner);
        Ok(Analytics(inner))
    }

    /// Counts a request of `cost` for the identifier `id`, of any length. Takes no
    /// call: two uncontended locks and three look-ups in hash tables; once a window
    /// and class also what is written of the last one, some microseconds.
    pub fn record(&self, class: &str, id: &[u8], what: Recorded, cost: u64) {
        let inner = &*self.0;
        let now_s = inner.store.now() / 1_000_000;
        if let Some(class) = inner.classes.read().get(class) {
            return inner.add(class, now_s, id, what, cost);
        }
        match inner.class(class) {
            Some(class) => inner.add(&class, now_s, id, what, cost),
            None => {
                inner.unrecorded.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts what a guard has decided; see [`Recorded::of`].
    pub(in crate::limit) fn record_verdict(
        &self,
        verdict: &Verdict,
        subject: &Subject<'_>,
        cost: u64,
    ) {
        let what = Recorded::of(verdict);
        let class = &verdict.class.name;
        if let Some(id) = recorded::whom(verdict) {
            self.record(class, id.as_bytes(), what, cost);
        } else {
            let id = subject.id(By::User).unwrap_or_default();
            self.record(class, id.as_bytes(), what, cost);
        }
    }

    /// How an identifier appears in the lists.
    pub fn shown(&self, id: &[u8]) -> Vec<u8> {
        if id.len() > sketch::SPELLED_MAX {
            return self.0.options.ids.shown(&sketch::hash(&[id]));
        }
        self.0.options.ids.shown(id)
    }

    /// How recording and writing go.
    pub fn health(&self) -> Health {
        let inner = &*self.0;
        Health {
            unrecorded: inner.unrecorded.load(Ordering::Relaxed),
            waiting: inner.waiting.lock().len(),
            lost: inner.lost.load(Ordering::Relaxed),
            failed: inner.failed.load(Ordering::Relaxed),
            last_error: inner.last_error.lock().clone(),
        }
    }

    /// Writes all that has not been written, also of windows that are not over: what
    /// an app does before it ends.
    ///
    /// # Errors
    /// The last one, where something could not be written: it stays, and is written
    /// later. Dropping the future loses nothing.
    pub async fn flush(&self) -> Result<(), AnalyticsError> {
        Ok(flush::flush(&self.0, true).await?)
    }

    /// What became of a class' requests in the windows that touch `from_ms` to
    /// `to_ms`, in milliseconds since the epoch, the end excluded. Has all that this
    /// instance has counted, and of the others what they have written.
    ///
    /// # Errors
    /// Where the range is too long, or the store cannot be asked.
    pub async fn read(
        &self,
        class: &str,
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Report, AnalyticsError> {
        report::read(&self.0, class, from_ms, to_ms).await
    }
}

/// Whether a name can stand in a key.
fn is_name(class: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&class.len()) && class.bytes().all(is_plain)
}

impl Inner {
    /// The class of that name, which is new; `None` where it cannot be recorded.
    #[cold]
    fn class(&self, name: &str) -> Option<Arc<Class>> {
        if !is_name(name) {
            return None;
        }
        let mut classes = self.classes.write();
        if let Some(class) = classes.get(name) {
            return Some(class.clone());
        }
        if classes.len() >= CLASSES_MAX {
            return None;
        }
        let name: Arc<str> = name.into();
        let class = Arc::new(Class {
            name: name.clone(),
            slot: Mutex::default(),
        });
        classes.insert(name, class.clone());
        Some(class)
    }

    fn add(&self, class: &Class, now_s: u64, id: &[u8], what: Recorded, cost: u64) {
        let mut slot = class.slot.lock();
        self.window(class, &mut slot, now_s)
            .add(id, what, cost, &self.options.ids);
    }

    /// The window that counts now; the one before it is over. A window is counted
    /// once, since its totals only rise. So a clock that was set back by less than a
    /// window counts on in the one that it has reached; set back by more, it returns
    /// to windows that are over, and the instance counts there as another part of
    /// itself, with fields of its own.
    fn window<'a>(&self, class: &Class, slot: &'a mut Slot, now_s: u64) -> &'a mut Window {
        let mut start = now_s - now_s % self.window;
        let stays = |open: u64| open == start || open == start + self.window;
        if slot
            .open
            .as_ref()
            .is_some_and(|(open, _)| !stays(open.start))
        {
            self.close(class, slot);
        }
        if slot.open.is_none() {
            match slot.ended {
                Some(ended) if ended == start => start += self.window,
                Some(ended) if ended > start => {
                    slot.part += 1;
                    slot.ended = None;
                }
                _ => {}
            }
        }
        let part = slot.part;
        let (window, _) = slot
            .open
            .get_or_insert_with(|| (Window::new(start, part), Arc::default()));
        window
    }

    /// Ends the window that counts; what has not been written of it waits.
    fn close(&self, class: &Class, slot: &mut Slot) {
        let Some((window, progress)) = slot.open.take() else {
            return;
        };
        slot.ended = Some(window.start);
        if !progress.lock().owes(window.checks()) {
            return;
        }
        let options = &self.options;
        let waiting = Waiting {
            class: class.name.clone(),
            totals: window.totals(self.instance, options.top, &options.ids),
            progress,
        };
        self.wait(waiting);
    }

    /// `<prefix>limit-stats:{<class>}:<window s>:<start s>`.
    fn key(&self, class: &str, start: u64) -> Vec<u8> {
        let Inner {
            options, window, ..
        } = self;
        format!("{}limit-stats:{{{class}}}:{window}:{start}", options.prefix).into_bytes()
    }
}
