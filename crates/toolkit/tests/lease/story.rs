//! What callers see: reasons, changes, several rules, a store that is away.

use std::time::Duration;

use sangam::limit::{Algorithm, Limit, Limiter, Ruled, Unleased};
use sangam_rig::redis::Redis;

use crate::{COUNTED, LEASED, instance, limit, over, rule, still};

/// Below 15 requests an instance nothing is leased, and it can be asked why.
#[tokio::test]
async fn where_nothing_is_leased_the_reason_is_told() {
    let (_, store) = still();
    let two = instance(&store, 2);
    let small = limit(rule(Algorithm::FixedWindow, 29, 60_000));
    for _ in 0..5 {
        let decision = two.check(&[small], 1).await.unwrap();
        assert_eq!((decision.allowed, decision.ruled), (true, Ruled::Store));
    }
    let why = |limits: &[Limit<'_>], cost| two.unleased(limits, cost).unwrap();
    assert_eq!(why(&[small], 1), Some(Unleased::Limit { least: 30 }));
    let enough = Limit {
        name: "enough",
        ..limit(rule(Algorithm::FixedWindow, 30, 60_000))
    };
    assert_eq!(why(&[enough], 1), Some(Unleased::New));
    assert_eq!(why(&[enough], 2), Some(Unleased::Limit { least: 60 }));
    assert_eq!(why(&[enough], 0), Some(Unleased::Free));
    let ruled = async || two.check(&[enough], 1).await.unwrap().ruled;
    assert_eq!(ruled().await, Ruled::Store, "it is new");
    assert_eq!(why(&[enough], 1), None);
    assert_eq!(ruled().await, Ruled::Store, "a lease is taken");
    assert_eq!(ruled().await, Ruled::Lease);
    assert_eq!(
        why(&[enough, small], 1),
        Some(Unleased::Limit { least: 30 })
    );
    let log = limit(rule(Algorithm::SlidingLog, 1000, 60_000));
    let exact = Unleased::Algorithm(Algorithm::SlidingLog);
    assert_eq!(why(&[log], 1), Some(exact));
    let unknown = Limiter::new(store.clone()).with_terms(LEASED);
    assert_eq!(
        unknown.unleased(&[enough], 1),
        Ok(Some(Unleased::Instances))
    );
    let plain = Limiter::new(store);
    assert_eq!(plain.unleased(&[enough], 1), Ok(Some(Unleased::Mode)));
}

/// A change acts at once on what this instance holds.
#[tokio::test]
async fn changes_return_the_lease_first() {
    for algorithm in COUNTED {
        let (clock, store) = still();
        let one = instance(&store, 1);
        let limit = limit(rule(algorithm, 60, 60_000));
        let check = async || one.check(&[limit], 1).await.unwrap();
        for _ in 0..5 {
            assert!(check().await.allowed);
        }
        assert_eq!(check().await.ruled, Ruled::Lease);
        one.block(&limit, Duration::from_mins(1)).await.unwrap();
        let blocked = check().await;
        assert_eq!((blocked.allowed, blocked.outcomes[0].remaining), (false, 0));
        assert_eq!(blocked.retry_after, Some(Duration::from_mins(1)));
        assert_eq!(check().await.ruled, Ruled::Remembered);
        one.unblock(&limit).await.unwrap();
        assert_eq!(
            one.peek(&[limit], 1).await.unwrap().outcomes[0].remaining,
            54
        );
        assert!(check().await.allowed);
        one.penalize(&limit, 50).await.unwrap();
        let peek = one.peek(&[limit], 1).await.unwrap();
        assert_eq!(peek.outcomes[0].remaining, 3, "{algorithm:?}");
        one.refund(&limit, 50).await.unwrap();
        let mut rest = 0;
        while check().await.allowed {
            rest += 1;
        }
        assert_eq!(rest, 53, "{algorithm:?}");
        one.reset(&limit).await.unwrap();
        assert!(check().await.allowed, "{algorithm:?}");
        // Another limit for the same count: at once.
        let less = Limit {
            rule: rule(algorithm, 20, 60_000),
            ..limit
        };
        clock.advance_millis(600_000);
        check().await;
        check().await;
        let mut rest = 0;
        while one.check(&[less], 1).await.unwrap().allowed {
            rest += 1;
        }
        assert!((18..=20).contains(&rest), "{algorithm:?}: {rest}");
    }
}

/// All or nothing, and what the others hold stays.
#[tokio::test]
async fn several_rules_are_taken_from_all_or_from_none() {
    let (_, store) = still();
    let one = instance(&store, 1);
    let user = Limit {
        name: "user",
        ..limit(rule(Algorithm::FixedWindow, 30, 60_000))
    };
    let all = Limit {
        name: "all",
        id: b"*",
        ..limit(rule(Algorithm::Gcra, 100, 60_000))
    };
    let mut ruled = Vec::new();
    for _ in 0..30 {
        let decision = one.check(&[user, all], 1).await.unwrap();
        assert!(decision.allowed && decision.outcomes.len() == 2);
        ruled.push(decision.ruled);
    }
    let asked = ruled.iter().filter(|it| **it == Ruled::Store).count();
    assert!(asked <= 4, "{ruled:?}");
    for _ in 0..10 {
        let refused = one.check(&[user, all], 1).await.unwrap();
        assert!(!refused.allowed && refused.retry_after == Some(Duration::from_mins(1)));
        assert!(!refused.outcomes[0].fits && refused.outcomes[1].fits);
    }
    let mut rest = 0;
    while one.check(&[all], 1).await.unwrap().allowed {
        rest += 1;
    }
    assert_eq!(rest, 70);
}

/// Tokens that are held are good without the store; then the policy rules.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_given_out_while_the_store_is_away() {
    let mut server = Redis::start().await;
    let one = instance(&over(&server).await, 1);
    let rule = rule(Algorithm::SlidingWindow, 30, 3_600_000);
    for _ in 0..2 {
        one.check(&[limit(rule)], 1).await.unwrap();
    }
    server.kill();
    let mut given = 0;
    let last = loop {
        let decision = one.check(&[limit(rule)], 1).await.unwrap();
        if !decision.allowed {
            break decision;
        }
        assert_eq!(decision.ruled, Ruled::Lease);
        given += 1;
    };
    assert_eq!((given, last.ruled), (14, Ruled::Closed));
}
