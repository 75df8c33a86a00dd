//! Sangam's primitives: what every app builds on top of its Redis, and usually
//! gets wrong, written once on [`Store`](store::Store) and so on every back end.
//!
//! | module | what |
//! |---|---|
//! | [`cache`] | values in two tiers: in process and in the store, loaded once, never stale by surprise |
//! | [`limit`] | rate limits and concurrency limits, several at once, all or nothing |

mod background;
#[cfg(feature = "cache")]
pub mod cache;
pub mod limit;

pub use sangam_store as store;
