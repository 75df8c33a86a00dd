//! Connections for one caller at a time: commands that wait, and transactions.
//!
//! A connection goes back to be used again only after its reply was read. A
//! caller that gives up closes its connection, so that the server does not serve
//! a call that nobody waits for. What no client can prevent: the server may have
//! taken an element out and sent it in the moment in which the connection was
//! closed; that element is gone (`BLMOVE` into a list of one's own keeps it).
//! A server that vanishes without a word while a call waits without limit is
//! found by TCP keep-alive (some 30 s); behind a proxy that answers those itself
//! it is not found.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::link::Link;
use super::node::Connector;
use crate::backend::Failure;
use crate::error::Why;

/// Connections that are kept for the next caller.
const KEPT: usize = 16;
/// Connections at once; further callers wait for one.
const MOST: usize = 1000;

pub(super) struct Pool {
    connector: Arc<Connector>,
    shelf: Arc<Shelf>,
    places: Arc<Semaphore>,
}

/// Connections that wait for their next caller.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    links: Vec<Link>,
    /// How often everything was thrown away.
    age: u64,
}

impl Shelf {
    /// Throws away what is kept, and later what is lent: it leads to the wrong
    /// server.
    pub(super) fn forget(&self) {
        let mut kept = self.0.lock();
        kept.links.clear();
        kept.age += 1;
    }

    /// How often that was done.
    pub(super) fn age(&self) -> u64 {
        self.0.lock().age
    }

    fn take(&self) -> (Option<Link>, u64) {
        let mut kept = self.0.lock();
        let mut link = kept.links.pop();
        while link.as_ref().is_some_and(Link::is_closed) {
            link = kept.links.pop();
        }
        (link, kept.age)
    }

    fn keep(&self, link: Link, age: u64) {
        let mut kept = self.0.lock();
        if kept.links.len() < KEPT && kept.age == age && !link.is_closed() {
            kept.links.push(link);
        }
    }
}

/// A connection of one's own; closed when it is dropped.
pub(super) struct Lease {
    link: Link,
    shelf: Arc<Shelf>,
    age: u64,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, shelf: Arc<Shelf>) -> Self {
        Pool {
            connector,
            shelf,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// A connection of one's own.
    pub(super) async fn take(&self) -> Result<Lease, Failure> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Failure::NotSent(Why::Full { calls: MOST }))?;
        let (kept, age) = self.shelf.take();
        let link = match kept {
            Some(link) => link,
            None => self.connector.own().await?,
        };
        Ok(Lease {
            link,
            shelf: self.shelf.clone(),
            age,
            _place: place,
        })
    }
}

impl Lease {
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Keeps it for the next caller.
    pub(super) fn give_back(self) {
        self.shelf.keep(self.link, self.age);
    }
}
