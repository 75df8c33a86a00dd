//! One HTTP connection: hyper's state machine, our time-outs, our end.
//!
//! hyper arms a timer for every request head. Ours is a comparison with the
//! clock: one interval wakes the connection every few seconds, which is exact
//! enough for time-outs of a minute and costs nothing a request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::commands::Commands;
use super::stall::Stalling;
use super::{Caller, Gateway};
use crate::listener::{Ends, Transport};

/// How often a connection looks at its deadlines, at least.
const PULSE: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn serve<C: Commands, S: Transport>(
    gateway: Arc<Gateway<C>>,
    stream: S,
    ends: Ends,
    stop: CancellationToken,
) {
    let remote = ends.remote;
    let caller = Caller::new(&gateway, remote, stop.clone());
    // Requests of a connection come one after the other: whoever runs takes
    // the caller out and puts it back.
    let shared = Arc::new((gateway, Mutex::new(Some(Box::new(caller)))));
    let timing = shared.0.timing.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let (gateway, slot) = &*shared;
            let taken = slot.lock().take();
            let mut caller = taken.unwrap_or_else(|| {
                Box::new(Caller::new(gateway, remote, CancellationToken::new()))
            });
            let response = gateway.handle(&mut caller, request).await;
            *slot.lock() = Some(caller);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(CoarseTimer)
        .header_read_timeout(timing.head)
        .serve_connection(TokioIo::new(Stalling::new(stream, timing.write)), service);
    let mut connection = pin!(connection);
    let mut pulse = tokio::time::interval(PULSE.min(timing.head).min(timing.write));
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = pin!(stop.cancelled());
    let mut stopping = false;
    let outcome = poll_fn(|context| {
        while pulse.poll_tick(context).is_ready() {}
        if !stopping && stopped.as_mut().poll(context).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    });
    if let Err(error) = outcome.await {
        tracing::debug!(remote = %ends.remote, "connection ended: {error}");
    }
}

/// Deadlines that are looked at whenever the connection is polled.
#[derive(Clone, Copy)]
struct CoarseTimer;

struct Deadline(Instant);

impl Timer for CoarseTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline(deadline))
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    // Registers no waker: the connection's pulse polls it again.
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
