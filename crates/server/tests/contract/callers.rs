//! Many callers at once, some of whom give up.

use std::time::Duration;

use crate::place::Place;
use crate::plain::{Plain, ask, try_ask};

pub(crate) async fn everybody_gets_their_own_replies(place: Place) {
    let callers = (0..64).map(|caller| {
        let (store, key) = (place.store.clone(), place.key(&format!("c{caller}")));
        tokio::spawn(async move {
            for turn in 0..25 {
                let mine = format!("{caller}:{turn}");
                ask(&store, &["SET", &key, &mine]).await;
                assert_eq!(ask(&store, &["GET", &key]).await, mine.as_str().into());
                assert_eq!(ask(&store, &["ECHO", &mine]).await, mine.as_str().into());
                let missing = format!("no{mine}");
                let refused = try_ask(&store, &["HGET", &key, &missing]).await;
                assert!(refused.is_err(), "{refused:?}");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

pub(crate) async fn who_gives_up_takes_nobody_elses_reply(place: Place) {
    let callers = (0..32_u64).map(|caller| {
        let store = place.store.clone();
        tokio::spawn(async move {
            for turn in 0..60_u64 {
                let mine = format!("{caller}:{turn}");
                let argv = ["ECHO", mine.as_str()];
                let call = ask(&store, &argv);
                if caller % 2 == 0 {
                    assert_eq!(call.await, mine.as_str().into());
                } else {
                    // Now before it was sent, now while it is on its way.
                    let patience = Duration::from_micros((caller * 37 + turn * 61) % 2000);
                    if let Ok(reply) = tokio::time::timeout(patience, call).await {
                        assert_eq!(reply, mine.as_str().into());
                    }
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(ask(&place.store, &["ECHO", "last"]).await, "last".into());
}

pub(crate) async fn every_increment_counts_once(place: Place) {
    let key = place.key("n");
    let callers = (0..64).map(|_| {
        let (store, key) = (place.store.clone(), key.clone());
        tokio::spawn(async move {
            let mut last = Plain::Nil;
            for _ in 0..20 {
                let sum = ask(&store, &["INCR", &key]).await;
                assert!(sum > last, "{sum:?} after {last:?}");
                last = sum;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(ask(&place.store, &["GET", &key]).await, "1280".into());
}
