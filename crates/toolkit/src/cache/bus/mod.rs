//! stub
use super::key::TagId;
use sangam_store::{Commands, Error, Store};
use std::sync::{Arc, Weak};
use std::time::Duration;

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

/// Who is told.
pub(super) trait Listener: Send + Sync {
    fn changed(&self, changes: &Changes);
    /// Words were lost: anything may have been invalidated.
    fn lost(&self);
}

/// How instances hear of each other
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coherence {
    Push,
    Poll,
    Off,
}

#[derive(Debug)]
pub(super) struct Bus {
    inner: Arc<()>,
}

impl Bus {
    pub(super) fn new(
        store: Store,
        prefix: &str,
        coherence: Coherence,
        heartbeat: Duration,
        listener: Weak<dyn Listener>,
    ) -> Self {
        let _ = (store, prefix, coherence, heartbeat, listener);
        Bus {
            inner: Arc::new(()),
        }
    }
    /// until when (store us) memory may be served; u64::MAX when off; 0 before the first
    #[inline]
    pub(super) fn verified_until_us(&self) -> u64 {
        let _ = &self.inner;
        unimplemented!()
    }
    /// from when (store us) on a read should call verify_soon
    #[inline]
    pub(super) fn due_us(&self) -> u64 {
        unimplemented!()
    }
    /// Whether it need not be asked at this moment.
    #[inline]
    pub(super) fn is_fresh(&self, now_us: u64) -> bool {
        let _ = now_us;
        unimplemented!()
    }
    /// Whether memory was compared with the store within the heartbeat before this moment.
    #[inline]
    pub(super) fn is_trusted(&self, now_us: u64) -> bool {
        let _ = now_us;
        unimplemented!()
    }
    /// Begins a verification in the background if it is time for one.
    pub(super) fn verify_if_due(&self, now_us: u64) {
        let _ = now_us;
        unimplemented!()
    }
    /// All that was said before this call began is applied when it ends.
    pub(super) async fn verify(&self) -> Result<(), Error> {
        unimplemented!()
    }
    pub(super) fn verify_soon(&self) {
        unimplemented!()
    }
    /// Appends the commands that tell the others.
    pub(super) fn say(&self, commands: &mut Commands, changes: &Changes) {
        let _ = (commands, changes);
        unimplemented!()
    }
    /// how many commands were sent by verification (metrics)
    pub(super) fn commands(&self) -> u64 {
        unimplemented!()
    }
}
