//! The stores that caches are over.

use sangam::store::{Options, Store, Target};
use sangam_rig::redis::Redis;

/// A store, and the server that it needs.
pub struct Place {
    pub name: &'static str,
    pub store: Store,
    pub server: Option<Redis>,
}

impl Place {
    pub fn embedded() -> Self {
        Place {
            name: "embedded",
            store: Store::memory(),
            server: None,
        }
    }

    pub async fn redis() -> Self {
        let server = Redis::start().await;
        Place {
            name: "redis-server",
            store: connect(&server.url()).await,
            server: Some(server),
        }
    }

    pub async fn both() -> [Self; 2] {
        [Place::embedded(), Place::redis().await]
    }
}

pub async fn connect(url: &str) -> Store {
    let target = Target::new(url, None, "url", "").unwrap();
    Store::connect(&target, Options::default()).await.unwrap()
}
