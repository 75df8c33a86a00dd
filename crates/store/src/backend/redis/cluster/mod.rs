//! A cluster: every command to the master of its slot.
//!
//! Routing is our own, over a [`Node`] for each master, since what became of a
//! write has to be known: a server's redirection (MOVED, ASK) had no effect and is
//! followed; a connection that could not be made sends nothing, so the slots are
//! read anew and the new master is asked; a break after sending is the caller's
//! to judge, and repeated by nobody here. TRYAGAIN, CLUSTERDOWN and the like are
//! replies, which the guard repeats while there is time.

mod fan;
mod pipeline;
mod redirection;
mod route;
pub(crate) mod slot;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sangam_engine::Reply;

use self::redirection::{Redirection, may_make_up_errors};
use self::route::Route;
use self::topology::Servers;
use super::address::Host;
use super::connect::Dialer;
use super::flight::Flight;
use super::node::Node;
use super::plan::{admitted, all_admitted};
use super::single::clock;
use crate::backend::{ClockSample, Coming, Failure, Listener, Remote, Sent};
use crate::commands::Commands;
use crate::error::Why;

/// Redirections that one command follows.
const REDIRECTIONS: usize = 8;

pub(super) struct Cluster {
    servers: Arc<Servers>,
    reading: Flight<Result<(), Failure>>,
    /// Whose turn it is among the masters.
    turn: AtomicUsize,
}

/// What is run on one master.
#[derive(Clone, Copy)]
enum Work<'a> {
    Call(&'a [&'a [u8]]),
    Blocking(&'a [&'a [u8]]),
    Unit(&'a Commands),
}

impl Work<'_> {
    async fn run(self, node: &Node, asking: bool, sent: &Sent) -> Result<Reply, Failure> {
        match self {
            Work::Call(argv) if asking => node.ask(argv, sent).await,
            Work::Call(argv) => node.call(argv, sent).await,
            Work::Blocking(argv) if asking => node.ask_blocking(argv, sent).await,
            Work::Blocking(argv) => node.call_blocking(argv, sent).await,
            // ASKING does not reach into MULTI: until the slot has moved, a unit
            // has to wait.
            Work::Unit(_) if asking => Ok(moving()),
            Work::Unit(commands) => node.transaction(commands, sent).await,
        }
    }

    /// The first error of a unit is of queueing it, when nothing has run.
    fn may_make_up_errors(self) -> bool {
        matches!(self, Work::Call(argv) if may_make_up_errors(argv))
    }
}

/// The refusal of what cannot run while its slot is moved.
fn moving() -> Reply {
    Reply::error("TRYAGAIN the slot is being moved")
}

/// The refusal of a slot that nobody has.
fn not_served() -> Reply {
    Reply::error("CLUSTERDOWN Hash slot not served")
}

/// Whether a master's error says that the slots may have changed.
fn is_stale(text: &[u8]) -> bool {
    [&b"CLUSTERDOWN"[..], b"MASTERDOWN", b"READONLY", b"LOADING"]
        .iter()
        .any(|code| text.starts_with(code))
}

