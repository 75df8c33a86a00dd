//! Real Redis servers, from a folder each, on free ports of loopback.
//!
//! [`Redis`] is one server; [`Cluster`] and [`Sentinel`] are several that know
//! each other, with time-outs short enough for a fail-over within a few
//! seconds. A machine without `redis-server` fails the test.

mod client;
mod cluster;
mod process;
mod sentinel;
mod server;

pub use client::{Answer, Client};
pub use cluster::Cluster;
pub use sentinel::{MASTER_NAME, Sentinel};
pub use server::{Options, Redis, TLS_CA};
