//! Who owns which slot, as the cluster said last.
//!
//! Whoever answers first is believed: what is out of date in it is corrected by
//! MOVED, one slot at once and all of them by the reading that follows.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use sangam_engine::Reply;
use tokio::time::timeout;

use super::slot::SLOTS;
use crate::backend::redis::address::Host;
use crate::backend::redis::connect::{Dialer, Part};
use crate::backend::redis::fault::Faults;
use crate::backend::redis::node::{Node, Way};
use crate::backend::{Failure, Sent};
use crate::error::Why;

/// Masters and their slots.
#[derive(Clone, Default)]
pub(super) struct Topology {
    /// In the order of their first slots.
    pub(super) masters: Vec<Arc<Node>>,
    /// For each slot, the place of its master.
    owners: Vec<Option<u16>>,
}

impl Topology {
    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        let at = self.owners.get(usize::from(slot)).copied().flatten()?;
        self.masters.get(usize::from(at))
    }

    fn give(&mut self, slots: impl Iterator<Item = u16>, node: &Arc<Node>) {
        let known = self.masters.iter().position(|it| Arc::ptr_eq(it, node));
        let at = known.unwrap_or_else(|| {
            self.masters.push(node.clone());
            self.masters.len() - 1
        });
        for slot in slots {
            if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
                *owner = Some(at as u16);
            }
        }
    }
}

/// The servers of a cluster.
pub(super) struct Servers {
    pub(super) dialer: Dialer,
    seeds: Vec<Host>,
    nodes: Mutex<HashMap<Host, Arc<Node>>>,
    topology: RwLock<Arc<Topology>>,
}

impl Servers {
    pub(super) fn new(dialer: Dialer, seeds: Vec<Host>) -> Self {
        Servers {
            dialer,
            seeds,
            nodes: Mutex::default(),
            topology: RwLock::default(),
        }
    }

    pub(super) fn topology(&self) -> Arc<Topology> {
        self.topology.read().clone()
    }

    pub(super) fn node(&self, host: &Host) -> Arc<Node> {
        let mut nodes = self.nodes.lock();
        let node = nodes.entry(host.clone()).or_insert_with(|| {
            let way = Way::Fixed(host.clone(), Part::Node);
            Arc::new(Node::new(self.dialer.clone(), way))
        });
        node.clone()
    }

    /// A slot was moved.
    pub(super) fn moved(&self, slot: u16, node: &Arc<Node>) {
        let mut topology = self.topology.write();
        Arc::make_mut(&mut topology).give(std::iter::once(slot), node);
    }

    /// Words about the cluster as a whole.
    pub(super) fn faults(&self) -> Faults {
        let hosts: Vec<_> = self.seeds.iter().map(Host::to_string).collect();
        let first = self.seeds.first().cloned();
        Faults {
            place: format!("redis-cluster://{}", hosts.join(",")),
            ..self
                .dialer
                .faults(&first.unwrap_or_else(|| Host::tcp("", 0)))
        }
    }

    /// Asks the servers that are known who owns what; those of the URL, too,
    /// where none of them answers.
    pub(super) async fn read(&self) -> Result<(), Failure> {
        let known: Vec<Host> = self.nodes.lock().keys().cloned().collect();
        let limit = self.dialer.connect_timeout / 2;
        let mut failure = None;
        for hosts in [known, self.seeds.clone()] {
            match timeout(limit, self.ask_all(&hosts)).await {
                Ok(Ok(ranges)) => {
                    self.take(ranges);
                    return Ok(());
                }
                Ok(Err(other)) => failure = other.or(failure),
                Err(_) => {
                    let text = format!("no node answered within {} ms", limit.as_millis());
                    failure = Some(self.faults().unreachable(text));
                }
            }
        }
        Err(failure.unwrap_or_else(|| self.faults().unreachable("no node is known")))
    }

    /// The first answer of several hosts; else what speaks most against them.
    async fn ask_all(&self, hosts: &[Host]) -> Result<Vec<Range>, Option<Failure>> {
        let mut asking: FuturesUnordered<_> = hosts.iter().map(|host| self.ask(host)).collect();
        let mut failure = None;
        while let Some(answer) = asking.next().await {
            match answer {
                Ok(ranges) => return Ok(ranges),
                Err(setting @ Failure::Setting(_)) => failure = Some(setting),
                Err(other) => {
                    failure.get_or_insert(other);
                }
            }
        }
        Err(failure)
    }

    fn take(&self, mut ranges: Vec<Range>) {
        ranges.sort_by_key(|range| range.first);
        let mut topology = Topology {
            masters: Vec::new(),
            owners: vec![None; usize::from(SLOTS)],
        };
        for range in &ranges {
            let node = self.node(&range.master);
            topology.give(range.first..=range.last, &node);
        }
        // Who owns nothing any more is let go, with its connections.
        let mut nodes = self.nodes.lock();
        nodes.retain(|host, _| ranges.iter().any(|range| range.master == *host));
        drop(nodes);
        *self.topology.write() = Arc::new(topology);
    }

    async fn ask(&self, host: &Host) -> Result<Vec<Range>, Failure> {
        let node = self.node(host);
        let reply = node.call(&[b"CLUSTER", b"SLOTS"], &Sent::default()).await;
        let faults = self.dialer.faults(host);
        let reply = reply.map_err(|failure| match failure {
            // Nothing of a caller's was sent.
            Failure::Lost(why) => Failure::NotSent(why),
            failure => failure,
        })?;
        match reply {
            Reply::Array(parts) => {
                let ranges: Vec<Range> = parts.iter().filter_map(|it| range(it, host)).collect();
                if ranges.is_empty() {
                    return Err(Failure::NotSent(Why::Refusing(
                        "CLUSTERDOWN no slot is served".to_owned(),
                    )));
                }
                Ok(ranges)
            }
            Reply::Error(text) if text.starts_with(b"ERR") => Err(faults.setting(format!(
                "is no node of a cluster: write redis:// in place of redis-cluster:// (it says: \
                 {})",
                String::from_utf8_lossy(&text)
            ))),
            Reply::Error(text) => Err(faults.refused("CLUSTER", &text)),
            _ => Err(faults.setting("answers CLUSTER SLOTS with something else")),
        }
    }
}

/// Slots with one master.
struct Range {
    first: u16,
    last: u16,
    master: Host,
}

/// A range of CLUSTER SLOTS as `asked` says it.
fn range(reply: &Reply, asked: &Host) -> Option<Range> {
    let Reply::Array(parts) = reply else {
        return None;
    };
    let [
        Reply::Int(first),
        Reply::Int(last),
        Reply::Array(master),
        ..,
    ] = parts.as_slice()
    else {
        return None;
    };
    let [name, Reply::Int(port), ..] = master.as_slice() else {
        return None;
    };
    let name = match name {
        Reply::Bulk(name) => std::str::from_utf8(name).ok()?,
        _ => "",
    };
    Some(Range {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok().filter(|last| *last < SLOTS)?,
        master: beside(name, u16::try_from(*port).ok()?, Some(asked)),
    })
}

/// A host; one without a name is the one that names it.
pub(super) fn beside(name: &str, port: u16, namer: Option<&Host>) -> Host {
    match namer {
        Some(Host::Tcp { host, .. }) if matches!(name, "" | "?") => Host::tcp(host, port),
        _ => Host::tcp(name, port),
    }
}
