//! What limits leave in a store: nothing that has no end.

use std::time::Duration;

use sangam_store::Store;

use crate::plain::{Plain, ask};

/// Every key of limits that there is, with its time to live.
pub(crate) async fn nothing_stays_for_ever(store: &Store) {
    let mut cursor = "0".to_owned();
    let mut found = 0;
    loop {
        let scan = ["SCAN", &cursor, "MATCH", "*limit*", "COUNT", "500"];
        let Plain::List(reply) = ask(store, &scan).await else {
            panic!("SCAN answers a list");
        };
        let [Plain::Text(next), Plain::List(keys)] = reply.as_slice() else {
            panic!("{reply:?}");
        };
        for key in keys {
            let Plain::Text(key) = key else {
                panic!("{key:?}");
            };
            found += 1;
            let left = ask(store, &[&b"PTTL"[..], key]).await;
            let year = Duration::from_hours(367 * 24).as_millis() as i64;
            assert!(
                // -2: it went meanwhile.
                left == (-2).into() || (Plain::from(0)..=year.into()).contains(&left),
                "{} has {left:?} ms to live",
                key.escape_ascii()
            );
        }
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert!(found > 0, "no limiter has been here");
}
