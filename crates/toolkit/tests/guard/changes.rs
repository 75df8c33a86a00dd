//! What is done to counts besides checking them.

use std::time::Duration;

use sangam::limit::class::By;
use sangam::limit::{Classes, Guard, GuardError, LimitError, Subject};

use crate::{address, at, check, guard, passed, still, user, whole_millis};

fn auth() -> (std::sync::Arc<sangam_engine::clock::ManualClock>, Guard) {
    let (clock, store) = still();
    (clock, Guard::new(store, Classes::builtin()))
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_a_request_took_is_given_back_to_all_tiers() {
    let (_, guard) = auth();
    let ann = at("ann", "192.0.2.1");
    assert_eq!(passed(&guard, "auth", ann, 9).await, 5);
    assert!(guard.refund("auth", &ann, 2).await.unwrap());
    let seen = guard.peek("auth", &ann, 1).await.unwrap();
    let left: Vec<u64> = seen.tiers.iter().map(|it| it.outcome.remaining).collect();
    assert_eq!(left, [2, 17]);
    assert_eq!(passed(&guard, "auth", ann, 9).await, 2);
    assert!(
        !guard
            .refund("auth", &at("bob", "192.0.2.9"), 1)
            .await
            .unwrap()
    );
    let error = guard.refund("auth", &user("ann"), 1).await.unwrap_err();
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
async fn a_user_is_blocked_where_there_is_one_else_the_address() {
    let (clock, guard) = auth();
    let (ann, bob) = (at("ann", "192.0.2.1"), at("bob", "192.0.2.1"));
    assert!(guard.block("auth", &ann, HOUR).await.unwrap());
    assert!(!check(&guard, "auth", ann).await.allowed);
    assert!(
        !check(&guard, "auth", at("ann", "192.0.2.9")).await.allowed,
        "from anywhere"
    );
    assert!(
        check(&guard, "auth", bob).await.allowed,
        "others from there go on"
    );
    assert!(guard.unblock("auth", &user("ann")).await.unwrap());
    assert!(check(&guard, "auth", ann).await.allowed);

    assert!(
        guard
            .block("auth", &address("192.0.2.1"), HOUR)
            .await
            .unwrap()
    );
    for subject in [ann, bob, address("192.0.2.1")] {
        for _ in 0..2 {
            let verdict = check(&guard, "auth", subject).await;
            assert!(!verdict.allowed, "{subject:?}");
            assert_eq!(verdict.retry_after.map(whole_millis), Some(3_600_000));
        }
    }
    clock.advance_millis(3_600_000);
    assert!(check(&guard, "auth", bob).await.allowed, "a block ends");
}

#[tokio::test]
async fn a_penalty_is_the_users() {
    let (_, guard) = auth();
    let ann = at("ann", "192.0.2.1");
    assert!(guard.penalize("auth", &ann, 4).await.unwrap());
    let seen = guard.peek("auth", &ann, 1).await.unwrap();
    let left: Vec<u64> = seen.tiers.iter().map(|it| it.outcome.remaining).collect();
    assert_eq!(left, [1, 20]);
}

#[tokio::test]
async fn a_reset_forgets_what_the_subject_tells() {
    let (_, guard) = auth();
    let (ann, bob) = (at("ann", "192.0.2.1"), at("bob", "192.0.2.1"));
    passed(&guard, "auth", ann, 9).await;
    passed(&guard, "auth", bob, 9).await;
    assert!(guard.reset("auth", &user("ann")).await.unwrap());
    let seen = guard.peek("auth", &ann, 1).await.unwrap();
    let left: Vec<u64> = seen.tiers.iter().map(|it| it.outcome.remaining).collect();
    assert_eq!(left, [5, 10]);
    assert!(!guard.peek("auth", &bob, 1).await.unwrap().allowed);
    assert!(guard.reset("auth", &bob).await.unwrap());
    let seen = guard.peek("auth", &bob, 1).await.unwrap();
    let left: Vec<u64> = seen.tiers.iter().map(|it| it.outcome.remaining).collect();
    assert_eq!(left, [5, 20]);
    assert!(!guard.reset("auth", &bob).await.unwrap());
    let nobody = guard.reset("auth", &Subject::default()).await.unwrap_err();
    assert!(
        matches!(nobody, GuardError::Subject { by: By::User, .. }),
        "{nobody}"
    );
}

#[tokio::test]
async fn what_everybody_shares_is_nobodys_to_block() {
    let (_, guard) = guard(
        "[limits.classes.a]\nrules = [{ by = 'all', algorithm = 'fixed-window', limit = 2, window = '1h' }]",
    );
    let ann = at("ann", "192.0.2.1");
    assert_eq!(passed(&guard, "a", ann, 3).await, 2);
    assert!(guard.block("a", &ann, HOUR).await.is_err());
    assert!(guard.penalize("a", &ann, 1).await.is_err());
    assert!(guard.reset("a", &ann).await.is_err());
    assert!(guard.refund("a", &ann, 1).await.unwrap());
    assert_eq!(passed(&guard, "a", at("bob", "192.0.2.2"), 3).await, 1);
}

#[tokio::test]
async fn a_class_of_permits_counts_what_runs_at_one_time() {
    let (clock, guard) = guard(
        r#"
[limits.classes.calls]
rules = [
    { by = "user", algorithm = "concurrency", limit = 2, window = "10s" },
    { by = "all", algorithm = "concurrency", limit = 3, window = "10s" },
]
"#,
    );
    let taken = async |user_id: &str, permit: &str| {
        let verdict = guard.acquire("calls", &user(user_id), permit).await;
        verdict.unwrap().allowed
    };
    assert!(taken("ann", "a1").await && taken("ann", "a2").await);
    assert!(!taken("ann", "a3").await);
    assert!(
        taken("bob", "b1").await && !taken("bob", "b2").await,
        "all of them are in use"
    );
    assert!(guard.release("calls", &user("ann"), "a1").await.unwrap());
    assert!(!guard.release("calls", &user("ann"), "a1").await.unwrap());
    assert!(taken("bob", "b2").await);
    clock.advance_millis(10_000);
    assert!(taken("ann", "a4").await, "a permit ends with its lease");
    let error = guard.check("calls", &user("ann"), 1).await.unwrap_err();
    assert!(
        matches!(error, GuardError::Limit(LimitError::Algorithm { .. })),
        "{error}"
    );
    let error = guard.acquire("api", &user("ann"), "p").await.unwrap_err();
    assert!(
        matches!(error, GuardError::Limit(LimitError::Algorithm { .. })),
        "{error}"
    );
    let error = guard
        .acquire("calls", &user("ann"), "no permit")
        .await
        .unwrap_err();
    assert_eq!(error, GuardError::Limit(LimitError::Permit));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_it_may_pass_or_patience_does() {
    let (_, store) = still();
    let text = "[limits.classes.a]\nrules = [{ by = 'user', algorithm = 'fixed-window', limit = 1, window = '1h' }]";
    let guard = Guard::new(store, crate::settings(text));
    let wait = async |patience| {
        guard
            .until_allowed("a", &user("ann"), 1, patience)
            .await
            .unwrap()
    };
    assert!(wait(Duration::MAX).await.allowed);
    let began = tokio::time::Instant::now();
    assert!(!wait(Duration::from_mins(5)).await.allowed);
    assert!(began.elapsed() < Duration::from_secs(1));
}
