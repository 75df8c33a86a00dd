//! Commands that wait, and messages.

use std::time::Duration;

use sangam_store::{Error, Event, Subscription, Topic};
use tokio::time::{Instant, timeout};

use crate::place::Place;
use crate::plain::{Plain, ask, try_ask};

const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn who_waits_is_served_and_holds_nobody_up(place: Place) {
    let (store, list) = (&place.store, place.key("list"));
    if !place.can.wait {
        let refused = try_ask(store, &["BLPOP", &list, "1"]).await;
        assert!(refused.unwrap_err().had_no_effect());
        return;
    }
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (store, list) = (store.clone(), list.clone());
            tokio::spawn(async move { ask(&store, &["BLPOP", &list, "0"]).await })
        })
        .collect();
    // Others go on while four wait, and the four wait while others go on.
    for turn in 0..50 {
        let turn = turn.to_string();
        assert_eq!(ask(store, &["ECHO", &turn]).await, turn.as_str().into());
    }
    assert!(waiting.iter().all(|one| !one.is_finished()));
    let elements = ["a", "b", "c", "d"];
    let mut push = vec!["RPUSH", &list];
    push.extend(elements);
    ask(store, &push).await;
    let mut got = Vec::new();
    for one in waiting {
        got.push(timeout(DEADLINE, one).await.unwrap().unwrap());
    }
    got.sort();
    let expected: Vec<Plain> = elements
        .iter()
        .map(|element| [list.as_str().into(), (*element).into()].into())
        .collect();
    assert_eq!(got, expected);
}

pub(crate) async fn waiting_ends_by_itself(place: Place) {
    if !place.can.wait {
        return;
    }
    let (store, list) = (&place.store, place.key("list"));
    let began = Instant::now();
    assert_eq!(ask(store, &["BLPOP", &list, "0.1"]).await, Plain::Nil);
    assert!(began.elapsed() >= Duration::from_millis(95));
    // What does not have to wait does not.
    ask(store, &["RPUSH", &list, "x"]).await;
    assert_eq!(
        ask(store, &["BLPOP", &list, "0"]).await,
        [list.as_str().into(), "x".into()].into()
    );
}

async fn message(subscription: &mut Subscription) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
    match timeout(DEADLINE, subscription.next()).await.unwrap() {
        Some(Event::Message(message)) => (
            message.pattern.map(|it| it.to_vec()),
            message.channel.to_vec(),
            message.payload.to_vec(),
        ),
        other => panic!("no message: {other:?}"),
    }
}

pub(crate) async fn messages_reach_channels_and_patterns(place: Place) {
    let store = &place.store;
    let (one, two, other) = (place.key("one"), place.key("two"), place.key("other"));
    let pattern = place.key("t*");
    let mut channels = store
        .subscribe(Topic::Channel, &[one.as_bytes(), two.as_bytes()])
        .await
        .unwrap();
    let mut patterns = store
        .subscribe(Topic::Pattern, &[pattern.as_bytes()])
        .await
        .unwrap();
    for (channel, payload) in [(&one, "1"), (&other, "2"), (&two, "3")] {
        store
            .publish(channel.as_bytes(), payload.as_bytes())
            .await
            .unwrap();
    }
    let plain = |channel: &str, payload: &str| {
        (
            None,
            channel.as_bytes().to_vec(),
            payload.as_bytes().to_vec(),
        )
    };
    // Over REST each channel has a stream of its own: their order is not promised.
    let mut heard = [message(&mut channels).await, message(&mut channels).await];
    heard.sort_by(|a, b| a.2.cmp(&b.2));
    assert_eq!(heard, [plain(&one, "1"), plain(&two, "3")]);
    let mut matched = plain(&two, "3");
    matched.0 = Some(pattern.into_bytes());
    assert_eq!(message(&mut patterns).await, matched);
}

pub(crate) async fn messages_carry_any_bytes_in_order(place: Place) {
    let (store, channel) = (&place.store, place.key("c"));
    let mut subscriptions = Vec::new();
    for _ in 0..2 {
        let names = [channel.as_bytes()];
        subscriptions.push(store.subscribe(Topic::Channel, &names).await.unwrap());
    }
    let payload = |turn: u32| {
        let mut payload = turn.to_string().into_bytes();
        if place.can.carry_bytes {
            payload.extend(0..=255_u8);
        } else {
            payload.extend_from_slice(", \"é\" \\ 😀".as_bytes());
        }
        payload
    };
    for turn in 0..300 {
        store
            .publish(channel.as_bytes(), &payload(turn))
            .await
            .unwrap();
    }
    for subscription in &mut subscriptions {
        for turn in 0..300 {
            assert_eq!(message(subscription).await.2, payload(turn));
        }
    }
}

pub(crate) async fn a_subscription_ends_when_it_is_dropped(place: Place) {
    let (store, channel) = (&place.store, place.key("c"));
    let names = [channel.as_bytes()];
    let first = store.subscribe(Topic::Channel, &names).await.unwrap();
    let mut second = store.subscribe(Topic::Channel, &names).await.unwrap();
    drop(first);
    store.publish(channel.as_bytes(), b"still").await.unwrap();
    assert_eq!(message(&mut second).await.2, b"still");
    drop(second);
    let end = Instant::now() + DEADLINE;
    // The server is told in its turn.
    while ask(store, &["PUBSUB", "NUMSUB", &channel]).await.flat()
        != [channel.as_str().into(), 0.into()].into()
    {
        assert!(Instant::now() < end, "it still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let none = store.subscribe(Topic::Channel, &[]).await;
    assert!(!matches!(none, Err(Error::Indeterminate(_))));
}
