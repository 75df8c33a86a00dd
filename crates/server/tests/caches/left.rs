//! What caches leave in a store: nothing that has no end.

use std::time::Duration;

use sangam_store::Commands;

use crate::place::Place;
use crate::plain::{Plain, ask};

/// Every key of this test that there is, with its time to live.
pub(crate) async fn nothing_stays_for_ever(place: &Place) {
    let pattern = format!("{}*", place.prefix());
    let mut cursor = "0".to_owned();
    let mut found = 0;
    loop {
        let scan = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", "2000"];
        let Plain::List(reply) = ask(&place.store, &scan).await else {
            panic!("SCAN answers a list");
        };
        let [Plain::Text(next), Plain::List(keys)] = reply.as_slice() else {
            panic!("{reply:?}");
        };
        found += keys.len();
        they_end(place, keys).await;
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert!(found > 0, "no cache has been here");
}

async fn they_end(place: &Place, keys: &[Plain]) {
    let mut commands = Commands::new();
    for key in keys {
        let Plain::Text(key) = key else {
            panic!("{key:?}");
        };
        commands.push(&[b"PTTL", key]);
    }
    // Twice as long as the longest-lived value, which is 366 days and as long again.
    let longest = Duration::from_hours(4 * 367 * 24).as_millis() as i64;
    for (key, left) in keys.iter().zip(place.store.pipeline(&commands).await) {
        let left = Plain::of(left.unwrap());
        assert!(
            // -2: it went meanwhile.
            left == (-2).into() || (Plain::from(0)..=longest.into()).contains(&left),
            "{key:?} has {left:?} ms to live",
        );
    }
}
