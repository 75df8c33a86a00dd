//! Atomic steps by way of a store.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options};
use sangam_store::op::{
    CompareAndDelete, CompareAndExtend, CompareAndSet, Fence, INTEGER_MAX, Increment, PutIfNewer,
    Raise, Versioned,
};
use sangam_store::{Error, Store, Ttl, Why};

const HOUR: Ttl = Ttl::In(Duration::from_hours(1));

#[tokio::test]
async fn a_lease_is_its_holders() {
    let store = Store::memory();
    let take = |owner: &'static [u8]| CompareAndSet {
        key: b"lease",
        expected: None,
        value: owner,
        ttl: HOUR,
    };
    assert!(store.atomic(&take(b"a")).await.unwrap());
    assert!(!store.atomic(&take(b"b")).await.unwrap());
    let extend = |owner: &'static [u8]| CompareAndExtend {
        key: b"lease",
        expected: owner,
        ttl: Ttl::At(5_000_000_000_000),
    };
    assert!(!store.atomic(&extend(b"b")).await.unwrap());
    assert!(store.atomic(&extend(b"a")).await.unwrap());
    let left = store.ttl(b"lease").await.unwrap().unwrap().unwrap();
    assert!(left > Duration::from_hours(1));
    let release = |owner: &'static [u8]| CompareAndDelete {
        key: b"lease",
        expected: owner,
    };
    assert!(!store.atomic(&release(b"b")).await.unwrap());
    assert!(store.atomic(&release(b"a")).await.unwrap());
    assert!(!store.exists(b"lease").await.unwrap());
}

#[tokio::test]
async fn a_counter_ends_when_its_first_call_says() {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        ..Options::default()
    });
    let store = Store::embedded(engine);
    let count = Increment {
        key: b"n",
        amount: 1,
        ttl: Ttl::In(Duration::from_secs(10)),
    };
    assert_eq!(store.atomic(&count).await, Ok(1));
    clock.advance_millis(9_999);
    assert_eq!(store.atomic(&count).await, Ok(2));
    clock.advance_millis(1);
    assert_eq!(store.atomic(&count).await, Ok(1));
    let left = store.ttl(b"n").await.unwrap();
    assert_eq!(left, Some(Some(Duration::from_secs(10))));
}

#[tokio::test]
async fn what_grows_never_falls() {
    let store = Store::memory();
    let raise = |value| Raise {
        key: b"high",
        value,
        ttl: Ttl::None,
    };
    for (value, high) in [(5, 5), (3, 5), (-1, 5), (6, 6)] {
        assert_eq!(store.atomic(&raise(value)).await, Ok(high));
    }
    let fence = |now| Fence {
        key: b"fence",
        now,
        ttl: HOUR,
    };
    for (now, next) in [(100, 100), (100, 101), (50, 102), (200, 200)] {
        assert_eq!(store.atomic(&fence(now)).await, Ok(next));
    }
    let error = store.atomic(&fence(INTEGER_MAX as u64 + 1)).await;
    let error = error.unwrap_err();
    assert!(error.had_no_effect() && error.code() == Some("ERR"));
    let put = |version, payload: &'static [u8]| PutIfNewer {
        key: b"profile",
        version,
        payload,
        ttl: Ttl::None,
    };
    assert!(store.atomic(&put(2, b"two")).await.unwrap());
    assert!(!store.atomic(&put(1, b"one")).await.unwrap());
    assert!(!store.atomic(&put(2, b"again")).await.unwrap());
    let value = store.get(b"profile").await.unwrap().unwrap();
    let expected = Versioned {
        version: 2,
        payload: b"two",
    };
    assert_eq!(Versioned::parse(&value), Some(expected));
    for other in [&b""[..], b"x0000000000000002", b"v2", b"v+000000000000002"] {
        assert_eq!(Versioned::parse(other), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_take_different_fences() {
    let store = Store::memory();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut taken = Vec::new();
                for _ in 0..200 {
                    let fence = Fence {
                        key: b"fence",
                        now: store.now(),
                        ttl: HOUR,
                    };
                    taken.push(store.atomic(&fence).await.unwrap());
                }
                assert!(taken.is_sorted(), "a fence fell");
                taken
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1600);
}

#[tokio::test]
async fn errors_are_the_stores_own() {
    let store = Store::memory();
    store.call(&[b"RPUSH", b"list", b"x"]).await.unwrap();
    let op = CompareAndDelete {
        key: b"list",
        expected: b"x",
    };
    let error = store.atomic(&op).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    assert!(store.exists(b"list").await.unwrap());
    let error = Store::disabled().atomic(&op).await;
    assert_eq!(error, Err(Error::Unavailable(Why::Disabled)));
}
