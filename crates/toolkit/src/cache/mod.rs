//! Caches (doc comes).
mod bus;
mod error;
mod found;
mod key;
mod loaded;
mod memory;
mod op;
mod pending;
mod settings;
mod tags;
mod value;

pub use bus::Coherence;
pub use error::CacheError;
pub use found::{Found, Source};
pub use loaded::{Former, Loaded};
pub use settings::{Compression, Encoding, Method, Policy, Settings, Shared, prefix, ttl};
