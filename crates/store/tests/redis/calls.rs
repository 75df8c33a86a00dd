//! What a caller sends and gets back.

use std::time::Duration;

use sangam_engine::clock::{Clock as _, SystemClock};
use sangam_rig::proxy::Proxy;
use sangam_rig::redis::Redis;
use sangam_rig::wait::until;
use sangam_store::{Error, Reply, Script};

use crate::{commands, connect, store};

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(Reply::bulk).collect())
}

#[tokio::test]
async fn replies_in_the_shapes_of_resp3() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let call = async |text: &str| {
        let argv: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        store.call(&argv).await
    };
    assert_eq!(call("SET k v").await, Ok(Reply::OK));
    assert_eq!(call("GET k").await, Ok(Reply::bulk("v")));
    assert_eq!(call("GET none").await, Ok(Reply::Null));
    assert_eq!(call("HSET h f v").await, Ok(Reply::Int(1)));
    let map = Reply::Map(vec![(Reply::bulk("f"), Reply::bulk("v"))]);
    assert_eq!(call("HGETALL h").await, Ok(map));
    assert_eq!(call("ZADD z 1.5 m").await, Ok(Reply::Int(1)));
    assert_eq!(call("ZSCORE z m").await, Ok(Reply::Double(1.5)));
    assert_eq!(call("SADD s m").await, Ok(Reply::Int(1)));
    assert_eq!(
        call("SMEMBERS s").await,
        Ok(Reply::Set(vec![Reply::bulk("m")]))
    );
    assert_eq!(call("DEBUG PROTOCOL true").await, Ok(Reply::Bool(true)));
    assert_eq!(
        call("DEBUG PROTOCOL verbatim").await,
        Ok(Reply::Verbatim(
            *b"txt",
            b"This is a verbatim\nstring".to_vec()
        ))
    );
    assert_eq!(
        call("DEBUG PROTOCOL bignum").await,
        Ok(Reply::BigNumber(
            b"1234567999999999999999999999999999999".to_vec()
        ))
    );
    let wrong = call("LPUSH k x").await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    let binary = [&b"SET"[..], b"\x00\xff\r\n", b"\r\n\xfe"];
    assert_eq!(store.call(&binary).await, Ok(Reply::OK));
    let reply = store.call(&[b"GET", b"\x00\xff\r\n"]).await;
    assert_eq!(reply, Ok(Reply::bulk(b"\r\n\xfe")));
    let large = vec![b'x'; 3 << 20];
    assert_eq!(store.call(&[b"SET", b"l", &large]).await, Ok(Reply::OK));
    assert_eq!(store.call(&[b"GET", b"l"]).await, Ok(Reply::Bulk(large)));
    let refused: [&[&[u8]]; 4] = [&[], &[b"MULTI"], &[b"subscribe", b"c"], &[b"SELECT", b"1"]];
    for argv in refused {
        let refused = store.call(argv).await.unwrap_err();
        assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
    }
}

#[tokio::test]
async fn an_old_server_is_spoken_to_in_resp2() {
    // Without HELLO: `--rename-command HELLO GONE --save 3600 100000`.
    let redis = Redis::options()
        .password("p")
        .arg("--rename-command", "HELLO")
        .arg("GONE", "--save")
        .arg("3600", "100000")
        .start()
        .await;
    let store = store(&format!("{}/1", redis.url())).await;
    store.call(&[b"HSET", b"h", b"f", b"v"]).await.unwrap();
    assert_eq!(
        store.call(&[b"HGETALL", b"h"]).await,
        Ok(bulks(&["f", "v"]))
    );
    let wrong = connect(&format!("redis://:no@{}", redis.addr()))
        .await
        .unwrap_err();
    assert!(
        wrong
            .to_string()
            .contains("refuses the user or the password"),
        "{wrong}"
    );
    let users = connect(&format!("redis://u:p@{}", redis.addr()))
        .await
        .unwrap_err();
    assert!(users.to_string().contains("refuses the user"), "{users}");
    let none = connect(&format!("redis://{}", redis.addr()))
        .await
        .unwrap_err();
    assert!(none.to_string().contains("asks for a password"), "{none}");
}

