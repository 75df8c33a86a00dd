//! A master, its replicas, and three sentinels that watch them.
//!
//! A master counts as down after 700 ms, and two sentinels have to agree.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::client::Client;
use super::process::{Process, folder};
use super::server::{Options, Redis};
use crate::port::{free, loopback};
use crate::proxy::Proxy;
use crate::wait::until;

/// What the sentinels call the master.
pub const MASTER_NAME: &str = "mymaster";

const SENTINELS: usize = 3;
const QUORUM: usize = 2;
const DOWN_AFTER_MS: u32 = 700;

/// Servers and the sentinels that watch them.
#[derive(Debug)]
pub struct Sentinel {
    nodes: Vec<Redis>,
    proxies: Vec<Proxy>,
    sentinels: Vec<Watcher>,
}

#[derive(Debug)]
struct Watcher {
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

impl Sentinel {
    /// One master, so many replicas, three sentinels; waits until the sentinels
    /// know them all and each other.
    pub async fn start(replicas: usize) -> Self {
        Self::form(replicas, false).await
    }

    /// The same, each server behind a proxy, whose address it gives as its own.
    /// Copying and the sentinels' watch go through the proxies too.
    pub async fn behind_proxies(replicas: usize) -> Self {
        Self::form(replicas, true).await
    }

    async fn form(replicas: usize, proxied: bool) -> Self {
        let mut set = Self {
            nodes: Vec::new(),
            proxies: Vec::new(),
            sentinels: Vec::new(),
        };
        for _ in 0..=replicas {
            let port = free();
            let mut options = Options::default().port(port);
            if proxied {
                let proxy = Proxy::start(loopback(port));
                options = options
                    .arg("--replica-announce-ip", "127.0.0.1")
                    .arg("--replica-announce-port", &proxy.addr().port().to_string());
                set.proxies.push(proxy);
            }
            set.nodes.push(options.start().await);
        }
        let master = set.addrs()[0].port().to_string();
        for replica in &set.nodes[1..] {
            replica.call(&["REPLICAOF", "127.0.0.1", &master]).await;
            replica.until_linked().await;
        }
        for _ in 0..SENTINELS {
            set.sentinels.push(Watcher::start(&master).await);
        }
        for watcher in &set.sentinels {
            watcher.until_informed(replicas).await;
        }
        set
    }

    /// The servers, the first master first.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The proxies before the servers, in their order; none without.
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Where clients ask for the master.
    pub fn sentinels(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Watcher::addr).collect()
    }

    /// The servers' addresses, or their proxies'.
    fn addrs(&self) -> Vec<SocketAddr> {
        if self.proxies.is_empty() {
            self.nodes.iter().map(Redis::addr).collect()
        } else {
            self.proxies.iter().map(Proxy::addr).collect()
        }
    }

    /// Whom all the sentinels call the master, by its place in
    /// [`nodes`](Self::nodes).
    pub async fn master(&self) -> usize {
        until("the sentinels to agree on a master", || self.agreed()).await
    }

    async fn agreed(&self) -> Result<usize, String> {
        let mut named = Vec::new();
        for watcher in &self.sentinels {
            named.push(watcher.master().await?);
        }
        let first = named.first().copied().unwrap_or_default();
        if named.iter().any(|port| *port != first) {
            return Err(format!("they name {named:?}"));
        }
        self.addrs()
            .iter()
            .position(|addr| i64::from(addr.port()) == first)
            .ok_or_else(|| format!("port {first} is none of ours"))
    }

