//! Stores whose every connection goes through proxies.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod redis;

use std::time::Duration;

use sangam_rig::proxy::{HttpProxy, Proxy};
use sangam_server::Running;
use sangam_store::{Options, Store, Target};

use crate::place::{TOKEN, ours};

pub(crate) use redis::{cluster, cluster_with_replicas, redis, sentinel};

/// The longest that a call may take.
pub(crate) const LIMIT: Duration = Duration::from_millis(600);

/// Short, so that a test sees all of it.
fn options() -> Options {
    Options {
        connect_timeout: Duration::from_millis(400),
        command_timeout: LIMIT,
        slow_after: Duration::from_millis(150),
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(200),
        ..Options::default()
    }
}

/// A store, and the servers and proxies under it, which are this test's own.
pub(crate) struct Line<N> {
    pub(crate) store: Store,
    pub(crate) net: N,
}

/// Servers behind proxies.
pub(crate) trait Net {
    /// All ways to them.
    fn proxies(&self) -> Vec<&Proxy>;

    /// What can answer requests in their place.
    fn http(&self) -> Option<&HttpProxy> {
        None
    }
}

async fn over<N>(net: N, url: &str, token: Option<&str>) -> Line<N> {
    let target = Target::new(url, token, "SANGAM_STORE", "SANGAM_STORE_TOKEN").unwrap();
    let store = Store::connect(&target, options()).await.unwrap();
    Line { store, net }
}

impl Net for (Running, HttpProxy) {
    fn proxies(&self) -> Vec<&Proxy> {
        vec![self.1.line()]
    }

    fn http(&self) -> Option<&HttpProxy> {
        Some(&self.1)
    }
}

/// Our gateway over REST.
pub(crate) async fn rest() -> Line<(Running, HttpProxy)> {
    let server = ours().await;
    let proxy = HttpProxy::start(server.http());
    let url = format!("http://{}", proxy.addr());
    over((server, proxy), &url, Some(TOKEN)).await
}
