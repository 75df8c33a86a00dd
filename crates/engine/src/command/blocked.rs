//! Replies that come later: what a blocked session waits for.
//!
//! The command has run and its lock is free; a front door waits as its kind of
//! caller can, then asks for the reply.

use std::thread;

use super::persistence::{durable_here, refusal};
use crate::effect::Seq;
use crate::engine::Engine;
use crate::journal::Lost;
use crate::persist::SaveError;
use crate::reply::Reply;
use crate::session::{Blocked, Until};

impl Engine {
    /// Waits for what `blocked` wants, however long that takes; its patience is
    /// for the caller to keep.
    pub async fn unblocked(&self, blocked: &Blocked) {
        match blocked.until {
            // What is lost is not worth waiting for: the reply says that it is.
            Until::Durable(seq) => {
                let _ = self.durable(seq).await;
            }
            Until::Never(seq) => {
                if self.durable(seq).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            }
            Until::Saved(ticket) => self.saves().ended(ticket).await,
        }
    }

    /// The same for a thread, and its reply.
    pub(crate) fn unblock_thread(&self, blocked: &Blocked) -> Reply {
        match blocked.until {
            Until::Durable(seq) => {
                self.wait_durable(seq, blocked);
            }
            Until::Never(seq) => {
                let started = quanta::Instant::now();
                if self.wait_durable(seq, blocked) == Some(Ok(())) {
                    match blocked.patience {
                        Some(patience) => {
                            thread::sleep(patience.saturating_sub(started.elapsed()));
                        }
                        None => loop {
                            thread::park();
                        },
                    }
                }
            }
            Until::Saved(ticket) => self.saves().ended_blocking(ticket),
        }
        self.blocked_reply(blocked)
    }

    fn wait_durable(&self, seq: Seq, blocked: &Blocked) -> Option<Result<(), Lost>> {
        match self.journal() {
            Some(journal) => journal.wait_blocking(seq, blocked.patience),
            None => Some(Ok(())),
        }
    }

    /// The reply of a session that was blocked, as things are now.
    pub fn blocked_reply(&self, blocked: &Blocked) -> Reply {
        match blocked.until {
            Until::Durable(seq) | Until::Never(seq) => {
                let durable = self.journal().map(|journal| journal.durable());
                durable_here(durable.is_some_and(|durable| durable >= seq))
            }
            Until::Saved(_) => match self.saves().last() {
                Some(Err(text)) => refusal(SaveError::Failed(text)).into(),
                _ => Reply::OK,
            },
        }
    }
}
