//! The journal's files under every kind of harm: cut anywhere, flipped
//! anywhere, left by a crash at any point, repaired, sent and restored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod any_bytes;
mod backup;
mod crash;
mod damage;
mod engine;
mod golden;
mod history;

/// Files here have some kilobytes. A length field that is believed before it is
/// compared with the file would ask for gigabytes, and that ends the run.
#[global_allocator]
static LIMITED: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, 512 << 20);
