//! A cluster, formed without `redis-cli`.
//!
//! A node counts as failed after a second, a replica is elected about a second
//! later.

use std::net::SocketAddr;

use super::client::Answer;
use super::server::{Options, Redis};
use crate::port::{free, loopback};
use crate::proxy::Proxy;
use crate::wait::until;

const SLOTS: usize = 16_384;
const NODE_TIMEOUT: &str = "1000";

/// Masters that share the slots, each with its replicas.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
    proxies: Vec<Proxy>,
}

impl Cluster {
    /// Starts one and waits until every node knows the same, and that all is
    /// well.
    pub async fn start(masters: usize, replicas_each: usize) -> Self {
        Self::form(masters, replicas_each, false).await
    }

    /// The same, each node behind a proxy, whose address it gives as its own:
    /// redirections stay behind the proxies. Copying from master to replica goes
    /// through them too.
    pub async fn behind_proxies(masters: usize, replicas_each: usize) -> Self {
        Self::form(masters, replicas_each, true).await
    }

    async fn form(masters: usize, replicas_each: usize, proxied: bool) -> Self {
        assert!(masters > 0, "a cluster has a master");
        let count = masters * (1 + replicas_each);
        let mut cluster = Self {
            nodes: Vec::new(),
            proxies: Vec::new(),
        };
        let mut buses = Vec::new();
        for _ in 0..count {
            let (port, bus) = (free(), free().to_string());
            let mut options = Options::default()
                .port(port)
                .arg("--cluster-enabled", "yes")
                .arg("--cluster-node-timeout", NODE_TIMEOUT)
                .arg("--cluster-replica-validity-factor", "0")
                .arg("--cluster-port", &bus);
            if proxied {
                let proxy = Proxy::start(loopback(port));
                let announced = proxy.addr().port().to_string();
                options = options.arg("--cluster-announce-port", &announced);
                cluster.proxies.push(proxy);
            }
            cluster.nodes.push(options.start().await);
            buses.push(bus);
        }
        cluster.share_slots(masters).await;
        cluster.introduce(&buses).await;
        cluster.follow(masters).await;
        cluster.until_well().await;
        cluster
    }

    async fn share_slots(&self, masters: usize) {
        for (index, node) in self.nodes.iter().enumerate() {
            // Distinct from the start, else the nodes would sort it out later.
            let epoch = (index + 1).to_string();
            node.call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
            if index < masters {
                let first = SLOTS * index / masters;
                let last = SLOTS * (index + 1) / masters - 1;
                node.call(&[
                    "CLUSTER",
                    "ADDSLOTSRANGE",
                    &first.to_string(),
                    &last.to_string(),
                ])
                .await;
            }
        }
    }

