//! Over servers that go away and come back.

use std::time::Duration;

use sangam_rig::proxy::{Cut, Fault, Proxy, Whom};
use sangam_rig::redis::{Cluster, Redis};
use sangam_rig::wait::until;
use sangam_store::{Options, Store, Target, Ttl};

use super::{Instance, Kind, TAG, TagId, cache, deleted, sealed, stamp, written};

async fn over(url: &str) -> Store {
    let target = Target::new(url, None, "REDIS_URL", "").unwrap();
    let options = Options {
        connect_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(2),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Options::default()
    };
    let store = Store::connect(&target, options).await.unwrap();
    store.ping().await.unwrap();
    store
}

async fn all_expire(server: &Redis) {
    let keys = server.call(&["KEYS", "*"]).await;
    for key in keys.items() {
        let left = server.call(&["PTTL".to_owned(), key.text()]).await;
        assert_ne!(left.int(), Some(-1), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_the_server_is_sent_when_it_is_back() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let beside = over(&server.url()).await;
    let other = Instance::ready(&beside).await;
    let one = Instance::ready(&over(&format!("redis://{}", proxy.addr())).await).await;
    let test = cache("test", None);
    let (now_us, ends_ms) = (beside.now(), beside.now() / 1000 + 600_000);
    let old = sealed(stamp(now_us - 10), "old", ends_ms);
    for key in [&b"cache:test:v"[..], b"cache:test:d"] {
        let ttl = Ttl::In(Duration::from_mins(1));
        beside.set(key, &old, ttl).await.unwrap();
    }
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    one.pending.key(&test, "v", written(now_us, "1", ends_ms));
    one.pending
        .key(&test, "v", written(now_us + 1, "2", ends_ms));
    one.pending.key(&test, "d", written(now_us, "1", ends_ms));
    one.pending.key(&test, "d", deleted(now_us + 1));
    one.pending.key(&test, "n", written(now_us, "1", ends_ms));
    one.pending.tag(&test, TAG);
    for key in 0..250 {
        one.pending.key(&test, &key.to_string(), deleted(now_us));
    }
    // Another instance was later.
    let newer = sealed(stamp(now_us + 5), "newer", ends_ms);
    let ttl = Ttl::In(Duration::from_mins(1));
    beside.set(b"cache:test:n", &newer, ttl).await.unwrap();
    one.store.ping().await.unwrap_err();
    assert_eq!(one.pending.len(), 254);
    assert!(one.pending.has_key("test", "v") && one.pending.has_key("test", "249"));
    assert!(one.pending.has_tag("test", TAG));
    assert!(other.hears().await.is_empty());
    proxy.listen_again().await;
    one.until_sent().await;
    let told = other.hears().await;
    assert_eq!(told.len(), 254);
    assert!(told.contains(&"test #7".to_owned()) && told.contains(&"test n".to_owned()));
    let text = |text: &str| Some((Kind::Value, text.to_owned()));
    assert_eq!(other.reads(b"cache:test:v").await, text("2"));
    assert_eq!(other.reads(b"cache:test:n").await, text("newer"));
    let mark = Some((Kind::Deleted, String::new()));
    assert_eq!(other.reads(b"cache:test:d").await, mark);
    assert_eq!(other.reads(b"cache:test:249").await, mark);
    assert!(beside.exists(&test.keys.tag(TAG)).await.unwrap());
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (254, 0));
    all_expire(&server).await;
}

/// The replay itself may have an outcome that nobody knows, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_applied_is_sent_again() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let other = Instance::ready(&over(&server.url()).await).await;
    let one = Instance::ready(&over(&format!("redis://{}", proxy.addr())).await).await;
    let test = cache("test", None);
    let (now_us, ends_ms) = (other.store.now(), other.store.now() / 1000 + 600_000);
    for bytes in [0, 1, 4, 9] {
        proxy.fault(Fault::CutAfterReply(bytes), Whom::Times(1));
        let key = format!("k{bytes}");
        one.pending.key(&test, &key, written(now_us, "1", ends_ms));
        one.pending.tag(&test, TAG);
        one.until_sent().await;
        proxy.clear();
        let name = format!("cache:test:{key}");
        let value = other.reads(name.as_bytes()).await;
        assert_eq!(value, Some((Kind::Value, "1".to_owned())), "{bytes}");
        let told = other.hears().await;
        assert!(told.contains(&"test #7".to_owned()), "{bytes}: {told:?}");
        assert!(told.contains(&format!("test {key}")), "{bytes}: {told:?}");
    }
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (8, 0));
    all_expire(&server).await;
}

/// A value that was written while the replay was on its way waits for its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_replay_stays() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let other = Instance::ready(&over(&server.url()).await).await;
    let one = Instance::ready(&over(&format!("redis://{}", proxy.addr())).await).await;
    let test = cache("test", None);
    let (now_us, ends_ms) = (other.store.now(), other.store.now() / 1000 + 600_000);
    proxy.fault(Fault::Stall, Whom::All);
    one.pending.key(&test, "k", written(now_us, "1", ends_ms));
    proxy
        .wait_for("the replay", |counters| counters.faults > 0)
        .await;
    one.pending
        .key(&test, "k", written(now_us + 1, "2", ends_ms));
    proxy.clear();
    one.until_sent().await;
    let value = other.reads(b"cache:test:k").await;
    assert_eq!(value, Some((Kind::Value, "2".to_owned())));
    assert_eq!(one.pending.replayed(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_for_a_long_absence_invalidates_the_cache() {
    let server = Redis::start().await;
    let proxy = Proxy::start(server.addr());
    let other = Instance::ready(&over(&server.url()).await).await;
    let one = Instance::ready(&over(&format!("redis://{}", proxy.addr())).await).await;
    let test = cache("test", None);
    proxy.stop_listening().await;
    proxy.cut(Cut::Reset);
    one.store.ping().await.unwrap_err();
    for key in 0..10_500 {
        one.pending.key(&test, &key.to_string(), deleted(1));
    }
    assert_eq!(one.pending.len(), 1);
    assert!(one.pending.has_tag("test", TagId::ALL));
    assert!(!one.pending.has_key("test", "1"));
    proxy.listen_again().await;
    one.until_sent().await;
    assert_eq!(other.hears().await, ["test #0"]);
    assert_eq!(one.told.take(), ["test #0"]);
    all_expire(&server).await;
}

/// Values lie in all slots of a cluster, the words in one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gets_its_parts() {
    let cluster = Cluster::start(3, 0).await;
    let hosts: Vec<_> = cluster.addrs().iter().map(ToString::to_string).collect();
    let url = format!("redis-cluster://{}", hosts.join(","));
    let one = Instance::ready(&over(&url).await).await;
    let other = Instance::ready(&over(&url).await).await;
    let test = cache("test", None);
    let (now_us, ends_ms) = (one.store.now(), one.store.now() / 1000 + 600_000);
    for key in 0..150 {
        let value = written(now_us, &key.to_string(), ends_ms);
        one.pending.key(&test, &key.to_string(), value);
    }
    one.pending.tag(&test, TAG);
    one.until_sent().await;
    for key in 0..150 {
        let value = other.reads(format!("cache:test:{key}").as_bytes()).await;
        assert_eq!(value, Some((Kind::Value, key.to_string())));
    }
    until("the words", async || {
        other.bus.verify().await.map_err(|it| it.to_string())
    })
    .await;
    assert_eq!(other.told.take().len(), 151);
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (151, 0));
}
