//! The back ends that the suite runs on.
//!
//! Servers in processes of their own are shared by all tests and started once;
//! each test connects a store of its own, and has keys of its own, all in one
//! slot of a cluster.
#![allow(dead_code, reason = "each test binary uses its part")]

mod redis;

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};

use sangam_rig::proxy::HttpProxy;
use sangam_server::{Config, Running, Server};
use sangam_store::{Options, Store, Target};

pub(crate) use redis::*;

/// A store, and what its back end cannot do.
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) can: Can,
    tag: String,
    /// Lives as long as the test.
    held: Option<Box<dyn Any + Send>>,
}

/// What not every back end can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Can {
    /// Commands that wait.
    pub(crate) wait: bool,
    /// Units over keys of several slots.
    pub(crate) span_slots: bool,
    /// Messages with any bytes.
    pub(crate) carry_bytes: bool,
}

const ALL: Can = Can {
    wait: true,
    span_slots: true,
    carry_bytes: true,
};

impl Place {
    fn new(store: Store, can: Can) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place {
            store,
            can,
            tag: format!("{{t{number}}}"),
            held: None,
        }
    }

    /// What begins the keys of this test that may be in any slot.
    pub(crate) fn prefix(&self) -> String {
        format!("{}:", self.tag.trim_matches(['{', '}']))
    }

    /// A key of this test.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    /// A key of this test that is in some other slot than others.
    pub(crate) fn key_in(&self, slot: usize, name: &str) -> String {
        format!("{{s{slot}}}{}{name}", self.tag)
    }
}

/// The engine in this process.
pub(crate) async fn embedded() -> Place {
    Place::new(Store::memory(), ALL)
}

/// A URL as the setting of a server gives it.
fn target(url: &str, token: Option<&str>) -> Target {
    Target::new(url, token, "SANGAM_STORE", "SANGAM_STORE_TOKEN").unwrap()
}

async fn connect(url: &str, token: Option<&str>, can: Can) -> Place {
    let options = Options::default();
    let store = Store::connect(&target(url, token), options).await.unwrap();
    Place::new(store, can)
}

/// A server of ours in this process.
pub(crate) async fn ours() -> Running {
    Server::start(Config::in_memory(TOKEN)).await.unwrap()
}

/// What opens it.
pub(crate) const TOKEN: &str = "s3cret";

const REST: Can = Can {
    wait: false,
    carry_bytes: false,
    ..ALL
};

/// Our gateway.
pub(crate) async fn own_gateway() -> Place {
    over_rest(ours().await).await
}

/// Our gateway, which refuses what Upstash refuses.
pub(crate) async fn strict_gateway() -> Place {
    let config = Config {
        strict_upstash: true,
        ..Config::in_memory(TOKEN)
    };
    over_rest(Server::start(config).await.unwrap()).await
}

async fn over_rest(server: Running) -> Place {
    let url = format!("http://{}", server.http());
    let mut place = connect(&url, Some(TOKEN), REST).await;
    place.held = Some(Box::new(server));
    place
}

/// Our gateway behind a proxy that does nothing.
pub(crate) async fn own_gateway_behind_a_proxy() -> Place {
    let server = ours().await;
    let proxy = HttpProxy::start(server.http());
    let url = format!("http://{}", proxy.addr());
    let mut place = connect(&url, Some(TOKEN), REST).await;
    place.held = Some(Box::new((server, proxy)));
    place
}

/// Our gateway in front of our gateway.
pub(crate) async fn gateway_of_a_gateway() -> Place {
    let server = ours().await;
    let url = format!("http://{}", server.http());
    let mut place = gateway_of(&url, Some(TOKEN)).await;
    place.held = Some(Box::new((place.held.take(), server)));
    place
}

/// Our gateway in front of another store.
async fn gateway_of(url: &str, token: Option<&str>) -> Place {
    let config = Config {
        store: Some(target(url, token)),
        resp: None,
        ..Config::in_memory(TOKEN)
    };
    over_rest(Server::start(config).await.unwrap()).await
}