#[tokio::test]
async fn resp2_by_choice() {
    let redis = Redis::options().password("p").start().await;
    let store = store(&format!("{}?protocol=resp2", redis.url())).await;
    store.call(&[b"HSET", b"h", b"f", b"v"]).await.unwrap();
    assert_eq!(
        store.call(&[b"HGETALL", b"h"]).await,
        Ok(bulks(&["f", "v"]))
    );
    assert_eq!(store.call(&[b"GET", b"none"]).await, Ok(Reply::Null));
    let unit = commands(&[&["SET", "a", "1"], &["GET", "a"]]);
    let replies = store.transaction(&unit).await.unwrap();
    assert_eq!(replies, [Ok(Reply::OK), Ok(Reply::bulk("1"))]);
}

#[tokio::test]
async fn another_database_and_a_socket() {
    let folder = std::env::temp_dir().join(format!("sangam-unix-{}", std::process::id()));
    let socket = folder.with_extension("sock");
    let path = socket.to_str().unwrap();
    let redis = Redis::options().arg("--unixsocket", path).start().await;
    let second = store(&format!("{}/2", redis.url())).await;
    second.call(&[b"SET", b"k", b"two"]).await.unwrap();
    let waited = second.call(&[b"BLPOP", b"none", b"0.01"]).await;
    assert_eq!(waited, Ok(Reply::Null));
    let first = store(&redis.url()).await;
    assert_eq!(first.call(&[b"GET", b"k"]).await, Ok(Reply::Null));
    let local = store(&format!("unix://{path}?db=2")).await;
    assert_eq!(local.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("two")));
    let unit = commands(&[&["GET", "k"]]);
    assert_eq!(
        local.transaction(&unit).await.unwrap(),
        [Ok(Reply::bulk("two"))]
    );
    let _ = std::fs::remove_file(socket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_get_their_own_replies() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let before = redis.info("total_connections_received").await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let store = store.clone();
        callers.spawn(async move {
            for turn in 0..50 {
                let text = format!("{caller}:{turn}");
                let reply = store.call(&[b"ECHO", text.as_bytes()]).await;
                assert_eq!(reply, Ok(Reply::bulk(&text)));
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let after = redis.info("total_connections_received").await.unwrap();
    let more = after.parse::<u64>().unwrap() - before.parse::<u64>().unwrap();
    assert_eq!(more, 1, "all calls share one connection; the other is ours");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_shifts_no_reply() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64u64 {
        let store = store.clone();
        callers.spawn(async move {
            for turn in 0..100u64 {
                let text = format!("{caller}:{turn}");
                let argv = [&b"ECHO"[..], text.as_bytes()];
                let call = store.call(&argv);
                if (caller + turn) % 3 == 0 {
                    let limit = Duration::from_micros(turn * 7);
                    let _ = tokio::time::timeout(limit, call).await;
                } else {
                    assert_eq!(call.await, Ok(Reply::bulk(&text)));
                }
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(store.metrics().indeterminate, 0);
}

#[tokio::test]
async fn a_pipeline_in_order_with_an_outcome_each() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let all = commands(&[
        &["SET", "k", "1"],
        &["INCR", "k"],
        &["LPUSH", "k", "x"],
        &["BLPOP", "none", "0"],
        &["SUBSCRIBE", "c"],
        &["EVALSHA", "0123456789012345678901234567890123456789", "0"],
        &["NOSUCH"],
        &["BLPOP", "k", "0"],
        &["GET", "k"],
    ]);
    let began = std::time::Instant::now();
    let replies = store.pipeline(&all).await;
    assert!(began.elapsed() < Duration::from_secs(1), "nothing waits");
    let code = |at: usize| {
        replies[at]
            .as_ref()
            .unwrap_err()
            .code()
            .unwrap_or("")
            .to_owned()
    };
    assert_eq!(replies[0], Ok(Reply::OK));
    assert_eq!(replies[1], Ok(Reply::Int(2)));
    assert_eq!(code(2), "WRONGTYPE");
    assert!(matches!(replies[3], Ok(Reply::Null | Reply::NullArray)));
    assert!(matches!(replies[4], Err(Error::Unsupported(_))));
    assert_eq!(code(5), "NOSCRIPT");
    assert_eq!(code(6), "ERR");
    assert_eq!(code(7), "WRONGTYPE");
    assert_eq!(replies[8], Ok(Reply::bulk("2")));
    assert_eq!(replies.len(), 9);
    assert!(store.pipeline(&commands(&[])).await.is_empty());
    let many: Vec<Vec<String>> = (0..10_000)
        .map(|at| vec!["ECHO".to_owned(), at.to_string()])
        .collect();
    let many = many
        .iter()
        .map(|argv| argv.iter().map(String::as_bytes).collect::<Vec<_>>())
        .collect();
    for (at, reply) in store.pipeline(&many).await.into_iter().enumerate() {
        assert_eq!(reply, Ok(Reply::bulk(at.to_string())));
    }
}

#[tokio::test]
async fn a_transaction_is_one_unit() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let unit = commands(&[&["SET", "k", "1"], &["LPUSH", "k", "x"], &["INCR", "k"]]);
    let replies = store.transaction(&unit).await.unwrap();
    assert_eq!(replies[0], Ok(Reply::OK));
    assert_eq!(replies[1].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(replies[2], Ok(Reply::Int(2)));
    // The error of the command that was refused, and nothing ran.
    let unit = commands(&[&["SET", "k", "9"], &["NOSUCH", "x"], &["GET"]]);
    let refused = store.transaction(&unit).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("ERR unknown command 'NOSUCH'"),
        "{refused}"
    );
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("2")));
    let unit = commands(&[&["SET", "k", "9"], &["WATCH", "k"]]);
    let refused = store.transaction(&unit).await.unwrap_err();
    assert!(matches!(refused, Error::Unsupported(_)), "{refused}");
    // The connection is as good as new.
    let unit = commands(&[&["GET", "k"]]);
    assert_eq!(
        store.transaction(&unit).await.unwrap(),
        [Ok(Reply::bulk("2"))]
    );
}

#[tokio::test]
async fn transactions_side_by_side_do_not_mix() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        callers.spawn(async move {
            let unit = commands(&[&["GET", "k"], &["INCR", "k"], &["GET", "k"]]);
            for _ in 0..10 {
                let replies = store.transaction(&unit).await.unwrap();
                let Ok(Reply::Int(now)) = replies[1] else {
                    panic!("{replies:?}");
                };
                assert_eq!(replies[2], Ok(Reply::bulk(now.to_string())));
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::bulk("320")));
    let clients: u64 = redis
        .info("connected_clients")
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert!(clients <= 18, "{clients} connections are kept");
}

#[tokio::test]
async fn who_may_not_use_multi_runs_nothing() {
    let redis = Redis::options()
        .user("app on >s ~* +@all -multi")
        .start()
        .await;
    let store = store(&format!("redis://app:s@{}", redis.addr())).await;
    let unit = commands(&[&["SET", "k", "1"]]);
    // Also on a connection that was refused before.
    for _ in 0..2 {
        let refused = store.transaction(&unit).await.unwrap_err();
        assert_eq!(refused.code(), Some("NOPERM"));
        assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::Null));
    }
}

#[tokio::test]
async fn who_may_not_use_multi_holds_up_no_pipeline() {
    let redis = Redis::options()
        .user("app on >s ~* +@all -multi")
        .start()
        .await;
    let store = store(&format!("redis://app:s@{}", redis.addr())).await;
    let all = commands(&[
        &["SET", "k", "1"],
        &["BLPOP", "none", "0"],
        &["GET", "k"],
        &["BLPOP", "none", "0"],
        &["INCR", "k"],
    ]);
    for value in ["1", "1"] {
        let replies = store.pipeline(&all).await;
        assert_eq!(replies[0], Ok(Reply::OK));
        assert_eq!(replies[1].as_ref().unwrap_err().code(), Some("NOPERM"));
        assert_eq!(replies[2], Ok(Reply::bulk(value)));
        assert_eq!(replies[3].as_ref().unwrap_err().code(), Some("NOPERM"));
        assert_eq!(replies[4], Ok(Reply::Int(2)));
    }
}

/// Connections that wait in the server.
async fn blocked(redis: &Redis, count: &str) {
    until("calls to wait in the server", || async {
        match redis.info("blocked_clients").await? {
            now if now == count => Ok(()),
            now => Err(now),
        }
    })
    .await;
}

#[tokio::test]
async fn who_waits_holds_up_nobody() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let mut waiting = tokio::task::JoinSet::new();
    for at in 0..40 {
        let store = store.clone();
        waiting.spawn(async move {
            let list = format!("list:{at}");
            let argv = [&b"BLPOP"[..], list.as_bytes(), b"0"];
            store.call(&argv).await.unwrap()
        });
    }
    blocked(&redis, "40").await;
    assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
    for at in 0..40 {
        let list = format!("list:{at}");
        store
            .call(&[b"RPUSH", list.as_bytes(), b"x"])
            .await
            .unwrap();
    }
    while let Some(reply) = waiting.join_next().await {
        let Reply::Array(parts) = reply.unwrap() else {
            panic!("no element");
        };
        assert_eq!(parts[1], Reply::bulk("x"));
    }
}

