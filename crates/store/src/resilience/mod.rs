//! Failure made visible and bounded, once for all stores over a network.
//!
//! A call's life: the gate (so many may wait, and so many bytes), the breaker
//! (nothing is sent to a store that is down), the back end under a deadline, and
//! then the judgement: a reply; no effect, so perhaps a repeat; or unknown.
//!
//! Invariants: a call ends within its time-out; what may have been applied is
//! never repeated; whatever the state says has a reason and a time.

mod backoff;
mod breaker;
mod clock;
mod gate;
mod guarded;
mod state;

pub(crate) use backoff::Backoff;
pub(crate) use clock::ServerClock;
pub(crate) use guarded::Guarded;
pub use state::{Metrics, State, Status};

#[cfg(test)]
mod tests;
