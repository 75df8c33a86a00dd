//! The classes that every app has: their numbers, and that these hold.

use std::time::Duration;

use sangam::limit::class::By;
use sangam::limit::{Algorithm, Classes, Guard, Policy};
use sangam::store::Store;

use crate::{at, check, passed, still, user, whole_millis};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

const NUMBERS: [(&str, u64, Duration, Policy); 10] = [
    ("auth", 5, Duration::from_mins(15), Policy::Closed),
    ("payment", 10, MINUTE, Policy::Closed),
    ("token", 20, HOUR, Policy::Closed),
    ("streaming", 100, MINUTE, Policy::Local),
    ("upload", 30, HOUR, Policy::Local),
    ("analytics", 200, MINUTE, Policy::Open),
    ("api", 300, MINUTE, Policy::Local),
    ("public", 1000, MINUTE, Policy::Open),
    ("livekit-token", 20, MINUTE, Policy::Local),
    ("matching", 5, MINUTE, Policy::Local),
];

#[test]
fn the_classes_have_their_numbers() {
    let classes = Classes::builtin();
    assert_eq!(classes.iter().count(), NUMBERS.len());
    for (name, limit, window, policy) in NUMBERS {
        let class = classes.get(name).unwrap();
        assert_eq!(class.terms.policy, policy, "{name}");
        let first = &class.tiers[0];
        assert_eq!((first.by, first.name.as_str()), (By::User, "user"));
        assert_eq!((first.rule.limit(), first.rule.window()), (limit, window));
        assert_eq!(first.rule.algorithm(), Algorithm::SlidingWindow);
    }
    for (name, limit, window) in [
        ("auth", 20, Duration::from_mins(15)),
        ("payment", 30, MINUTE),
    ] {
        let [_, by_address] = classes.get(name).unwrap().tiers.as_slice() else {
            panic!("{name} has a tier for users and one for addresses");
        };
        assert_eq!(
            (by_address.by, by_address.name.as_str()),
            (By::Address, "address")
        );
        assert_eq!(
            (by_address.rule.limit(), by_address.rule.window()),
            (limit, window)
        );
    }
}

#[tokio::test]
async fn so_many_pass_and_the_next_is_told_when_to_come_again() {
    for (name, limit, _, _) in NUMBERS {
        let (clock, store) = still();
        let guard = Guard::new(store, Classes::builtin());
        let ann = at("ann", "192.0.2.1");
        for nth in 1..=limit {
            assert!(check(&guard, name, ann).await.allowed, "{name}: {nth}");
        }
        let refused = check(&guard, name, ann).await;
        assert!(!refused.allowed && !refused.fits, "{name}");
        assert!(
            check(&guard, name, at("bob", "192.0.2.2")).await.allowed,
            "{name}"
        );
        let retry = whole_millis(refused.retry_after.unwrap());
        assert!(retry > 1, "{name}");
        clock.advance_millis(retry - 1);
        assert!(
            !check(&guard, name, ann).await.allowed,
            "{name}: earlier than told"
        );
        clock.advance_millis(1);
        assert!(check(&guard, name, ann).await.allowed, "{name}: when told");
    }
}

#[tokio::test]
async fn two_instances_share_one_budget() {
    let (_, store) = still();
    let (one, other) = (
        Guard::new(store.clone(), Classes::builtin()),
        Guard::new(store, Classes::builtin()),
    );
    assert_eq!(passed(&one, "livekit-token", user("ann"), 10).await, 10);
    assert_eq!(passed(&other, "livekit-token", user("ann"), 11).await, 10);
    assert_eq!(passed(&one, "livekit-token", user("ann"), 1).await, 0);
}

#[tokio::test]
async fn guesses_over_many_users_are_caught_by_the_address() {
    let (_, store) = still();
    let guard = Guard::new(store, Classes::builtin());
    let names: Vec<String> = (0..21).map(|at| format!("user-{at}")).collect();
    for name in &names[..20] {
        assert!(check(&guard, "auth", at(name, "192.0.2.1")).await.allowed);
    }
    assert!(
        !check(&guard, "auth", at(&names[20], "192.0.2.1"))
            .await
            .allowed
    );
    assert!(
        check(&guard, "auth", at(&names[20], "192.0.2.2"))
            .await
            .allowed
    );
}

#[tokio::test]
async fn a_refusal_by_one_tier_takes_from_none() {
    let (_, store) = still();
    let guard = Guard::new(store, Classes::builtin());
    let ann = at("ann", "192.0.2.1");
    assert_eq!(passed(&guard, "auth", ann, 5).await, 5);
    let left = async || {
        let seen = guard.peek("auth", &ann, 1).await.unwrap();
        seen.tiers
            .iter()
            .map(|it| it.outcome.remaining)
            .collect::<Vec<_>>()
    };
    assert_eq!(left().await, [0, 15]);
    let refused = check(&guard, "auth", ann).await;
    let refusing: Vec<_> = refused.tiers.iter().map(|it| it.outcome).collect();
    assert!(matches!(refusing[..], [it] if !it.fits && it.place == 0));
    let seen = guard.peek("auth", &ann, 1).await.unwrap();
    let fits: Vec<bool> = seen.tiers.iter().map(|it| it.outcome.fits).collect();
    assert_eq!(fits, [false, true]);
    assert_eq!(passed(&guard, "auth", ann, 30).await, 0);
    assert_eq!(left().await, [0, 15], "a refusal took something");

    // The other way round: the address is used up, the user keeps what is left.
    let names: Vec<String> = (0..15).map(|at| format!("user-{at}")).collect();
    for name in &names {
        assert!(check(&guard, "auth", at(name, "192.0.2.1")).await.allowed);
    }
    let bob = at("bob", "192.0.2.1");
    assert_eq!(passed(&guard, "auth", bob, 9).await, 0);
    let seen = guard.peek("auth", &bob, 1).await.unwrap();
    assert_eq!(seen.tiers[0].outcome.remaining, 5);
}

#[tokio::test]
async fn without_a_store_each_class_follows_its_policy() {
    let guard = Guard::new(Store::disabled(), Classes::builtin());
    for (name, _, _, policy) in NUMBERS {
        let verdict = check(&guard, name, at("ann", "192.0.2.1")).await;
        assert!(verdict.ruled.is_degraded(), "{name}: {:?}", verdict.ruled);
        // How many instances are alive was never known, so none has a share.
        assert_eq!(verdict.allowed, policy == Policy::Open, "{name}");
    }
    let counts = guard.counts();
    assert_eq!((counts["auth"].refused, counts["auth"].degraded), (1, 1));
    assert_eq!(
        (counts["public"].allowed, counts["public"].degraded),
        (1, 1)
    );
}
