//! Atomic steps of a store whose time is told, and of one that is none.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use std::time::Duration;

use sangam_engine::clock::ManualClock;
use sangam_engine::{Engine, Options};
use sangam_store::op::{CompareAndDelete, Increment};
use sangam_store::{Error, Store, Ttl, Why};

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
async fn no_store_takes_no_step() {
    let op = CompareAndDelete {
        key: b"k",
        expected: b"x",
    };
    let outcome = Store::disabled().atomic(&op).await;
    assert_eq!(outcome, Err(Error::Unavailable(Why::Disabled)));
}
