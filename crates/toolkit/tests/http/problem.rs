//! Problems say what happened, in the types of the draft.

use http::{HeaderMap, StatusCode};
use sangam::limit::class::{By, Cidr, Class, List};
use sangam::limit::http::{Problem, QUOTA_EXCEEDED, REDUCED_CAPACITY};
use sangam::limit::{Algorithm, Guard, GuardError, LimitError, Subject};
use sangam::store::Store;
use serde_json::json;

use crate::bench::{block_on, one, rule, still, tier};

const ANN: Subject<'static> = Subject {
    user: Some("ann"),
    address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7))),
    user_agent: None,
};

fn payment() -> Class {
    let sliding = |limit| rule(Algorithm::SlidingWindow, limit, 60_000);
    Class::new(
        "payment",
        vec![tier(By::User, sliding(1)), tier(By::Address, sliding(30))],
    )
}

#[test]
fn a_used_up_limit_is_named() {
    let (_, guard) = still(one(payment()));
    let first = block_on(guard.check("payment", &ANN, 1)).unwrap();
    assert_eq!(Problem::of(&first), None);
    let second = block_on(guard.check("payment", &ANN, 1)).unwrap();
    let problem = Problem::of(&second).unwrap();
    let seconds = problem.retry_after.unwrap();
    assert!((1..=120).contains(&seconds));
    assert_eq!(
        problem.to_json(),
        json!({
            "type": QUOTA_EXCEEDED,
            "title": "Quota Exceeded",
            "status": 429,
            "detail": format!("Limit payment.user is used up. Retry in {seconds} seconds."),
            "violated-policies": ["payment.user"],
            "retry-after": seconds,
        })
    );
    let mut headers = HeaderMap::new();
    let body = problem.to_body(&mut headers);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["content-length"], body.len().to_string().as_str());
    let read: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(read, problem.to_json());
}

#[test]
fn a_policy_that_refuses_is_reduced_capacity() {
    let guard = Guard::new(Store::disabled(), one(payment()));
    let verdict = block_on(guard.check("payment", &ANN, 1)).unwrap();
    let problem = Problem::of(&verdict).unwrap();
    assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem.kind, REDUCED_CAPACITY);
    assert!(problem.violated.is_empty());
}

#[test]
fn who_is_on_the_deny_list_is_forbidden() {
    let mut class = payment();
    let network: Cidr = "192.0.2.0/24".parse().unwrap();
    class.deny = List::new([], [network], []).unwrap();
    let (_, guard) = still(one(class));
    let verdict = block_on(guard.check("payment", &ANN, 1)).unwrap();
    let problem = Problem::of(&verdict).unwrap();
    assert_eq!(problem.status, StatusCode::FORBIDDEN);
    assert_eq!(problem.to_json()["type"], "about:blank");
    assert_eq!(problem.retry_after, None);
}

#[test]
fn what_cannot_be_checked_tells_the_client_nothing() {
    let (_, guard) = still(one(payment()));
    let nobody = block_on(guard.check("payment", &Subject::default(), 1)).unwrap_err();
    let problem = Problem::of_error(&nobody);
    assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!problem.detail.contains("payment"));
    let dear = block_on(guard.check("payment", &ANN, 2)).unwrap_err();
    assert!(matches!(dear, GuardError::Limit(LimitError::Cost { .. })));
    let problem = Problem::of_error(&dear);
    assert_eq!(problem.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(problem.retry_after, None);
}
