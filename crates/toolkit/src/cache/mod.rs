//! Caches (doc comes).

mod bus;
#[allow(
    clippy::module_inception,
    reason = "the cache itself, among what it is made of"
)]
mod cache;
mod caches;
mod error;
mod fetch;
mod flight;
mod found;
mod hub;
mod inner;
mod key;
mod loaded;
mod many;
mod memory;
mod op;
mod pending;
mod prepared;
mod report;
mod settings;
mod stored;
mod tags;
mod value;
mod write;

pub use bus::Coherence;
pub use cache::Cache;
pub use caches::{Caches, Options, Report};
pub use error::CacheError;
pub use found::{Found, Source};
pub use inner::Value;
pub use loaded::{Former, Loaded};
pub use report::Stats;
pub use settings::{Compression, Encoding, Method, Policy, Settings, Shared, prefix, ttl};
pub use write::Reach;
