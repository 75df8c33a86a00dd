//! What is sent, over the engine with time as the test has it.

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options, Reply};
use sangam_store::{Store, Ttl};

use super::{
    DELETED_MS, Instance, Kind, TAG, TAG_MS, TagId, Unsent, cache, deleted, sealed, stamp, written,
};

const START_MS: u64 = 1_700_000_000_000;
const START_US: u64 = START_MS * 1000;

fn still() -> (Arc<ManualClock>, Store) {
    let clock = Arc::new(ManualClock::new(START_US));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    (clock, Store::embedded(engine))
}

async fn left_ms(store: &Store, key: &[u8]) -> i64 {
    match store.call(&[b"PTTL", key]).await.unwrap() {
        Reply::Int(left) => left,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_waited_is_applied_and_said() {
    let (_clock, store) = still();
    let (one, other) = (Instance::ready(&store).await, Instance::ready(&store).await);
    let test = cache("test", None);
    one.pending
        .key(&test, "v", written(START_US, "1", START_MS + 5000));
    one.pending.key(&test, "d", deleted(START_US));
    one.pending.tag(&test, TAG);
    one.pending.tag(&test, TagId(8));
    assert!(one.pending.has_key("test", "v") && one.pending.has_tag("test", TAG));
    assert_eq!(one.pending.len(), 4);
    one.until_sent().await;
    assert!(!one.pending.has_key("test", "v") && !one.pending.has_tag("test", TAG));
    let value = one.reads(b"cache:test:v").await;
    assert_eq!(value, Some((Kind::Value, "1".to_owned())));
    // As long as a load may take, for none from before it may fill its place.
    assert_eq!(left_ms(&store, b"cache:test:v").await, DELETED_MS as i64);
    let mark = one.reads(b"cache:test:d").await;
    assert_eq!(mark, Some((Kind::Deleted, String::new())));
    assert_eq!(left_ms(&store, b"cache:test:d").await, DELETED_MS as i64);
    let version = store.get(&test.keys.tag(TAG)).await.unwrap().unwrap();
    let version: u64 = String::from_utf8(version).unwrap().parse().unwrap();
    assert!(version > 0);
    assert_eq!(left_ms(&store, &test.keys.tag(TAG)).await, TAG_MS as i64);
    // This process hears it too: it may know another version, or another value.
    let told = ["test #7", "test #8", "test d", "test v"];
    assert_eq!(one.told.take(), told);
    assert_eq!(other.hears().await, told);
    assert!(one.hears().await.is_empty());
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (4, 0));
}

#[tokio::test]
async fn a_value_that_ended_is_deleted() {
    let (clock, store) = still();
    let one = Instance::new(&store);
    let test = cache("test", None);
    let old = sealed(stamp(START_US - 1), "0", START_MS + 50_000);
    store.set(b"cache:test:k", &old, Ttl::None).await.unwrap();
    one.pending
        .key(&test, "k", written(START_US, "1", START_MS + 5000));
    clock.advance_millis(5000);
    one.until_sent().await;
    let mark = one.reads(b"cache:test:k").await;
    assert_eq!(mark, Some((Kind::Deleted, String::new())));
    assert_eq!(left_ms(&store, b"cache:test:k").await, DELETED_MS as i64);
}

#[tokio::test]
async fn what_is_newer_in_the_store_stays() {
    let (_clock, store) = still();
    let (one, other) = (Instance::new(&store), Instance::ready(&store).await);
    let test = cache("test", None);
    let newer = sealed(stamp(START_US + 1), "2", START_MS + 50_000);
    for key in [&b"cache:test:v"[..], b"cache:test:d"] {
        store.set(key, &newer, Ttl::None).await.unwrap();
    }
    one.pending
        .key(&test, "v", written(START_US, "1", START_MS + 5000));
    one.pending.key(&test, "d", deleted(START_US));
    one.until_sent().await;
    for key in [&b"cache:test:v"[..], b"cache:test:d"] {
        let value = one.reads(key).await;
        assert_eq!(value, Some((Kind::Value, "2".to_owned())));
    }
    // Whether its own writer came to say it, nobody knows.
    assert_eq!(other.hears().await, ["test d", "test v"]);
}

#[tokio::test]
async fn other_apps_get_their_form() {
    let (clock, store) = still();
    let one = Instance::new(&store);
    let theirs = cache("theirs", Some("user:"));
    let plain = |text: &str, ends_ms| Unsent::Value {
        stamp: stamp(START_US),
        bytes: text.into(),
        ends_ms,
    };
    for key in [&b"user:b"[..], b"user:c"] {
        store.set(key, b"old", Ttl::None).await.unwrap();
    }
    one.pending.key(&theirs, "a", plain("{}", START_MS + 5000));
    one.pending.key(&theirs, "b", deleted(START_US));
    one.pending.key(&theirs, "c", plain("{}", START_MS + 1));
    one.pending.key(&theirs, "d", plain("{}", START_MS + 5000));
    one.pending.forget("theirs", "d");
    one.pending.forget("theirs", "e");
    clock.advance_millis(1);
    one.until_sent().await;
    assert_eq!(store.get(b"user:a").await.unwrap(), Some(b"{}".to_vec()));
    assert_eq!(left_ms(&store, b"user:a").await, 4999);
    for key in [&b"user:b"[..], b"user:c", b"user:d"] {
        assert_eq!(store.get(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_the_store_refuses_is_dropped_and_holds_up_nothing() {
    let (_clock, store) = still();
    let one = Instance::new(&store);
    let test = cache("test", None);
    store
        .call(&[b"LPUSH", b"cache:test:list", b"x"])
        .await
        .unwrap();
    let value = written(START_US, "1", START_MS + 5000);
    one.pending.key(&test, "list", value);
    for key in 0..300 {
        one.pending.key(&test, &key.to_string(), deleted(START_US));
    }
    one.until_sent().await;
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (300, 1));
    assert!(!one.pending.has_key("test", "list"));
}

#[tokio::test]
async fn nothing_counts_as_sent_that_could_not_be_said() {
    let (_clock, store) = still();
    let one = Instance::new(&store);
    let test = cache("test", None);
    store
        .call(&[b"SET", b"{cache}:bus", b"no stream"])
        .await
        .unwrap();
    one.pending.tag(&test, TagId::ALL);
    one.until_sent().await;
    assert_eq!((one.pending.replayed(), one.pending.dropped()), (0, 1));
}

#[tokio::test]
async fn without_a_store_nothing_waits() {
    let one = Instance::new(&Store::disabled());
    let test = cache("test", None);
    one.pending.key(&test, "k", deleted(1));
    one.pending.tag(&test, TAG);
    assert_eq!(one.pending.len(), 0);
}

/// Without a runtime nothing can be sent; it waits for a call that has one.
#[test]
fn a_runtime_may_come_later() {
    let (_clock, store) = still();
    let one = Instance::new(&store);
    let test = cache("test", None);
    one.pending.key(&test, "k", deleted(START_US));
    assert!(one.pending.has_key("test", "k"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        one.pending.tag(&test, TAG);
        one.until_sent().await;
    });
    assert_eq!(one.pending.replayed(), 2);
}