    /// Kills the master and waits until all sentinels name a replica that says
    /// so itself, and the others follow it; the dead one's and the new one's
    /// place.
    pub async fn fail_over(&mut self) -> (usize, usize) {
        let old = self.master().await;
        self.nodes[old].kill();
        let this = &*self;
        let new = until("a replica to take over", || async move {
            let new = this.agreed().await?;
            if new == old {
                return Err(format!("node {old} is still named"));
            }
            match this.nodes[new].info("role").await?.as_str() {
                "master" => Ok(new),
                other => Err(format!("its role is {other}")),
            }
        })
        .await;
        let port = self.addrs()[new].port().to_string();
        for (index, node) in self.nodes.iter().enumerate() {
            if index == new || !node.is_running() {
                continue;
            }
            until("the others to follow", || async {
                let (followed, link) = (
                    node.info("master_port").await?,
                    node.info("master_link_status").await?,
                );
                if followed == port && link == "up" {
                    Ok(())
                } else {
                    Err(format!("it follows {followed}, link {link}"))
                }
            })
            .await;
        }
        (old, new)
    }

    /// Starts a killed server again; the sentinels make it a replica.
    pub async fn restart(&mut self, node: usize) {
        self.nodes[node].restart().await;
        let node = &self.nodes[node];
        until("a server to be made a replica", || async {
            let (role, link) = (
                node.info("role").await?,
                node.info("master_link_status").await?,
            );
            if role == "slave" && link == "up" {
                Ok(())
            } else {
                Err(format!("role {role}, link {link}"))
            }
        })
        .await;
    }

    /// Kills one sentinel; two are enough.
    pub fn kill_sentinel(&mut self, index: usize) {
        if let Some(process) = self.sentinels[index].process.take() {
            process.kill();
        }
    }
}

impl Watcher {
    async fn start(master: &str) -> Self {
        let folder = folder();
        let port = free();
        let lines = [
            "bind 127.0.0.1".to_owned(),
            format!("port {port}"),
            format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {master} {QUORUM}"),
            format!("sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}"),
            format!("sentinel failover-timeout {MASTER_NAME} 3000"),
        ];
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let process = Process::start(
            &folder,
            &[file.display().to_string(), "--sentinel".to_owned()],
        );
        let watcher = Self {
            port,
            folder,
            process: Some(process),
        };
        until("a sentinel to answer", || async {
            assert!(
                watcher.process.as_ref().is_some_and(|one| !one.has_ended()),
                "a sentinel has ended:\n{}",
                watcher
                    .process
                    .as_ref()
                    .map(Process::log)
                    .unwrap_or_default()
            );
            watcher.ask(&["PING"]).await
        })
        .await;
        // What it does every few seconds, it does a few times a second.
        watcher
            .ask(&[
                "SENTINEL",
                "DEBUG",
                "info-period",
                "300",
                "ping-period",
                "200",
                "ask-period",
                "200",
                "publish-period",
                "300",
            ])
            .await
            .unwrap();
        watcher
    }

    fn addr(&self) -> SocketAddr {
        loopback(self.port)
    }

    async fn ask(&self, arguments: &[&str]) -> Result<super::Answer, String> {
        let asked = async { Client::connect(self.addr()).await?.call(arguments).await };
        match asked.await {
            Ok(super::Answer::Error(text)) => Err(text),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn master(&self) -> Result<i64, String> {
        let answer = self
            .ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME])
            .await?;
        answer
            .items()
            .get(1)
            .and_then(super::Answer::int)
            .ok_or_else(|| format!("{answer:?}"))
    }

    /// Waits until it knows the replicas, all well, and the other sentinels.
    async fn until_informed(&self, replicas: usize) {
        until("a sentinel to know all", || async {
            let state = self.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
            let fields: Vec<String> = state.items().iter().map(super::Answer::text).collect();
            let field = |name: &str| {
                let at = fields.iter().position(|field| field == name)?;
                fields.get(at + 1)?.parse::<usize>().ok()
            };
            let known = (field("num-slaves"), field("num-other-sentinels"));
            if known != (Some(replicas), Some(SENTINELS - 1)) {
                return Err(format!("{known:?}"));
            }
            self.ask(&["SENTINEL", "CKQUORUM", MASTER_NAME])
                .await
                .map(|_| ())
        })
        .await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.process.is_none() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
