//! The gateway in front of a real Redis, over a network that fails on purpose.

use std::time::Duration;

use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::redis::{Cluster, Redis};
use sangam_rig::wait;
use sangam_server::{Config, Running, Server, StartError};
use sangam_store::{Options, Store, Target};
use serde_json::Value;

use crate::http::{Answer, Http};
use crate::over_store::{answers_forms_of_upstash, asked, event, over, over_with};

const READ: &str = "authorization: Bearer read";

fn target(url: &str) -> Target {
    Target::new(url, None, "--store, SANGAM_STORE", "--store-token").unwrap()
}

/// A store that notices soon what is wrong.
async fn store(url: &str) -> Store {
    let options = Options {
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(500),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        ..Options::default()
    };
    Store::connect(&target(url), options).await.unwrap()
}

async fn over_proxy(proxy: &Proxy) -> (Running, Http) {
    let server = over(store(&format!("redis://{}", proxy.addr())).await).await;
    let http = Http::connect(server.http()).await;
    (server, http)
}

async fn ready(http: &mut Http) -> (u16, Value) {
    let answer = http.ask("GET", "/ready", &[], b"").await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Asks until `/ready` answers with this status and word.
async fn until_ready(http: &mut Http, status: u16, word: &str) -> Value {
    let http = tokio::sync::Mutex::new(http);
    wait::until(word, || async {
        let (found, body) = ready(&mut **http.lock().await).await;
        if found == status && body["status"] == word {
            return Ok(body);
        }
        Err(format!("{found}: {body}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_upstash_are_answered() {
    let redis = Redis::start().await;
    answers_forms_of_upstash(store(&redis.url()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_gateway_answers_forms_of_upstash_itself() {
    let behind = crate::start::start().await;
    let url = format!("http://{}", behind.http());
    let target = Target::new(&url, Some("full"), "--store", "--store-token").unwrap();
    let store = Store::connect(&target, Options::default()).await.unwrap();
    answers_forms_of_upstash(store).await;
    behind.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_of_a_cluster_are_its_own_refusal() {
    let cluster = Cluster::start(3, 0).await;
    let url = format!("redis-cluster://{}", cluster.addrs()[0]);
    let server = over(store(&url).await).await;
    let mut http = Http::connect(server.http()).await;
    until_ready(&mut http, 200, "ready").await;
    assert_eq!(
        http.post(
            "/pipeline",
            r#"[["SET","a","1"],["SET","b","2"],["GET","a"]]"#
        )
        .await
        .text(),
        r#"[{"result":"OK"},{"result":"OK"},{"result":"1"}]"#
    );
    for (path, body) in [
        ("/", r#"["SUNIONSTORE","s","a","b"]"#),
        ("/multi-exec", r#"[["SET","a","3"],["SET","b","3"]]"#),
    ] {
        let refused = http.post(path, body).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(
            refused.text().starts_with(r#"{"error":"CROSSSLOT "#),
            "{}",
            refused.text()
        );
    }
    let text = r"#!lua flags=allow-key-locking\nreturn redis.call('GET', KEYS[1])";
    for (key, value) in [("a", "1"), ("b", "2")] {
        let eval = format!(r#"["EVAL","{text}","1","{key}"]"#);
        assert_eq!(
            asked(&mut http, &eval).await,
            format!(r#"{{"result":"{value}"}}"#)
        );
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_does_not_heal_stops_the_start() {
    let redis = Redis::options().password("right").start().await;
    let mut config = Config::in_memory("full");
    config.store = Some(target(&format!("redis://:wrong@{}", redis.addr())));
    let error = Server::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("`--store, SANGAM_STORE`"), "{text}");
    assert!(!text.contains("wrong@") && !text.contains('\n'), "{text}");
    config.store = Some(target(&redis.url()));
    let server = Server::start(config).await.unwrap();
    let mut http = Http::connect(server.http()).await;
    assert_eq!(
        asked(&mut http, r#"["PING"]"#).await,
        r#"{"result":"PONG"}"#
    );
    server.shutdown().await;
}

fn calls(stats: &str, command: &str) -> String {
    let line = stats
        .lines()
        .find(|line| line.starts_with(&format!("cmdstat_{command}:")));
    let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
    calls.unwrap_or("0").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_lock_keys_go_by_the_clients_name() {
    let mut redis = Redis::start().await;
    let server = over(store(&redis.url()).await).await;
    let mut http = Http::connect(server.http()).await;
    let text = r"#!lua flags=allow-key-locking\nreturn redis.call('INCR', KEYS[1])";
    // Of the text with its line end.
    let sha1 = "ed48ce3d36dd2ba1a9c9d46b3b6a31d8e3c14ae4";
    let loaded = asked(&mut http, &format!(r#"["SCRIPT","LOAD","{text}"]"#)).await;
    let sha1 = loaded
        .strip_prefix(r#"{"result":""#)
        .and_then(|rest| rest.strip_suffix(r#""}"#))
        .unwrap_or(sha1)
        .to_owned();
    let by_name = format!(r#"["EVALSHA","{sha1}","1","n"]"#);
    assert_eq!(
        asked(
            &mut http,
            &format!(r#"["SCRIPT","EXISTS","{sha1}","{}"]"#, "0".repeat(40))
        )
        .await,
        r#"{"result":[1,0]}"#
    );
    assert_eq!(asked(&mut http, &by_name).await, r#"{"result":1}"#);
    assert_eq!(
        asked(&mut http, &format!(r#"["EVAL","{text}","1","n"]"#)).await,
        r#"{"result":2}"#
    );
    let stats = redis.call(&["INFO", "commandstats"]).await.text();
    assert_eq!(calls(&stats, "evalsha"), "1", "{stats}");
    assert_eq!(calls(&stats, "eval"), "1", "{stats}");

    // The server forgets; the gateway does not, wherever the script stands.
    redis.call(&["SCRIPT", "FLUSH"]).await;
    let pipeline = format!(r#"[["SET","a","1"],{by_name},["GET","a"]]"#);
    assert_eq!(
        http.post("/pipeline", &pipeline).await.text(),
        r#"[{"result":"OK"},{"result":3},{"result":"1"}]"#
    );
    redis.kill();
    redis.restart().await;
    until_ready(&mut http, 200, "ready").await;
    assert_eq!(asked(&mut http, &by_name).await, r#"{"result":1}"#);
    redis.call(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(
        http.post("/multi-exec", &pipeline).await.text(),
        r#"[{"result":"OK"},{"result":2},{"result":"1"}]"#
    );

    // It forgets what it is told to forget.
    asked(&mut http, r#"["SCRIPT","FLUSH"]"#).await;
    assert_eq!(
        asked(&mut http, &by_name).await,
        r#"{"error":"NOSCRIPT No matching script. Please use EVAL."}"#
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_does_not_know_is_said_plainly() {
    let redis = Redis::start().await;
    let server = over(store(&redis.url()).await).await;
    let mut http = Http::connect(server.http()).await;
    let unknown = "ERR Command is not available: 'HEXPIRE'. The server behind this gateway does \
                   not know it";
    let hexpire = r#"["HEXPIRE","h","10","FIELDS","1","f"]"#;
    let single = http.post("/", hexpire).await;
    assert_eq!(
        (single.status, single.text()),
        (400, &*format!(r#"{{"error":"{unknown}"}}"#))
    );
    assert_eq!(
        http.post("/pipeline", &format!("[{hexpire}]")).await.text(),
        format!(r#"[{{"error":"{unknown}"}}]"#)
    );
    let unit = http
        .post("/multi-exec", &format!(r#"[["SET","a","b"],{hexpire}]"#))
        .await;
    assert_eq!(
        (unit.status, unit.text()),
        (400, &*format!(r#"{{"error":"{unknown}"}}"#))
    );
    assert_eq!(
        asked(&mut http, r#"["GET","a"]"#).await,
        r#"{"result":null}"#
    );
    // An error while it runs is the command's own.
    assert_eq!(
        http.post("/multi-exec", r#"[["SET","a","b"],["INCR","a"]]"#)
            .await
            .text(),
        r#"[{"result":"OK"},{"error":"ERR value is not an integer or out of range"}]"#
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_do_not_show_what_opens_the_store() {
    let redis = Redis::options().password("opensesame").start().await;
    redis
        .call(&["CONFIG", "SET", "masterauth", "opensesame"])
        .await;
    redis
        .call(&["CONFIG", "SET", "masteruser", "opensesame"])
        .await;
    let server = over(store(&redis.url()).await).await;
    let mut http = Http::connect(server.http()).await;
    for names in [
        r#""requirepass""#,
        r#""RequirePass""#,
        r#""masterauth","masteruser""#,
        r#""*pass*""#,
    ] {
        let get = format!(r#"["CONFIG","GET",{names}]"#);
        assert_eq!(asked(&mut http, &get).await, r#"{"result":[]}"#);
    }
    let all = asked(&mut http, r#"["config","get","*"]"#).await;
    assert!(
        all.contains(r#""maxmemory-policy","noeviction""#) && !all.contains("opensesame"),
        "{all}"
    );
    let get = r#"["CONFIG","GET","requirepass","port","master*"]"#;
    let port = format!(r#"["port","{}"]"#, redis.addr().port());
    for path in ["/pipeline", "/multi-exec"] {
        assert_eq!(
            http.post(path, &format!("[{get}]")).await.text(),
            format!(r#"[{{"result":{port}}}]"#),
            "{path}"
        );
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_strict_dialect_shows_settings_and_commands_as_the_engine_does() {
    let redis = Redis::start().await;
    let server = over_with(store(&redis.url()).await, |config| {
        config.strict_upstash = true;
    })
    .await;
    let mut http = Http::connect(server.http()).await;
    let unknown = "ERR Unknown option or number of arguments for CONFIG SET - ";
    for (command, answer) in [
        (r#"["COMMAND"]"#, r#"{"result":[]}"#.to_owned()),
        (
            r#"["CONFIG","GET","maxmemory"]"#,
            r#"{"result":[]}"#.to_owned(),
        ),
        (
            r#"["CONFIG","SET","notify-keyspace-events","KEA"]"#,
            r#"{"result":"OK"}"#.to_owned(),
        ),
        (
            r#"["CONFIG","GET","*"]"#,
            r#"{"result":["notify-keyspace-events","AKE"]}"#.to_owned(),
        ),
        (
            r#"["CONFIG","SET","notify-keyspace-events","","maxmemory","1"]"#,
            format!(r#"{{"error":"{unknown}'maxmemory'"}}"#),
        ),
        (
            r#"["CONFIG","GET","notify-keyspace-events"]"#,
            r#"{"result":["notify-keyspace-events","AKE"]}"#.to_owned(),
        ),
    ] {
        assert_eq!(asked(&mut http, command).await, answer, "{command}");
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_databases_of_the_server_are_let_be() {
    let redis = Redis::start().await;
    redis.call(&["SET", "a", "of database 0"]).await;
    let server = over(store(&format!("{}/3", redis.url())).await).await;
    let mut http = Http::connect(server.http()).await;
    asked(&mut http, r#"["SET","a","1"]"#).await;
    let range = r#"{"error":"ERR DB index is out of range"}"#;
    for (command, answer) in [
        (r#"["COPY","a","b","DB","2"]"#, range),
        (r#"["COPY","a","b","REPLACE","db","3"]"#, range),
        (r#"["MOVE","a","2"]"#, range),
        (
            r#"["MOVE","a","0"]"#,
            r#"{"error":"ERR source and destination objects are the same"}"#,
        ),
        (r#"["COPY","a","b","DB","0","REPLACE"]"#, r#"{"result":1}"#),
        (r#"["GET","b"]"#, r#"{"result":"1"}"#),
        (r#"["FLUSHALL","ASYNC"]"#, r#"{"result":"OK"}"#),
        (r#"["DBSIZE"]"#, r#"{"result":0}"#),
    ] {
        assert_eq!(asked(&mut http, command).await, answer, "{command}");
    }
    for command in [r#"["SWAPDB","0","1"]"#, r#"["SELECT","0"]"#] {
        assert_eq!(http.post("/", command).await.status, 400, "{command}");
    }
    let unit = http
        .post(
            "/multi-exec",
            r#"[["SET","a","1"],["COPY","a","b","DB","2"]]"#,
        )
        .await;
    assert_eq!((unit.status, unit.text()), (400, range));
    assert_eq!(
        http.post("/pipeline", r#"[["FLUSHALL"]]"#).await.status,
        200
    );
    assert_eq!(redis.call(&["DBSIZE"]).await.int(), Some(1));
    assert_eq!(redis.call(&["GET", "a"]).await.text(), "of database 0");
    server.shutdown().await;
}

fn unavailable(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer
            .text()
            .starts_with(r#"{"error":"ERR store unavailable: "#),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.header("upstash-sync-token").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_told_everywhere_and_found_again() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    proxy.stop_listening().await;
    // It starts all the same.
    let (server, mut http) = over_proxy(&proxy).await;
    unavailable(&http.post("/", r#"["SET","a","1"]"#).await);
    unavailable(&http.post("/multi-exec", r#"[["SET","a","1"]]"#).await);
    unavailable(&http.post("/subscribe/a", "").await);
    let items = http.post("/pipeline", r#"[["GET","a"],["NOPE"]]"#).await;
    assert_eq!(items.status, 200);
    let items: Value = serde_json::from_slice(&items.body).unwrap();
    let error = items[0]["error"].as_str().unwrap();
    assert!(error.starts_with("ERR store unavailable: "), "{error}");
    let error = items[1]["error"].as_str().unwrap();
    assert!(error.starts_with("ERR Command is not available"), "{error}");

    let (status, body) = ready(&mut http).await;
    assert_eq!(
        (status, &body["status"]),
        (503, &"not ready".into()),
        "{body}"
    );
    assert_eq!(body["checks"]["redis"], false);
    assert_eq!(body["store"]["status"], "down");
    assert_eq!(body["store"]["place"], format!("redis://{}", proxy.addr()));
    assert!(!body["reason"].as_str().unwrap().is_empty(), "{body}");
    assert!(body["since"].as_u64().unwrap() <= body["timestamp"].as_u64().unwrap());
    let page = http.ask("GET", "/metrics", &[READ], b"").await;
    assert!(
        page.text()
            .contains("sangam_store_state{status=\"down\"} 1\n"),
        "{}",
        page.text()
    );

    proxy.listen_again().await;
    let body = until_ready(&mut http, 200, "ready").await;
    assert_eq!(
        (&body["reason"], &body["store"]["status"]),
        (&Value::Null, &"up".into())
    );
    assert_eq!(
        asked(&mut http, r#"["SET","a","1"]"#).await,
        r#"{"result":"OK"}"#
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_nobody_knows_is_told_apart() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let (server, mut http) = over_proxy(&proxy).await;
    assert_eq!(asked(&mut http, r#"["INCR","n"]"#).await, r#"{"result":1}"#);
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    let lost = http.post("/", r#"["INCR","n"]"#).await;
    assert_eq!((lost.status, lost.header("retry-after")), (500, None));
    assert!(
        lost.text()
            .starts_with(r#"{"error":"ERR outcome unknown: the command may have been applied: "#),
        "{}",
        lost.text()
    );
    proxy.clear();
    until_ready(&mut http, 200, "ready").await;
    // A read is asked again.
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    assert_eq!(
        asked(&mut http, r#"["GET","n"]"#).await,
        r#"{"result":"2"}"#
    );
    proxy.clear();
    until_ready(&mut http, 200, "ready").await;
    proxy.fault(Fault::CutAfterReply(0), Whom::Times(1));
    let items = http
        .post("/pipeline", r#"[["INCR","n"],["GET","n"]]"#)
        .await;
    assert_eq!(items.status, 200);
    let items: Value = serde_json::from_slice(&items.body).unwrap();
    let error = items[0]["error"].as_str().unwrap();
    assert!(error.starts_with("ERR outcome unknown: "), "{error}");
    let error = items[1]["error"].as_str().unwrap();
    assert!(error.starts_with("ERR store unavailable: "), "{error}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_slow_is_degraded_and_a_silent_one_not_ready() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let server = over(
        Store::connect(
            &target(&format!("redis://{}", proxy.addr())),
            Options::default(),
        )
        .await
        .unwrap(),
    )
    .await;
    let mut http = Http::connect(server.http()).await;
    until_ready(&mut http, 200, "ready").await;
    let late = Duration::from_millis(300);
    proxy.fault(
        Fault::Delay {
            direction: Direction::Reply,
            least: late,
            most: late,
        },
        Whom::All,
    );
    let body = until_ready(&mut http, 200, "degraded").await;
    assert_eq!(
        (&body["checks"]["redis"], &body["store"]["status"]),
        (&true.into(), &"slow".into())
    );
    assert!(body["reason"].as_str().unwrap().contains("ms"), "{body}");
    assert!(body["since"].is_u64(), "{body}");
    proxy.clear();
    until_ready(&mut http, 200, "ready").await;
    proxy.fault(Fault::Stall, Whom::All);
    let body = until_ready(&mut http, 503, "not ready").await;
    assert_eq!(
        (&body["checks"]["redis"], &body["store"]["status"]),
        (&false.into(), &"down".into())
    );
    proxy.clear();
    until_ready(&mut http, 200, "ready").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_where_messages_may_be_missing_and_goes_on() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.addr());
    let (server, mut http) = over_proxy(&proxy).await;
    let mut events = Http::connect(server.http()).await;
    events.send("POST", "/subscribe/a", &[READ], b"").await;
    assert_eq!(events.head().await.status, 200);
    assert_eq!(event(&mut events).await, "data: subscribe,a,1");
    asked(&mut http, r#"["PUBLISH","a","one"]"#).await;
    assert_eq!(event(&mut events).await, "data: message,a,one");
    proxy.cut(Cut::Reset);
    let gap = event(&mut events).await;
    assert!(
        gap.starts_with(": gap: the connection to the store broke"),
        "{gap}"
    );
    assert_eq!(event(&mut events).await, "data: subscribe,a,1");
    until_ready(&mut http, 200, "ready").await;
    redis.call(&["PUBLISH", "a", "two"]).await;
    assert_eq!(event(&mut events).await, "data: message,a,two");
    server.shutdown().await;
}
