//! Writes that come to their end though their caller gives up: what the store may have
//! taken, this process has to forget, and its own words on the bus do not tell it to.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tracing::Instrument as _;

type Work<A> = Pin<Box<dyn Future<Output = A> + Send>>;

/// Work that is done in its caller's task, and once begun goes on in one of its own if
/// the caller drops it.
pub(super) struct Finish<A: Send + 'static> {
    work: Option<Work<A>>,
    /// Where it began; none before it did. It may be dropped elsewhere.
    begun: Option<Handle>,
}

pub(super) fn finish<A: Send + 'static>(
    work: impl Future<Output = A> + Send + 'static,
) -> Finish<A> {
    Finish {
        work: Some(Box::pin(work)),
        begun: None,
    }
}

impl<A: Send + 'static> Future for Finish<A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        let Finish { work, begun } = &mut *self;
        let Some(work) = work else {
            return Poll::Pending;
        };
        if begun.is_none() {
            *begun = Handle::try_current().ok();
        }
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<A: Send + 'static> Drop for Finish<A> {
    fn drop(&mut self) {
        // Without a runtime nothing is served any more either.
        if let Some((work, runtime)) = self.work.take().zip(self.begun.take()) {
            runtime.spawn(async move { drop(work.await) }.in_current_span());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Dropped on whatever thread, with a runtime or without.
    #[test]
    fn what_began_goes_on_where_it_began() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let (goes_on, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let steps = Arc::new(AtomicU32::new(0));
        let work = || {
            let (goes_on, done, steps) = (goes_on.clone(), done.clone(), steps.clone());
            finish(async move {
                steps.fetch_add(1, Ordering::SeqCst);
                goes_on.notified().await;
                steps.fetch_add(1, Ordering::SeqCst);
                done.notify_one();
            })
        };
        let (mut begun, never) = (work(), work());
        runtime.block_on(poll_fn(|context| {
            assert!(Pin::new(&mut begun).poll(context).is_pending());
            Poll::Ready(())
        }));
        drop(begun);
        drop(never);
        goes_on.notify_one();
        runtime.block_on(done.notified());
        assert_eq!(steps.load(Ordering::SeqCst), 2);
    }
}
