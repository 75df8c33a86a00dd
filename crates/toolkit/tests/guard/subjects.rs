//! Whom a request is counted as, however odd.

use sangam::limit::class::{By, Class, Tier};
use sangam::limit::{Algorithm, Classes, Guard, GuardError, LimitError, Rule};

use crate::{address, at, check, guard, passed, still, user};

const ONE: &str = r#"
[limits.classes.a]
rules = [{ by = "user", algorithm = "fixed-window", limit = 1, window = "1h" }]
[limits.classes.b]
rules = [{ by = "address", algorithm = "fixed-window", limit = 1, window = "1h" }]
"#;

#[tokio::test]
async fn every_user_is_one_of_its_own() {
    let (_, guard) = guard(ONE);
    let long = "x".repeat(129);
    let other = format!("{}y", "x".repeat(128));
    // The id that the long one is counted by.
    let hashed = user(&long).id(By::User).unwrap();
    let odd = [
        "*",
        "?",
        "[a]",
        "u:ann",
        "ann",
        "ANN",
        " ann",
        "a}b{",
        "a{b}",
        "#",
        "né 😀",
        "\0\r\n",
        "a:192.0.2.1",
        "all",
        &long,
        &other,
        &hashed,
    ];
    for name in odd {
        assert_eq!(passed(&guard, "a", user(name), 3).await, 1, "{name:.20?}");
    }
    assert!(guard.reset("a", &user("*")).await.unwrap());
    for name in odd {
        let verdict = guard.peek("a", &user(name), 1).await.unwrap();
        assert_eq!(verdict.allowed, name == "*", "{name:.20?}");
    }
    assert!(hashed.len() < 40);
}

#[tokio::test]
async fn a_user_of_10_mb_costs_no_memory() {
    let (_, guard) = guard(ONE);
    let huge = "x".repeat(10 << 20);
    let verdict = check(&guard, "a", user(&huge)).await;
    assert!(verdict.allowed && verdict.counted[0].id.len() < 40);
    assert!(!check(&guard, "a", user(&huge)).await.allowed);
}

#[tokio::test]
async fn an_empty_user_is_nobody() {
    let (_, guard) = guard(ONE);
    assert_eq!(passed(&guard, "a", at("", "192.0.2.1"), 2).await, 1);
    assert!(
        !check(&guard, "a", address("192.0.2.1")).await.allowed,
        "the same nobody"
    );
    assert!(check(&guard, "a", at("", "192.0.2.2")).await.allowed);
    let error = guard.check("a", &user(""), 1).await.unwrap_err();
    assert!(
        matches!(error, GuardError::Subject { by: By::User, .. }),
        "{error}"
    );
    let error = guard.check("b", &user("ann"), 1).await.unwrap_err();
    assert!(
        matches!(
            error,
            GuardError::Subject {
                by: By::Address,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_has_its_64_and_no_more() {
    let (_, guard) = guard(ONE);
    for (first, same, others) in [
        (
            "2001:db8::1",
            "2001:db8::ffff:ffff:ffff:ffff",
            "2001:db8:0:1::1",
        ),
        ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
    ] {
        assert!(check(&guard, "b", address(first)).await.allowed);
        assert!(!check(&guard, "b", address(same)).await.allowed, "{same}");
        assert!(
            check(&guard, "b", address(others)).await.allowed,
            "{others}"
        );
    }
}

#[tokio::test]
async fn classes_share_nothing_and_odd_costs_are_errors() {
    let (_, guard) = guard(ONE);
    let ann = at("ann", "192.0.2.1");
    assert!(check(&guard, "a", ann).await.allowed && check(&guard, "b", ann).await.allowed);
    for cost in [2, u64::MAX] {
        let error = guard.check("a", &ann, cost).await.unwrap_err();
        assert_eq!(error, GuardError::Limit(LimitError::Cost { cost, most: 1 }));
    }
    assert!(guard.check("a", &ann, 0).await.is_ok());
    let long = "c".repeat(1 << 20);
    match guard.check(&long, &ann, 1).await.unwrap_err() {
        GuardError::Class(name) => assert_eq!(name.len(), 64),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_class_that_cannot_be_is_an_error_of_the_check() {
    let (_, store) = still();
    let rule = Rule::new(Algorithm::Gcra, 1, std::time::Duration::from_secs(1)).unwrap();
    let tier = |name: &str| Tier {
        name: name.to_owned(),
        by: By::User,
        rule,
        shadow: false,
    };
    let guard = Guard::new(
        store,
        Classes::new([
            Class::new("a.b", vec![tier("user")]),
            Class::new("a", vec![tier("b.user")]),
            Class::new("empty", vec![]),
            Class::new(&"n".repeat(31), vec![tier("user")]),
        ]),
    );
    for class in ["a.b", "a", "empty", &"n".repeat(31)] {
        let error = guard.check(class, &user("ann"), 1).await.unwrap_err();
        let expected = match class {
            "empty" => GuardError::Limit(LimitError::Rules(0)),
            "a" => GuardError::Name("b.user".into()),
            name => GuardError::Name(name.into()),
        };
        assert_eq!(error, expected);
    }
}
