//! A store over the engine in process.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use sangam_store::{Commands, Error, Event, Reply, Script, Store, Topic};

#[tokio::test]
async fn commands_pipelines_and_transactions() {
    let store = Store::memory();
    assert_eq!(store.call(&[b"SET", b"k", b"1"]).await.unwrap(), Reply::OK);
    let mut commands = Commands::new();
    commands
        .push(&[b"INCR", b"k"])
        .push(&[b"LPUSH", b"k", b"x"])
        .push(&[b"BLPOP", b"none", b"0"])
        .push(&[b"SUBSCRIBE", b"c"])
        .push(&[b"GET", b"k"]);
    let replies = store.pipeline(&commands).await;
    assert_eq!(replies[0], Ok(Reply::Int(2)));
    assert_eq!(replies[1].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(replies[2], Ok(Reply::NullArray));
    assert!(matches!(replies[3], Err(Error::Unsupported(_))));
    assert_eq!(replies[4], Ok(Reply::bulk("2")));

    let mut unit = Commands::new();
    unit.push(&[b"INCR", b"k"]).push(&[b"HGET", b"k", b"f"]);
    let replies = store.transaction(&unit).await.unwrap();
    assert_eq!(replies[0], Ok(Reply::Int(3)));
    assert!(replies[1].is_err());
    unit.push(&[b"NOSUCH"]);
    assert!(matches!(
        store.transaction(&unit).await,
        Err(Error::Command(_))
    ));
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("3")));
}

#[tokio::test]
async fn a_script_is_sent_by_name_then_by_text() {
    static ADD: Script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let store = Store::memory();
    for sum in [2, 4] {
        let reply = store.script(&ADD, &[b"k"], &[b"2"]).await;
        assert_eq!(reply, Ok(Reply::Int(sum)));
    }
    store.call(&[b"SCRIPT", b"FLUSH"]).await.unwrap();
    assert_eq!(
        store.script(&ADD, &[b"k"], &[b"2"]).await,
        Ok(Reply::Int(6))
    );
}

#[tokio::test]
async fn waiting_calls_are_served_or_dropped() {
    let store = Store::memory();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.call(&[b"BLPOP", b"list", b"0"]).await }
    });
    // One that gives up leaves its place.
    let given_up = store.call(&[b"BLPOP", b"list", b"0"]);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), given_up)
            .await
            .is_err()
    );
    store.call(&[b"RPUSH", b"list", b"a", b"b"]).await.unwrap();
    let reply = waiting.await.unwrap().unwrap().unpacked();
    assert_eq!(
        reply,
        Reply::Array(vec![Reply::bulk("list"), Reply::bulk("a")])
    );
    assert_eq!(store.call(&[b"LLEN", b"list"]).await, Ok(Reply::Int(1)));
}

#[tokio::test]
async fn messages_are_events() {
    let store = Store::memory();
    let mut news = store
        .subscribe(Topic::Channel, &[b"a", b"b"])
        .await
        .unwrap();
    let mut all = store.subscribe(Topic::Pattern, &[b"*"]).await.unwrap();
    assert_eq!(
        store.call(&[b"PUBLISH", b"b", b"\xff"]).await,
        Ok(Reply::Int(2))
    );
    for (subscription, pattern) in [(&mut news, None), (&mut all, Some(&b"*"[..]))] {
        let Some(Event::Message(message)) = subscription.next().await else {
            panic!("no message");
        };
        assert_eq!(&*message.channel, b"b");
        assert_eq!(&*message.payload, b"\xff");
        assert_eq!(message.pattern.as_deref(), pattern);
    }
    drop((news, all));
    assert_eq!(
        store.call(&[b"PUBLISH", b"b", b"x"]).await,
        Ok(Reply::Int(0))
    );
}

#[tokio::test]
async fn a_data_folder_is_held_and_kept() {
    let folder = std::env::temp_dir().join(format!("sangam-store-{}", std::process::id()));
    let store = Store::open(&folder).await.unwrap();
    store.call(&[b"SET", b"k", b"v"]).await.unwrap();
    let second = Store::open(&folder).await.unwrap_err().to_string();
    assert!(second.contains("is in use by process"), "{second}");
    store.close().await;
    let store = Store::open(&folder).await.unwrap();
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("v")));
    store.close().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
