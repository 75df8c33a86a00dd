//! What tests stand on: networks that fail on purpose and real servers.
//!
//! [`proxy`] stands between a client and its server and makes the faults of
//! networks: refusals, resets in the middle, silence, delays, thin lines; over
//! HTTP also the answers of gateways that are ill. [`redis`] starts real
//! `redis-server` processes: one, a replica, a cluster, a set of sentinels, and
//! kills, pauses and restarts them.
//!
//! A test crate: others name it among their dev-dependencies only, and it knows
//! no crate of ours, so that whatever is tested is not also what tests it.
//! Whatever fails here panics, with a line that says what was waited for; every
//! wait has a deadline. Servers end with their values, and with the process of
//! the test however that ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a test fails"
)]

pub mod proxy;
pub mod random;
pub mod redis;
pub mod wait;

mod port;
mod worker;
