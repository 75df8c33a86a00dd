//! Replies that come later: what a blocked session waits for.
//!
//! The command has run and its lock is free; a front door waits as its kind of
//! caller can, then asks for the reply. A command that waits for a key runs
//! again when the key was written ([`Batch::serve_waiting`]): its handler is
//! written once, and asks [`Ctx::candidates`] which of its keys to look at.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use quanta::Instant;

use super::dispatch::Batch;
use super::persistence::{durable_here, refusal};
use super::spec::{Run, find};
use super::{Ctx, args};
use crate::effect::Seq;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Key, Waiter};
use crate::persist::SaveError;
use crate::reply::Reply;
use crate::session::{Blocked, Place, Request, Until, Wait};
use crate::value::float::Extended;

impl Ctx<'_> {
    /// Which of its `keys` a command that may wait has to look at: all when it
    /// comes, the one that was written when it runs again.
    pub(crate) fn candidates<'k>(&self, keys: &'k [&'k [u8]]) -> &'k [&'k [u8]] {
        let Some(written) = &self.session.serving else {
            return keys;
        };
        let at = keys.iter().position(|key| **key == **written);
        at.and_then(|at| keys.get(at..=at)).unwrap_or_default()
    }

    /// Makes the caller wait, and answers in its handler's place. `argv` is what
    /// runs again. Inside a script or a transaction nobody waits.
    pub(crate) fn wait(&mut self, argv: &[&[u8]], wait: Wait<'_>) -> Reply {
        if self.session.serving.take().is_some() {
            return Reply::Null;
        }
        if self.session.scripted || self.db.is_recording() {
            return wait.otherwise;
        }
        let request = Request::new(self.session, argv);
        let patience = wait.patience;
        let waiter = self.db.waiting_room().enter(request, wait);
        *self.session.client.waiter.lock() = Arc::downgrade(&waiter);
        self.session.blocked = Some(Blocked {
            until: Until::Served(Place(waiter)),
            patience,
        });
        Reply::Null
    }
}

/// A time-out in seconds, fractions allowed; 0 is none.
pub(crate) fn seconds(text: &[u8]) -> Result<Option<Duration>, CommandError> {
    let bad = CommandError::text("ERR timeout is not a float or out of range");
    let seconds = Extended::parse(text).ok_or(bad)?.to_f64();
    millis((seconds * 1000.0).ceil())
}

/// A time-out in whole milliseconds; 0 is none.
pub(crate) fn milliseconds(text: &[u8]) -> Result<Option<Duration>, CommandError> {
    let bad = "ERR timeout is not an integer or out of range";
    let millis = u64::try_from(args::int_or(text, bad)?)
        .map_err(|_| CommandError::text("ERR timeout is negative"))?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

fn millis(millis: f64) -> Result<Option<Duration>, CommandError> {
    /// What 63 bits hold; Redis 7.0 takes more for a negative number.
    const MOST: f64 = 9_223_372_036_854_775_808.0;
    /// The same less the time of day, with room for some centuries.
    const LONGEST: f64 = MOST - 1e14;
    if !(0.0..MOST).contains(&millis) {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    if millis > LONGEST {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok((millis > 0.0).then(|| Duration::from_millis(millis as u64)))
}

impl Batch<'_> {
    /// Serves those who wait for what the last unit wrote, and for what that
    /// wrote in turn.
    pub(super) fn serve_waiting(&mut self) {
        let mut written = VecDeque::from(self.db_mut().take_written());
        while let Some(key) = written.pop_front() {
            let room = self.db().waiting_room().clone();
            let mut last = 0;
            loop {
                let exists = self.db_mut().exists(&key);
                let Some((number, waiter)) = room.next(&key, last, exists) else {
                    break;
                };
                last = number;
                self.serve(&waiter, &key);
            }
            written.extend(self.db_mut().take_written());
        }
    }

    /// Runs a waiter's command again; it stays where that finds nothing.
    fn serve(&mut self, waiter: &Waiter, key: &Key) {
        let Some(attended) = waiter.attend() else {
            return;
        };
        let mut session = waiter.request.session(key);
        let argv: Vec<&[u8]> = waiter.request.argv.iter().map(Vec::as_slice).collect();
        let Some(Run::Locked(handler)) =
            argv.first().and_then(|name| find(name)).map(|c| c.spec.run)
        else {
            return;
        };
        let outcome = self.with_ctx(&mut session, |ctx| handler(ctx, &argv));
        let in_vain = session.serving.is_none();
        // Another type has taken the key: what it waits for may come yet.
        if in_vain || (matches!(outcome, Err(CommandError::WrongType)) && !waiter.minds_removal) {
            return;
        }
        self.log();
        attended.serve(outcome.unwrap_or_else(Reply::from), self.seq());
        self.db().waiting_room().leave(waiter);
    }
}

impl Engine {
    /// Waits for what `blocked` wants, however long that takes; its patience is
    /// for the caller to keep.
    pub async fn unblocked(&self, blocked: &Blocked) {
        match &blocked.until {
            // What is lost is not worth waiting for: the reply says that it is.
            Until::Durable(seq) => {
                let _ = self.durable(*seq).await;
            }
            Until::Never(seq) => {
                if self.durable(*seq).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            }
            Until::Replicas => std::future::pending().await,
            Until::Saved(ticket) => self.saves().ended(*ticket).await,
            Until::Served(place) => poll_fn(|context| place.0.poll_ended(context)).await,
        }
    }

    /// The same for a thread, and its reply.
    pub(crate) fn unblock_thread(&self, blocked: &Blocked) -> (Reply, Seq) {
        let deadline = blocked
            .patience
            .and_then(|patience| Instant::now().checked_add(patience));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut wait = pin!(self.unblocked(blocked));
        while wait.as_mut().poll(&mut context) == Poll::Pending {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
        self.blocked_reply(blocked)
    }

    /// The reply of a session that was blocked, as things are now, and the last
    /// write that it depends on.
    pub fn blocked_reply(&self, blocked: &Blocked) -> (Reply, Seq) {
        let reply = match &blocked.until {
            Until::Durable(seq) | Until::Never(seq) => {
                let durable = self.journal().map(|journal| journal.durable());
                durable_here(durable.is_some_and(|durable| durable >= *seq))
            }
            Until::Replicas => Reply::Int(0),
            Until::Saved(_) => match self.saves().last() {
                Some(Err(text)) => refusal(SaveError::Failed(text)).into(),
                _ => Reply::OK,
            },
            Until::Served(place) => return place.0.leave(),
        };
        (reply, Seq::default())
    }
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
