//! Sangam's primitives: what every app builds on top of its Redis, and usually
//! gets wrong, written once on [`Store`](store::Store) and so on every back end.
//!
//! | module | what |
//! |---|---|
//! | [`limit`] | rate limits and concurrency limits, several at once, all or nothing |

pub mod limit;

pub use sangam_store as store;
