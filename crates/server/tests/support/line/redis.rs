//! Lines that speak RESP.

use sangam_rig::proxy::Proxy;
use sangam_rig::redis::{Cluster, MASTER_NAME, Redis, Sentinel};

use super::{Line, Net, over};
use crate::place::list;

impl Net for (Redis, Proxy) {
    fn proxies(&self) -> Vec<&Proxy> {
        vec![&self.1]
    }
}

impl Net for Cluster {
    fn proxies(&self) -> Vec<&Proxy> {
        self.proxies().iter().collect()
    }
}

/// A redis-server that keeps what it has acknowledged.
pub(crate) async fn redis() -> Line<(Redis, Proxy)> {
    let server = Redis::options()
        .arg("--appendonly", "yes")
        .arg("--appendfsync", "always")
        .start()
        .await;
    let proxy = Proxy::start(server.addr());
    let url = format!("redis://{}", proxy.addr());
    over((server, proxy), &url, None).await
}

/// Three masters.
pub(crate) async fn cluster() -> Line<Cluster> {
    let cluster = Cluster::behind_proxies(3, 0).await;
    let url = format!("redis-cluster://{}", list(&cluster.addrs()));
    over(cluster, &url, None).await
}

/// Three masters with a replica each, without proxies.
pub(crate) async fn cluster_with_replicas() -> Line<Cluster> {
    let cluster = Cluster::start(3, 1).await;
    let url = format!("redis-cluster://{}", list(&cluster.addrs()));
    over(cluster, &url, None).await
}

/// A master and two replicas under sentinels, without proxies.
pub(crate) async fn sentinel() -> Line<Sentinel> {
    let set = Sentinel::start(2).await;
    let url = format!("redis+sentinel://{}/{MASTER_NAME}", list(&set.sentinels()));
    over(set, &url, None).await
}
