//! What the gateway asks of whatever stands behind it.
//!
//! The engine in process answers at once whenever its lock is free, and then
//! nothing is allocated for it ([`over_engine`](super::over_engine)); a store on
//! another machine answers later ([`over_store`](super::over_store)). Both serve
//! the same gateway.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sangam_engine::keyspace::requests::RequestId;
use sangam_engine::pubsub::{Message, Topic};
use sangam_engine::{Reply, Seq};
use sangam_wire::rest;

use super::metrics::Page;
use crate::config::Timing;

/// An answer, now or later.
pub enum Answer<'a, T> {
    /// It is here.
    Ready(T),
    /// It comes.
    Later(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    /// One that comes.
    pub(super) fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Answer::Later(Box::pin(future))
    }

    /// Waits for it.
    pub async fn get(self) -> T {
        match self {
            Answer::Ready(answer) => answer,
            Answer::Later(future) => future.await,
        }
    }
}

/// Takes the replies of a batch, in order; answers how many bytes there is room
/// for after it, and nothing where there was none for it.
pub type Each<'a> = &'a mut (dyn FnMut(&Reply) -> Option<usize> + Send + 'a);

/// What the reply of a single command has to fit into.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// Bytes of the answer.
    pub bytes: usize,
    /// Whether it fits.
    pub fits: &'a (dyn Fn(&Reply) -> bool + Send + Sync),
}

/// What stands beside a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beside {
    /// The last write that the reply may depend on; it is as durable as the
    /// store promises.
    pub seq: Seq,
    /// Why the reply is not the store's own, if so.
    pub outage: Option<Outage>,
}

impl From<Seq> for Beside {
    fn from(seq: Seq) -> Self {
        Beside { seq, outage: None }
    }
}

/// Why a store gave no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Nothing was done; it may be worth asking again after so many seconds.
    Unavailable(Option<u16>),
    /// The request may have been applied, now or in a moment, or not.
    Unknown,
}

/// The refusal of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Its text.
    pub reply: Reply,
    /// Whether that is because the store is not there.
    pub outage: Option<Outage>,
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Self {
        Refusal {
            reply,
            outage: None,
        }
    }
}

/// What a stream tells.
pub enum Told {
    /// A message.
    Message(Message),
    /// A line of MONITOR.
    Line(Arc<str>),
    /// Messages may be missing here, in words for people; the subscription
    /// holds again.
    Gap(String),
}

/// What a stream is fed from; dropping it ends its subscriptions.
pub trait Feed: Send {
    /// What comes next; `None` ends the stream.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>>;

    /// Whether its caller may still listen; asked before each chunk.
    fn is_permitted(&mut self) -> bool;
}

/// A subscription that was confirmed.
pub struct Subscribed {
    /// What comes.
    pub feed: Box<dyn Feed>,
    /// After each name, how many are subscribed.
    pub counts: Vec<usize>,
}

/// What is behind the gateway, for `/ready`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether commands can run; `None` where there is no store, by choice.
    pub redis: Option<bool>,
    /// Why it is not wholly well, if so.
    pub degraded: Option<Degraded>,
    /// A store that is not in this process.
    pub store: Option<Place>,
}

/// Why something is not wholly well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// In words for people.
    pub reason: String,
    /// Since when, in milliseconds since the Unix epoch, if that is known.
    pub since_ms: Option<u64>,
}

/// A store as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is, without secrets.
    pub place: String,
    /// `up`, `slow`, `down` or `disabled`.
    pub status: &'static str,
    /// Why it is not up; empty where it is.
    pub reason: String,
    /// Since when it is so, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// Runs commands for callers.
///
/// With the id of a request, which comes only where [`Commands::honours_ids`],
/// each of its writes runs once, however often it is asked (docs/request-ids.md).
pub trait Commands: Send + Sync + 'static {
    /// What a connection keeps from request to request.
    type Caller: Send + 'static;

    /// Whether a request with an id may be repeated.
    fn honours_ids(&self) -> bool {
        false
    }

    /// A caller at an address, who is nobody yet.
    fn caller(&self, remote: String) -> Self::Caller;

    /// Makes the caller whom `token` says; `None`, and nobody, where it opens
    /// nothing. The number is the [`revision`](Commands::revision) for which that
    /// holds.
    fn authenticate(&self, caller: &mut Self::Caller, token: &[u8]) -> Option<u64>;

    /// Moves when the token that made the caller may no longer hold.
    fn revision(&self, caller: &Self::Caller) -> u64;

    /// The last write that the caller may have seen; `None` for nobody.
    fn position(&self, caller: &Self::Caller) -> Option<Seq>;

    /// Listens to `names` for a caller whose token is `token`; outlives the
    /// request.
    fn subscribe<'a>(
        &'a self,
        caller: &'a mut Self::Caller,
        token: &'a [u8],
        topic: Topic,
        names: &'a [&'a [u8]],
    ) -> Answer<'a, Result<Subscribed, Refusal>>;

    /// Watches all commands.
    fn monitor(&self, caller: &Self::Caller, token: &[u8]) -> Result<Box<dyn Feed>, Refusal>;

    /// One command. A reply that does not fit comes back all the same; what the
    /// command wrote is undone where that can be done.
    fn call<'a>(
        &'a self,
        caller: &'a mut Self::Caller,
        argv: &'a [&'a [u8]],
        id: Option<RequestId>,
        room: Room<'a>,
    ) -> Answer<'a, (Reply, Beside)>;

    /// Commands one after the other; others may come in between. It stops at the
    /// first reply that `each` has no room for, and undoes that command where it
    /// can; those before it stay. A refusal stands for all replies: what became of
    /// the commands is unknown.
    fn pipeline<'a>(
        &'a self,
        caller: &'a mut Self::Caller,
        commands: &'a rest::Batch<'a>,
        id: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)>;

    /// Commands as one atomic unit, or the refusal of all of them. When `each`
    /// has no room, the unit is undone where that can be done.
    fn transaction<'a>(
        &'a self,
        caller: &'a mut Self::Caller,
        commands: &'a rest::Batch<'a>,
        id: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)>;

    /// Whether commands can run now, within a short time.
    fn readiness<'a>(&'a self, timing: &'a Timing) -> Answer<'a, Readiness>;

    /// Writes what `/metrics` says of what is behind the gateway, or the refusal
    /// for a caller who may not know.
    fn metrics<'a>(
        &'a self,
        caller: &'a mut Self::Caller,
        page: &'a mut Page,
    ) -> Answer<'a, Result<(), Reply>>;

    /// Milliseconds since the epoch.
    fn now_millis(&self) -> u64;
}
