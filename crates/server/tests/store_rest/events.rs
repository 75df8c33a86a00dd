//! Messages over server-sent events.

use std::time::Duration;

use sangam_rig::proxy::Cut;
use sangam_store::{Error, Event, Gap, Options, Store, Subscription, Topic};
use tokio::time::timeout;

use crate::endpoint::{Act, Endpoint, answer};
use crate::{DEADLINE, behind_a_line, connect, gateway, one_slot};

async fn next(subscription: &mut Subscription) -> Event {
    timeout(DEADLINE, subscription.next())
        .await
        .unwrap()
        .unwrap()
}

async fn message(subscription: &mut Subscription) -> (String, Vec<u8>) {
    match next(subscription).await {
        Event::Message(message) => (
            String::from_utf8_lossy(&message.channel).into_owned(),
            message.payload.to_vec(),
        ),
        other => panic!("{other:?}"),
    }
}

async fn publish(store: &Store, channel: &[u8], payload: &[u8]) {
    store.call(&[b"PUBLISH", channel, payload]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_any_kind_and_what_a_payload_can_carry() {
    let (_server, url) = gateway(|_| {}).await;
    let store = connect(&url, one_slot()).await.unwrap();
    let names: [&[u8]; 4] = [b"a,b", b"a/b c?d=e#%", "é😀".as_bytes(), b"\xff"];
    let mut channels = store.subscribe(Topic::Channel, &names).await.unwrap();
    for name in names {
        publish(&store, name, b"1,2").await;
        let (channel, payload) = message(&mut channels).await;
        assert_eq!(channel, String::from_utf8_lossy(name));
        assert_eq!(payload, b"1,2");
    }
    let mut pattern = store.subscribe(Topic::Pattern, &[b"p,*"]).await.unwrap();
    publish(&store, b"p,1", b"x,y").await;
    assert_eq!(
        message(&mut pattern).await,
        ("p,1".to_owned(), b"x,y".to_vec())
    );
    for (published, received) in [
        (b"".as_slice(), b"".as_slice()),
        (b"\xff\x00 \xfe", b"\xff\x00 \xfe"),
        (b"\"json\"", b"\"json\""),
        (b"two\nlines", b"\"two\\nlines\""),
        (b"{\n\"a\": 1}", b"{ \"a\": 1}"),
    ] {
        publish(&store, b"a,b", published).await;
        assert_eq!(message(&mut channels).await.1, received);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_is_a_gap_and_then_it_goes_on() {
    let options = Options {
        rest_slots: 1,
        ..Options::default()
    };
    let (_server, line, store) = behind_a_line(options).await;
    let mut one = store
        .subscribe(Topic::Channel, &[b"c", b"d"])
        .await
        .unwrap();
    let mut other = store.subscribe(Topic::Channel, &[b"c"]).await.unwrap();
    for how in [Cut::Reset, Cut::Close] {
        line.line().cut(how);
        assert_eq!(next(&mut one).await, Event::Gap(Gap::Broken));
        assert_eq!(next(&mut other).await, Event::Gap(Gap::Broken));
        sangam_rig::wait::until("a connection", || async {
            store.ping().await.map_err(|error| error.to_string())
        })
        .await;
        publish(&store, b"c", b"again").await;
        assert_eq!(message(&mut one).await.1, b"again");
        assert_eq!(message(&mut other).await.1, b"again");
        publish(&store, b"d", b"too").await;
        assert_eq!(message(&mut one).await.1, b"too");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_nobody_wants_is_given_up() {
    let (_server, line, store) = behind_a_line(one_slot()).await;
    let before = line.counters().open;
    let one = store.subscribe(Topic::Channel, &[b"c"]).await.unwrap();
    let other = store
        .subscribe(Topic::Channel, &[b"c", b"d"])
        .await
        .unwrap();
    assert_eq!(line.counters().open, before + 2, "a connection a topic");
    drop(other);
    line.line()
        .wait_for("one to be given up", |it| it.open == before + 1)
        .await;
    drop(one);
    line.line()
        .wait_for("the other", |it| it.open == before)
        .await;
}

#[tokio::test]
async fn refusals_are_told() {
    let refused = r#"{"error":"NOPERM this user has no permissions"}"#;
    let endpoint = Endpoint::start(move |seen| match seen.path.as_str() {
        "/subscribe/no" => Act::Answer(answer("400 Bad Request", &[], refused)),
        _ => Act::Answer(answer("200 OK", &[], "{\"result\":1}")),
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    for (name, expected) in [
        (
            "no",
            "refused the subscription: NOPERM this user has no permissions",
        ),
        ("other", "answers a subscription without a stream of events"),
        ("", "cannot name the empty channel"),
    ] {
        match store.subscribe(Topic::Channel, &[name.as_bytes()]).await {
            Err(Error::Unsupported(text)) => assert!(text.ends_with(expected), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_subscription_that_is_not_confirmed_ends_in_time() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\n";
    let endpoint = Endpoint::start(|_| Act::Silence(head.to_vec())).await;
    let options = Options {
        command_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(300),
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    let subscribing = timeout(DEADLINE, store.subscribe(Topic::Channel, &[b"c"]));
    let outcome = subscribing.await.unwrap();
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
}
