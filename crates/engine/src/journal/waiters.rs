//! Those who wait for a seq to be reached.
//!
//! Tasks leave a waker; threads wait by way of the same wakers. Who advances
//! stores the seq before it looks for wakers, who waits looks at the seq again
//! after it has left its waker: none is forgotten. Cost where nobody has to
//! wait: one load.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use crate::effect::Seq;

/// What was waited for will not come: the journal failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal failed before this was durable")]
pub struct Lost;

#[derive(Debug, Default)]
pub(crate) struct Waiters {
    reached: AtomicU64,
    lost: AtomicBool,
    queue: Mutex<Vec<(u64, Waker)>>,
}

impl Waiters {
    pub(crate) fn reached(&self) -> Seq {
        Seq(self.reached.load(Ordering::Acquire))
    }

    /// Everything up to `seq` is reached.
    pub(crate) fn advance(&self, seq: Seq) {
        self.reached.fetch_max(seq.0, Ordering::SeqCst);
        self.wake(|waiting| waiting <= seq.0);
    }

    /// Nothing more will be reached.
    pub(crate) fn fail(&self) {
        self.lost.store(true, Ordering::SeqCst);
        self.wake(|_| true);
    }

    fn wake(&self, is_due: impl Fn(u64) -> bool) {
        let mut due = Vec::new();
        self.queue.lock().retain(|(seq, waker)| {
            let stays = !is_due(*seq);
            if !stays {
                due.push(waker.clone());
            }
            stays
        });
        due.into_iter().for_each(Waker::wake);
    }

    fn look(&self, seq: Seq) -> Poll<Result<(), Lost>> {
        if self.reached.load(Ordering::SeqCst) >= seq.0 {
            Poll::Ready(Ok(()))
        } else if self.lost.load(Ordering::SeqCst) {
            Poll::Ready(Err(Lost))
        } else {
            Poll::Pending
        }
    }

    /// Waits for `seq`.
    pub(crate) fn wait(&self, seq: Seq) -> Reach<'_> {
        Reach {
            waiters: self,
            seq,
            left: None,
        }
    }

    /// The same for a thread; `None` once `patience` is over.
    pub(crate) fn wait_blocking(
        &self,
        seq: Seq,
        patience: Option<Duration>,
    ) -> Option<Result<(), Lost>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut reach = self.wait(seq);
        let started = quanta::Instant::now();
        loop {
            if let Poll::Ready(result) = Pin::new(&mut reach).poll(&mut context) {
                return Some(result);
            }
            match patience {
                None => thread::park(),
                Some(patience) => {
                    let left = patience.saturating_sub(started.elapsed());
                    if left.is_zero() {
                        return None;
                    }
                    thread::park_timeout(left);
                }
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A future that is ready when its seq is reached.
pub(crate) struct Reach<'a> {
    waiters: &'a Waiters,
    seq: Seq,
    /// The waker that was left.
    left: Option<Waker>,
}

impl Future for Reach<'_> {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (waiters, seq) = (self.waiters, self.seq);
        if let Poll::Ready(result) = waiters.look(seq) {
            // Its waker was taken out, or goes with the next that advances.
            self.left = None;
            return Poll::Ready(result);
        }
        let known = self
            .left
            .as_ref()
            .is_some_and(|left| left.will_wake(context.waker()));
        if !known {
            let waker = context.waker().clone();
            self.left = Some(waker.clone());
            waiters.queue.lock().push((seq.0, waker));
        }
        waiters.look(seq)
    }
}

impl Drop for Reach<'_> {
    /// Who gives up leaves nothing behind: a disk may be stuck for long, and
    /// callers with little patience many.
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            self.waiters
                .queue
                .lock()
                .retain(|(seq, waker)| *seq != self.seq.0 || !waker.will_wake(&left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let waiters = Waiters::default();
        for _ in 0..10 {
            let patience = Some(Duration::from_millis(1));
            assert_eq!(waiters.wait_blocking(Seq(1), patience), None);
        }
        assert_eq!(waiters.queue.lock().len(), 0);
    }

    #[test]
    fn everybody_up_to_the_seq_is_woken_and_the_rest_wait() {
        let waiters = Arc::new(Waiters::default());
        let threads: Vec<_> = (1..=40u64)
            .map(|seq| {
                let waiters = waiters.clone();
                thread::spawn(move || waiters.wait_blocking(Seq(seq), None))
            })
            .collect();
        for seq in 1..=20 {
            waiters.advance(Seq(seq * 2));
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Some(Ok(())));
        }
        let patience = Some(Duration::from_millis(5));
        assert_eq!(waiters.wait_blocking(Seq(41), patience), None);
        waiters.fail();
        assert_eq!(waiters.wait_blocking(Seq(41), None), Some(Err(Lost)));
        assert_eq!(waiters.wait_blocking(Seq(40), None), Some(Ok(())));
    }
}
