//! Replies that come later: what a blocked session waits for.
//!
//! The command has run and its lock is free; a front door waits as its kind of
//! caller can, then asks for the reply.

use super::persistence::{durable_here, saved};
use crate::engine::Engine;
use crate::journal::Lost;
use crate::reply::Reply;
use crate::session::{Awaited, Blocked};

impl Engine {
    /// Waits for what `blocked` wants, however long that takes; its patience is
    /// for the caller to keep.
    pub async fn unblocked(&self, blocked: &Blocked) {
        let comes = match blocked.on {
            Awaited::Durable { seq, forever } => self.durable(seq).await.is_ok() && !forever,
            Awaited::Snapshot(number) => self.saves().ended(number).await,
        };
        if !comes {
            std::future::pending::<()>().await;
        }
    }

    /// The same for a thread, and its reply.
    pub(crate) fn unblock_thread(&self, blocked: &Blocked) -> Reply {
        let comes = match blocked.on {
            Awaited::Durable { seq, forever } => {
                let journal = self.journal();
                let outcome =
                    journal.and_then(|journal| journal.wait_blocking(seq, blocked.patience));
                !forever && !matches!(outcome, Some(Err(Lost)))
            }
            Awaited::Snapshot(number) => self.saves().ended_blocking(number),
        };
        if !comes {
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
        match blocked.on {
            Awaited::Durable { seq, .. } => {
                let durable = self.journal().map(|journal| journal.durable());
                durable_here(durable.is_some_and(|durable| durable >= seq))
            }
            Awaited::Snapshot(_) => saved(self),
        }
    }
}
