//! A master that sentinels name.

use std::time::Duration;

use sangam_rig::redis::{MASTER_NAME, Redis, Sentinel};
use sangam_rig::wait::until;
use sangam_store::{Error, Event, Gap, Reply, Status, Store, Topic};

use crate::{commands, connect, store};

fn url(set: &Sentinel, name: &str) -> String {
    let hosts: Vec<_> = set.sentinels().iter().map(ToString::to_string).collect();
    format!("redis+sentinel://{}/{name}", hosts.join(","))
}

async fn writes(store: &Store, value: &str) {
    until("writes to work", || async {
        let written = store.call(&[b"SET", b"k", value.as_bytes()]).await;
        written.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_found_and_found_again() {
    let mut set = Sentinel::start(1).await;
    let store = store(&url(&set, MASTER_NAME)).await;
    assert_eq!(store.call(&[b"SET", b"k", b"1"]).await, Ok(Reply::OK));
    store
        .transaction(&commands(&[&["GET", "k"]]))
        .await
        .unwrap();
    let mut news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    let (old, new) = set.fail_over().await;
    writes(&store, "2").await;
    assert_eq!(set.nodes()[new].call(&["GET", "k"]).await.text(), "2");
    let gap = tokio::time::timeout(Duration::from_secs(10), news.next()).await;
    assert_eq!(gap.unwrap(), Some(Event::Gap(Gap::Broken)));
    store.call(&[b"PUBLISH", b"news", b"x"]).await.unwrap();
    assert!(matches!(news.next().await, Some(Event::Message(_))));
    // The old one comes back as a replica, and one sentinel is enough to know.
    set.restart(old).await;
    set.kill_sentinel(0);
    let replies = store
        .transaction(&commands(&[&["SET", "k", "3"]]))
        .await
        .unwrap();
    assert_eq!(replies, [Ok(Reply::OK)]);
    assert_eq!(set.nodes()[new].call(&["GET", "k"]).await.text(), "3");
    let again = connect(&url(&set, MASTER_NAME)).await.unwrap();
    assert_eq!(again.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("3")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_was_demoted_is_not_written_to() {
    let set = Sentinel::start(1).await;
    let store = store(&url(&set, MASTER_NAME)).await;
    store.call(&[b"SET", b"k", b"1"]).await.unwrap();
    let old = set.master().await;
    let mut sentinel = sangam_rig::redis::Client::connect(set.sentinels()[0])
        .await
        .unwrap();
    sentinel
        .call(&["SENTINEL", "FAILOVER", MASTER_NAME])
        .await
        .unwrap();
    until("another master", || async {
        match set.master().await {
            same if same == old => Err("still the old one".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    // The old one lives, and calls itself a master for a while.
    let new = set.master().await;
    until("writes to reach the new master", || async {
        writes(&store, "2").await;
        let there = set.nodes()[new].call(&["GET", "k"]).await.text();
        (there == "2").then_some(()).ok_or(there)
    })
    .await;
    let took = store.call(&[b"BLPOP", b"none", b"0.01"]).await;
    assert_eq!(took, Ok(Reply::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said() {
    let mut set = Sentinel::start(1).await;
    let text = |error: Error| match error {
        Error::Setting(text) => text,
        other => panic!("{other:?}"),
    };
    let unknown = text(connect(&url(&set, "other")).await.unwrap_err());
    assert!(
        unknown.contains("know no master named `other`"),
        "{unknown}"
    );
    for query in ["", "?protocol=resp2"] {
        let direct = format!("redis://{}{query}", set.sentinels()[0]);
        let direct = text(connect(&direct).await.unwrap_err());
        assert!(
            direct.contains("is a sentinel: write redis+sentinel://"),
            "{direct}"
        );
    }
    let plain = Redis::start().await;
    let plain = format!("redis+sentinel://{}/{MASTER_NAME}", plain.addr());
    let plain = text(connect(&plain).await.unwrap_err());
    assert!(plain.contains("is no sentinel"), "{plain}");
    // One that answers is enough; none is a store that is down.
    set.kill_sentinel(0);
    assert_eq!(
        store(&url(&set, MASTER_NAME)).await.state().status,
        Status::Up
    );
    set.kill_sentinel(1);
    set.kill_sentinel(2);
    let gone = connect(&url(&set, MASTER_NAME)).await.unwrap();
    assert_eq!(gone.state().status, Status::Down);
    assert!(
        gone.state().reason.contains("Connection refused"),
        "{:?}",
        gone.state()
    );
}

#[tokio::test]
async fn sentinels_with_a_password_of_their_own() {
    let mut set = Sentinel::start(0).await;
    for addr in set.sentinels() {
        let mut sentinel = sangam_rig::redis::Client::connect(addr).await.unwrap();
        let set = sentinel
            .call(&["ACL", "SETUSER", "default", "resetpass", ">s3"])
            .await
            .unwrap();
        assert_eq!(set.text(), "OK");
    }
    let bare = url(&set, MASTER_NAME);
    let refused = connect(&bare).await.unwrap_err();
    assert!(
        refused.to_string().contains("asks for a password"),
        "{refused}"
    );
    let wrong = connect(&format!("{bare}?sentinel-password=no"))
        .await
        .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("refuses the user or the password"),
        "{wrong}"
    );
    let store = store(&format!("{bare}?sentinel-password=s3")).await;
    assert_eq!(store.call(&[b"SET", b"k", b"1"]).await, Ok(Reply::OK));
    set.kill_sentinel(0);
}
