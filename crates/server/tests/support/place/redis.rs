//! The back ends that speak RESP.

use std::net::SocketAddr;

use sangam_rig::proxy::Proxy;
use sangam_rig::redis::{Cluster, MASTER_NAME, Redis, Sentinel};
use tokio::sync::OnceCell;

use super::{ALL, Can, Place, TOKEN, connect, gateway_of, ours};

/// `host:port,host:port`.
pub(crate) fn list(addrs: &[SocketAddr]) -> String {
    let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
    addrs.join(",")
}

async fn server() -> &'static Redis {
    static SERVER: OnceCell<Redis> = OnceCell::const_new();
    SERVER
        .get_or_init(|| Redis::options().password("s3cret").start())
        .await
}

/// A redis-server.
pub(crate) async fn redis() -> Place {
    connect(&server().await.url(), None, ALL).await
}

/// The same in the older protocol.
pub(crate) async fn redis_in_resp2() -> Place {
    let url = format!("{}?protocol=resp2", server().await.url());
    connect(&url, None, ALL).await
}

/// A redis-server behind a proxy that does nothing.
pub(crate) async fn redis_behind_a_proxy() -> Place {
    static SERVER: OnceCell<(Redis, Proxy)> = OnceCell::const_new();
    let start = async || {
        let redis = Redis::start().await;
        let proxy = Proxy::start(redis.addr());
        (redis, proxy)
    };
    let (_, proxy) = SERVER.get_or_init(start).await;
    connect(&format!("redis://{}", proxy.addr()), None, ALL).await
}

const SLOTS: Can = Can {
    span_slots: false,
    ..ALL
};

/// A cluster of three masters.
pub(crate) async fn cluster() -> Place {
    static SERVER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = SERVER.get_or_init(|| Cluster::start(3, 0)).await;
    let url = format!("redis-cluster://{}", list(&cluster.addrs()));
    connect(&url, None, SLOTS).await
}

/// A cluster whose nodes are behind proxies that do nothing.
pub(crate) async fn cluster_behind_proxies() -> Place {
    static SERVER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = SERVER.get_or_init(|| Cluster::behind_proxies(3, 0)).await;
    let url = format!("redis-cluster://{}", list(&cluster.addrs()));
    connect(&url, None, SLOTS).await
}

/// A master found by sentinels.
pub(crate) async fn sentinel() -> Place {
    static SERVER: OnceCell<Sentinel> = OnceCell::const_new();
    let set = SERVER.get_or_init(|| Sentinel::start(1)).await;
    let sentinels = list(&set.sentinels());
    let url = format!("redis+sentinel://{sentinels}/{MASTER_NAME}");
    connect(&url, None, ALL).await
}

/// The same where the servers are behind proxies.
pub(crate) async fn sentinel_behind_proxies() -> Place {
    static SERVER: OnceCell<Sentinel> = OnceCell::const_new();
    let set = SERVER.get_or_init(|| Sentinel::behind_proxies(1)).await;
    let sentinels = list(&set.sentinels());
    let url = format!("redis+sentinel://{sentinels}/{MASTER_NAME}");
    connect(&url, None, ALL).await
}

/// Our RESP listener.
pub(crate) async fn own_resp() -> Place {
    let server = ours().await;
    let url = format!("redis://:{TOKEN}@{}", server.resp().unwrap());
    let mut place = connect(&url, None, ALL).await;
    place.held = Some(Box::new(server));
    place
}

/// Our gateway in front of a redis-server.
pub(crate) async fn gateway_of_redis() -> Place {
    static SERVER: OnceCell<Redis> = OnceCell::const_new();
    let server = SERVER.get_or_init(Redis::start).await;
    gateway_of(&server.url(), None).await
}

/// Our gateway in front of a cluster.
pub(crate) async fn gateway_of_a_cluster() -> Place {
    static SERVER: OnceCell<Cluster> = OnceCell::const_new();
    let cluster = SERVER.get_or_init(|| Cluster::start(3, 0)).await;
    let url = format!("redis-cluster://{}", list(&cluster.addrs()));
    let mut place = gateway_of(&url, None).await;
    place.can.span_slots = false;
    place
}
