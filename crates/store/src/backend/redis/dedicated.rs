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
    shelf: Arc<Mutex<Shelf>>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Shelf {
    links: Vec<Link>,
    /// How often everything was thrown away.
    age: u64,
}

/// A connection of one's own; closed when it is dropped.
pub(super) struct Lease {
    link: Link,
    shelf: Arc<Mutex<Shelf>>,
    age: u64,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Pool {
            connector,
            shelf: Arc::default(),
            places: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// A connection of one's own.
    pub(super) async fn take(&self) -> Result<Lease, Failure> {
        let place = self.places.clone().acquire_owned().await;
        let place = place.map_err(|_| Failure::NotSent(Why::Full { calls: MOST }))?;
        let (kept, age) = {
            let mut shelf = self.shelf.lock();
            let mut kept = shelf.links.pop();
            while kept.as_ref().is_some_and(Link::is_closed) {
                kept = shelf.links.pop();
            }
            (kept, shelf.age)
        };
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

    /// Throws away what is kept or lent: it leads to the wrong server.
    pub(super) fn forget(&self) {
        let mut shelf = self.shelf.lock();
        shelf.links.clear();
        shelf.age += 1;
    }
}

impl Lease {
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Keeps it for the next caller.
    pub(super) fn give_back(self) {
        let mut shelf = self.shelf.lock();
        if shelf.links.len() < KEPT && shelf.age == self.age && !self.link.is_closed() {
            shelf.links.push(self.link);
        }
    }
}
