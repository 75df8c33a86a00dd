//! One server, or the master that sentinels name: a connection that all callers
//! share, made anew when it breaks, and connections for one caller at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use sangam_engine::Reply;

use super::address::Host;
use super::connect::{Dialer, Part};
use super::dedicated::{Lease, Pool, Shelf};
use super::flight::Flight;
use super::link::Link;
use super::listener::Listening;
use super::plan::Plan;
use super::sentinel::{Sentinels, watch};
use super::stream::Socket;
use crate::backend::{Failure, Sent};
use crate::commands::Commands;
use crate::error::Why;

/// Where a connection goes.
pub(super) enum Way {
    Fixed(Host, Part),
    /// Asked anew for each connection.
    Sentinels(Sentinels),
}

/// Makes connections to one server.
pub(super) struct Connector {
    pub(super) dialer: Dialer,
    pub(super) way: Way,
}

impl Connector {
    /// A connection of many callers, on which the server has to answer in time.
    async fn shared(&self) -> Result<Link, Failure> {
        let (socket, host) = self.open().await?;
        let silence = Some(self.dialer.command_timeout);
        Link::over(socket, self.dialer.place(&host), silence).await
    }

    /// A connection of one caller, who may wait as long as it likes.
    pub(super) async fn own(&self) -> Result<Link, Failure> {
        let (socket, host) = self.open().await?;
        Link::over(socket, self.dialer.place(&host), None).await
    }

    async fn open(&self) -> Result<(Box<dyn Socket>, Host), Failure> {
        match &self.way {
            Way::Fixed(host, part) => {
                let socket = self.dialer.connect(host, *part).await?;
                Ok((socket, host.clone()))
            }
            Way::Sentinels(sentinels) => sentinels.connect(&self.dialer).await,
        }
    }
}

/// Connections to the server that is thought to be the right one.
#[derive(Default)]
pub(super) struct Held {
    link: Mutex<Option<Arc<Link>>>,
    shelf: Arc<Shelf>,
    watched: AtomicBool,
}

impl Held {
    fn open_link(&self) -> Option<Arc<Link>> {
        let link = self.link.lock();
        link.as_ref().filter(|link| !link.is_closed()).cloned()
    }

    /// Another server is the right one: connections are made anew. Calls that
    /// are on their way are waited for by their callers.
    pub(super) fn leave(&self) {
        *self.link.lock() = None;
        self.shelf.forget();
    }

    /// Where the shared connection leads.
    pub(super) fn place(&self) -> Option<String> {
        self.open_link().map(|link| link.place().to_owned())
    }

    /// Makes the shared connection.
    async fn connect(self: Arc<Self>, connector: Arc<Connector>) -> Result<Arc<Link>, Failure> {
        if let Some(link) = self.open_link() {
            return Ok(link);
        }
        let mut age = self.shelf.age();
        let mut link = Arc::new(connector.shared().await?);
        if self.shelf.age() != age {
            age = self.shelf.age();
            link = Arc::new(connector.shared().await?);
        }
        if self.shelf.age() == age {
            *self.link.lock() = Some(link.clone());
        }
        if matches!(connector.way, Way::Sentinels(_)) && !self.watched.swap(true, Relaxed) {
            tokio::spawn(watch(Arc::downgrade(&self), connector));
        }
        Ok(link)
    }
}

/// A server.
pub(super) struct Node {
    connector: Arc<Connector>,
    held: Arc<Held>,
    connecting: Flight<Result<Arc<Link>, Failure>>,
    pool: Pool,
}

impl Node {
    pub(super) fn new(dialer: Dialer, way: Way) -> Self {
        let connector = Arc::new(Connector { dialer, way });
        let held = Arc::new(Held::default());
        Node {
            pool: Pool::new(connector.clone(), held.shelf.clone()),
            held,
            connecting: Flight::default(),
            connector,
        }
    }

    /// The shared connection, made by the first who needs it.
    pub(super) async fn shared(&self) -> Result<Arc<Link>, Failure> {
        if let Some(link) = self.held.open_link() {
            return Ok(link);
        }
        let made = self
            .connecting
            .join(|| self.held.clone().connect(self.connector.clone()));
        made.await.unwrap_or_else(|| {
            Err(Failure::NotSent(Why::Refusing(
                "a connection could not be made".to_owned(),
            )))
        })
    }

