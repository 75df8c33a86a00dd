//! Limits of what runs at one time.

use std::time::Duration;

use sangam::limit::{Algorithm, Rule};

use crate::place::Place;
use crate::{hourly, limit, limiter};

pub(crate) async fn permits_are_taken_renewed_and_returned(place: &Place) {
    let limiter = limiter(place);
    let two = limit("permits", hourly(Algorithm::Concurrency, 2), b"ann");
    let taken = async |permit: &str| limiter.acquire(&[two], permit).await.unwrap().allowed;
    assert!(taken("a").await && taken("b").await);
    assert!(taken("a").await, "a permit that is held is renewed");
    let refused = limiter.acquire(&[two], "c").await.unwrap();
    assert!(!refused.allowed && refused.retry_after.unwrap() > Duration::from_mins(59));
    assert!(limiter.release(&two, "b").await.unwrap());
    assert!(!limiter.release(&two, "b").await.unwrap());
    assert!(taken("c").await && !taken("d").await);
}

pub(crate) async fn permits_end_with_their_lease(place: &Place) {
    let lease = Duration::from_millis(400);
    let rule = Rule::new(Algorithm::Concurrency, 1, lease).unwrap();
    let one = limit("lease", rule, b"ann");
    let limiter = limiter(place);
    let taken = async |permit: &str| limiter.acquire(&[one], permit).await.unwrap();
    assert!(taken("a").await.allowed);
    let refused = taken("b").await;
    let retry = refused.retry_after.unwrap();
    assert!(refused.allowed || retry <= lease);
    tokio::time::sleep(retry).await;
    assert!(taken("c").await.allowed, "its lease is over");
}

pub(crate) async fn permits_of_several_limits_are_taken_together(place: &Place) {
    let limiter = limiter(place);
    let room = |id| limit("room", hourly(Algorithm::Concurrency, 2), id);
    let user = |id| limit("user", hourly(Algorithm::Concurrency, 1), id);
    let taken = async |limits: &[_], permit: &str| {
        let decision = limiter.acquire(limits, permit).await.unwrap();
        decision.allowed
    };
    assert!(taken(&[room(b"hall"), user(b"ann")], "a").await);
    assert!(!taken(&[room(b"hall"), user(b"ann")], "b").await);
    assert!(
        taken(&[room(b"hall"), user(b"bob")], "c").await,
        "a refusal kept a place in the hall"
    );
    assert!(!taken(&[room(b"hall"), user(b"carl")], "d").await);
    assert!(
        taken(&[user(b"carl")], "e").await,
        "a refusal kept a user's permit"
    );
    assert!(taken(&[user(b"ann"), room(b"hall")], "a").await, "renewed");
    for (limit, permit) in [(room(b"hall"), "a"), (user(b"ann"), "a")] {
        assert!(limiter.release(&limit, permit).await.unwrap());
        assert!(!limiter.release(&limit, permit).await.unwrap());
    }
    assert!(taken(&[room(b"hall"), user(b"dora")], "f").await);
}
