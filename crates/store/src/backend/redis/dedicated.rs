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
use tokio::time::timeout;

use super::link::Link;
use super::node::Connector;
use crate::backend::Failure;

/// Connections that are kept for the next caller.
const KEPT: usize = 16;
/// Connections at once; further callers wait for one, a while.
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

    /// A connection of one's own. Where none becomes free in half of a command's
    /// time this says so itself: a caller whose time runs out here would take the
    /// server for silent, which was asked nothing.
    pub(super) async fn take(&self) -> Result<Lease, Failure> {
        let limit = self.connector.dialer.command_timeout / 2;
        let place = timeout(limit, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Failure::Unsupported(format!(
                "not sent, {MOST} calls that wait and transactions run already"
            )));
        };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::redis::address::Host;
    use crate::backend::redis::connect::Part;
    use crate::backend::redis::node::Way;
    use crate::backend::redis::testing::dialer;
    use crate::options::Options;

    #[tokio::test(start_paused = true)]
    async fn a_full_pool_says_so_before_the_callers_time_is_over() {
        let options = Options::default();
        let connector = Connector {
            dialer: dialer("redis://127.0.0.1:1", &options),
            way: Way::Fixed(Host::tcp("127.0.0.1", 1), Part::Single),
        };
        let pool = Pool::new(Arc::new(connector), Arc::default());
        let all = pool.places.clone().acquire_many_owned(MOST as u32).await;
        let taking = timeout(options.command_timeout, pool.take()).await;
        let Ok(Err(Failure::Unsupported(text))) = taking else {
            panic!("a time-out counts against the server");
        };
        assert!(text.starts_with("not sent"), "{text}");
        drop(all);
        // With a place the server itself is asked.
        let taking = timeout(Duration::from_mins(1), pool.take()).await;
        assert!(matches!(taking, Ok(Err(Failure::NotSent(_)))));
    }
}