impl Cluster {
    pub(super) fn new(dialer: Dialer, seeds: Vec<Host>) -> Self {
        Cluster {
            servers: Arc::new(Servers::new(dialer, seeds)),
            reading: Flight::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Has the slots read, together with all who want that now.
    async fn refresh(&self) -> Result<(), Failure> {
        let read = self.reading.join(|| {
            let servers = self.servers.clone();
            async move { servers.read().await }
        });
        read.await.unwrap_or_else(|| {
            let reason = "the slots could not be read".to_owned();
            Err(Failure::NotSent(Why::Refusing(reason)))
        })
    }

    /// The same, without waiting for it.
    fn refresh_soon(&self) {
        self.reading.start(|| {
            let servers = self.servers.clone();
            async move { servers.read().await }
        });
    }

    /// The masters, at least one.
    async fn masters(&self) -> Result<Vec<Arc<Node>>, Failure> {
        let masters = self.servers.topology().masters.clone();
        if !masters.is_empty() {
            return Ok(masters);
        }
        self.refresh().await?;
        Ok(self.servers.topology().masters.clone())
    }

    /// The master of a slot, if any has it.
    async fn owner(&self, slot: u16) -> Result<Option<Arc<Node>>, Failure> {
        if let Some(node) = self.servers.topology().owner(slot) {
            return Ok(Some(node.clone()));
        }
        self.refresh().await?;
        Ok(self.servers.topology().owner(slot).cloned())
    }

    /// Runs something on the master of a slot, wherever that is by now.
    async fn on_slot(&self, slot: u16, work: Work<'_>, sent: &Sent) -> Result<Reply, Failure> {
        let mut redirected: Option<(Arc<Node>, bool)> = None;
        let mut refreshed = false;
        let mut last = Vec::new();
        for _ in 0..REDIRECTIONS {
            let (node, asking) = match redirected.take() {
                Some(it) => it,
                None => match self.owner(slot).await? {
                    Some(node) => (node, false),
                    None => return Ok(not_served()),
                },
            };
            match work.run(&node, asking, sent).await {
                Ok(Reply::Error(text)) => {
                    let Some(to) = Redirection::of(&text, node.host()) else {
                        if is_stale(&text) {
                            self.refresh_soon();
                        }
                        return Ok(Reply::Error(text));
                    };
                    if work.may_make_up_errors() && !self.confirms(&node, slot, &text).await? {
                        return Ok(Reply::Error(text));
                    }
                    redirected = Some(self.follow(to));
                    last = text;
                }
                Ok(reply) => return Ok(reply),
                Err(failure @ Failure::NotSent(_)) if !refreshed => {
                    refreshed = true;
                    self.refresh().await.map_err(|_| failure.clone())?;
                    let owner = self.owner(slot).await?;
                    if owner.is_none_or(|owner| Arc::ptr_eq(&owner, &node)) {
                        return Err(failure);
                    }
                }
                Err(failure) => {
                    self.refresh_soon();
                    return Err(failure);
                }
            }
        }
        let text = String::from_utf8_lossy(&last).into_owned();
        Err(Failure::NotSent(Why::Refusing(text)))
    }

    /// Who is meant, and whether it has to be told so by ASKING.
    fn follow(&self, to: Redirection) -> (Arc<Node>, bool) {
        match to {
            Redirection::Moved(slot, host) => {
                let node = self.servers.node(&host);
                self.servers.moved(slot, &node);
                self.refresh_soon();
                (node, false)
            }
            Redirection::Ask(host) => (self.servers.node(&host), true),
        }
    }

    /// Runs something on any master that can be reached.
    async fn on_any(&self, work: Work<'_>, sent: &Sent) -> Result<Reply, Failure> {
        let masters = self.in_turn().await?;
        self.on_one_of(masters, work, sent).await
    }

    async fn on_one_of(
        &self,
        masters: Vec<Arc<Node>>,
        work: Work<'_>,
        sent: &Sent,
    ) -> Result<Reply, Failure> {
        let mut failure = None;
        for node in masters {
            match work.run(&node, false, sent).await {
                Err(not_sent @ Failure::NotSent(_)) => failure = Some(not_sent),
                outcome => return outcome,
            }
        }
        self.refresh_soon();
        Err(failure.unwrap_or_else(|| self.servers.faults().unreachable("it has no masters")))
    }

    /// The masters, another one first each time.
    async fn in_turn(&self) -> Result<Vec<Arc<Node>>, Failure> {
        let mut masters = self.masters().await?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = masters.len().max(1);
        masters.rotate_left(turn % count);
        Ok(masters)
    }

    async fn run(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        match route::route(argv) {
            Route::Slot(slot) => self.on_slot(slot, Work::Call(argv), sent).await,
            Route::Any => self.on_any(Work::Call(argv), sent).await,
            Route::First => {
                let masters = self.masters().await?;
                self.on_one_of(masters, Work::Call(argv), sent).await
            }
            Route::All(merge) => self.on_all(argv, merge, sent).await,
            Route::Scan => self.scan(argv, sent).await,
            Route::Crossed => Ok(route::crossed()),
        }
    }

    async fn run_apart(&self, route: Route, work: Work<'_>, sent: &Sent) -> Result<Reply, Failure> {
        match route {
            Route::Slot(slot) => self.on_slot(slot, work, sent).await,
            Route::Crossed => Ok(route::crossed()),
            Route::Any | Route::First | Route::All(_) | Route::Scan => {
                self.on_any(work, sent).await
            }
        }
    }
}

impl Remote for Cluster {
    fn is_cluster(&self) -> bool {
        true
    }

    fn call<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            admitted(argv)?;
            self.run(argv, sent).await
        })
    }

    fn call_blocking<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            admitted(argv)?;
            self.run_apart(route::route(argv), Work::Blocking(argv), sent)
                .await
        })
    }

    fn pipeline<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Vec<Result<Reply, Failure>>> {
        Box::pin(self.run_pipeline(commands, sent))
    }

    fn transaction<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            all_admitted(commands)?;
            self.run_apart(route::route_of_all(commands), Work::Unit(commands), sent)
                .await
        })
    }

    fn listen(&self) -> Coming<'_, Result<Box<dyn Listener>, Failure>> {
        Box::pin(async move {
            let mut failure = None;
            for node in self.in_turn().await? {
                match node.listen().await {
                    Ok(listening) => return Ok(Box::new(listening) as Box<dyn Listener>),
                    Err(other) => failure = Some(other),
                }
            }
            self.refresh_soon();
            Err(failure.unwrap_or_else(|| self.servers.faults().unreachable("it has no masters")))
        })
    }

    fn ping(&self) -> Coming<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut failure = None;
            for node in self.in_turn().await? {
                match node.ping().await {
                    Ok(()) => return Ok(()),
                    Err(other) => failure = Some(other),
                }
            }
            // Perhaps the masters are others by now.
            self.refresh().await?;
            Err(failure.unwrap_or_else(|| self.servers.faults().unreachable("it has no masters")))
        })
    }

    fn clock(&self) -> Coming<'_, Result<ClockSample, Failure>> {
        Box::pin(async move {
            let masters = self.masters().await?;
            match masters.first() {
                Some(node) => clock(node).await,
                None => Err(self.servers.faults().unreachable("it has no masters")),
            }
        })
    }
}
