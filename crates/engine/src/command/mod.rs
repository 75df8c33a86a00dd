//! Commands: the table, the life of a request, and a file for each family.

mod access;
mod acl;
mod admission;
pub mod args;
mod atomic;
mod authorize;
pub(crate) mod declared;
mod dispatch;
pub mod spec;
pub mod stat;

mod bitfield;
mod bitmap;
mod blocked;
mod client;
mod connection;
mod debug;
mod dump;
mod expire;
mod function;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod introspect;
mod list;
mod object;
mod once;
mod partial_sort;
mod pause;
mod persistence;
mod pubsub;
mod redact;
pub(crate) mod reference;
mod scan;
mod script;
mod server;
mod set;
mod sort;
mod stream;
mod string;
mod tracking;
mod transaction;
mod upstash;
mod zset;

pub use admission::admit_forwarded;
use admission::busy;
pub(crate) use admission::{may_call, resolve};
pub use atomic::{Ttl, Tx};
pub use dispatch::Batch;
#[cfg(test)]
pub(crate) use dispatch::call;
use dispatch::call_queued;
pub(crate) use dispatch::call_scripted;
pub use introspect::commands_page;
pub(crate) use redact::redacted;
pub(crate) use tracking::Tracks;

use std::sync::Arc;

use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Db, Keyspace};
use crate::session::Session;
use spec::{CommandSpec, Outcome};

/// What a handler works with: the data under the lock and who asked.
pub struct Ctx<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The keyspace, for what stands beside its lock.
    pub keyspace: &'a Arc<Keyspace>,
    /// Its data.
    pub db: &'a mut Db,
    /// Who asked.
    pub session: &'a mut Session,
}

impl Ctx<'_> {
    /// Milliseconds since the epoch, the same for a whole unit.
    pub fn now_ms(&self) -> u64 {
        self.db.now_ms
    }

    /// Whether Upstash's rules hold.
    pub fn is_upstash(&self) -> bool {
        self.session.dialect.is_upstash()
    }

    /// Whether what Upstash does not have or take is refused.
    pub fn is_strict(&self) -> bool {
        self.session.dialect.is_strict()
    }
}

/// The families in the order in which COMMAND lists them.
const FAMILIES: &[&[CommandSpec]] = &[
    string::COMMANDS,
    bitmap::COMMANDS,
    bitfield::COMMANDS,
    generic::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    object::COMMANDS,
    dump::COMMANDS,
    persistence::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    zset::COMMANDS,
    geo::COMMANDS,
    hyperloglog::COMMANDS,
    sort::COMMANDS,
    stream::COMMANDS,
    transaction::COMMANDS,
    script::COMMANDS,
    function::COMMANDS,
    pubsub::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    server::COMMANDS,
    debug::COMMANDS,
    acl::COMMANDS,
    introspect::COMMANDS,
    #[cfg(test)]
    script::PANICKING,
];

/// Stands where a command has no handler under the lock.
fn no_handler(_: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    Err(CommandError::Syntax)
}
