//! Limits that are changed while the app runs.

use std::time::Duration;

use sangam::limit::class::By;
use sangam::limit::{Guard, GuardError, Override};
use sangam::store::{Options, Reply, Store, Target};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;

use crate::{address, at, check, guard, passed, settings, still, user};

const CLASSES: &str = r#"
[limits.classes.a]
[[limits.classes.a.rules]]
by = "user"
algorithm = "sliding-window"
limit = 2
window = "1h"
[[limits.classes.a.rules]]
by = "address"
algorithm = "token-bucket"
limit = 60
window = "1h"
burst = 8
"#;
const DAY_MS: u64 = 86_400_000;

fn for_ann(guard: &Guard, limit: u64) -> Override {
    Override {
        class: "a".to_owned(),
        tier: None,
        id: user("ann").id(By::User),
        limit,
        burst: None,
        until_ms: guard.store().now() / 1000 + DAY_MS,
    }
}

#[tokio::test]
async fn a_raised_limit_holds_at_once_and_a_lowered_one_too() {
    let (clock, guard) = guard(CLASSES);
    let (ann, bob) = (at("ann", "192.0.2.1"), at("bob", "192.0.2.2"));
    assert_eq!(passed(&guard, "a", ann, 5).await, 2);
    guard.set_override(&for_ann(&guard, 4)).await.unwrap();
    assert_eq!(
        passed(&guard, "a", ann, 5).await,
        2,
        "in the middle of a window"
    );
    assert_eq!(passed(&guard, "a", bob, 5).await, 2, "others keep theirs");
    let verdict = check(&guard, "a", bob).await;
    assert_eq!(verdict.counted[0].rule.limit(), 2);
    let verdict = guard.peek("a", &ann, 1).await.unwrap();
    assert_eq!(verdict.tiers[0].outcome.rule.limit(), 4);

    guard.set_override(&for_ann(&guard, 1)).await.unwrap();
    assert!(!guard.peek("a", &ann, 1).await.unwrap().allowed);
    guard.set_override(&for_ann(&guard, 9)).await.unwrap();
    clock.advance_millis(DAY_MS - 1);
    assert_eq!(
        guard.peek("a", &ann, 1).await.unwrap().counted[0]
            .rule
            .limit(),
        9
    );
    clock.advance_millis(1);
    assert_eq!(
        guard.peek("a", &ann, 1).await.unwrap().counted[0]
            .rule
            .limit(),
        2
    );
    assert_eq!(guard.overrides("a").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_closest_holds() {
    let (_, guard) = guard(CLASSES);
    let limits = async |subject| {
        let seen = guard.peek("a", &subject, 1).await.unwrap();
        let of = |at: usize| (seen.counted[at].rule.limit(), seen.counted[at].rule.burst());
        (of(0), of(1))
    };
    let ann = at("ann", "192.0.2.1");
    let set = async |tier: Option<&str>, id: Option<&str>, limit, burst| {
        let it = Override {
            tier: tier.map(str::to_owned),
            id: id.map(str::to_owned),
            burst,
            ..for_ann(&guard, limit)
        };
        guard.set_override(&it).await.unwrap();
    };
    assert_eq!(limits(ann).await, ((2, 2), (60, 8)));
    set(None, None, 30, None).await;
    assert_eq!(
        limits(ann).await,
        ((30, 30), (30, 8)),
        "a burst that is said apart stays"
    );
    set(Some("address"), None, 40, Some(41)).await;
    assert_eq!(limits(ann).await, ((30, 30), (40, 41)));
    set(None, Some("u:ann"), 50, None).await;
    assert_eq!(limits(ann).await, ((50, 50), (40, 41)));
    set(Some("user"), Some("u:ann"), 60, None).await;
    assert_eq!(limits(ann).await, ((60, 60), (40, 41)));
    assert_eq!(limits(at("bob", "192.0.2.2")).await, ((30, 30), (40, 41)));
    assert_eq!(limits(address("192.0.2.1")).await, ((30, 30), (40, 41)));

    let names: Vec<_> = (guard.overrides("a").await.unwrap().into_iter())
        .map(|it| (it.tier, it.id, it.limit))
        .collect();
    let name = |tier: Option<&str>, id: Option<&str>, limit| {
        (tier.map(str::to_owned), id.map(str::to_owned), limit)
    };
    assert_eq!(
        names,
        [
            name(None, None, 30),
            name(None, Some("u:ann"), 50),
            name(Some("address"), None, 40),
            name(Some("user"), Some("u:ann"), 60),
        ]
    );
    assert!(
        guard
            .clear_override("a", Some("user"), Some("u:ann"))
            .await
            .unwrap()
    );
    assert!(
        !guard
            .clear_override("a", Some("user"), Some("u:ann"))
            .await
            .unwrap()
    );
    assert_eq!(limits(ann).await, ((50, 50), (40, 41)));
}

#[tokio::test]
async fn other_instances_see_it_within_a_second() {
    let (clock, store) = still();
    let (one, other) = (
        Guard::new(store.clone(), settings(CLASSES)),
        Guard::new(store, settings(CLASSES)),
    );
    let ann = at("ann", "192.0.2.1");
    assert_eq!(passed(&other, "a", ann, 3).await, 2);
    one.set_override(&for_ann(&one, 3)).await.unwrap();
    clock.advance_millis(999);
    for _ in 0..3 {
        assert!(
            !check(&other, "a", ann).await.allowed,
            "what is known holds for a second"
        );
        tokio::task::yield_now().await;
    }
    clock.advance_millis(1);
    until("the override", async || {
        let verdict = check(&other, "a", ann).await;
        if verdict.allowed {
            Ok(())
        } else {
            Err(format!("{verdict:?}"))
        }
    })
    .await;
    // One that starts later knows it from its first check on.
    let late = Guard::new(other.store().clone(), settings(CLASSES));
    assert_eq!(check(&late, "a", ann).await.counted[0].rule.limit(), 3);
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_what_cannot_be_read_passed_over() {
    let (_, guard) = guard(CLASSES);
    let good = for_ann(&guard, 4);
    let now_ms = guard.store().now() / 1000;
    let set = async |it: Override| guard.set_override(&it).await.unwrap_err();
    let good = || good.clone();
    let class = Override {
        class: "b".into(),
        ..good()
    };
    assert_eq!(set(class).await, GuardError::Class("b".into()));
    let tier = Override {
        tier: Some("b".into()),
        ..good()
    };
    assert!(matches!(set(tier).await, GuardError::Tier { .. }));
    for limit in [0, u64::MAX] {
        let error = set(Override { limit, ..good() }).await;
        assert!(matches!(error, GuardError::Rule(_)), "{error}");
    }
    let burst = Override {
        burst: Some(0),
        ..good()
    };
    assert!(matches!(set(burst).await, GuardError::Rule(_)));
    for until_ms in [0, now_ms, now_ms + 367 * DAY_MS, u64::MAX] {
        assert_eq!(
            set(Override { until_ms, ..good() }).await,
            GuardError::Until
        );
    }
    assert_eq!(guard.overrides("a").await.unwrap(), []);

    let later = (now_ms + DAY_MS).to_string();
    let key = b"limit-overrides";
    for (field, value) in [
        (&b"a//u:ann"[..], "1:7"),
        (b"a//u:ann2", "2:7::99999999999999"),
        (b"a", "1:7::99999999999999"),
        (b"\xff//", "1:7::99999999999999"),
        (b"a//u:bob", "1:-7::99999999999999"),
        (b"a//u:eve", "1:0::99999999999999"),
        (b"", ""),
    ] {
        let argv: [&[u8]; 4] = [b"HSET", key, field, value.as_bytes()];
        guard.store().call(&argv).await.unwrap();
    }
    let raised = format!("1:5::{later}");
    let argv: [&[u8]; 4] = [b"HSET", key, b"a//u:zoe/x", raised.as_bytes()];
    guard.store().call(&argv).await.unwrap();
    let known = guard.overrides("a").await.unwrap();
    assert!(
        known
            .iter()
            .any(|it| it.id.as_deref() == Some("u:zoe/x") && it.limit == 5)
    );
    for name in ["ann", "bob", "eve"] {
        let verdict = check(&guard, "a", at(name, "192.0.2.1")).await;
        assert_eq!(verdict.counted[0].rule.limit(), 2, "{name}");
    }
    let verdict = check(&guard, "a", at("zoe/x", "192.0.2.1")).await;
    assert_eq!(verdict.counted[0].rule.limit(), 5);
}

#[tokio::test]
async fn they_go_by_themselves() {
    let (_, guard) = guard(CLASSES);
    guard.set_override(&for_ann(&guard, 4)).await.unwrap();
    let left = guard.store().ttl(b"limit-overrides").await.unwrap();
    let left = left.flatten().unwrap();
    assert!(left > Duration::from_hours(24 * 365) && left < Duration::from_hours(24 * 367));
}

#[tokio::test]
async fn without_a_store_there_are_none() {
    let guard = Guard::new(Store::disabled(), settings(CLASSES));
    let error = guard.set_override(&for_ann(&guard, 4)).await.unwrap_err();
    assert!(matches!(error, GuardError::Limit(_)), "{error}");
    assert!(!check(&guard, "a", at("ann", "192.0.2.1")).await.allowed);
}

/// The same over a server, and what it costs there.
#[tokio::test]
async fn over_a_server_they_are_read_once_a_second() {
    let redis = Redis::start().await;
    let url = format!("redis://{}", redis.addr());
    let connect = async || {
        let target = Target::new(&url, None, "REDIS_URL", "").unwrap();
        let store = Store::connect(&target, Options::default()).await.unwrap();
        Guard::new(store, settings(CLASSES))
    };
    let (one, other) = (connect().await, connect().await);
    let ann = at("ann", "192.0.2.1");
    let began = std::time::Instant::now();
    assert_eq!(passed(&other, "a", ann, 3).await, 2);
    for at in 0..200 {
        other
            .peek("a", &user(&format!("user-{at}")), 1)
            .await
            .unwrap_err();
        other.peek("a", &ann, 1).await.unwrap();
    }
    let reply = one.store().call(&[b"INFO", b"commandstats"]).await.unwrap();
    let (Reply::Bulk(info) | Reply::Verbatim(_, info)) = reply else {
        panic!("{reply:?}");
    };
    let info = String::from_utf8(info).unwrap();
    let (_, calls) = info.split_once("cmdstat_hgetall:calls=").unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert!(
        calls >= 1 && calls <= 1 + began.elapsed().as_secs(),
        "{calls}"
    );

    one.set_override(&for_ann(&one, 3)).await.unwrap();
    until("the override", async || {
        let verdict = check(&other, "a", ann).await;
        if verdict.allowed {
            Ok(())
        } else {
            Err(format!("{verdict:?}"))
        }
    })
    .await;
    let keys = one.store().call(&[b"KEYS", b"*"]).await.unwrap();
    let Reply::Array(keys) = keys.unpacked() else {
        panic!("keys");
    };
    assert!(keys.len() >= 3);
    for key in keys {
        let Reply::Bulk(key) = key else {
            panic!("{key:?}");
        };
        assert!(
            one.store().ttl(&key).await.unwrap().flatten().is_some(),
            "{key:?}"
        );
    }
}
