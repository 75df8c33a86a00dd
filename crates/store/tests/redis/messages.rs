//! Messages over a connection of their own.

use std::time::Duration;

use sangam_rig::proxy::{Cut, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use sangam_store::{Event, Gap, Options, Reply, Subscription, Topic};

use crate::{connect_with, quick, store};

async fn next(subscription: &mut Subscription) -> Event {
    let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
    next.await
        .expect("an event")
        .expect("a subscription that goes on")
}

async fn message(subscription: &mut Subscription) -> (Option<Vec<u8>>, Vec<u8>, Vec<u8>) {
    match next(subscription).await {
        Event::Message(it) => (
            it.pattern.map(|pattern| pattern.to_vec()),
            it.channel.to_vec(),
            it.payload.to_vec(),
        ),
        Event::Gap(gap) => panic!("a gap: {gap:?}"),
    }
}

async fn names_and_payloads(protocol: &str) {
    let redis = Redis::start().await;
    let store = store(&format!("{}?protocol={protocol}", redis.url())).await;
    let odd = &b"\xff\x00\r\n"[..];
    let mut one = store.subscribe(Topic::Channel, &[b"a", odd]).await.unwrap();
    let mut all = store.subscribe(Topic::Pattern, &[b"*"]).await.unwrap();
    let large = vec![b'x'; 1 << 20];
    for (channel, payload) in [(&b"a"[..], &b""[..]), (odd, b"\xfe\r\n"), (b"a", &large)] {
        let heard = store.call(&[b"PUBLISH", channel, payload]).await;
        assert_eq!(heard, Ok(Reply::Int(2)));
        assert_eq!(
            message(&mut one).await,
            (None, channel.to_vec(), payload.to_vec())
        );
        let expected = (Some(b"*".to_vec()), channel.to_vec(), payload.to_vec());
        assert_eq!(message(&mut all).await, expected);
    }
    // Given up with the last subscriber.
    drop(one);
    until("the channel to be given up", || async {
        match redis.call(&["PUBSUB", "NUMSUB", "a"]).await.items()[1].int() {
            Some(0) => Ok(()),
            many => Err(format!("{many:?}")),
        }
    })
    .await;
    store.call(&[b"PUBLISH", b"b", b"x"]).await.unwrap();
    assert_eq!(message(&mut all).await.1, b"b");
}

#[tokio::test]
async fn names_and_payloads_are_bytes_in_resp3() {
    names_and_payloads("resp3").await;
}

#[tokio::test]
async fn names_and_payloads_are_bytes_in_resp2() {
    names_and_payloads("resp2").await;
}

#[tokio::test]
async fn messages_come_while_others_subscribe() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let mut news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    let publisher = tokio::spawn({
        let store = store.clone();
        async move {
            for at in 0..500 {
                let text = at.to_string();
                store
                    .call(&[b"PUBLISH", b"news", text.as_bytes()])
                    .await
                    .unwrap();
            }
        }
    });
    let mut others = Vec::new();
    for at in 0..50 {
        let name = format!("c{at}");
        others.push(
            store
                .subscribe(Topic::Channel, &[name.as_bytes()])
                .await
                .unwrap(),
        );
    }
    for at in 0..500 {
        assert_eq!(message(&mut news).await.2, at.to_string().as_bytes());
    }
    publisher.await.unwrap();
}

#[tokio::test]
async fn a_break_is_a_gap_and_the_subscription_holds_again() {
    let mut redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = store(&format!("redis://{}", proxy.addr())).await;
    let mut news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    proxy.cut(Cut::Reset);
    assert_eq!(next(&mut news).await, Event::Gap(Gap::Broken));
    assert_eq!(redis.call(&["PUBLISH", "news", "1"]).await.int(), Some(1));
    assert_eq!(message(&mut news).await.2, b"1");
    redis.restart().await;
    assert_eq!(next(&mut news).await, Event::Gap(Gap::Broken));
    assert_eq!(redis.call(&["PUBLISH", "news", "2"]).await.int(), Some(1));
    assert_eq!(message(&mut news).await.2, b"2");
}

#[tokio::test]
async fn a_silent_peer_is_found() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let options = Options {
        command_timeout: Duration::from_millis(300),
        ..quick()
    };
    let store = connect_with(&format!("redis://{}", proxy.addr()), options)
        .await
        .unwrap();
    let mut news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    // Silence alone is no end: the server answers PING.
    let idle = tokio::time::timeout(Duration::from_millis(1500), news.next());
    assert!(idle.await.is_err());
    proxy.fault(Fault::HalfOpen, Whom::All);
    proxy
        .wait_for("the connections to be dead", |it| it.faults >= 2)
        .await;
    proxy.clear();
    assert_eq!(next(&mut news).await, Event::Gap(Gap::Broken));
    until("the subscription to hold", || async {
        match redis.call(&["PUBLISH", "news", "1"]).await.int() {
            Some(1) => Ok(()),
            many => Err(format!("{many:?}")),
        }
    })
    .await;
    assert_eq!(message(&mut news).await.2, b"1");
}

#[tokio::test]
async fn a_channel_that_a_user_may_not_hear_is_refused_alone() {
    let redis = Redis::options()
        .user("app on >s ~* +@all &open*")
        .start()
        .await;
    let store = store(&format!("redis://app:s@{}", redis.addr())).await;
    let mut open = store.subscribe(Topic::Channel, &[b"open"]).await.unwrap();
    let refused = store
        .subscribe(Topic::Channel, &[b"shut"])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("NOPERM"), "{refused}");
    store.call(&[b"PUBLISH", b"open", b"x"]).await.unwrap();
    assert_eq!(message(&mut open).await.2, b"x");
}
