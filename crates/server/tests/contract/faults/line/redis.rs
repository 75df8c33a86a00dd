//! Lines that speak RESP.

use sangam_rig::proxy::Proxy;
use sangam_rig::redis::{MASTER_NAME, Redis, Sentinel};

use super::{Line, Net, over};
use crate::place::list;

impl Net for (Redis, Proxy) {
    fn proxies(&self) -> Vec<&Proxy> {
        vec![&self.1]
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

/// A master and two replicas under sentinels, without proxies.
pub(crate) async fn sentinel() -> Line<Sentinel> {
    let set = Sentinel::start(2).await;
    let url = format!("redis+sentinel://{}/{MASTER_NAME}", list(&set.sentinels()));
    over(set, &url, None).await
}
