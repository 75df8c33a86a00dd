//! The RESP listener: Redis' own protocol over TCP.
//!
//! A wake-up of a connection costs one read and one write, however many
//! commands came: all that are complete run under one acquisition of the
//! keyspace lock, within a turn's bounds, and their replies leave together.
//!
//! A client that does not read is not read from: replies are written whenever
//! more than [`OUT_HIGH`] bytes of them wait. Only what nobody asked for just
//! now, pub/sub messages, may pile up, to [`PUSH_MAX`].

mod connection;
mod run;

use std::sync::Arc;

use sangam_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::listener::{Door, Ends, Transport};
use connection::Connection;

/// Bytes of replies after which they are written before more commands run.
const OUT_HIGH: usize = 64 * 1024;
/// Bytes of pushes that may wait for a client that does not read, as Redis'
/// hard limit for pub/sub clients.
const PUSH_MAX: usize = 32 * 1024 * 1024;
/// Bytes to read at once (Redis reads as many).
const READ_SIZE: usize = 16 * 1024;
/// The same before authentication.
const READ_FIRST: usize = 1024;
/// Room that has to be there before a read.
const READ_MIN: usize = 4 * 1024;
/// Bytes of further commands that are read of a client that waits for a reply;
/// as long as they are fewer, its end is noticed.
const AHEAD_MAX: usize = 64 * 1024;
/// Buffers larger than this are given back once they are empty.
const KEEP_MAX: usize = 256 * 1024;
/// Commands of a connection under one acquisition of the lock.
const TURN_COMMANDS: usize = 256;
/// Microseconds after which a connection lets others have the lock.
const TURN_MICROS: u64 = 1000;

/// The RESP door of an engine.
#[derive(Debug)]
pub struct Resp {
    engine: Engine,
}

impl Resp {
    /// Serves `engine`.
    pub fn new(engine: Engine) -> Self {
        Resp { engine }
    }
}

impl Door for Resp {
    const TOO_MANY: &'static [u8] = b"-ERR max number of clients reached\r\n";

    fn connections_max(&self) -> usize {
        self.engine.settings().maxclients
    }

    async fn serve<S: Transport>(self: Arc<Self>, stream: S, ends: Ends, stop: CancellationToken) {
        let mut connection = Connection::new(&self.engine, stream, ends, stop.clone());
        // From here on a stop finds it among the engine's clients and closes
        // its mailbox; before, it did not.
        if stop.is_cancelled() {
            return;
        }
        if let Err(error) = connection.serve().await {
            tracing::debug!(remote = %ends.remote, "connection ended: {error}");
        }
    }
}
