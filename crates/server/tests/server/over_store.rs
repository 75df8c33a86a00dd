//! The gateway in front of a store: what every store answers alike.

use sangam_server::{Config, Running, Server};
use sangam_store::Store;

use crate::http::{Answer, Http};

const FULL: &str = "authorization: Bearer full";
const READ: &str = "authorization: Bearer read";

/// A gateway in front of `store`, with the tokens `full` and `read`.
pub(crate) async fn over(store: Store) -> Running {
    over_with(store, |_| {}).await
}

pub(crate) async fn over_with(store: Store, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::in_memory("full");
    config.read_token = Some("read".to_owned());
    change(&mut config);
    Server::start_over(store, config).await.unwrap()
}

/// The body of a command that was answered.
pub(crate) async fn asked(http: &mut Http, command: &str) -> String {
    http.post("/", command).await.text().to_owned()
}

async fn by_reader(http: &mut Http, command: &str) -> Answer {
    http.ask("POST", "/", &[READ], command.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_pipelines_and_transactions_reach_the_store() {
    let store = Store::memory();
    let server = over(store.clone()).await;
    assert!(server.engine().is_none() && server.resp().is_none());
    let mut http = Http::connect(server.http()).await;
    assert_eq!(
        asked(&mut http, r#"["SET","k","v"]"#).await,
        r#"{"result":"OK"}"#
    );
    assert_eq!(store.get(b"k").await, Ok(Some(b"v".to_vec())));
    assert_eq!(http.post("/get/k", "").await.text(), r#"{"result":"v"}"#);
    assert_eq!(
        http.post(
            "/pipeline",
            r#"[["INCR","n"],["LPUSH","k","x"],["NOPE"],["INCR","n"]]"#
        )
        .await
        .text(),
        "[{\"result\":1},{\"error\":\"WRONGTYPE Operation against a key holding the wrong kind \
         of value\"},{\"error\":\"ERR Command is not available: 'NOPE'. See \
         https://upstash.com/docs/redis/overall/rediscompatibility for details\"},{\"result\":2}]"
    );
    assert_eq!(
        http.post(
            "/multi-exec",
            r#"[["INCR","n"],["HSET","h","f","1"],["HGETALL","h"]]"#
        )
        .await
        .text(),
        r#"[{"result":3},{"result":1},{"result":["f","1"]}]"#
    );
    let refused = http.post("/multi-exec", r#"[["INCR","n"],["GET"]]"#).await;
    assert_eq!(
        (refused.status, refused.text()),
        (
            400,
            r#"{"error":"ERR wrong number of arguments for 'get' command"}"#
        )
    );
    assert_eq!(
        asked(&mut http, r#"["GET","n"]"#).await,
        r#"{"result":"3"}"#
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_admitted_by_the_table() {
    let server = over(Store::memory()).await;
    let mut http = Http::connect(server.http()).await;
    for (command, error) in [
        (
            r#"["subscribe","a"]"#,
            "ERR Command \\\"SUBSCRIBE\\\" is not allowed in REST or it has a special context path",
        ),
        (
            r#"["blpop","a","0"]"#,
            "ERR Command \\\"BLPOP\\\" is not allowed in REST or it has a special context path",
        ),
        (
            r#"["get"]"#,
            "ERR wrong number of arguments for 'get' command",
        ),
        (
            r#"["config","nope"]"#,
            "ERR unknown subcommand 'nope'. Try CONFIG HELP.",
        ),
        (
            r#"["evalsha","ffffffffffffffffffffffffffffffffffffffff","0"]"#,
            "NOSCRIPT No matching script. Please use EVAL.",
        ),
    ] {
        let answer = http.post("/", command).await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, &*format!("{{\"error\":\"{error}\"}}")),
            "{command}"
        );
    }
    for (command, status) in [
        (r#"["get","a"]"#, 200),
        (r#"["ping"]"#, 200),
        (r#"["set","a","b"]"#, 400),
        (r#"["scan","0"]"#, 400),
        (r#"["keys","*"]"#, 400),
        (r#"["eval_ro","return 1","0"]"#, 400),
    ] {
        assert_eq!(
            by_reader(&mut http, command).await.status,
            status,
            "{command}"
        );
    }
    assert_eq!(
        by_reader(&mut http, r#"["set","a","b"]"#).await.text(),
        r#"{"error":"NOPERM this user has no permissions to run the 'set' command"}"#
    );
    for wrong in [
        "authorization: Bearer ful",
        "authorization: Bearer fulL",
        "x: y",
    ] {
        assert_eq!(http.ask("GET", "/get/a", &[wrong], b"").await.status, 401);
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_upstash_are_answered() {
    answers_forms_of_upstash(Store::memory()).await;
}

/// What Upstash takes and Redis does not, and shapes that RESP3 has otherwise.
pub(crate) async fn answers_forms_of_upstash(store: Store) {
    let server = over(store).await;
    let mut http = Http::connect(server.http()).await;
    asked(&mut http, r#"["ZADD","z","1","a","2","b","3","c","4","d"]"#).await;
    asked(&mut http, r#"["SET","{s}","v"]"#).await;
    for (command, result) in [
        (r#"["ZRANGE","z","0","-1","LIMIT","1","2"]"#, r#"["b","c"]"#),
        (r#"["ZRANGE","z","1","2","LIMIT","1","9"]"#, r#"["c"]"#),
        (r#"["ZRANGE","z","0","-1","LIMIT","0","0"]"#, "[]"),
        (r#"["ZRANGE","z","0","-1","LIMIT","-1","2"]"#, "[]"),
        (
            r#"["ZRANGE","z","-3","-1","REV","LIMIT","1","1","WITHSCORES"]"#,
            r#"["b","2"]"#,
        ),
        (
            r#"["ZRANGE","z","0","-2","LIMIT","1","-1"]"#,
            r#"["b","c"]"#,
        ),
        (r#"["ZRANGESTORE","y","z","0","-1","LIMIT","2","1"]"#, "1"),
        (r#"["ZRANGE","y","0","-1"]"#, r#"["c"]"#),
        (
            r#"["ZRANGE","z","1","4","BYSCORE","LIMIT","1","1"]"#,
            r#"["b"]"#,
        ),
        (r#"["COPY","z","z"]"#, "0"),
        (r#"["UNLINK"]"#, "0"),
        (r#"["CLIENT","SETINFO","LIB-NAME","x"]"#, r#""OK""#),
        (
            r#"["SCAN","0","MATCH","{s}","WITHTYPE","COUNT","100"]"#,
            r#"["0",["{s}","string"]]"#,
        ),
        (r#"["XREAD","BLOCK","0","STREAMS","x","0"]"#, "null"),
        (r#"["XADD","x","1-1","f","1"]"#, r#""1-1""#),
        (
            r#"["XADD","x","NOMKSTREAM","MAXLEN","~","1","1-2","~","2"]"#,
            r#""1-2""#,
        ),
        (
            r#"["XREAD","COUNT","9","BLOCK","1000","STREAMS","x","0"]"#,
            r#"[["x",[["1-2",["~","2"]]]]]"#,
        ),
        (r#"["XTRIM","x","MAXLEN","~","0"]"#, "1"),
        (r#"["HRANDFIELD","none","2","WITHVALUES"]"#, "[]"),
        (
            r#"["ZRANGE","z","0","1","WITHSCORES"]"#,
            r#"["a","1","b","2"]"#,
        ),
        (r#"["ZPOPMIN","z","2"]"#, r#"["a","1","b","2"]"#),
        (r#"["ZINCRBY","z","0.2","c"]"#, r#""3.2000000000000002""#),
        (r#"["ZSCORE","z","none"]"#, "null"),
        (r#"["HSET","h","f","1"]"#, "1"),
        (r#"["HGETALL","h"]"#, r#"["f","1"]"#),
        (r#"["HRANDFIELD","h","1","WITHVALUES"]"#, r#"["f","1"]"#),
        (r#"["INCRBYFLOAT","i","0.1"]"#, r#""0.1""#),
        (
            r#"["EVAL","return {1,'a',{'b'},false}","0"]"#,
            r#"[1,"a",["b"],null]"#,
        ),
    ] {
        assert_eq!(
            asked(&mut http, command).await,
            format!("{{\"result\":{result}}}"),
            "{command}"
        );
    }
    for (command, error) in [
        (
            r#"["CLIENT","SETINFO","NAME","x"]"#,
            "ERR Unrecognized option 'NAME'",
        ),
        (r#"["COPY","z","z","NOPE"]"#, "ERR syntax error"),
        (r#"["SCAN","0","MATCH"]"#, "ERR syntax error"),
    ] {
        let text = asked(&mut http, command).await;
        assert_eq!(text, format!("{{\"error\":\"{error}\"}}"), "{command}");
    }
    let unit = http
        .post(
            "/multi-exec",
            r#"[["UNLINK"],["SCAN","0","WITHTYPE","MATCH","{s}"],["GET","{s}"]]"#,
        )
        .await;
    assert_eq!(
        unit.text(),
        r#"[{"result":0},{"result":["0",["{s}","string"]]},{"result":"v"}]"#
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_moves_the_sync_token() {
    let server = over(Store::memory()).await;
    let mut http = Http::connect(server.http()).await;
    let mut token = async |path: &str, body: &str| {
        let answer = http.post(path, body).await;
        answer.header("upstash-sync-token").unwrap().to_owned()
    };
    let before = token("/", r#"["GET","a"]"#).await;
    assert_eq!(token("/", r#"["GET","a"]"#).await, before);
    let mut seen = vec![before];
    for (path, body) in [
        ("/", r#"["SET","a","b"]"#),
        ("/pipeline", r#"[["GET","a"],["SET","a","b"]]"#),
        ("/multi-exec", r#"[["SET","a","b"]]"#),
        ("/", r#"["EVAL","return 1","0"]"#),
    ] {
        let after = token(path, body).await;
        assert!(!seen.contains(&after), "{body}");
        seen.push(after.clone());
        assert_eq!(
            token("/pipeline", r#"[["GET","a"]]"#).await,
            after,
            "{body}"
        );
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_stays() {
    let server = over_with(Store::memory(), |config| config.max_request_size = 2000).await;
    let mut http = Http::connect(server.http()).await;
    let large = "x".repeat(1500);
    asked(&mut http, &format!(r#"["SET","a","{large}"]"#)).await;
    let refused = http
        .post(
            "/pipeline",
            r#"[["SET","b","1"],["GET","a"],["GET","a"],["SET","c","1"]]"#,
        )
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused
            .text()
            .starts_with(r#"{"error":"ERR max request size exceeded. Limit: 2000 bytes, Actual: "#),
        "{}",
        refused.text()
    );
    // All of it was sent.
    assert_eq!(
        asked(&mut http, r#"["MGET","b","c"]"#).await,
        r#"{"result":["1","1"]}"#
    );
    let request = format!(r#"["SET","a","{large}{large}"]"#);
    assert_eq!(http.post("/", &request).await.status, 400);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_as_events() {
    let store = Store::memory();
    let server = over(store.clone()).await;
    let mut events = Http::connect(server.http()).await;
    events
        .send("POST", "/subscribe/a/b/a", &[READ], b"[]")
        .await;
    assert_eq!(events.head().await.status, 200);
    for expected in [
        "data: subscribe,a,1",
        "data: subscribe,b,2",
        "data: subscribe,a,2",
    ] {
        assert_eq!(event(&mut events).await, expected);
    }
    let mut http = Http::connect(server.http()).await;
    assert_eq!(
        asked(&mut http, r#"["PUBLISH","b","x"]"#).await,
        r#"{"result":1}"#
    );
    assert_eq!(event(&mut events).await, "data: message,b,x");
    assert_eq!(http.post("/monitor", "").await.status, 400);
    server.shutdown().await;
}

/// The next line that is an event or a comment, without chunk framing.
pub(crate) async fn event(http: &mut Http) -> String {
    loop {
        let line = http.line().await;
        if line.starts_with("data: ") || line.starts_with(':') {
            return line;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_store_is_a_state_of_its_own() {
    let server = over(Store::disabled()).await;
    let mut http = Http::connect(server.http()).await;
    let refused = http.post("/", r#"["GET","a"]"#).await;
    assert_eq!(
        (
            refused.status,
            refused.header("retry-after"),
            refused.text()
        ),
        (
            503,
            None,
            r#"{"error":"ERR store unavailable: no store is configured"}"#
        )
    );
    let refused = http.post("/pipeline", r#"[["GET","a"]]"#).await;
    assert_eq!(
        (refused.status, refused.text()),
        (
            200,
            r#"[{"error":"ERR store unavailable: no store is configured"}]"#
        )
    );
    assert_eq!(
        http.post("/multi-exec", r#"[["GET","a"]]"#).await.status,
        503
    );
    assert_eq!(http.post("/subscribe/a", "").await.status, 503);
    let ready = http.ask("GET", "/ready", &[], b"").await;
    let body: serde_json::Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!((ready.status, &body["status"]), (200, &"ready".into()));
    assert_eq!(body["checks"]["redis"], "Not configured");
    assert_eq!(body["store"]["status"], "disabled");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_need_a_token() {
    let server = over(Store::memory()).await;
    let mut http = Http::connect(server.http()).await;
    assert_eq!(http.ask("GET", "/metrics", &[], b"").await.status, 401);
    for token in [FULL, READ] {
        let page = http.ask("GET", "/metrics", &[token], b"").await;
        assert_eq!(page.status, 200);
        let kind = page.header("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        for line in [
            "sangam_store_state{status=\"up\"} 1\n",
            "sangam_store_state{status=\"down\"} 0\n",
            "# TYPE sangam_store_answered_total counter\n",
            "sangam_uptime_seconds ",
        ] {
            assert!(page.text().contains(line), "{line}: {}", page.text());
        }
    }
    server.shutdown().await;
}