#[tokio::test]
async fn who_gives_up_waiting_takes_nothing() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let given_up = tokio::spawn({
        let store = store.clone();
        async move { store.call(&[b"BLPOP", b"list", b"0"]).await }
    });
    blocked(&redis, "1").await;
    given_up.abort();
    blocked(&redis, "0").await;
    store.call(&[b"RPUSH", b"list", b"a"]).await.unwrap();
    assert_eq!(store.call(&[b"LLEN", b"list"]).await, Ok(Reply::Int(1)));
    // One whose time is over leaves a connection that is used again.
    let empty = store.call(&[b"BLPOP", b"none", b"0.01"]).await;
    assert_eq!(empty, Ok(Reply::Null));
    let took = store.call(&[b"BLPOP", b"list", b"1"]).await;
    assert_eq!(took, Ok(bulks(&["list", "a"])));
}

#[tokio::test]
async fn scripts_by_name_then_by_text() {
    static ADD: Script = Script::new("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])");
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    for sum in [2, 4] {
        let reply = store.script(&ADD, &[b"k"], &[b"2"]).await;
        assert_eq!(reply, Ok(Reply::Int(sum)));
    }
    redis.call(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(
        store.script(&ADD, &[b"k"], &[b"2"]).await,
        Ok(Reply::Int(6))
    );
}

#[tokio::test]
async fn an_error_that_is_no_text_ends_no_connection() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let store = store(&format!("redis://{}", proxy.addr())).await;
    for script in [
        "return redis.error_reply('\\255\\254')",
        "return redis.status_reply('\\255')",
    ] {
        let reply = store.call(&[b"EVAL", script.as_bytes(), b"0"]).await;
        assert!(matches!(reply, Ok(_) | Err(Error::Command(_))), "{reply:?}");
    }
    let unknown = store.call(&[b"\xff\xfe"]).await.unwrap_err();
    assert_eq!(unknown.code(), Some("ERR"));
    assert_eq!(store.call(&[b"PING"]).await, Ok(Reply::status("PONG")));
    assert_eq!(proxy.counters().accepted, 1);
}

#[tokio::test]
async fn the_servers_clock_is_known() {
    let redis = Redis::start().await;
    let store = store(&redis.url()).await;
    let ours = SystemClock::default().now_micros();
    assert!(store.now().abs_diff(ours) < 100_000);
}

#[tokio::test]
async fn a_store_that_nobody_uses_closes_its_connections() {
    let redis = Redis::start().await;
    let store = connect(&redis.url()).await.unwrap();
    store.transaction(&commands(&[&["PING"]])).await.unwrap();
    drop(store);
    until("the connections to close", || async {
        match redis.info("connected_clients").await?.as_str() {
            "1" => Ok(()),
            many => Err(many.to_owned()),
        }
    })
    .await;
}
