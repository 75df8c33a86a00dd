//! What a guard tells.

use std::time::Duration;

use sangam::limit::{Event, Guard, Ruled};
use sangam::store::Store;
use tokio::sync::broadcast::error::TryRecvError;

use crate::{check, guard, passed, settings, user};

#[tokio::test]
async fn near_is_told_once_when_the_mark_is_passed() {
    for (algorithm, near, cost, told) in [
        ("fixed-window", 80, 1, vec![8]),
        ("sliding-window", 80, 1, vec![8]),
        ("sliding-log", 80, 3, vec![9]),
        ("token-bucket", 80, 2, vec![8]),
        ("gcra", 100, 1, vec![10]),
        ("fixed-window", 1, 1, vec![1]),
        ("fixed-window", 75, 10, vec![10]),
    ] {
        let (_, guard) = guard(&format!(
            "[limits]\nnear = {near}\n[limits.classes.a]\nrules = [{{ by = 'user', \
             algorithm = '{algorithm}', limit = 10, window = '1h' }}]"
        ));
        let mut events = guard.events();
        for _ in 0..10 / cost {
            guard.check("a", &user("ann"), cost).await.unwrap();
        }
        // A look, and refusals, come over no mark.
        guard.peek("a", &user("ann"), 1).await.unwrap();
        passed(&guard, "a", user("ann"), 3).await;
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::Near {
                class,
                tier,
                id,
                used,
                limit,
            } = event
            {
                assert_eq!((class.name.as_str(), tier, id.as_str()), ("a", 0, "u:ann"));
                assert_eq!(limit, 10);
                seen.push(used);
            }
        }
        assert_eq!(seen, told, "{algorithm} at {near}");
        assert_eq!(guard.counts()["a"].near, 1);
    }
}

/// Of all instances one tells it.
#[tokio::test]
async fn near_is_told_by_whoever_passes_the_mark() {
    let text = "[limits.classes.a]\nrules = [{ by = 'all', algorithm = 'fixed-window', limit = 20, window = '1h' }]";
    let (_, one) = guard(text);
    let guards = [one.clone(), Guard::new(one_store(&one), settings(text))];
    for at in 0..20 {
        passed(&guards[at % 2], "a", user("ann"), 1).await;
    }
    let near: u64 = guards.iter().map(|it| it.counts()["a"].near).sum();
    assert_eq!(near, 1);
}

fn one_store(guard: &Guard) -> Store {
    guard.store().clone()
}

#[tokio::test]
async fn refusals_and_policies_are_told() {
    let (_, there) = guard(
        "[limits.classes.a]\nrules = [\
         { by = 'all', algorithm = 'fixed-window', limit = 9, window = '1h' },\
         { by = 'user', algorithm = 'fixed-window', limit = 1, window = '1m' }]",
    );
    let mut events = there.events();
    passed(&there, "a", user("ann"), 2).await;
    match events.try_recv().unwrap() {
        Event::Near { tier: 1, .. } => {}
        other => panic!("{other:?}"),
    }
    match events.try_recv().unwrap() {
        Event::Refused(it) => {
            assert_eq!(
                (it.class.name.as_str(), it.tier, it.id.as_str()),
                ("a", Some(1), "u:ann")
            );
            assert_eq!(it.ruled, Ruled::Remembered, "the last one was taken here");
            assert!(it.retry_after.unwrap() <= Duration::from_mins(1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Empty);
    there.replace(sangam::limit::Settings::default());
    assert!(matches!(events.try_recv(), Ok(Event::Replaced)));

    let away = Guard::new(Store::disabled(), sangam::limit::Settings::default());
    let mut events = away.events();
    check(&away, "public", user("ann")).await;
    match events.try_recv().unwrap() {
        Event::Degraded {
            class,
            ruled,
            allowed,
        } => {
            assert_eq!(
                (class.name.as_str(), ruled, allowed),
                ("public", Ruled::Open, true)
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Who does not read misses events and is told how many; nothing waits for it.
#[tokio::test]
async fn who_reads_too_slowly_holds_nobody_up() {
    let (_, guard) = guard(
        "[limits.classes.a]\ndeny = { users = ['x'] }\nrules = [{ by = 'user', algorithm = 'gcra', limit = 1, window = '1s' }]",
    );
    let mut events = guard.events();
    assert_eq!(passed(&guard, "a", user("x"), 1_500).await, 0);
    match events.try_recv() {
        Err(TryRecvError::Lagged(missed)) => assert_eq!(missed, 1_500 - 1_024),
        other => panic!("{other:?}"),
    }
    assert_eq!(guard.counts()["a"].refused, 1_500);
}
