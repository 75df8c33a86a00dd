use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http::Http;
use crate::start::{start, start_with};

const FULL: &str = "authorization: Bearer full";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_forms_of_a_command() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let table: &[(&str, &str, &str, &str)] = &[
        ("POST", "/", r#"["SET","a",1]"#, r#"{"result":"OK"}"#),
        ("GET", "/get/a", "", r#"{"result":"1"}"#),
        ("POST", "/set/b?EX=100", "a value", r#"{"result":"OK"}"#),
        ("GET", "/GeT/b", "", r#"{"result":"a value"}"#),
        ("GET", "/ttl/b", "", r#"{"result":100}"#),
        ("PUT", "/set/c%20d/x%2Fy", "", r#"{"result":"OK"}"#),
        (
            "GET",
            "/get/c%20d",
            "ignored for GET",
            r#"{"result":"x/y"}"#,
        ),
        ("GET", "/get/missing", "", r#"{"result":null}"#),
        ("POST", "/hset/h/f", "v", r#"{"result":1}"#),
        ("POST", "/", r#"["HGETALL","h"]"#, r#"{"result":["f","v"]}"#),
        (
            "POST",
            "/pipeline",
            r#"[["INCR","n"],["NOPE"],["INCR","n"]]"#,
            r#"[{"result":1},{"error":"ERR Command is not available: 'NOPE'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"},{"result":2}]"#,
        ),
        ("POST", "/pipeline", "[]", "[]"),
        (
            "POST",
            "/multi-exec",
            r#"[["INCR","n"],["HGET","n","f"],["GET","n"]]"#,
            r#"[{"result":3},{"error":"WRONGTYPE Operation against a key holding the wrong kind of value"},{"result":"3"}]"#,
        ),
    ];
    for (method, path, body, expected) in table {
        let answer = http.ask(method, path, &[FULL], body.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, *expected),
            "{method} {path} {body}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_upstashs_texts() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let table: &[(&str, &str, &str)] = &[
        ("/", "", r#"{"error":"EOF"}"#),
        ("/", "{}", r#"{"error":"expected JSON array"}"#),
        ("/", "[]", r#"{"error":"ERR empty command"}"#),
        (
            "/",
            r#"["SET","k",null]"#,
            r#"{"error":"ERR null args are not supported"}"#,
        ),
        (
            "/",
            r#"["SET","k",{}]"#,
            r#"{"error":"ERR unsupported arg type: \"{\": json.Delim"}"#,
        ),
        (
            "/pipeline",
            r#"["GET"]"#,
            r#"{"error":"expected JSON array"}"#,
        ),
        (
            "/",
            r#"["MONITOR"]"#,
            r#"{"error":"ERR Command \"MONITOR\" is not allowed in REST or it has a special context path"}"#,
        ),
        (
            "/multi",
            "",
            r#"{"error":"ERR Command \"MULTI\" is not allowed in REST or it has a special context path"}"#,
        ),
        (
            "/subscribe",
            "",
            r#"{"error":"ERR wrong number of arguments for 'subscribe' command"}"#,
        ),
        (
            "/multi-exec",
            r#"[["SET","t","1"],["NOPE"]]"#,
            r#"{"error":"ERR Command is not available: 'NOPE'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"}"#,
        ),
        (
            "/multi-exec",
            r#"[["SET","t","1"],["WATCH","x"]]"#,
            r#"{"error":"ERR Command \"WATCH\" is not allowed in REST or it has a special context path"}"#,
        ),
        (
            "/multi-exec",
            r#"[["SET","t","1"],["GET"]]"#,
            r#"{"error":"ERR wrong number of arguments for 'get' command"}"#,
        ),
    ];
    for (path, body, expected) in table {
        let answer = http.post(path, body).await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, *expected),
            "{path} {body}"
        );
    }
    assert_eq!(http.post("/exists/t", "").await.text(), r#"{"result":0}"#);
    let answer = http.ask("DELETE", "/get/a", &[FULL], b"").await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (405, Some("0"))
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens() {
    const WRONG: &str = r#"{"error":"WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details."}"#;
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    for (path, headers) in [
        ("/ping", vec![FULL]),
        ("/ping", vec!["authorization: full"]),
        ("/ping", vec!["authorization: bearer  read"]),
        ("/ping?_token=full", vec!["authorization: Bearer wrong"]),
    ] {
        let answer = http.ask("GET", path, &headers, b"").await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, r#"{"result":"PONG"}"#),
            "{path} {headers:?}"
        );
    }
    for (path, headers) in [
        ("/ping", vec![]),
        ("/ping", vec!["authorization: Bearer wrong"]),
        ("/ping", vec!["authorization: Bearer "]),
        ("/ping?_token=wrong", vec![FULL]),
        ("/subscribe/a", vec![]),
    ] {
        let answer = http.ask("GET", path, &headers, b"").await;
        assert_eq!(
            (answer.status, answer.text()),
            (401, WRONG),
            "{path} {headers:?}"
        );
    }
    // The role follows the token from request to request of one connection.
    let answer = http
        .ask("POST", "/set/k/v", &["authorization: Bearer read"], b"")
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.text(),
        r#"{"error":"NOPERM this user has no permissions to run the 'set' command"}"#
    );
    assert_eq!(http.post("/set/k/v", "").await.status, 200);
    let answer = http
        .ask("GET", "/get/k", &["authorization: Bearer read"], b"")
        .await;
    assert_eq!(answer.text(), r#"{"result":"v"}"#);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encodings_and_formats() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let base64 = "upstash-encoding: base64";
    let resp2 = "upstash-response-format: resp2";
    let set = http.ask("POST", "/set/k", &[FULL, base64], b"OK").await;
    assert_eq!(set.text(), r#"{"result":"OK"}"#);
    let get = http.ask("GET", "/get/k", &[FULL, base64], b"").await;
    assert_eq!(get.text(), r#"{"result":"T0s="}"#);
    let body = br#"[["GET","k"],["PING"],["STRLEN","k"],["GET"]]"#;
    let many = http.ask("POST", "/pipeline", &[FULL, base64], body).await;
    assert_eq!(
        many.text(),
        r#"[{"result":"T0s="},{"result":"UE9ORw=="},{"result":2},{"error":"ERR wrong number of arguments for 'get' command"}]"#
    );
    let raw = http.ask("POST", "/pipeline", &[FULL, resp2], body).await;
    assert_eq!(raw.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        raw.text(),
        "$2\r\nOK\r\n+PONG\r\n:2\r\n-ERR wrong number of arguments for 'get' command\r\n"
    );
    let json = http
        .ask("POST", "/multi-exec", &[FULL, resp2], br#"[["GET","k"]]"#)
        .await;
    assert_eq!(json.text(), r#"[{"result":"OK"}]"#);
    for headers in [
        vec![FULL, base64, resp2],
        vec![FULL, "upstash-encoding: gzip"],
        vec![FULL, "upstash-response-format: resp3"],
    ] {
        assert_eq!(
            http.ask("GET", "/get/k", &headers, b"").await.status,
            400,
            "{headers:?}"
        );
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sync_token_moves_with_each_write_only() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let mut other = Http::connect(server.http()).await;
    let mut seen = Vec::new();
    for (path, body, writes) in [
        ("/get/k", "", false),
        ("/set/k/1", "", true),
        ("/get/k", "", false),
        ("/pipeline", r#"[["INCR","k"],["GET","k"]]"#, true),
        ("/multi-exec", r#"[["INCR","k"],["GET","k"]]"#, true),
        (
            "/",
            r#"["EVAL","return redis.call('INCR',KEYS[1])",1,"k"]"#,
            true,
        ),
        ("/get/k", "", false),
    ] {
        let answer = http.post(path, body).await;
        let token = answer.header("upstash-sync-token").unwrap().to_owned();
        if let Some(last) = seen.last() {
            assert_eq!(*last != token, writes, "{path} {body}");
        }
        let elsewhere = other.post("/ping", "").await;
        assert_eq!(elsewhere.header("upstash-sync-token"), Some(token.as_str()));
        seen.push(token);
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_of_any_origin_may_use_it_with_a_token() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let headers = [
        "origin: https://app.example",
        "access-control-request-headers: authorization",
    ];
    let answer = http.ask("OPTIONS", "/pipeline", &headers, b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization")
    );
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    let answer = http.ask("GET", "/get/k", &[FULL, headers[0]], b"").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    let answer = http.ask("GET", "/ready", &[headers[0]], b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_bounded_both_ways() {
    let server = start_with(|config| config.max_request_size = 1000).await;
    let mut http = Http::connect(server.http()).await;
    let too_large = |actual: usize| {
        format!(
            r#"{{"error":"ERR max request size exceeded. Limit: 1000 bytes, Actual: {actual} bytes"}}"#
        )
    };
    let value = "x".repeat(988);
    let answer = http.post("/set/k", &value).await;
    assert_eq!(answer.status, 200);
    for size in [1001, 500_000] {
        let answer = http.post("/set/k", &"y".repeat(size)).await;
        assert_eq!(
            (answer.status, answer.text()),
            (400, too_large(size).as_str())
        );
    }
    // {"result":"…"} around 988 bytes is 1001.
    let answer = http.ask("GET", "/get/k", &[FULL], b"").await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, too_large(1001).as_str())
    );
    let answer = http
        .post(
            "/pipeline",
            r#"[["GET","k"],["GET","k"],["GET","k"],["STRLEN","k"]]"#,
        )
        .await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, too_large(1001 + 2).as_str())
    );
    assert_eq!(http.post("/strlen/k", "").await.text(), r#"{"result":988}"#);
    // A body in chunks says its size only at its end.
    http.send("POST", "/set/k", &[FULL, "transfer-encoding: chunked"], b"")
        .await;
    let chunk = format!("12c\r\n{}\r\n", "z".repeat(300));
    let chunks = chunk.repeat(4) + "0\r\n\r\n";
    http.stream.write_all(chunks.as_bytes()).await.unwrap();
    let answer = http.receive(true).await;
    assert_eq!(
        (answer.status, answer.text()),
        (400, too_large(1200).as_str())
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_batches_are_bounded() {
    let server = start_with(|config| config.max_request_size = 1000).await;
    let mut http = Http::connect(server.http()).await;
    let text = "ERR max request size exceeded. Limit: 1000 bytes, Actual:";
    http.post("/set/k", &"x".repeat(300)).await;
    let gets = |path, count, last: &str| {
        let gets = r#"["GET","k"],"#.repeat(count);
        (path, format!(r#"[["INCR","n"],{gets}{last}]"#))
    };
    for path in ["/multi-exec", "/pipeline"] {
        let (path, body) = gets(path, 3, r#"["DEL","n"]"#);
        let answer = http.post(path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.body.len(), 13 + 3 * 314 + 13 + 1);
        let (path, body) = gets(path, 4, r#"["INCR","n"]"#);
        let answer = http.post(path, &body).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains(text), "{}", answer.text());
    }
    // The transaction was undone; the pipeline ended at the reply without room.
    assert_eq!(http.post("/get/n", "").await.text(), r#"{"result":"1"}"#);
    let (path, body) = gets("/multi-exec", 1, r#"["PING"]"#);
    assert_eq!(http.post(path, &body).await.status, 200);
    server.shutdown().await;
}

/// Commands that answer with what they take away.
const TAKERS: &[&str] = &[
    r#"["GETDEL","k"]"#,
    r#"["GETSET","k","v"]"#,
    r#"["SET","k","v","GET"]"#,
    r#"["GETEX","k","EX","9"]"#,
    r#"["SPOP","s","9"]"#,
    r#"["ZPOPMIN","z","9"]"#,
    r#"["EVAL","return redis.call('GETDEL', KEYS[1])","1","k"]"#,
    r#"["EVAL","redis.call('SPOP', 's'); return redis.call('GET', 'k') .. redis.error_reply('x').err","0"]"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_not_taken() {
    let server = start_with(|config| config.max_request_size = 1000).await;
    let mut http = Http::connect(server.http()).await;
    let mut state = async || {
        let asked =
            r#"[["STRLEN","k"],["TTL","k"],["SCARD","s"],["ZCARD","z"],["GET","n"],["DBSIZE"]]"#;
        http.post("/pipeline", asked).await.text().to_owned()
    };
    let mut other = Http::connect(server.http()).await;
    other.post("/set/k", &"x".repeat(900)).await;
    other.post("/append/k", &"x".repeat(100)).await;
    for member in ["a", "b", "c"] {
        let member = member.repeat(400);
        other.post("/sadd/s", &member).await;
        other.post("/zadd/z/1", &member).await;
    }
    other.post("/set/n", "0").await;
    let before =
        r#"[{"result":1000},{"result":-1},{"result":3},{"result":3},{"result":"0"},{"result":4}]"#;
    assert_eq!(state().await, before);
    for taker in TAKERS {
        let answer = other.post("/", taker).await;
        assert_eq!(answer.status, 400, "{taker}");
        assert!(answer.text().contains("size exceeded"), "{}", answer.text());
        assert_eq!(state().await, before, "{taker}");
        // In a pipeline, what came before it stays, and nothing comes after it.
        let body = format!(r#"[["INCR","n"],{taker},["INCR","n"]]"#);
        let answer = other.post("/pipeline", &body).await;
        assert_eq!(answer.status, 400, "{taker}");
        assert!(answer.text().contains("size exceeded"), "{}", answer.text());
        assert_eq!(
            other.post("/getset/n", "0").await.text(),
            r#"{"result":"1"}"#
        );
        assert_eq!(state().await, before, "{taker}");
    }
    // Nor does a number that finds no room leave a trace.
    let filling = r#"["GETRANGE","k","0","964"],"#;
    for (number, status) in [("100000", 200), ("100000000000", 400)] {
        let body = format!(r#"[{filling}["INCRBY","n","{number}"]]"#);
        assert_eq!(other.post("/pipeline", &body).await.status, status);
    }
    assert_eq!(
        other.post("/getset/n", "0").await.text(),
        r#"{"result":"100000"}"#
    );
    // What fits is taken, and a script that fails leaves nothing.
    let failing = r#"["EVAL","redis.call('DEL', 'k'); return redis.call('INCR', 's')","0"]"#;
    assert_eq!(other.post("/", failing).await.status, 400);
    assert_eq!(state().await, before);
    assert_eq!(
        other.post("/getdel/n", "").await.text(),
        r#"{"result":"0"}"#
    );
    assert_eq!(other.post("/get/n", "").await.text(), r#"{"result":null}"#);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_waits_for_the_body() {
    let server = start_with(|config| config.max_request_size = 1000).await;
    let mut http = Http::connect(server.http()).await;
    let both = ["upstash-encoding: base64", "upstash-response-format: resp2"];
    let cases: [(&str, &str, &[&str], u16); 6] = [
        ("POST", "/", &[FULL, both[0], both[1]], 400),
        ("POST", "/", &["authorization: Bearer wrong"], 401),
        ("POST", "/", &[FULL, "upstash-encoding: gzip"], 400),
        ("DELETE", "/", &[FULL], 405),
        ("POST", "/live", &[FULL], 405),
        ("OPTIONS", "/", &[], 200),
    ];
    for (method, path, headers, status) in cases {
        let headers = [headers, &["content-length: 8"]].concat();
        http.send(method, path, &headers, b"").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        http.stream.write_all(br#"["PING"]"#).await.unwrap();
        let answer = http.receive(true).await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, None),
            "{method} {path}"
        );
    }
    let answer = http.post("/", r#"["PING"]"#).await;
    assert_eq!(answer.text(), r#"{"result":"PONG"}"#);
    // A client that asks first is not asked to send.
    let headers = [
        "authorization: wrong",
        "expect: 100-continue",
        "content-length: 8",
    ];
    http.send("POST", "/", &headers, b"").await;
    assert_eq!(http.receive(true).await.status, 401);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_arrive_in_pieces_and_requests_in_bunches() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let value = "v".repeat(300_000);
    http.send("POST", "/set/k", &[FULL, "content-length: 300000"], b"")
        .await;
    for piece in value.as_bytes().chunks(70_000) {
        http.stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(http.receive(true).await.text(), r#"{"result":"OK"}"#);
    assert_eq!(http.post("/get/k", "").await.body.len(), 300_000 + 13);
    http.send("POST", "/set/c", &[FULL, "transfer-encoding: chunked"], b"")
        .await;
    http.stream
        .write_all(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(http.receive(true).await.text(), r#"{"result":"OK"}"#);
    for _ in 0..3 {
        http.send("GET", "/get/c", &[FULL], b"").await;
    }
    for _ in 0..3 {
        assert_eq!(http.receive(true).await.text(), r#"{"result":"abcde"}"#);
    }
    let answer = http.ask("HEAD", "/get/c", &[FULL], b"").await;
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("18"))
    );
    assert_eq!(http.post("/ping", "").await.status, 200);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_is_never_interleaved() {
    let server = start().await;
    let address = server.http();
    let rivals: Vec<_> = (0..16)
        .map(|number| {
            tokio::spawn(async move {
                let mut http = Http::connect(address).await;
                for round in 0..100 {
                    if number % 2 == 0 {
                        let body =
                            format!(r#"[["SET","k","{number}-{round}"],["GET","k"],["INCR","n"]]"#);
                        let answer = http.post("/multi-exec", &body).await;
                        let own = format!(
                            r#"[{{"result":"OK"}},{{"result":"{number}-{round}"}},{{"result":"#
                        );
                        assert!(answer.text().starts_with(&own), "{}", answer.text());
                    } else {
                        http.post("/pipeline", r#"[["SET","k","other"],["INCR","n"]]"#)
                            .await;
                    }
                }
            })
        })
        .collect();
    for rival in rivals {
        rival.await.unwrap();
    }
    let mut http = Http::connect(address).await;
    assert_eq!(http.post("/get/n", "").await.text(), r#"{"result":"1600"}"#);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_let_go() {
    let server = start_with(|config| {
        config.timing.head = Duration::from_millis(100);
        config.timing.body = Duration::from_millis(100);
    })
    .await;
    let mut http = Http::connect(server.http()).await;
    http.send("POST", "/set/k", &[FULL, "content-length: 10"], b"")
        .await;
    let answer = http.receive(true).await;
    assert_eq!(answer.status, 408);
    let mut http = Http::connect(server.http()).await;
    http.stream.write_all(b"GET /get/k HT").await.unwrap();
    // Closed: at once, or after an answer that says why.
    while !http.line().await.is_empty() {}
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_told_so() {
    let server = start().await;
    let long = format!("GET /get/{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (sent, status) in [
        (&b"GARBAGE\r\n\r\n"[..], 400),
        (b"GET /get/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (long.as_bytes(), 414),
        (many.as_bytes(), 431),
    ] {
        let mut http = Http::connect(server.http()).await;
        http.stream.write_all(sent).await.unwrap();
        assert_eq!(http.receive(true).await.status, status);
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_the_answer_is_let_go() {
    let server = start_with(|config| config.timing.write = Duration::from_millis(200)).await;
    let mut http = Http::connect(server.http()).await;
    let value = "x".repeat(8 << 20);
    assert_eq!(http.post("/set/k", &value).await.status, 200);
    // What a connection was sent and did not read it may read yet, and no more.
    for _ in 0..4 {
        http.send("GET", "/get/k", &[FULL], b"").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut read = 0;
    let mut chunk = vec![0; 1 << 20];
    let reading = async {
        while let Ok(count @ 1..) = http.stream.read(&mut chunk).await {
            read += count;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert!(ended.is_ok() && read < 4 * value.len(), "{read}");
    // A slow reader that goes on reading gets all of it.
    let mut http = Http::connect(server.http()).await;
    for _ in 0..4 {
        http.send("GET", "/get/k", &[FULL], b"").await;
    }
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = http.receive(true).await;
        assert_eq!(answer.body.len(), value.len() + 13);
    }
    server.shutdown().await;
}
