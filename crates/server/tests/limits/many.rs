//! Many instances at once.

use std::sync::Arc;

use sangam::limit::Algorithm;

use crate::place::Place;
use crate::{RATED, hourly, limit, limiter};

const INSTANCES: usize = 8;

pub(crate) async fn no_more_than_the_limit_at_once(place: &Place) {
    for algorithm in RATED {
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            let limiter = limiter(place);
            instances.push(tokio::spawn(async move {
                let all = limit(algorithm.as_str(), hourly(algorithm, 20), b"all");
                let mut passed = 0;
                for _ in 0..5 {
                    passed += u32::from(limiter.check(&[all], 1).await.unwrap().allowed);
                }
                passed
            }));
        }
        let mut passed = 0;
        for instance in instances {
            passed += instance.await.unwrap();
        }
        assert_eq!(passed, 20, "{algorithm:?}");
    }
}

/// Requests of one user each, and of all: those of other slots are on their way at
/// the same time.
pub(crate) async fn no_more_than_any_limit_at_once(place: &Place) {
    let algorithm = Algorithm::FixedWindow;
    let mut instances = Vec::new();
    for instance in 0..INSTANCES {
        let limiter = limiter(place);
        instances.push(tokio::spawn(async move {
            let user = format!("user{}", instance % 4);
            let limits = [
                limit("user", hourly(algorithm, 7), user.as_bytes()),
                limit("all", hourly(algorithm, 20), b"all"),
            ];
            let mut passed = 0;
            for _ in 0..6 {
                passed += u64::from(limiter.check(&limits, 1).await.unwrap().allowed);
            }
            (instance % 4, passed)
        }));
    }
    let (mut of_users, mut passed) = ([0; 4], 0);
    for instance in instances {
        let (user, some) = instance.await.unwrap();
        of_users[user] += some;
        passed += some;
    }
    assert!(of_users.iter().all(|some| *some <= 7), "{of_users:?}");
    assert!(passed <= 20, "{passed}");
    // Nothing is held back: the rest passes, for somebody else.
    let limiter = Arc::new(limiter(place));
    for turn in passed..=20 {
        let limits = [
            limit("user", hourly(algorithm, 30), b"somebody"),
            limit("all", hourly(algorithm, 20), b"all"),
        ];
        let decision = limiter.check(&limits, 1).await.unwrap();
        assert_eq!(
            decision.allowed,
            turn < 20,
            "{passed} and {turn}: {decision:?}"
        );
    }
}
