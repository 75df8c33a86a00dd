//! Shadows count and report, and refuse nobody.

use sangam::limit::{Event, Ruled};

use crate::{at, check, guard, passed, user};

#[tokio::test]
async fn a_shadow_class_lets_all_through_and_says_what_would_have_been() {
    let (_, guard) = guard(
        r#"
[limits.classes.a]
shadow = true
deny = { users = ["mallory"] }
rules = [{ by = "user", algorithm = "fixed-window", limit = 2, window = "1m" }]
"#,
    );
    let mut events = guard.events();
    for nth in 0..5 {
        let verdict = check(&guard, "a", user("ann")).await;
        assert!(verdict.allowed);
        assert_eq!(verdict.fits, nth < 2);
        assert_eq!(verdict.retry_after.unwrap().is_zero(), nth < 2);
    }
    let denied = check(&guard, "a", user("mallory")).await;
    assert!(denied.allowed && !denied.fits && denied.ruled == Ruled::Denied);
    let counts = guard.counts()["a"];
    assert_eq!((counts.allowed, counts.refused, counts.shadowed), (6, 0, 4));
    let mut shadowed = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Shadowed(it) => shadowed.push((it.ruled, it.tier, it.id)),
            Event::Near { used, .. } => assert_eq!(used, 2),
            other => panic!("{other:?}"),
        }
    }
    let id = "u:ann".to_owned();
    assert_eq!(shadowed[0], (Ruled::Remembered, Some(0), id.clone()));
    assert_eq!(shadowed[1], (Ruled::Remembered, Some(0), id));
    assert_eq!(shadowed[3], (Ruled::Denied, None, String::new()));
}

const TIERS: &str = r#"
[limits.classes.a]
[[limits.classes.a.rules]]
by = "user"
algorithm = "fixed-window"
limit = 3
window = "1m"
[[limits.classes.a.rules]]
name = "strict"
by = "user"
algorithm = "fixed-window"
limit = 1
window = "1m"
shadow = true
[[limits.classes.a.rules]]
name = "address"
by = "address"
algorithm = "fixed-window"
limit = 10
window = "1m"
shadow = true
"#;

#[tokio::test]
async fn a_shadow_tier_counts_what_the_others_let_through() {
    let (_, guard) = guard(TIERS);
    let ann = at("ann", "192.0.2.1");
    let first = check(&guard, "a", ann).await;
    assert!(first.allowed && first.fits);
    let tiers: Vec<usize> = first.tiers.iter().map(|it| it.tier).collect();
    assert_eq!(tiers, [0, 1, 2]);
    let second = check(&guard, "a", ann).await;
    assert!(second.allowed && !second.fits);
    let fits = |verdict: &sangam::limit::Verdict| {
        verdict
            .answers()
            .map(|(tier, outcome)| (tier.name.clone(), outcome.fits))
            .collect::<Vec<_>>()
    };
    let name = |name: &str, fits| (name.to_owned(), fits);
    assert_eq!(
        fits(&second),
        [
            name("user", true),
            name("strict", false),
            name("address", true)
        ]
    );
    assert!(!second.retry_after.unwrap().is_zero());
    assert_eq!(passed(&guard, "a", ann, 4).await, 1);
    // What was refused was not counted by the shadow that had room.
    let seen = guard.peek("a", &at("bob", "192.0.2.1"), 1).await.unwrap();
    assert_eq!(seen.tiers[2].outcome.remaining, 7);
    let counts = guard.counts()["a"];
    assert_eq!((counts.allowed, counts.shadowed, counts.refused), (3, 2, 3));
}

#[tokio::test]
async fn a_class_of_shadows_alone_lets_all_through() {
    let (_, guard) = guard(
        r#"
[limits.classes.a]
rules = [{ by = "user", algorithm = "gcra", limit = 1, window = "1h", shadow = true }]
"#,
    );
    assert_eq!(passed(&guard, "a", user("ann"), 9).await, 9);
    assert_eq!(guard.counts()["a"].shadowed, 8);
}

/// A cost that no state of a shadow admits is no error of the request.
#[tokio::test]
async fn a_shadow_holds_up_no_request_that_costs_more_than_it_ever_has() {
    let (_, guard) = guard(&format!(
        "{TIERS}\n[limits.classes.b]\nshadow = true\n\
         rules = [{{ by = 'user', algorithm = 'gcra', limit = 1, window = '1h' }}]"
    ));
    for class in ["a", "b"] {
        let ann = at("ann", "192.0.2.1");
        let verdict = guard.check(class, &ann, 2).await.unwrap();
        assert!(verdict.allowed && !verdict.fits, "{class}");
        assert_eq!(verdict.retry_after, None);
        assert_eq!(guard.counts()[class].shadowed, 1);
    }
    let seen = guard.peek("a", &at("ann", "192.0.2.1"), 1).await.unwrap();
    assert_eq!(seen.tiers[0].outcome.remaining, 1);
    assert_eq!(
        seen.tiers[2].outcome.remaining, 8,
        "other shadows counted it"
    );
}
