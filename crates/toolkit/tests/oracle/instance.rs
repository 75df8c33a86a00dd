//! An instance of an app: a limiter over a store of its own, on a line of its own.

use std::num::NonZeroU32;
use std::time::Duration;

use sangam::limit::{Limiter, Terms};
use sangam::store::{Options, Store, Target};
use sangam_rig::proxy::Proxy;
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;

use crate::INSTANCES;

pub(crate) struct Instance {
    pub(crate) proxy: Proxy,
    pub(crate) store: Store,
    pub(crate) limiter: Limiter,
}

impl Instance {
    pub(crate) async fn start(redis: &Redis, terms: Terms) -> Self {
        let proxy = Proxy::start(redis.addr());
        let url = format!("redis://{}", proxy.addr());
        let options = Options {
            connect_timeout: Duration::from_millis(150),
            command_timeout: Duration::from_millis(150),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(40),
            breaker_failures: 2,
            ..Options::default()
        };
        let store = connect(&url, options).await;
        let number = NonZeroU32::new(INSTANCES as u32).unwrap();
        let instance = Instance {
            limiter: Limiter::new(store.clone())
                .with_terms(terms)
                .with_instances(number),
            proxy,
            store,
        };
        instance.until_up().await;
        instance
    }

    pub(crate) async fn until_up(&self) {
        until("the store to answer", || async {
            self.store.ping().await.map_err(|error| error.to_string())
        })
        .await;
    }
}

pub(crate) async fn connect(url: &str, options: Options) -> Store {
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    Store::connect(&target, options).await.unwrap()
}
