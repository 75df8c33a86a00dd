//! Replies that come later: what a blocked session waits for.
//!
//! The command has run and its lock is free; a front door waits as its kind of
//! caller can, then asks for the reply.

use super::persistence::durable_here;
use crate::engine::Engine;
use crate::reply::Reply;
use crate::session::Blocked;

impl Engine {
    /// Waits for what `blocked` wants, however long that takes; its patience is
    /// for the caller to keep.
    pub async fn unblocked(&self, blocked: &Blocked) {
        let outcome = self.durable(blocked.seq).await;
        // What is lost is not worth waiting for: the reply says that it is.
        if blocked.forever && outcome.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// The same for a thread, and its reply.
    pub(crate) fn unblock_thread(&self, blocked: &Blocked) -> Reply {
        let started = quanta::Instant::now();
        let outcome = match self.journal() {
            Some(journal) => journal.wait_blocking(blocked.seq, blocked.patience),
            None => Some(Ok(())),
        };
        if blocked.forever && outcome == Some(Ok(())) {
            match blocked.patience {
                Some(patience) => {
                    std::thread::sleep(patience.saturating_sub(started.elapsed()));
                }
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
