//! Connections that break, go silent, or cannot be made.

use std::time::{Duration, Instant};

use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use sangam_store::{Error, Options, Reply, Status, Store, Why};

use crate::{commands, connect, connect_with, quick, store};

/// Waits until the store answers.
async fn answers(store: &Store) {
    until("the store to answer", || async {
        store.ping().await.map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_restart_on_the_same_port_is_found() {
    let mut redis = Redis::start().await;
    let store = store(&redis.url()).await;
    store.transaction(&commands(&[&["PING"]])).await.unwrap();
    for _ in 0..3 {
        redis.kill();
        redis.restart().await;
        // The end of the old connection was seen, or this call meets it.
        answers(&store).await;
        assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
        let unit = commands(&[&["GET", "k"]]);
        assert_eq!(
            store.transaction(&unit).await.unwrap(),
            [Ok(Reply::bulk("v"))]
        );
        let took = store.call(&[b"BLPOP", b"none", b"0.01"]).await;
        assert_eq!(took, Ok(Reply::Null));
    }
}

#[tokio::test]
async fn a_dead_server_fails_calls_at_once_and_certainly() {
    let mut redis = Redis::start().await;
    let store = store(&redis.url()).await;
    redis.kill();
    until("the end of the connection to be seen", || async {
        match store.call(&[b"SET", b"k", b"v"]).await {
            Err(Error::Unavailable(Why::Connect { .. } | Why::Open(_))) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let began = Instant::now();
    let failed = store.call(&[b"SET", b"k", b"v"]).await.unwrap_err();
    assert!(failed.had_no_effect(), "{failed}");
    assert!(began.elapsed() < Duration::from_secs(1));
    until("the breaker to open", || async {
        let _ = store.call(&[b"SET", b"k", b"v"]).await;
        match store.state().status {
            Status::Down => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    redis.restart().await;
    answers(&store).await;
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::Null));
}

#[tokio::test]
async fn what_was_sent_before_a_break_is_indeterminate_and_once() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = store(&format!("redis://{}", proxy.addr())).await;
    // The reply is cut off: the write was run, once.
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    let lost = store.call(&[b"INCR", b"k"]).await.unwrap_err();
    assert!(
        matches!(lost, Error::Indeterminate(Why::Broken { .. })),
        "{lost}"
    );
    proxy.clear();
    answers(&store).await;
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("1")));
    // A read is repeated.
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("1")));
    proxy.clear();
    // So with a unit, all of it.
    let unit = commands(&[&["INCR", "k"], &["INCR", "k"]]);
    store.transaction(&commands(&[&["PING"]])).await.unwrap();
    proxy.fault(Fault::CutAfterReply(3), Whom::Times(1));
    let lost = store.transaction(&unit).await.unwrap_err();
    assert!(matches!(lost, Error::Indeterminate(_)), "{lost}");
    proxy.clear();
    answers(&store).await;
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("3")));
    // And every write of a pipeline whose replies did not arrive.
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    let outcomes = store
        .pipeline(&commands(&[&["INCR", "k"], &["GET", "k"]]))
        .await;
    assert!(
        matches!(outcomes[0], Err(Error::Indeterminate(_))),
        "{outcomes:?}"
    );
    assert!(
        matches!(outcomes[1], Err(Error::Unavailable(_))),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_connection_that_is_known_to_be_over_takes_nothing() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = store(&format!("redis://{}", proxy.addr())).await;
    store.transaction(&commands(&[&["PING"]])).await.unwrap();
    for turn in 1..=20 {
        proxy.cut(if turn % 2 == 0 {
            Cut::Reset
        } else {
            Cut::Close
        });
        proxy
            .wait_for("the connections to end", |it| it.open == 0)
            .await;
        // The end is in the client's queue by now; its task has read it when the
        // runtime has waited for something else that came later.
        redis.call(&["PING"]).await;
        let reply = store.call(&[b"INCR", b"k"]).await;
        assert_eq!(reply, Ok(Reply::Int(turn)));
        let unit = commands(&[&["GET", "k"]]);
        let replies = store.transaction(&unit).await.unwrap();
        assert_eq!(replies, [Ok(Reply::bulk(turn.to_string()))]);
    }
    assert_eq!(store.metrics().indeterminate, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_find_it_closed_connect_once() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = store(&format!("redis://{}", proxy.addr())).await;
    proxy.fault(
        Fault::Delay {
            direction: Direction::Reply,
            least: Duration::from_millis(100),
            most: Duration::from_millis(100),
        },
        Whom::All,
    );
    proxy.cut(Cut::Close);
    proxy
        .wait_for("the connection to end", |it| it.open == 0)
        .await;
    // The client's task has read the end when the runtime has waited for something
    // that came later.
    redis.call(&["PING"]).await;
    let before = proxy.counters().accepted;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = store.clone();
        callers.spawn(async move { store.call(&[b"GET", b"k"]).await });
    }
    while let Some(reply) = callers.join_next().await {
        assert_eq!(reply.unwrap(), Ok(Reply::Null));
    }
    assert_eq!(proxy.counters().accepted - before, 1);
}

/// The silence shows within the time of a command, and the next calls have a new
/// connection.
async fn silence_is_found(fault: Fault) {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let options = Options {
        command_timeout: Duration::from_millis(400),
        ..quick()
    };
    let store = connect_with(&format!("redis://{}", proxy.addr()), options)
        .await
        .unwrap();
    proxy.fault(fault, Whom::Times(1));
    let began = Instant::now();
    let lost = store.call(&[b"SET", b"k", b"v"]).await.unwrap_err();
    assert!(matches!(lost, Error::Indeterminate(_)), "{lost}");
    assert!(began.elapsed() < Duration::from_millis(800));
    proxy.clear();
    answers(&store).await;
    assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_peer_that_died_without_a_word_is_left() {
    silence_is_found(Fault::HalfOpen).await;
}

#[tokio::test]
async fn a_connection_that_swallows_replies_is_left() {
    silence_is_found(Fault::DropReplies).await;
}

#[tokio::test]
async fn a_slow_answer_ends_no_connection() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let options = Options {
        command_timeout: Duration::from_millis(400),
        ..quick()
    };
    let store = connect_with(&format!("redis://{}", proxy.addr()), options)
        .await
        .unwrap();
    store.call(&[b"SET", b"k", b"v"]).await.unwrap();
    let before = proxy.counters().accepted;
    proxy.fault(
        Fault::Delay {
            direction: Direction::Reply,
            least: Duration::from_millis(250),
            most: Duration::from_millis(300),
        },
        Whom::All,
    );
    for _ in 0..8 {
        assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("v")));
    }
    assert_eq!(proxy.counters().accepted, before);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_down_in_time() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    proxy.fault(Fault::BlackHole, Whom::All);
    let options = Options {
        connect_timeout: Duration::from_millis(300),
        ..quick()
    };
    let began = Instant::now();
    let store = connect_with(&format!("redis://{}", proxy.addr()), options)
        .await
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(store.state().status, Status::Down);
    let failed = store.call(&[b"SET", b"k", b"v"]).await.unwrap_err();
    assert!(failed.had_no_effect(), "{failed}");
    proxy.clear();
    until("the store to be up", || async {
        match store.state().status {
            Status::Up => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
}

#[tokio::test]
async fn a_server_that_loads_or_is_full_is_down_for_a_while() {
    let redis = Redis::options().arg("--maxclients", "2").start().await;
    let (one, two) = (redis.client().await, redis.client().await);
    let store = connect(&redis.url()).await.unwrap();
    let state = store.state();
    assert_eq!(state.status, Status::Down);
    assert!(
        state.reason.contains("max number of clients"),
        "{}",
        state.reason
    );
    drop((one, two));
    answers(&store).await;
}
