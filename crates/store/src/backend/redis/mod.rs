//! Redis and Valkey: a single server, the master that sentinels name, a cluster.
//!
//! redis-rs multiplexes and parses on a connection that we made ([`link`]); to
//! make it, to find the server, to route and to say what may have left is ours.
//!
//! ```text
//! single, cluster     the two kinds of store
//! node                one server: a shared connection, a pool, a listener
//! link, listener      one connection: of commands, of messages
//! connect, greet      to a connection that is logged in, at a server that fits
//! sentinel            which server that is
//! address, fault      what the URL says; what is wrong, in one line
//! ```
//!
//! A command is sent once. [`Sent`] is set before it is given to the
//! multiplexer; a connection that is known to be over then takes nothing, and a
//! new one is made. Blocking commands and transactions have connections of their
//! own ([`dedicated`]).

mod address;
pub(crate) mod cluster;
mod connect;
mod dedicated;
mod fault;
mod flight;
mod greet;
mod link;
mod listener;
mod node;
mod plan;
mod sentinel;
mod single;
mod stream;
#[cfg(test)]
mod testing;
mod tls;
mod transaction;
mod value;

use std::sync::Arc;

use self::address::{Address, Deployment};
use self::connect::{Dialer, Part};
use self::node::{Node, Way};
use self::sentinel::Sentinels;
use super::Remote;
use crate::error::Error;
use crate::options::Options;
use crate::target::Target;

/// The Redis that a target names; nothing is connected yet.
pub(super) fn open(target: &Target, options: &Options) -> Result<Box<dyn Remote>, Error> {
    let address = Address::of(target)?;
    let dialer = Dialer::new(&address, options)?;
    let way = match address.deployment {
        Deployment::Single(host) => Way::Fixed(host, Part::Single),
        Deployment::Sentinel {
            sentinels,
            master,
            login,
        } => Way::Sentinels(Sentinels {
            hosts: sentinels,
            master,
            dialer: Arc::new(dialer.for_sentinels(login)),
        }),
        Deployment::Cluster(hosts) => {
            return Ok(Box::new(cluster::Cluster::new(dialer, hosts)));
        }
    };
    Ok(Box::new(single::Single(Node::new(dialer, way))))
}
