//! Steps that are atomic, as Rust here and as Lua there.

use std::collections::BTreeSet;

use sangam_store::op::{CompareAndDelete, CompareAndSet, Fence, Increment};
use sangam_store::{Error, Ttl};

use crate::place::Place;
use crate::plain::{Plain, ask};

pub(crate) async fn a_step_of_many_callers_happens_once_for_each(place: Place) {
    let key = place.key("n");
    let callers = (0..32).map(|_| {
        let (store, key) = (place.store.clone(), key.clone());
        tokio::spawn(async move {
            let mut sums = Vec::new();
            for _ in 0..10 {
                let step = Increment {
                    key: key.as_bytes(),
                    amount: 1,
                    ttl: Ttl::None,
                };
                sums.push(store.atomic(&step).await.unwrap());
            }
            sums
        })
    });
    let mut seen = BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        seen.extend(caller.await.unwrap());
    }
    assert!(seen.into_iter().eq(1..=320));
}

pub(crate) async fn one_of_many_swaps_a_value(place: Place) {
    let key = place.key("k");
    for expected in [None, Some(b"\xffold".as_slice())] {
        let callers = (0..32_u8).map(|caller| {
            let (store, key) = (place.store.clone(), key.clone());
            tokio::spawn(async move {
                let value = [b'v', caller];
                let step = CompareAndSet {
                    key: key.as_bytes(),
                    expected,
                    value: &value,
                    ttl: Ttl::None,
                };
                store.atomic(&step).await.unwrap().then_some(value)
            })
        });
        let mut winners = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            winners.extend(caller.await.unwrap());
        }
        let [winner] = winners.as_slice() else {
            panic!("{winners:?}");
        };
        let found = ask(&place.store, &["GET", &key]).await;
        assert_eq!(found, winner.as_slice().into());
        let delete = |expected| CompareAndDelete {
            key: key.as_bytes(),
            expected,
        };
        let (store, other) = (&place.store, delete(b"another".as_slice()));
        assert_eq!(store.atomic(&other).await, Ok(false));
        assert_eq!(store.atomic(&delete(winner)).await, Ok(true));
        store
            .set(key.as_bytes(), b"\xffold", Ttl::None)
            .await
            .unwrap();
    }
}

pub(crate) async fn a_fence_only_grows(place: Place) {
    let (store, key) = (&place.store, place.key("fence"));
    let mut last = 0;
    for now in [1_700_000_000_000_000, 5, 1_700_000_000_000_000, store.now()] {
        let step = Fence {
            key: key.as_bytes(),
            now,
            ttl: Ttl::None,
        };
        let fence = store.atomic(&step).await.unwrap();
        assert!(
            fence > last && fence >= now,
            "{fence} after {last} at {now}"
        );
        last = fence;
    }
}

pub(crate) async fn a_step_that_fails_changes_nothing(place: Place) {
    let (store, key) = (&place.store, place.key("list"));
    ask(store, &["RPUSH", &key, "x"]).await;
    let step = Increment {
        key: key.as_bytes(),
        amount: 1,
        ttl: Ttl::None,
    };
    let error = store.atomic(&step).await.unwrap_err();
    assert!(matches!(&error, Error::Command(_)), "{error:?}");
    assert_eq!(error.code(), Some("WRONGTYPE"), "{error}");
    assert_eq!(
        ask(store, &["LRANGE", &key, "0", "-1"]).await,
        [Plain::from("x")].into()
    );
}
