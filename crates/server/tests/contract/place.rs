//! The back ends that the suite runs on.
//!
//! Servers are shared by all tests of the process and started once; each test
//! connects a store of its own, and has keys of its own, all in one slot of a
//! cluster.

use std::sync::atomic::{AtomicU32, Ordering};

use sangam_server::{Config, Running, Server};
use sangam_store::{Options, Store, Target};

/// A store, and what its back end cannot do.
pub(crate) struct Place {
    pub(crate) store: Store,
    pub(crate) can: Can,
    tag: String,
    /// A server of this test alone.
    _server: Option<Running>,
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
            _server: None,
        }
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

/// The gateway of a server in this process, over REST.
pub(crate) async fn rest() -> Place {
    let server = Server::start(Config::in_memory("full")).await.unwrap();
    let url = format!("http://{}", server.http());
    let target = Target::new(&url, Some("full"), "SANGAM_STORE", "SANGAM_STORE_TOKEN").unwrap();
    let store = Store::connect(&target, Options::default()).await.unwrap();
    let can = Can {
        wait: false,
        carry_bytes: false,
        ..ALL
    };
    Place {
        _server: Some(server),
        ..Place::new(store, can)
    }
}
