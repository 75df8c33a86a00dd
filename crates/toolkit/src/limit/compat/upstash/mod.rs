//! Keys and values of `@upstash/ratelimit`. Each algorithm is a file, and a step in Rust
//! and in Lua, which agree to the byte; a fourth has what they answer in common, and
//! `limiter` the keys, the memory of refusals and what becomes of errors.

mod bucket;
mod fixed;
mod limiter;
mod sliding;
mod standing;

pub use limiter::{SharedDecision, UpstashLimiter};

#[cfg(test)]
mod tests;