    /// Takes a look at a reply: a server that is a master no longer is left.
    fn judged(&self, reply: Reply, link: &Arc<Link>) -> Reply {
        if let Reply::Error(text) = &reply
            && (text.starts_with(b"READONLY") || text.starts_with(b"MASTERDOWN"))
        {
            let current = self.held.link.lock().clone();
            if current.is_some_and(|it| Arc::ptr_eq(&it, link)) {
                self.held.leave();
            }
        }
        reply
    }

    pub(super) async fn call(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        let link = self.shared().await?;
        let reply = link.call(argv, sent).await?;
        Ok(self.judged(reply, &link))
    }

    /// The same with ASKING before it.
    pub(super) async fn ask(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        let link = self.shared().await?;
        let both = [&[&b"ASKING"[..]][..], argv];
        let mut replies = link.pipeline(both.iter(), sent).await?;
        Ok(replies.pop().unwrap_or(Reply::Null))
    }

    pub(super) async fn call_blocking(
        &self,
        argv: &[&[u8]],
        sent: &Sent,
    ) -> Result<Reply, Failure> {
        let lease = self.pool.take().await?;
        let reply = lease.link().call(argv, sent).await?;
        Ok(self.returned(lease, reply))
    }

    /// The same with ASKING before it.
    pub(super) async fn ask_blocking(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        let lease = self.pool.take().await?;
        let both = [&[&b"ASKING"[..]][..], argv];
        let mut replies = lease.link().pipeline(both.iter(), sent).await?;
        Ok(self.returned(lease, replies.pop().unwrap_or(Reply::Null)))
    }

    /// Keeps a connection for the next, unless it leads to a master no longer.
    fn returned(&self, lease: Lease, reply: Reply) -> Reply {
        if matches!(&reply, Reply::Error(text) if text.starts_with(b"READONLY")) {
            self.held.leave();
        } else {
            lease.give_back();
        }
        reply
    }

    /// Runs what a plan sends; it may leave out what is refused.
    pub(super) async fn pipeline(
        &self,
        plan: &mut Plan<'_>,
        sent: &Sent,
    ) -> Result<Vec<Reply>, Failure> {
        let link = self.shared().await?;
        if plan.has_units()
            && let Some(refusal) = link.refuses_units().await?
        {
            plan.refuse_units(refusal);
        }
        let replies = link.pipeline(plan.wire().iter(), sent).await?;
        Ok(replies
            .into_iter()
            .map(|reply| self.judged(reply, &link))
            .collect())
    }

    pub(super) async fn transaction(
        &self,
        commands: &Commands,
        sent: &Sent,
    ) -> Result<Reply, Failure> {
        let lease = self.pool.take().await?;
        let reply = super::transaction::run(lease.link(), commands, sent).await?;
        Ok(self.returned(lease, reply))
    }

    pub(super) async fn listen(&self) -> Result<Listening, Failure> {
        let (socket, host) = self.connector.open().await?;
        let dialer = &self.connector.dialer;
        Ok(Listening::new(
            socket,
            dialer.place(&host),
            dialer.command_timeout,
        ))
    }

    pub(super) async fn ping(&self) -> Result<(), Failure> {
        let link = self.shared().await?;
        let reply = link.call(&[b"PING"], &Sent::default()).await?;
        match self.judged(reply, &link) {
            Reply::Error(text) => Err(self.faults().refused("PING", &text)),
            _ => Ok(()),
        }
    }

    /// Where it is, if it stays there.
    pub(super) fn host(&self) -> Option<&Host> {
        match &self.connector.way {
            Way::Fixed(host, _) => Some(host),
            Way::Sentinels(_) => None,
        }
    }

    pub(super) fn faults(&self) -> super::fault::Faults {
        match &self.connector.way {
            Way::Fixed(host, _) => self.connector.dialer.faults(host),
            Way::Sentinels(sentinels) => sentinels.faults(&self.connector.dialer),
        }
    }
}
