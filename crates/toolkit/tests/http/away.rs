//! Permits behind the layer where the store cannot be asked.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use sangam::limit::class::Class;
use sangam::limit::{Guard, Limiter, Policy};
use sangam::store::{Error, Options, Store, Target};
use sangam_rig::proxy::{Cut, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use tower_layer::Layer as _;

use crate::bench::one;
use crate::layer::{App, get, layer, left, send, until_left, uploads};

/// A guard of one instance whose line to the store can fail, and one beside it whose
/// line does not.
async fn behind_a_line(class: Class) -> (Redis, Proxy, Guard, Guard) {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let connect = async |addr: SocketAddr| {
        let target = Target::new(&format!("redis://{addr}"), None, "REDIS_URL", "").unwrap();
        let options = Options {
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(50),
            ..Options::default()
        };
        let store = Store::connect(&target, options).await.unwrap();
        store.ping().await.unwrap();
        let limiter = Limiter::new(store).with_instances(NonZeroU32::MIN);
        Guard::over(limiter, one(class.clone()))
    };
    let (ours, beside) = (connect(proxy.addr()).await, connect(redis.addr()).await);
    (redis, proxy, ours, beside)
}

#[tokio::test]
async fn a_permit_of_the_share_is_returned_while_the_store_is_away() {
    let mut class = uploads();
    class.terms.policy = Policy::Local;
    let (_redis, proxy, guard, _) = behind_a_line(class).await;
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    until("the store's end", async || {
        match guard.store().ping().await {
            Err(Error::Unavailable(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let mut app = layer(&guard).class("upload").layer(App::default());
    for nth in 0..6 {
        let answer = send(&mut app, get("/", Some("ann"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{nth}");
        assert_eq!(answer.headers()["sangam-ruled"], "local");
        assert_eq!(left(&guard, "upload").await, 1, "{nth}");
        drop(answer);
        until_left(&guard, "upload", 2).await;
    }
}

#[tokio::test]
async fn a_permit_that_may_have_been_taken_is_returned() {
    let mut class = uploads();
    class.terms.policy = Policy::Open;
    let (_redis, proxy, guard, beside) = behind_a_line(class).await;
    let mut app = layer(&guard).class("upload").layer(App::default());
    // The script is known to the server from here on.
    drop(send(&mut app, get("/", Some("bob"))).await);
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    let answer = send(&mut app, get("/", Some("ann"))).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["sangam-ruled"], "open");
    until_left(&beside, "upload", 1).await;
    until("the store again", async || {
        guard.store().ping().await.map_err(|it| it.to_string())
    })
    .await;
    drop(answer);
    until_left(&beside, "upload", 2).await;
}
