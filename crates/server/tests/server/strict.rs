//! `--strict-upstash` over HTTP: what Upstash refuses is refused on every path
//! of REST, and RESP knows nothing of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Http;
use crate::resp::Resp;
use crate::start::start_with;

const FULL: &str = "authorization: Bearer full";
const READ: &str = "authorization: Bearer read";

fn unavailable(name: &str) -> String {
    format!(
        "ERR Command is not available: '{name}'. See \
         https://upstash.com/docs/redis/overall/rediscompatibility for details"
    )
}

/// The answer to a body; of an error, its text.
async fn ask(http: &mut Http, path: &str, bearer: &str, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let answer = http.ask("POST", path, &[bearer], body.as_bytes()).await;
    let value: Value = serde_json::from_str(answer.text()).unwrap();
    match value.get("error").or_else(|| value.get("result")) {
        Some(inner) => (answer.status, inner.clone()),
        None => (answer.status, value),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_refuses_what_upstash_refuses() {
    let server = start_with(|config| config.strict_upstash = true).await;
    assert!(server.is_strict_upstash());
    let mut http = Http::connect(server.http()).await;
    let long = "k".repeat(32 * 1024 + 1);
    let undeclared = "return redis.call('SET', ARGV[1], 'v')";
    for (bearer, command, status, expected) in [
        (FULL, json!(["SET", "k", "v"]), 200, json!("OK")),
        (
            FULL,
            json!(["OBJECT", "ENCODING", "k"]),
            400,
            json!(unavailable("OBJECT")),
        ),
        (
            FULL,
            json!(["slowlog", "get"]),
            400,
            json!(unavailable("SLOWLOG")),
        ),
        (FULL, json!(["SORT", "k"]), 400, json!(unavailable("SORT"))),
        (
            FULL,
            json!(["MEMORY", "STATS"]),
            400,
            json!(unavailable("MEMORY STATS")),
        ),
        (
            FULL,
            json!(["CLIENT", "KILL", "ID", "1"]),
            400,
            json!("ERR Command \"CLIENT\" is not allowed in REST or it has a special context path"),
        ),
        (
            FULL,
            json!(["CLIENT", "SETINFO", "LIB-NAME", "x"]),
            200,
            json!("OK"),
        ),
        (FULL, json!(["CONFIG", "GET", "maxmemory"]), 200, json!([])),
        (
            FULL,
            json!(["SET", long, "v"]),
            400,
            json!("ERR max key size exceeded. Limit: 32768 bytes, Actual: 32769 bytes"),
        ),
        (
            FULL,
            json!(["EVAL", undeclared, 1, "a", "a"]),
            200,
            json!("OK"),
        ),
        (
            READ,
            json!(["SCAN", 0]),
            400,
            json!(
                "NOPERM this user has no permissions to run the 'scan' command or its subcommand"
            ),
        ),
        (READ, json!(["GET", "k"]), 200, json!("v")),
    ] {
        let answer = ask(&mut http, "/", bearer, &command).await;
        assert_eq!(answer, (status, expected), "{command}");
    }
    let script = json!(["EVAL", undeclared, 1, "a", "other"]);
    let (status, error) = ask(&mut http, "/", FULL, &script).await;
    assert_eq!(status, 400);
    assert!(
        error
            .as_str()
            .unwrap()
            .starts_with("ERR Keys that are not declared")
    );

    let path = http.ask("GET", "/object/encoding/k", &[FULL], b"").await;
    assert_eq!(path.status, 400);
    assert!(path.text().contains("is not available: 'OBJECT'"));
    let batch = json!([["SET", "k", "w"], ["SLOWLOG", "LEN"], ["GET", "k"]]);
    let each = json!([{"result": "OK"}, {"error": unavailable("SLOWLOG")}, {"result": "w"}]);
    assert_eq!(ask(&mut http, "/pipeline", FULL, &batch).await, (200, each));
    // A transaction with one of them does nothing.
    let unit = json!([["SET", "k", "x"], ["SLOWLOG", "LEN"]]);
    let refused = (400, json!(unavailable("SLOWLOG")));
    assert_eq!(ask(&mut http, "/multi-exec", FULL, &unit).await, refused);
    assert_eq!(
        ask(&mut http, "/", FULL, &json!(["GET", "k"])).await,
        (200, json!("w"))
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_resp_stay_as_they_are() {
    let server = start_with(|config| config.strict_upstash = true).await;
    let mut resp = Resp::authenticated(server.resp()).await;
    resp.check(b"SET k v\r\n", b"+OK\r\n").await;
    let encoding = b"$6\r\nembstr\r\n";
    resp.check(b"OBJECT ENCODING k\r\n", encoding).await;
    let script = b"EVAL \"return redis.call('STRLEN', 'k')\" 0\r\n";
    resp.check(script, b":1\r\n").await;

    let mut events = Http::connect(server.http()).await;
    events.send("POST", "/subscribe/news", &[FULL], b"[]").await;
    assert_eq!(events.head().await.status, 200);
    let told = async {
        while events.line().await != "data: subscribe,news,1" {}
        let mut http = Http::connect(server.http()).await;
        let publish = ask(&mut http, "/", FULL, &json!(["PUBLISH", "news", "hello"])).await;
        assert_eq!(publish, (200, json!(1)));
        while events.line().await != "data: message,news,hello" {}
    };
    tokio::time::timeout(Duration::from_secs(10), told)
        .await
        .unwrap();
    drop(events);
    server.shutdown().await;
}
