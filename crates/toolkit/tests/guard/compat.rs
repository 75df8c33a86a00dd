//! Classes that count in the keys of `@upstash/ratelimit`.

use std::time::Duration;

use sangam::limit::compat::UpstashLimiter;
use sangam::limit::{Algorithm, GuardError, LimitError, Rule};

use crate::{address, at, check, guard, passed, user};

const CLASSES: &str = r#"
[limits.classes.a]
compat = "upstash"
rules = [{ by = "user", algorithm = "sliding-window", limit = 4, window = "1m" }]
[limits.classes.b]
compat = { upstash = "app" }
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
"#;

#[tokio::test]
async fn a_class_and_the_package_share_a_budget() {
    let (_, guard) = guard(CLASSES);
    let package = UpstashLimiter::new(guard.store().clone(), "@upstash/ratelimit").unwrap();
    let rule = |algorithm, limit| Rule::new(algorithm, limit, Duration::from_mins(1)).unwrap();
    let sliding = rule(Algorithm::SlidingWindow, 4);
    // Users by their ids, addresses as they are spelled.
    for (subject, id) in [
        (user("ann"), "ann"),
        (address("::ffff:192.0.2.1"), "192.0.2.1"),
    ] {
        assert!(
            package
                .check(&sliding, id.as_bytes(), 3)
                .await
                .unwrap()
                .allowed
        );
        assert_eq!(passed(&guard, "a", subject, 3).await, 1, "{id}");
        assert!(
            !package
                .check(&sliding, id.as_bytes(), 1)
                .await
                .unwrap()
                .allowed
        );
    }
    let refused = guard.peek("a", &user("ann"), 1).await.unwrap();
    assert!(!refused.allowed && !refused.retry_after.unwrap().is_zero());
    assert_eq!(refused.id(0), Some("u:ann"));
    assert_eq!(refused.tiers[0].outcome.remaining, 0);

    let package = UpstashLimiter::new(guard.store().clone(), "app").unwrap();
    let fixed = rule(Algorithm::FixedWindow, 2);
    assert_eq!(passed(&guard, "b", at("ann", "2001:db8::1"), 1).await, 1);
    assert!(
        package
            .check(&fixed, b"2001:db8::1", 1)
            .await
            .unwrap()
            .allowed
    );
    assert_eq!(passed(&guard, "b", at("ann", "2001:db8::1"), 1).await, 0);
    assert!(guard.reset("b", &address("2001:db8::1")).await.unwrap());
    assert!(check(&guard, "b", address("2001:db8::1")).await.allowed);
}

#[tokio::test]
async fn what_the_package_has_no_form_for_is_an_error() {
    let (_, guard) = guard(CLASSES);
    let ann = at("ann", "192.0.2.1");
    let hour = Duration::from_hours(1);
    let errors = [
        guard.refund("a", &ann, 1).await.unwrap_err(),
        guard.penalize("a", &ann, 1).await.unwrap_err(),
        guard.block("a", &ann, hour).await.unwrap_err(),
        guard.unblock("a", &ann).await.unwrap_err(),
        guard.acquire("a", &ann, "p").await.unwrap_err(),
        guard.release("a", &ann, "p").await.unwrap_err(),
    ];
    for error in errors {
        let expected = matches!(error, GuardError::Limit(LimitError::Algorithm { .. }));
        assert!(expected, "{error}");
    }
    assert_eq!(passed(&guard, "a", ann, 5).await, 4, "nothing was changed");
}
