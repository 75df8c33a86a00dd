//! Keys: finding them all, and losing them in time.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use sangam_store::{Commands, Status, Ttl};
use tokio::time::Instant;

use crate::place::Place;
use crate::plain::{Plain, ask};

pub(crate) async fn scan_finds_every_key(place: Place) {
    let store = &place.store;
    let keys: BTreeSet<String> = (0..300).map(|number| place.key_in(number, "k")).collect();
    let mut writes = Commands::new();
    for key in &keys {
        writes.push(&[b"SET", key.as_bytes(), b"v"]);
    }
    for reply in store.pipeline(&writes).await {
        reply.unwrap();
    }
    let pattern = place.key("k").replace(['{', '}'], "?");
    let pattern = format!("*{pattern}");
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let Plain::List(reply) =
            ask(store, &["SCAN", &cursor, "MATCH", &pattern, "COUNT", "50"]).await
        else {
            panic!("SCAN answers a list");
        };
        let [Plain::Text(next), Plain::List(some)] = reply.as_slice() else {
            panic!("{reply:?}");
        };
        for key in some {
            let Plain::Text(key) = key else {
                panic!("{key:?}")
            };
            found.insert(String::from_utf8(key.clone()).unwrap());
        }
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, keys);
}

pub(crate) async fn times_to_live(place: Place) {
    let (store, key) = (&place.store, place.key("k"));
    let key = key.as_bytes();
    let hour = Duration::from_hours(1);
    let about = |left: Option<Option<Duration>>, wanted: Duration| {
        let left = left.flatten().expect("a time to live");
        // The store's clock is known as well as a round trip allows.
        let least = wanted.saturating_sub(Duration::from_mins(1));
        let most = wanted + Duration::from_secs(1);
        assert!((least..=most).contains(&left), "{left:?} of {wanted:?}");
    };
    assert_eq!(store.ttl(key).await, Ok(None));
    store.set(key, b"v", Ttl::None).await.unwrap();
    assert_eq!(store.ttl(key).await, Ok(Some(None)));
    store.set(key, b"v", Ttl::In(hour)).await.unwrap();
    about(store.ttl(key).await.unwrap(), hour);
    store.set(key, b"w", Ttl::Keep).await.unwrap();
    about(store.ttl(key).await.unwrap(), hour);
    let at = store.now() / 1000 + 2 * hour.as_millis() as u64;
    store.set(key, b"v", Ttl::At(at)).await.unwrap();
    about(store.ttl(key).await.unwrap(), 2 * hour);
    store.set(key, b"v", Ttl::None).await.unwrap();
    assert_eq!(store.ttl(key).await, Ok(Some(None)));
    assert_eq!(store.expire(key, hour).await, Ok(true));
    about(store.ttl(key).await.unwrap(), hour);
    assert_eq!(
        store.expire(place.key("none").as_bytes(), hour).await,
        Ok(false)
    );

    store
        .set(key, b"v", Ttl::In(Duration::from_millis(50)))
        .await
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while store.get(key).await.unwrap().is_some() {
        assert!(Instant::now() < end, "it is still there");
    }
    assert_eq!(store.set_if_absent(key, b"new", Ttl::Keep).await, Ok(true));
}

pub(crate) async fn now_is_the_stores_time(place: Place) {
    let store = &place.store;
    // All clocks of this test are this machine's.
    #[allow(
        clippy::disallowed_methods,
        reason = "what the store's clock is compared with"
    )]
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64;
    assert!(store.now().abs_diff(now) < 1_000_000);
    let (before, end) = (store.now(), Instant::now() + Duration::from_secs(5));
    while store.now() < before + 2_000 {
        assert!(Instant::now() < end, "it stands still");
    }
}

pub(crate) async fn a_store_says_how_it_is(place: Place) {
    let store = &place.store;
    store.ping().await.unwrap();
    let state = store.state();
    assert_eq!((state.status, state.reason.as_str()), (Status::Up, ""));
    for secret in ["secret", "@", "?"] {
        assert!(!store.place().contains(secret), "{}", store.place());
    }
    let metrics = store.metrics();
    assert_eq!((metrics.unavailable, metrics.indeterminate), (0, 0));
}
