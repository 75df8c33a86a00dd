//! Whose request is being served, and what is done when it ends.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limit::class::Class;
use crate::limit::guard::{Guard, Subject, Verdict};

/// Names permits: each another than any other instance's.
#[derive(Debug)]
pub(super) struct Names {
    ours: u64,
    next: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        Names {
            ours: RandomState::new().hash_one(std::process::id()),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> String {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{at:x}", self.ours)
    }
}

/// A request as its class counts it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) guard: Guard,
    pub(super) class: Arc<Class>,
    pub(super) user: Option<String>,
    pub(super) address: Option<IpAddr>,
}

impl Asked {
    pub(super) fn subject<'a>(&'a self, user_agent: Option<&'a str>) -> Subject<'a> {
        Subject {
            user: self.user.as_deref(),
            address: self.address,
            user_agent,
        }
    }
}

/// Gives back what a request took, without anybody waiting for it.
pub(super) fn give_back(guard: Guard, verdict: Verdict, cost: u64) {
    spawn(async move {
        let _ = guard.refund_taken(&verdict, cost).await;
    });
}

/// A permit of a class that counts what runs at one time; returned when dropped,
/// without anybody waiting for it. One that cannot be returned, since the store or
/// the runtime is gone, ends with its lease.
#[derive(Debug)]
pub(super) struct Permit {
    /// `None` where none is held any more.
    asked: Option<Asked>,
    name: String,
}

impl Permit {
    /// A permit that is about to be taken: it is returned too where nobody waited for
    /// the answer.
    pub(super) fn new(asked: &Asked, names: &Names) -> Self {
        Permit {
            asked: Some(asked.clone()),
            name: names.next(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Forgets it: it was not given.
    pub(super) fn forget(mut self) {
        self.asked = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        let name = std::mem::take(&mut self.name);
        spawn(async move {
            let subject = asked.subject(None);
            let _ = asked
                .guard
                .release(&asked.class.name, &subject, &name)
                .await;
        });
    }
}

/// Runs on the runtime of this thread, where there is one.
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}
