//! Caches of two tiers: values in this process' memory, over values in the store that
//! all instances share. What is missing is loaded once, however many ask; what was
//! changed is never served again.
//!
//! ```
//! use sangam::cache::{Caches, Loaded, Settings, ttl};
//! use sangam::store::Store;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let caches = Caches::new(Store::from_env().await?);
//! let settings = Settings { ttl: ttl::MEDIUM, ..Settings::default() };
//! let earnings = caches.cache::<Vec<(String, u64)>>("earnings", settings)?;
//!
//! let found = earnings
//!     .get_or_set("42", |_| async {
//!         // The query that is worth it.
//!         let rows = vec![("2026-11-01".to_owned(), 1250)];
//!         Ok::<_, std::io::Error>(Loaded::value(rows).tags(["creator:42"]))
//!     })
//!     .await?;
//! assert_eq!(found[0].1, 1250);
//!
//! earnings.invalidate_tag("creator:42").await?;
//! assert!(earnings.get("42").await?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! - Once a write, a deletion or an invalidation has ended, no read of this process
//!   gives what was there before, and none of another process does later than a
//!   heartbeat ([`Options::heartbeat`]) after it; usually it takes as long as a message
//!   does. Where the answer says [`degraded`](Found::degraded), the store was away and
//!   nobody could say: [`Settings::degraded_ttl`] longer at most.
//! - A load that began before a change never overwrites it, however long it takes: a
//!   deleted key leaves a mark that outlives every load, a load writes only over what
//!   it saw, and with versions of tags from before it began.
//! - A value that cannot be read, for it is of another version, type or compression, or
//!   damaged, is none: it is loaded anew and written over.
//! - No key is without a time to live.
//!
//! What could not be sent, for the store was away, waits in this process, bounded, the
//! newest of each key, and is sent when the store is back; it goes with the process, and
//! then what the others have may be as old as their time to live.
//!
//! # Cost
//!
//! In billed commands over a store that bills (in process nothing is billed):
//!
//! | | |
//! |---|---|
//! | a value in memory | 0; for all caches together 1 a heartbeat in which something is read (60 s over Upstash) |
//! | a value in the store | 1; 1 more for tags that this process has not met |
//! | a miss | 2; 4 over what stood there: deleted, invalidated or stale |
//! | a write, a deletion, an invalidation of a tag or of all | 3; without push 2, without coherence 1 |
//! | many reads | 1 for all keys of a slot, and for each miss 1 or 3 |
//! | a tag's first value in this process, and once in a while | 2 more, 3 where it was loaded |
//! | agreeing with other instances on who loads | 5 more for who does, 2 for each time that another asks |
//! | in the form of other apps | 2 a read, 2 more a miss; a deletion 3; 4 for each tag of a value; an invalidation 5 for 500 keys, and 1 for each of them |
//!
//! ```text
//! caches, cache, many, settings, loaded, found, report, error   what callers see
//! fetch, flight/     reading through; who loads, here and across instances
//! write, prepared    writing; a value on its way into both tiers
//! shared, gate       writing in the form of other apps; one step on a key at a time
//! stored, value/     the second tier: what stands there and whether it holds; its bytes
//! memory/            the first tier
//! tags/              versions of tags
//! bus/, pending      what the others say; what could not be said yet
//! hub, patience, inner   what caches share; when the store is left alone; one cache
//! key, op/           names in the store, and steps there
//! ```

mod bus;
#[allow(
    clippy::module_inception,
    reason = "the cache itself, among what it is made of"
)]
mod cache;
mod caches;
mod error;
mod fetch;
mod finish;
mod flight;
mod found;
mod gate;
mod hub;
mod inner;
mod key;
mod loaded;
mod many;
mod memory;
mod op;
mod patience;
mod pending;
mod prepared;
mod report;
mod settings;
mod shared;
mod stored;
mod tags;
mod value;
mod write;

pub use bus::Coherence;
pub use cache::Cache;
pub use caches::{Caches, Options, Report};
pub use error::{CacheError, LoaderError};
pub use found::{Found, Lookup, Source};
pub use inner::Value;
pub use key::{check_key, check_name, check_tag};
pub use loaded::{Former, Loaded};
pub use report::Stats;
pub use settings::{Compression, Encoding, Method, Policy, Settings, Shared, prefix, ttl};
pub use write::Reach;
