//! A cluster: routing, redirections, fail-over.

use std::collections::HashSet;
use std::time::Duration;

use sangam_rig::proxy::{Fault, Whom};
use sangam_rig::redis::{Cluster, Redis};
use sangam_rig::wait::until;
use sangam_store::{Error, Event, Reply, Status, Store, Topic, Why};

use crate::{commands, connect, store};

fn url(cluster: &Cluster) -> String {
    let hosts: Vec<_> = cluster.addrs().iter().map(ToString::to_string).collect();
    format!("redis-cluster://{}", hosts.join(","))
}

/// Keys of which some are on each of three masters.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

async fn on_all(cluster: &Cluster) {
    let mut masters = HashSet::new();
    for key in KEYS {
        masters.insert(cluster.holders(key).await[0]);
    }
    assert_eq!(masters.len(), 3, "the keys are not on all masters");
}

async fn call(store: &Store, text: &str) -> Result<Reply, Error> {
    let argv: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
    store.call(&argv).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_units_and_pipelines() {
    let cluster = Cluster::start(3, 0).await;
    on_all(&cluster).await;
    let store = store(&url(&cluster)).await;
    for key in KEYS {
        assert_eq!(
            call(&store, &format!("SET {key} {key}")).await,
            Ok(Reply::OK)
        );
    }
    for key in KEYS {
        assert_eq!(
            call(&store, &format!("GET {key}")).await,
            Ok(Reply::bulk(key))
        );
    }

    // Several slots are refused as Redis refuses them; one is not.
    for text in ["MGET a b", "DEL a b", "RENAME a b"] {
        let refused = call(&store, text).await.unwrap_err();
        assert_eq!(refused.code(), Some("CROSSSLOT"), "{text}");
    }
    assert_eq!(call(&store, "MSET {a}1 x {a}2 y").await, Ok(Reply::OK));

    // The whole database.
    assert_eq!(call(&store, "DBSIZE").await, Ok(Reply::Int(8)));
    let Ok(Reply::Array(keys)) = call(&store, "KEYS ?").await else {
        panic!("no keys");
    };
    assert_eq!(keys.len(), 6);
    let mut cursor = "0".to_owned();
    let mut found = HashSet::new();
    loop {
        let Ok(Reply::Array(parts)) = call(&store, &format!("SCAN {cursor} COUNT 1")).await else {
            panic!("no scan");
        };
        let [Reply::Bulk(next), Reply::Array(keys)] = parts.as_slice() else {
            panic!("{parts:?}");
        };
        for key in keys {
            let Reply::Bulk(key) = key else {
                panic!("{key:?}");
            };
            found.insert(key.clone());
        }
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 8);
    let wrong = call(&store, "SCAN x").await.unwrap_err();
    assert_eq!(wrong.to_string(), "ERR invalid cursor");

    // Scripts are known to all masters.
    let sha = store
        .call(&[b"SCRIPT", b"LOAD", b"return redis.call('GET', KEYS[1])"])
        .await;
    let Ok(Reply::Bulk(sha)) = sha else {
        panic!("{sha:?}");
    };
    for key in KEYS {
        let reply = store.call(&[b"EVALSHA", &sha, b"1", key.as_bytes()]).await;
        assert_eq!(reply, Ok(Reply::bulk(key)));
    }
    cluster.nodes()[1].call(&["SCRIPT", "FLUSH"]).await;
    let known = store.call(&[b"SCRIPT", b"EXISTS", &sha]).await;
    assert_eq!(known, Ok(Reply::Array(vec![Reply::Int(0)])));

    // A unit on its slot's master.
    let unit = commands(&[&["INCR", "{b}n"], &["GET", "b"], &["PING"]]);
    let replies = store.transaction(&unit).await.unwrap();
    assert_eq!(replies[..2], [Ok(Reply::Int(1)), Ok(Reply::bulk("b"))]);
    let unit = commands(&[&["SET", "a", "x"], &["SET", "b", "x"]]);
    let refused = store.transaction(&unit).await.unwrap_err();
    assert_eq!(refused.code(), Some("CROSSSLOT"));
    assert_eq!(call(&store, "GET a").await, Ok(Reply::bulk("a")));

    // A pipeline in order, however it is shared out.
    let all = commands(&[
        &["APPEND", "a", "1"],
        &["APPEND", "b", "1"],
        &["MGET", "a", "b"],
        &["APPEND", "a", "2"],
        &["DBSIZE"],
        &["GET", "a"],
        &["LPUSH", "c", "x"],
        &["PING"],
        &["BLPOP", "nothing", "0"],
        &["GET", "b"],
        &["MULTI"],
    ]);
    let replies = store.pipeline(&all).await;
    assert_eq!(replies[0], Ok(Reply::Int(2)));
    assert_eq!(replies[2].as_ref().unwrap_err().code(), Some("CROSSSLOT"));
    assert_eq!(replies[3], Ok(Reply::Int(3)));
    assert_eq!(replies[4], Ok(Reply::Int(9)));
    assert_eq!(replies[5], Ok(Reply::bulk("a12")));
    assert_eq!(replies[6].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    assert_eq!(replies[7], Ok(Reply::status("PONG")));
    assert_eq!(replies[8], Ok(Reply::Null));
    assert_eq!(replies[9], Ok(Reply::bulk("b1")));
    assert!(matches!(replies[10], Err(Error::Unsupported(_))));

    // What waits, on its slot's master.
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { call(&store, "BLPOP list:x 5").await }
    });
    call(&store, "RPUSH list:x 1").await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Ok(Reply::Array(_))));

    // Messages reach every node.
    let mut news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    for _ in 0..3 {
        call(&store, "PUBLISH news x").await.unwrap();
        assert!(matches!(news.next().await, Some(Event::Message(_))));
    }

    assert_eq!(call(&store, "FLUSHALL").await, Ok(Reply::OK));
    assert_eq!(call(&store, "DBSIZE").await, Ok(Reply::Int(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_master_refuses_and_others_ran_is_indeterminate() {
    let cluster = Cluster::start(3, 0).await;
    on_all(&cluster).await;
    let store = store(&url(&cluster)).await;
    for key in KEYS {
        call(&store, &format!("SET {key} 1")).await.unwrap();
    }
    let deny = ["ACL", "SETUSER", "default", "-flushall", "-dbsize"];
    cluster.nodes()[1].call(&deny).await;
    let torn = call(&store, "FLUSHALL").await.unwrap_err();
    assert!(
        matches!(&torn, Error::Indeterminate(Why::Refusing(text)) if text.starts_with("NOPERM")),
        "{torn:?}"
    );
    // A read changed nothing anywhere.
    let refused = call(&store, "DBSIZE").await.unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"));
    for node in cluster.nodes() {
        node.call(&deny).await;
    }
    let refused = call(&store, "FLUSHALL").await.unwrap_err();
    assert_eq!(refused.code(), Some("NOPERM"), "nobody ran it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirection_that_a_script_makes_up_is_not_followed() {
    let cluster = Cluster::start(3, 0).await;
    let store = store(&url(&cluster)).await;
    let node = cluster.holders("a").await[0];
    let slot = cluster.nodes()[node]
        .call(&["CLUSTER", "KEYSLOT", "a"])
        .await;
    let slot = slot.int().unwrap();
    // Who would be logged in at: a server that no cluster knows.
    let stranger = sangam_rig::proxy::Proxy::start(cluster.nodes()[node].addr());
    let other = cluster.nodes()[(node + 1) % 3].addr();
    let script = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";
    let mut runs = 0;
    for to in [stranger.addr(), cluster.nodes()[node].addr(), other] {
        for kind in ["MOVED", "ASK"] {
            let text = format!("{kind} {slot} {to}");
            let argv = ["EVAL", script, "1", "a", &text];
            let refused = store.call(&argv.map(str::as_bytes)).await.unwrap_err();
            runs += 1;
            assert_eq!(refused.to_string(), text);
            let piped = store.pipeline(&commands(&[&argv])).await;
            runs += 1;
            assert_eq!(piped[0].as_ref().unwrap_err().to_string(), text);
            assert_eq!(
                call(&store, "GET a").await,
                Ok(Reply::bulk(runs.to_string())),
                "{text}"
            );
        }
    }
    assert_eq!(stranger.counters().accepted, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_over_all_masters() {
    let cluster = Cluster::start(3, 0).await;
    let store = store(&url(&cluster)).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let store = store.clone();
        callers.spawn(async move {
            for turn in 0..20 {
                let (key, value) = (format!("k{caller}:{turn}"), turn.to_string());
                let set = [&b"SET"[..], key.as_bytes(), value.as_bytes()];
                assert_eq!(store.call(&set).await, Ok(Reply::OK));
                let reply = store.call(&[b"GET", key.as_bytes()]).await;
                assert_eq!(reply, Ok(Reply::bulk(&value)));
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start(3, 0).await;
    let store = store(&url(&cluster)).await;
    call(&store, "SET {a}here 1").await.unwrap();
    let from = cluster.holders("a").await[0];
    let to = (from + 1) % 3;
    let slot = cluster.nodes()[from]
        .call(&["CLUSTER", "KEYSLOT", "a"])
        .await;
    let slot = slot.int().unwrap().to_string();
    let id = async |node: usize| {
        cluster.nodes()[node]
            .call(&["CLUSTER", "MYID"])
            .await
            .text()
    };
    let (from_id, to_id) = (id(from).await, id(to).await);
    let set = async |node: usize, how: &str, id: &str| {
        cluster.nodes()[node]
            .call(&["CLUSTER", "SETSLOT", &slot, how, id])
            .await;
    };
    set(to, "IMPORTING", &from_id).await;
    set(from, "MIGRATING", &to_id).await;

    // While it moves: what is there is served there, what is not is asked for at
    // its new place.
    assert_eq!(call(&store, "GET {a}here").await, Ok(Reply::bulk("1")));
    assert_eq!(call(&store, "SET {a}new 2").await, Ok(Reply::OK));
    assert_eq!(call(&store, "GET {a}new").await, Ok(Reply::bulk("2")));
    let both = commands(&[&["GET", "{a}here"], &["GET", "{a}new"], &["INCR", "{a}new"]]);
    let replies = store.pipeline(&both).await;
    let expected = [
        Ok(Reply::bulk("1")),
        Ok(Reply::bulk("2")),
        Ok(Reply::Int(3)),
    ];
    assert_eq!(replies, expected);
    call(&store, "RPUSH {a}list x").await.unwrap();
    let took = call(&store, "BLPOP {a}list 1").await.unwrap();
    assert!(matches!(took, Reply::Array(_)), "{took:?}");
    let script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    let evals = async |key: &str| {
        let argv = ["EVAL", script, "1", key, "1"];
        let alone = store.call(&argv.map(str::as_bytes)).await.unwrap();
        let piped = store.pipeline(&commands(&[&argv, &argv])).await;
        (alone, piped)
    };
    let counted = |from: i64| {
        let piped = vec![Ok(Reply::Int(from + 1)), Ok(Reply::Int(from + 2))];
        (Reply::Int(from), piped)
    };
    assert_eq!(evals("{a}script").await, counted(1));
    // What needs both at once has to wait.
    let torn = call(&store, "MGET {a}here {a}new").await.unwrap_err();
    assert!(
        matches!(&torn, Error::Unavailable(Why::Refusing(text)) if text.starts_with("TRYAGAIN")),
        "{torn}"
    );
    let unit = commands(&[&["INCR", "{a}new"]]);
    let waits = store.transaction(&unit).await.unwrap_err();
    assert!(waits.had_no_effect(), "{waits}");

    // Moved.
    let port = cluster.nodes()[to].addr().port().to_string();
    cluster.nodes()[from]
        .call(&["MIGRATE", "127.0.0.1", &port, "{a}here", "0", "1000"])
        .await;
    for node in [to, from] {
        set(node, "NODE", &to_id).await;
    }
    let piped = commands(&[
        &["EVAL", script, "1", "{a}script", "1"],
        &["EVAL", script, "1", "{a}script", "1"],
    ]);
    let piped = store.pipeline(&piped).await;
    assert_eq!(piped, [Ok(Reply::Int(4)), Ok(Reply::Int(5))]);
    assert_eq!(evals("{a}script").await, counted(6));
    assert_eq!(store.transaction(&unit).await.unwrap(), [Ok(Reply::Int(4))]);
    assert_eq!(
        call(&store, "MGET {a}here {a}new").await.unwrap(),
        Reply::Array(vec![Reply::bulk("1"), Reply::bulk("4")])
    );
    assert_eq!(store.metrics().indeterminate, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_over_loses_nothing() {
    let cluster = Cluster::start(3, 1).await;
    let store = store(&url(&cluster)).await;
    call(&store, "SET {a}n 0").await.unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            let mut applied = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match call(&store, "INCR {a}n").await {
                    Ok(_) => applied += 1,
                    Err(error) => assert!(error.had_no_effect(), "{error}"),
                }
            }
            applied
        }
    });
    let (old, new) = cluster.switch_over("a").await;
    assert_ne!(old, new);
    // Writes go on at the new master.
    let reads = async || {
        let now = cluster.nodes()[new].call(&["GET", "{a}n"]).await;
        now.text().parse::<u64>().unwrap()
    };
    let seen = reads().await;
    until("writes to reach the new master", || async {
        let now = reads().await;
        (now > seen + 10)
            .then_some(())
            .ok_or(format!("{now} after {seen}"))
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let applied = writer.await.unwrap();
    assert_eq!(
        call(&store, "GET {a}n").await,
        Ok(Reply::bulk(applied.to_string()))
    );
    // Units and waiting calls find it as well.
    let replies = store
        .transaction(&commands(&[&["INCR", "{a}n"]]))
        .await
        .unwrap();
    assert!(replies[0].is_ok());
    assert_eq!(call(&store, "BLPOP {a}none 0.01").await, Ok(Reply::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_is_replaced() {
    let mut cluster = Cluster::start(3, 1).await;
    let store = store(&url(&cluster)).await;
    for key in KEYS {
        call(&store, &format!("SET {key} 1")).await.unwrap();
    }
    let news = store.subscribe(Topic::Channel, &[b"news"]).await.unwrap();
    let news = tokio::sync::Mutex::new(news);
    let (dead, _) = cluster.fail_over("a").await;
    for key in KEYS {
        until("writes to work again", || async {
            match call(&store, &format!("SET {key} 2")).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }
    until("messages to come again", || async {
        call(&store, "PUBLISH news x")
            .await
            .map_err(|error| error.to_string())?;
        let mut news = news.lock().await;
        let next = tokio::time::timeout(Duration::from_millis(200), news.next());
        match next.await {
            Ok(Some(Event::Message(_))) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.restart(dead).await;
    assert_eq!(call(&store, "GET a").await, Ok(Reply::bulk("2")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_cannot_be_reached_holds_up_its_slots_only() {
    let cluster = Cluster::behind_proxies(3, 0).await;
    on_all(&cluster).await;
    let store = store(&url(&cluster)).await;
    for key in KEYS {
        call(&store, &format!("SET {key} 1")).await.unwrap();
    }
    let cut_off = cluster.holders("a").await[0];
    let mut others = Vec::new();
    for key in KEYS {
        if cluster.holders(key).await[0] != cut_off {
            others.push(key);
        }
    }
    let proxy = &cluster.proxies()[cut_off];
    proxy.fault(Fault::Refuse, Whom::All);
    proxy.cut(sangam_rig::proxy::Cut::Reset);
    proxy
        .wait_for("the connections to end", |it| it.open == 0)
        .await;
    for key in others {
        assert_eq!(
            call(&store, &format!("GET {key}")).await,
            Ok(Reply::bulk("1"))
        );
    }
    let all = commands(&[&["GET", "a"], &["GET", "b"], &["GET", "c"], &["GET", "d"]]);
    let replies = store.pipeline(&all).await;
    assert!(
        matches!(replies[0], Err(Error::Unavailable(_))),
        "{replies:?}"
    );
    assert!(replies.iter().any(Result::is_ok), "{replies:?}");
    // However often: who is served by the others is served.
    for _ in 0..10 {
        let replies = store.pipeline(&all).await;
        assert!(replies.iter().any(Result::is_ok), "{replies:?}");
        assert_eq!(store.state().status, Status::Up);
    }
    let failed = call(&store, "SET a 2").await.unwrap_err();
    assert!(failed.had_no_effect(), "{failed}");
    proxy.clear();
    until("its slots to be served again", || async {
        call(&store, "SET a 2")
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let single = Redis::start().await;
    let refused = connect(&format!("redis-cluster://{}", single.addr()))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::Setting(text) if text.contains("is no node of a cluster: write redis://")),
        "{refused}"
    );
    let cluster = Cluster::start(3, 0).await;
    let node = cluster.nodes()[0].addr();
    for query in ["", "?protocol=resp2"] {
        let refused = connect(&format!("redis://{node}{query}"))
            .await
            .unwrap_err();
        assert!(
            matches!(&refused, Error::Setting(text) if text.contains("write redis-cluster://")),
            "{refused}"
        );
    }
    // One seed that answers is enough.
    let dead = single.addr();
    drop(single);
    let store = connect(&format!("redis-cluster://{dead},{node}?protocol=resp2"))
        .await
        .unwrap();
    assert_eq!(call(&store, "SET a 1").await, Ok(Reply::OK));
    let store = connect(&format!("redis-cluster://{dead}")).await.unwrap();
    assert_eq!(store.state().status, Status::Down);
    assert!(
        store.state().reason.contains("Connection refused"),
        "{:?}",
        store.state()
    );
}
