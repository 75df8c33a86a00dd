//! What stands behind a [`Store`](crate::Store).
//!
//! The engine in process is called directly. Stores over a network implement
//! [`Remote`]: they send, receive and say honestly whether a command may have
//! left; time-outs, repeats and the breaker are not theirs but
//! [`resilience`](crate::resilience)'s, once for all.

mod embedded;
pub(crate) mod redis;
mod upstash;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use sangam_engine::Reply;
use sangam_engine::pubsub::{Message, Topic};

use crate::commands::Commands;
use crate::error::{Error, Why};
use crate::options::Options;
use crate::target::{Scheme, Target};

pub(crate) use embedded::{Embedded, of_connection};

/// An answer that comes.
pub(crate) type Coming<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whether bytes of a command may have left for the store. The caller of a
/// [`Remote`] keeps it, so that it knows even when it gave up waiting.
#[derive(Debug, Default)]
pub(crate) struct Sent(AtomicBool);

impl Sent {
    /// To be said before the first byte can leave.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a back end has no reply.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// Nothing reached the store.
    NotSent(Why),
    /// It was sent, or a part of it, and no answer came.
    Lost(Why),
    /// Something that no repeat changes, in words that name the setting.
    Setting(String),
    /// This back end cannot; nothing was sent.
    Unsupported(String),
}

/// The server's clock, seen once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClockSample {
    /// Its time less ours, in microseconds: the smallest that it can be.
    pub(crate) min: i64,
    /// The largest that it can be.
    pub(crate) max: i64,
}

impl ClockSample {
    /// What it is taken for: nothing where it can be nothing, else the middle.
    pub(crate) const fn likely(self) -> i64 {
        if self.min <= 0 && self.max >= 0 {
            return 0;
        }
        self.min.midpoint(self.max)
    }
}

/// A store over a network. All methods are cancellation-safe: a future that is
/// dropped takes nobody else's reply. Replies may be errors of the store.
pub(crate) trait Remote: Send + Sync + 'static {
    /// One command on a connection that others share.
    fn call<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>>;

    /// One command that may wait, on a connection of its own.
    fn call_blocking<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>>;

    /// Commands in order, not atomic; one outcome for each.
    fn pipeline<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Vec<Result<Reply, Failure>>>;

    /// Commands as one unit: an array of their replies, or the error that refused
    /// all of them.
    fn transaction<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>>;

    /// A connection for messages.
    fn listen(&self) -> Coming<'_, Result<Box<dyn Listener>, Failure>>;

    /// Whether the store answers, at no price.
    fn ping(&self) -> Coming<'_, Result<(), Failure>>;

    /// What is known of the server's clock.
    fn clock(&self) -> Coming<'_, Result<ClockSample, Failure>>;

    /// Whether scripts need Upstash's `allow-key-locking`.
    fn locks_keys(&self) -> bool {
        false
    }

    /// Whether keys lie in slots, on several servers.
    fn is_cluster(&self) -> bool {
        false
    }
}

/// A connection that messages come on. Methods are cancellation-safe.
pub(crate) trait Listener: Send {
    /// Listens to a topic as well; returns when the store has confirmed it.
    fn subscribe<'a>(&'a mut self, topic: Topic, name: &'a [u8])
    -> Coming<'a, Result<(), Failure>>;

    /// Listens to it no longer.
    fn unsubscribe<'a>(
        &'a mut self,
        topic: Topic,
        name: &'a [u8],
    ) -> Coming<'a, Result<(), Failure>>;

    /// The next message; any failure ends the connection.
    fn next(&mut self) -> Coming<'_, Result<Message, Failure>>;
}

/// The back end over a network that a target names.
pub(crate) fn remote(target: &Target, options: &Options) -> Result<Box<dyn Remote>, Error> {
    match target.scheme() {
        Scheme::Redis => redis::open(target, options),
        Scheme::Rest => Ok(Box::new(upstash::Upstash::new(target, options)?)),
        Scheme::Embedded | Scheme::Disabled => Err(Error::Unsupported(format!(
            "{} is no store over a network",
            target.place()
        ))),
    }
}
