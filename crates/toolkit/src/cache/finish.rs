//! Writes that come to their end though their caller gives up: what the store may have
//! taken, this process has to forget, and its own words on the bus do not tell it to.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::fetch::spawn;

type Work<A> = Pin<Box<dyn Future<Output = A> + Send>>;

/// Work that is done in its caller's task, and once begun goes on in one of its own if
/// the caller drops it.
pub(super) struct Finish<A: Send + 'static> {
    work: Option<Work<A>>,
    begun: bool,
}

pub(super) fn finish<A: Send + 'static>(
    work: impl Future<Output = A> + Send + 'static,
) -> Finish<A> {
    Finish {
        work: Some(Box::pin(work)),
        begun: false,
    }
}

impl<A: Send + 'static> Future for Finish<A> {
    type Output = A;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A> {
        self.begun = true;
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<A: Send + 'static> Drop for Finish<A> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take().filter(|_| self.begun) {
            // Without a runtime nothing is served any more either.
            let _ = spawn(async move { drop(work.await) });
        }
    }
}
