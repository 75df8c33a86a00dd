//! Atomic steps: the same outcomes, values and errors wherever they run.

use std::time::Duration;

use sangam_store::op::{
    AtomicOp, CompareAndDelete, CompareAndExtend, CompareAndSet, Fence, INTEGER_MAX, Increment,
    PutIfNewer, Raise, Versioned,
};
use sangam_store::{Error, Store, Ttl};

use crate::place::Place;
use crate::plain::{ask, try_ask};

const HOUR: Ttl = Ttl::In(Duration::from_hours(1));

async fn take<O: AtomicOp>(store: &Store, op: &O) -> O::Output {
    store.atomic(op).await.unwrap()
}

/// The text of the error that a step is.
async fn refusal<O: AtomicOp>(store: &Store, op: &O) -> String {
    match store.atomic(op).await {
        Err(Error::Command(refusal)) => refusal.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("the step ran"),
    }
}

pub(crate) async fn a_lease_is_its_holders(place: Place) {
    let (store, key) = (&place.store, place.key("lease"));
    let key = key.as_bytes();
    let acquire = |value| CompareAndSet {
        key,
        expected: None,
        value,
        ttl: HOUR,
    };
    assert!(take(store, &acquire(b"a")).await);
    assert!(!take(store, &acquire(b"b")).await);
    let extend = |expected| CompareAndExtend {
        key,
        expected,
        ttl: Ttl::In(Duration::from_hours(5)),
    };
    assert!(!take(store, &extend(b"b")).await);
    assert!(take(store, &extend(b"a")).await);
    let left = store.ttl(key).await.unwrap().unwrap().unwrap();
    assert!(left > Duration::from_hours(4), "{left:?}");
    let release = |expected| CompareAndDelete { key, expected };
    assert!(!take(store, &release(b"b")).await);
    assert!(take(store, &release(b"a")).await);
    assert!(!store.exists(key).await.unwrap());
}

pub(crate) async fn a_step_is_found_again_after_scripts_were_forgotten(place: Place) {
    let (store, key) = (&place.store, place.key("n"));
    let count = Increment {
        key: key.as_bytes(),
        amount: 1,
        ttl: HOUR,
    };
    for sum in 1..4 {
        let _ = try_ask(store, &["SCRIPT", "FLUSH"]).await;
        assert_eq!(take(store, &count).await, sum);
    }
    assert!(store.ttl(count.key).await.unwrap().unwrap().is_some());
}

pub(crate) async fn numbers_are_exact_to_their_bounds(place: Place) {
    let (store, key) = (&place.store, place.key("n"));
    let key = key.as_bytes();
    let add = |amount| Increment {
        key,
        amount,
        ttl: Ttl::None,
    };
    for (amount, sum) in [
        (i64::MAX - 1, i64::MAX - 1),
        (1, i64::MAX),
        (i64::MIN, -1),
        (i64::MIN + 1, i64::MIN),
        (i64::MAX, -1),
        (2, 1),
    ] {
        assert_eq!(take(store, &add(amount)).await, sum);
    }
    let raise = |value| Raise {
        key,
        value,
        ttl: Ttl::None,
    };
    assert_eq!(take(store, &raise(INTEGER_MAX)).await, INTEGER_MAX);
    assert_eq!(take(store, &raise(1)).await, INTEGER_MAX);
    let beyond = refusal(store, &raise(INTEGER_MAX + 1)).await;
    assert_eq!(beyond, "ERR value is not an integer or out of range");
}

pub(crate) async fn fences_and_versions_only_grow(place: Place) {
    let (store, fence, value) = (&place.store, place.key("fence"), place.key("value"));
    let now = store.now();
    let next = |now| Fence {
        key: fence.as_bytes(),
        now,
        ttl: HOUR,
    };
    for (at, expected) in [(now, now), (now, now + 1), (5, now + 2), (now + 9, now + 9)] {
        assert_eq!(take(store, &next(at)).await, expected);
    }
    let put = |version, payload| PutIfNewer {
        key: value.as_bytes(),
        version,
        payload,
        ttl: HOUR,
    };
    assert!(take(store, &put(now, b"\xff\0new")).await);
    assert!(!take(store, &put(now, b"same")).await);
    assert!(!take(store, &put(1, b"old")).await);
    let kept = store.get(value.as_bytes()).await.unwrap().unwrap();
    let expected = Versioned {
        version: now,
        payload: b"\xff\0new",
    };
    assert_eq!(Versioned::parse(&kept), Some(expected));
}

pub(crate) async fn a_step_that_fails_says_why_and_changes_nothing(place: Place) {
    let (store, list) = (&place.store, place.key("list"));
    ask(store, &["RPUSH", &list, "x"]).await;
    let delete = CompareAndDelete {
        key: list.as_bytes(),
        expected: b"x",
    };
    assert_eq!(
        refusal(store, &delete).await,
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    assert_eq!(ask(store, &["LLEN", &list]).await, 1.into());
    let text = place.key("text");
    ask(store, &["SET", &text, "x"]).await;
    let fence = Fence {
        key: text.as_bytes(),
        now: 1,
        ttl: HOUR,
    };
    assert_eq!(refusal(store, &fence).await, "ERR the value is not a fence");
    assert_eq!(ask(store, &["GET", &text]).await, "x".into());
}

pub(crate) async fn steps_of_many_tasks_come_one_after_the_other(place: Place) {
    let key = place.key("fence");
    let tasks = (0..8).map(|_| {
        let (store, key) = (place.store.clone(), key.clone());
        tokio::spawn(async move {
            let mut fences = Vec::new();
            for _ in 0..25 {
                let next = Fence {
                    key: key.as_bytes(),
                    now: store.now(),
                    ttl: HOUR,
                };
                fences.push(take(&store, &next).await);
            }
            assert!(fences.is_sorted(), "a fence fell");
            fences
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await.unwrap());
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8 * 25, "two had the same fence");
}