    async fn introduce(&self, buses: &[String]) {
        for node in &self.nodes {
            for (other, bus) in self.nodes.iter().zip(buses) {
                let port = other.addr().port().to_string();
                node.call(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])
                    .await;
            }
        }
        for node in &self.nodes {
            until("the nodes to know each other", || async {
                let nodes = node.try_call(&["CLUSTER", "NODES"]).await?.text();
                let known = nodes
                    .lines()
                    .filter(|line| !line.contains("handshake") && !line.contains("noaddr"))
                    .count();
                (known == self.nodes.len()).then_some(()).ok_or(nodes)
            })
            .await;
        }
    }

    /// Node `masters + i` copies master `i % masters`.
    async fn follow(&self, masters: usize) {
        for (index, replica) in self.nodes.iter().enumerate().skip(masters) {
            let master = self.nodes[index % masters].call(&["CLUSTER", "MYID"]).await;
            replica
                .call(&["CLUSTER", "REPLICATE", &master.text()])
                .await;
        }
        for replica in self.nodes.iter().skip(masters) {
            replica.until_linked().await;
        }
    }

    /// Waits until every running node calls the cluster well, knows who is
    /// reachable, and every replica has its copy.
    pub async fn until_well(&self) {
        let running = self.nodes.iter().filter(|node| node.is_running()).count();
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            until("the cluster to be well", || async {
                let info = node.try_call(&["CLUSTER", "INFO"]).await?.text();
                if !info.contains("cluster_state:ok") {
                    return Err(info);
                }
                let slots = node.try_call(&["CLUSTER", "SLOTS"]).await?;
                let mut named: Vec<String> = slots
                    .items()
                    .iter()
                    .flat_map(|range| range.items().iter().skip(2))
                    .map(|address| format!("{address:?}"))
                    .collect();
                named.sort();
                named.dedup();
                if named.len() != running {
                    return Err(format!("{running} nodes run, named are {named:?}"));
                }
                if node.info("role").await? == "slave"
                    && node.info("master_link_status").await? != "up"
                {
                    return Err("a replica without its master".to_owned());
                }
                Ok(())
            })
            .await;
        }
    }

    /// The nodes, masters first as they were at the start.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The proxies before the nodes, in their order; none without.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Where clients begin: every node, or its proxy.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        if self.proxies.is_empty() {
            self.nodes.iter().map(Redis::addr).collect()
        } else {
            self.proxies.iter().map(Proxy::addr).collect()
        }
    }

    /// The master that holds `key`, and its replicas, by their place in
    /// [`nodes`](Self::nodes).
    pub async fn holders(&self, key: &str) -> Vec<usize> {
        let addrs = self.addrs();
        let asked = self.nodes.iter().find(|node| node.is_running());
        let asked = asked.expect("a node that runs");
        until("a node to say who holds a key", || async {
            let slot = asked.try_call(&["CLUSTER", "KEYSLOT", key]).await?.int();
            let slots = asked.try_call(&["CLUSTER", "SLOTS"]).await?;
            let range = slots.items().iter().find(|range| {
                matches!(range.items(), [first, last, ..]
                    if first.int() <= slot && slot <= last.int())
            });
            let range = range.ok_or("nobody holds the slot")?;
            let holders: Option<Vec<usize>> = range
                .items()
                .iter()
                .skip(2)
                .map(|node| {
                    let port = node.items().get(1).and_then(Answer::int)?;
                    addrs.iter().position(|addr| i64::from(addr.port()) == port)
                })
                .collect();
            holders.ok_or_else(|| "a holder that is none of ours".to_owned())
        })
        .await
    }

    /// Kills the master that holds `key` and waits until a replica has taken
    /// over everywhere; the dead one's and the new one's place.
    pub async fn fail_over(&mut self, key: &str) -> (usize, usize) {
        let master = self.master(key).await;
        self.nodes[master].kill();
        let successor = self.until_other(key, master).await;
        (master, successor)
    }

    /// Lets a replica take over from the living master of `key` (`CLUSTER
    /// FAILOVER`); the old master's and the new one's place.
    pub async fn switch_over(&self, key: &str) -> (usize, usize) {
        let holders = self.holders(key).await;
        let &[master, replica, ..] = holders.as_slice() else {
            panic!("the master of {key:?} has no replica: {holders:?}");
        };
        self.nodes[replica].call(&["CLUSTER", "FAILOVER"]).await;
        let successor = self.until_other(key, master).await;
        (master, successor)
    }

    /// Starts a killed node again, which follows whoever took over.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node].restart().await;
        self.until_well().await;
    }

    async fn master(&self, key: &str) -> usize {
        self.holders(key)
            .await
            .first()
            .copied()
            .expect("a slot's range names its master")
    }

    async fn until_other(&self, key: &str, old: usize) -> usize {
        let successor = until("a replica to take over", || async {
            match self.master(key).await {
                same if same == old => Err(format!("node {old} still holds the slot")),
                other => Ok(other),
            }
        })
        .await;
        self.until_well().await;
        successor
    }
}
