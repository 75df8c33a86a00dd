//! One connection, over redis-rs' multiplexer: commands of many callers leave
//! together and each gets its own reply, also after another gave up waiting.
//!
//! What redis-rs does not tell is taken from the socket: whether the connection
//! is over before a command is given to it (then nothing of the command leaves),
//! and whether the server is silent. A link on which somebody waits is looked at
//! twice a command's time-out; where nothing was heard meanwhile it is asked with
//! PING, and closed where nothing comes for a whole time-out after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value};
use sangam_engine::Reply;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::stream::{Pulse, Socket, Watched};
use super::value;
use crate::backend::{Failure, Sent};
use crate::error::Why;

/// Calls that may wait for the task that writes.
const QUEUE: usize = 1024;

/// A connection; closed when it is dropped.
pub(super) struct Link {
    multiplexer: MultiplexedConnection,
    pulse: Arc<Pulse>,
    place: String,
    driver: AbortHandle,
    /// Whether MULTI is known to be permitted on it.
    transacts: AtomicBool,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A caller that waits for a reply. One that is dropped before gave up.
struct Waiting<'a> {
    pulse: &'a Pulse,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pulse.exit();
        if !self.answered {
            self.pulse.doubt();
        }
    }
}

impl Link {
    /// Takes over a connection that is logged in. Where `silence` is given, the
    /// server has to answer within it.
    pub(super) async fn over(
        socket: Box<dyn Socket>,
        place: String,
        silence: Option<Duration>,
    ) -> Result<Self, Failure> {
        let pulse = Arc::new(Pulse::default());
        let stream = Watched::new(socket, pulse.clone());
        // All that redis-rs would say by itself was said.
        let quiet = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let (multiplexer, driver) = MultiplexedConnection::new_with_config(&quiet, stream, config)
            .await
            .map_err(|error| {
                Failure::NotSent(Why::Connect {
                    place: place.clone(),
                    reason: error.to_string(),
                })
            })?;
        let watched = pulse.clone();
        let asked = multiplexer.clone();
        let driver = tokio::spawn(async move {
            tokio::select! {
                () = driver => watched.close(|| "the server's bytes are no replies".to_owned()),
                () = until_silent(&watched, asked, silence) => {}
            }
        });
        Ok(Link {
            multiplexer,
            pulse,
            place,
            driver: driver.abort_handle(),
            transacts: AtomicBool::new(false),
        })
    }

    /// Where it leads.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pulse.is_closed()
    }

    /// Sends a command and waits for its reply.
    pub(super) async fn call(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        let command = command(argv);
        let mut multiplexer = self.begin(sent)?;
        let mut waiting = self.waiting();
        let outcome = multiplexer.send_packed_command(&command).await;
        waiting.answered = true;
        self.ended(outcome).map(value::reply)
    }

    /// Sends commands in one piece and waits for all replies.
    pub(super) async fn pipeline<'a, A: AsRef<[&'a [u8]]>>(
        &self,
        commands: impl ExactSizeIterator<Item = A>,
        sent: &Sent,
    ) -> Result<Vec<Reply>, Failure> {
        let count = commands.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut pipeline = Pipeline::with_capacity(count);
        for argv in commands {
            pipeline.add_command(command(argv.as_ref()));
        }
        let mut multiplexer = self.begin(sent)?;
        let mut waiting = self.waiting();
        let outcome = multiplexer.send_packed_commands(&pipeline, 0, count).await;
        waiting.answered = true;
        let replies: Vec<Reply> = self.ended(outcome)?.into_iter().map(value::reply).collect();
        if replies.len() == count {
            return Ok(replies);
        }
        self.pulse
            .close(|| "it answered too few commands".to_owned());
        Err(self.broken())
    }

    fn begin(&self, sent: &Sent) -> Result<MultiplexedConnection, Failure> {
        if self.is_closed() {
            return Err(Failure::NotSent(self.why()));
        }
        sent.set();
        Ok(self.multiplexer.clone())
    }

    fn waiting(&self) -> Waiting<'_> {
        self.pulse.enter();
        Waiting {
            pulse: &self.pulse,
            answered: false,
        }
    }

    fn ended<T>(&self, outcome: Result<T, RedisError>) -> Result<T, Failure> {
        outcome.map_err(|error| {
            self.pulse.close(|| error.to_string());
            self.broken()
        })
    }

    fn broken(&self) -> Failure {
        Failure::Lost(self.why())
    }

    fn why(&self) -> Why {
        Why::Broken {
            place: self.place.clone(),
            reason: self.pulse.reason(),
        }
    }

    /// Asks once whether MULTI is permitted, with an empty one; answers the error
    /// by which it is refused. Without it the commands of a unit would run one by
    /// one.
    pub(super) async fn refuses_units(&self) -> Result<Option<Reply>, Failure> {
        if self.transacts.load(Ordering::Relaxed) {
            return Ok(None);
        }
        // EXEC ends it where DISCARD is refused.
        let empty: [&[&[u8]]; 3] = [&[b"MULTI"], &[b"DISCARD"], &[b"EXEC"]];
        // Nothing of the caller's has left yet.
        let replies = self.pipeline(empty.iter(), &Sent::default()).await;
        let replies = replies.map_err(|failure| match failure {
            Failure::Lost(why) => Failure::NotSent(why),
            failure => failure,
        })?;
        match replies.as_slice() {
            [error @ Reply::Error(_), ..] => return Ok(Some(error.clone())),
            [_, error @ Reply::Error(_), Reply::Error(end)] if !end.starts_with(b"EXECABORT") => {
                self.pulse.close(|| "a MULTI could not be ended".to_owned());
                return Ok(Some(error.clone()));
            }
            _ => {}
        }
        self.transacts.store(true, Ordering::Relaxed);
        Ok(None)
    }
}

fn command(argv: &[&[u8]]) -> Cmd {
    let bytes = argv.iter().map(|arg| arg.len()).sum();
    let mut command = Cmd::with_capacity(argv.len(), bytes);
    for arg in argv {
        command.arg(*arg);
    }
    command
}

/// Returns when a server that somebody waits for says nothing.
async fn until_silent(
    pulse: &Pulse,
    multiplexer: MultiplexedConnection,
    silence: Option<Duration>,
) {
    let Some(silence) = silence else {
        return std::future::pending().await;
    };
    let mut heard = pulse.heard();
    // Looks since the server was asked. What it is asked for waits behind what runs,
    // so it gets all of the time from then on.
    let mut looks = 0;
    loop {
        sleep(silence / 2).await;
        let now = pulse.heard();
        if now != heard || !pulse.is_doubtful() {
            (heard, looks) = (now, 0);
        } else if looks >= 2 {
            pulse.close(|| format!("nothing was heard for {} ms", silence.as_millis()));
            return;
        } else if looks == 1 {
            looks = 2;
        } else {
            looks = 1;
            let mut multiplexer = multiplexer.clone();
            tokio::spawn(async move {
                let ping: Result<Value, _> =
                    multiplexer.send_packed_command(&command(&[b"PING"])).await;
                drop(ping);
            });
        }
    }
}
