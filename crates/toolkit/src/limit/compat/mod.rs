//! Limits whose keys are another package's, so that an app that still uses it and one
//! that uses Sangam count together while one replaces the other.
//!
//! [`UpstashLimiter`] has one budget with npm `@upstash/ratelimit` 2.2: its keys, its
//! values, its decisions.
//!
//! | the package's limiter | rule | key and value |
//! |---|---|---|
//! | `fixedWindow(limit, window)`, `cachedFixedWindow` | fixed window | `<prefix>:<id>:<floor(now / window)>`, a decimal |
//! | `slidingWindow(limit, window)` | sliding window | two such keys, of this window and the one before |
//! | `tokenBucket(limit, window, burst)` | token bucket | `<prefix>:<id>`, a hash of `refilledAt` (ms) and `tokens` |
//!
//! The package's `dynamicLimits`, deny lists and analytics have keys of their own and
//! are not read; several regions are several stores.
//!
//! What holds, whoever of the two asks:
//!
//! - Both admit in the same states. The sliding window's weight is computed in the same
//!   floating point, so that both round alike.
//! - A request that Sangam refuses consumes nothing. One that the package refuses does
//!   in its two window algorithms, and Sangam counts that as the package does.
//! - What Sangam writes has a time to live, at least as long as the package's. A count
//!   that the package left without one (`cachedFixedWindow`) gets one at the first
//!   check by each process.
//! - An identifier is never a pattern: a reset of `*` removes the keys of `*`.
//!
//! What differs from [`Limiter`](crate::limit::Limiter): windows are aligned to the
//! epoch, and a bucket refills `limit` at once at the end of each window. The package
//! computes windows by its host's clock, Sangam by [`Store::now`](sangam_store::Store::now):
//! where these differ, each begins a window at its own time, and a moment's hits may be
//! counted in two windows. Keys hold identifiers as they are, of any length. The policies
//! are `open` and `closed` (`local` is `closed`), and there are no leases. A refusal is
//! remembered as there: what the package gives back or resets is seen when that is over,
//! at the latest after a minute. A sliding window's keys lie in two slots, so there is
//! none of this on a cluster.
//!
//! Billed commands:
//!
//! | | a check | where a window begins | refused |
//! |---|---|---|---|
//! | fixed window | 2 | 3 | 3; then 0 while it is remembered |
//! | sliding window | 3 | 4 | 2; then 0 while it is remembered |
//! | token bucket | 4 | 4 | 2; then 0 while it is remembered |
//!
//! Where a process first meets a fixed window's key after its window has begun, that check
//! costs one more, for the time to live. A peek and a reset cost 1.

mod upstash;

pub use upstash::{SharedDecision, UpstashLimiter};
