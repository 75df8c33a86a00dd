use std::time::Duration;

use sangam_engine::Reply;

use crate::http::Http;
use crate::start::{start, start_with};

const FULL: &str = "authorization: Bearer full";

/// The next line that is an event or a comment, without chunk framing.
async fn event(http: &mut Http) -> String {
    loop {
        let line = http.line().await;
        if line.starts_with("data: ") || line.starts_with(':') {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_as_events() {
    let server = start().await;
    let mut events = Http::connect(server.http()).await;
    events
        .send("POST", "/subscribe/a/b%20c", &[FULL], b"[]")
        .await;
    let head = events.head().await;
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    assert_eq!(event(&mut events).await, "data: subscribe,a,1");
    assert_eq!(event(&mut events).await, "data: subscribe,b c,2");
    let mut patterns = Http::connect(server.http()).await;
    patterns
        .send("GET", "/psubscribe/*?_token=read", &[], b"")
        .await;
    patterns.head().await;
    assert_eq!(event(&mut patterns).await, "data: psubscribe,*,1");

    let mut http = Http::connect(server.http()).await;
    assert_eq!(
        http.post("/publish/a", r#"{"n":1}"#).await.text(),
        r#"{"result":2}"#
    );
    assert_eq!(
        http.post("/publish/b%20c/two", "").await.text(),
        r#"{"result":2}"#
    );
    assert_eq!(event(&mut events).await, r#"data: message,a,{"n":1}"#);
    assert_eq!(event(&mut events).await, "data: message,b c,two");
    assert_eq!(event(&mut patterns).await, r#"data: pmessage,*,a,{"n":1}"#);
    assert_eq!(event(&mut patterns).await, "data: pmessage,*,b c,two");

    // A client that goes is forgotten.
    drop(events);
    drop(patterns);
    for _ in 0..200 {
        if http.post("/publish/a/x", "").await.text() == r#"{"result":0}"# {
            server.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the subscriptions outlived their clients");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_filled_and_a_stop_ends_it() {
    let server = start_with(|config| {
        config.timing.event_keep_alive = Duration::from_millis(20);
    })
    .await;
    let mut events = Http::connect(server.http()).await;
    events.send("POST", "/subscribe/a", &[FULL], b"").await;
    events.head().await;
    assert_eq!(event(&mut events).await, "data: subscribe,a,1");
    assert_eq!(event(&mut events).await, ": keepalive");
    assert_eq!(event(&mut events).await, ": keepalive");
    tokio::time::timeout(Duration::from_secs(5), server.shutdown())
        .await
        .unwrap();
    while !events.line().await.is_empty() || !events.line().await.is_empty() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_is_cut_off() {
    let server = start_with(|config| config.timing.write = Duration::from_millis(200)).await;
    let mut events = Http::connect(server.http()).await;
    events.send("POST", "/subscribe/a", &[FULL], b"").await;
    events.head().await;
    assert_eq!(event(&mut events).await, "data: subscribe,a,1");
    let (engine, mut session) = (server.engine().unwrap(), server.engine().unwrap().session());
    let mut listeners = || {
        let asked = engine.call(&mut session, &[b"PUBSUB", b"NUMSUB", b"a"]).0;
        asked != Reply::Array(vec![Reply::bulk("a"), Reply::Int(0)])
    };
    assert!(listeners());
    let mut http = Http::connect(server.http()).await;
    let message = "x".repeat(1 << 20);
    for _ in 0..200 {
        let receivers = http.post("/publish/a", &message).await;
        if receivers.text() == r#"{"result":0}"# {
            break;
        }
    }
    // Its mailbox is closed, or it is gone already.
    assert_eq!(http.post("/publish/a", "x").await.text(), r#"{"result":0}"#);
    for _ in 0..500 {
        if !listeners() {
            server.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a client that does not read is still subscribed");
}
