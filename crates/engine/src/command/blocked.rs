//! Replies that come later: what a blocked session waits for.
//!
//! The command has run and its lock is free; a front door waits as its kind of
//! caller can, then asks for the reply.

use super::persistence::durable_here;
use crate::engine::Engine;
use crate::journal::Lost;
use crate::reply::Reply;
use crate::session::Blocked;

impl Engine {
    /// Waits for what `blocked` wants, however long that takes; its patience is
    /// for the caller to keep.
    pub async fn unblocked(&self, blocked: &Blocked) {
        let lost = match self.durable(blocked.seq).await {
            Ok(()) => false,
            Err(Lost) => true,
        };
        if blocked.forever || lost {
            std::future::pending::<()>().await;
        }
    }

    /// The same for a thread, and its reply.
    pub(crate) fn unblock_thread(&self, blocked: &Blocked) -> Reply {
        let journal = self.journal();
        let outcome =
            journal.and_then(|journal| journal.wait_blocking(blocked.seq, blocked.patience));
        if blocked.forever || matches!(outcome, Some(Err(Lost))) {
            match blocked.patience {
                Some(patience) => std::thread::sleep(patience),
                None => loop {
                    std::thread::park();
                },
            }
        }
        self.blocked_reply(blocked)
    }

    /// The reply of a session that was blocked, as things are now.
    pub fn blocked_reply(&self, blocked: &Blocked) -> Reply {
        let durable = self.journal().map(|journal| journal.durable());
        durable_here(durable.is_some_and(|durable| durable >= blocked.seq))
    }
}
