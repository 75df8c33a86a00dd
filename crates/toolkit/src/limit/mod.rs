//! Limits: so much in such a time, for whoever an identifier names; several rules at
//! once, all or nothing.
//!
//! ```
//! use std::time::Duration;
//! use sangam::limit::{Algorithm, Limit, Limiter, Rule};
//! use sangam::store::Store;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limiter = Limiter::new(Store::memory());
//! let rule = Rule::new(Algorithm::SlidingWindow, 5, Duration::from_secs(900))?;
//! let by_user = Limit { name: "login", rule, id: b"ann" };
//! let by_address = Limit { name: "login-address", rule, id: b"192.0.2.7" };
//! for _ in 0..5 {
//!     assert!(limiter.check(&[by_user, by_address], 1).await?.allowed);
//! }
//! let sixth = limiter.check(&[by_user, by_address], 1).await?;
//! assert!(!sixth.allowed && sixth.retry_after > Some(Duration::ZERO));
//! # Ok(())
//! # }
//! ```
//!
//! A refused request consumes nothing, in every algorithm. When the store cannot be
//! asked the policy decides, and the decision says so. Time is the store's, by
//! [`Store::now`](sangam_store::Store::now); a key's time to live only clears up.
//!
//! Counts that an app shares with one that uses another package: [`compat`].
//!
//! Cost in billed commands over a store that bills (in process nothing is billed):
//!
//! | | a check | where a window begins, or a bucket is full | refused |
//! |---|---|---|---|
//! | fixed window, sliding window | 2 | 3 | 3; then 0 while it is remembered |
//! | bucket | 2 | 2 where this process guesses right, else 3 | 3; then 0 while it is remembered |
//! | sliding log | 3 | 3 | 2; then 0 while it is remembered |
//! | concurrency | 3 | 3 | 2: who holds a permit may renew it; 0 while a block is remembered |
//! | windows and buckets, [leased](Mode::Leased) | at most 0.2 on average at a steady rate | the same | 2; then 0 while it is remembered |
//!
//! Remembered too is that a request took the last of a limit: the next is refused for
//! 0. What another instance gives back meanwhile is seen within a minute.
//!
//! A second rule adds one less than its row. Changes (refund, penalty, block) cost 3.
//! Instances that share limits with the policy `local` or by leases see how many they
//! are for 3 twice a minute, while they check anything; what an instance let through
//! by `local` is charged for 3 a key.
//!
//! On a cluster the rules of one request may lie in different slots. They are
//! reserved in each slot and then committed or given back: still all or nothing, and
//! never more than a limit; a hit that nobody was let in for may be held back for a
//! second. A rule then costs 3 more than its row, in two round trips; what is refused
//! in one slot is asked a second time there.

mod across;
mod adjust;
mod algorithm;
pub mod analytics;
mod check;
pub mod class;
pub mod compat;
mod decision;
mod guard;
#[cfg(feature = "http")]
pub mod http;
mod instances;
mod key;
mod lease;
mod limiter;
mod local;
mod memory;
mod overrides;
mod rule;
mod terms;

pub use class::{Class, ClassError, Classes, Request, Settings};
pub use decision::{Decision, Outcome, Ruled};
pub use guard::{
    Counted, Counts, Event, Guard, GuardError, Judged, Refusal, Subject, Verdict, Watch,
    WatchError, WatchState,
};
pub use lease::Unleased;
pub use limiter::{Limit, LimitError, Limiter};
pub use overrides::Override;
pub use rule::{Algorithm, Rule, RuleError};
pub use terms::{Mode, Policy, Terms};

#[cfg(test)]
mod tests;
