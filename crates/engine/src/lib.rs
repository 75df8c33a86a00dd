//! The embedded data engine: keyspaces, values, commands, scripts, pub/sub and
//! expiry; no sockets, no HTTP.
//!
//! An [`Engine`] finds a [`keyspace::Keyspace`] by token, a [`session::Session`]
//! carries what one caller keeps between commands, and every command takes the
//! same path, `command/dispatch`, whether it comes over RESP, over REST or from
//! the same process:
//!
//! ```
//! use sangam_engine::{Engine, Reply};
//!
//! let engine = Engine::default();
//! let mut session = engine.session();
//! let (reply, _seq) = engine.call(&mut session, &[b"SET", b"greeting", b"hello"]);
//! assert_eq!(reply, Reply::OK);
//! let (reply, _seq) = engine.call(&mut session, &[b"GET", b"greeting"]);
//! assert_eq!(reply, Reply::bulk("hello"));
//! ```

mod acl;
pub mod clock;
pub mod command;
pub mod config;
pub mod effect;
mod engine;
pub mod error;
mod evict;
mod expiry;
pub mod glob;
pub mod journal;
pub mod keyspace;
pub mod mailbox;
mod monitor;
pub mod notify;
pub mod persist;
pub mod pubsub;
pub mod random;
pub mod rdb;
mod reply;
mod script;
pub mod session;
pub mod value;

pub use acl::Account;
pub use command::{Batch, Ttl, Tx};
pub use effect::Seq;
pub use engine::{Engine, Options};
pub use error::CommandError;
pub use reply::{Bulks, Reply};
