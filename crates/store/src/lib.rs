//! `Store`: one async client over the embedded engine, Redis or Valkey (single,
//! sentinel, cluster) and Upstash's REST API.
//!
//! ```
//! # async fn example() -> Result<(), sangam_store::Error> {
//! use sangam_store::{Store, Ttl};
//!
//! let store = Store::from_env().await?;
//! store.set(b"greeting", b"hello", Ttl::None).await?;
//! store.call(&[b"LPUSH", b"list", b"any", b"command"]).await?;
//! assert_eq!(store.get(b"greeting").await?, Some(b"hello".to_vec()));
//! # Ok(())
//! # }
//! ```
//!
//! A call ends in one of three ways, and says which: a reply; certainly no
//! effect ([`Error::Unavailable`] and the refusals); an outcome that nobody
//! knows ([`Error::Indeterminate`]). How the store is can be watched
//! ([`Store::states`]).
//!
//! Layers, downwards: `store` (the facade), `subscribe`, `op` and `script`;
//! `resilience` (time-outs, breaker, state); `backend` (engine, Redis, REST).

mod backend;
mod commands;
pub mod data;
mod error;
mod kind;
pub mod op;
mod options;
mod resilience;
mod script;
mod store;
mod subscribe;
mod target;
mod typed;

pub use backend::redis::cluster::slot::slot_of;
pub use commands::{Argv, Commands};
pub use error::{Error, Refusal, Why};
pub use kind::Kind;
pub use op::AtomicOp;
pub use options::Options;
pub use resilience::{Metrics, State, Status};
pub use sangam_engine::pubsub::{Message, Topic};
pub use sangam_engine::{CommandError, Reply, Tx};
pub use script::Script;
pub use store::{Dialect, Store};
pub use subscribe::{Event, Gap, Subscription};
pub use target::{Scheme, Target};
pub use typed::Ttl;
