//! What happens on an async worker when a command turns out to run long.
//!
//! The worker's other tasks (`/live`, other keyspaces, the timer) must not wait
//! for it. tokio's `block_in_place` offers the worker's place to a fresh thread
//! and takes it back at once if no thread has come yet; so this stays inside
//! until one has. From then on this thread belongs to the long unit alone.
//!
//! Cost: some 100 µs, for units that run for many milliseconds.

use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

/// How long to wait for a thread to come.
const ARRIVAL: Duration = Duration::from_millis(20);
/// Between a thread's arrival and its taking of the worker's place lie a few
/// instructions; this is the time for them.
const TAKEOVER: Duration = Duration::from_micros(200);

/// Gives this thread's place as an async worker to another one. Does nothing
/// on a thread that is none.
pub(crate) fn free_this_worker() {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
        return;
    }
    tokio::task::block_in_place(|| {
        // The pool is a queue: once it runs this, it has taken up what
        // `block_in_place` put in before.
        let (arrived, arrival) = mpsc::sync_channel(1);
        runtime.spawn_blocking(move || arrived.send(()));
        let _ = arrival.recv_timeout(ARRIVAL);
        std::thread::sleep(TAKEOVER);
    });
}
