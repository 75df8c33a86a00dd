//! Requests with ids over HTTP: a repeat is answered and writes nothing.

use sangam_engine::clock::{Clock as _, SystemClock};

use sangam_store::Store;

use crate::http::{Answer, Http};
use crate::over_store::over;
use crate::start::{start, start_with};

const FULL: &str = "authorization: Bearer full";
const HEADER: &str = "sangam-request-id";

/// An id of this many milliseconds from now.
fn id_at(offset_ms: i64, number: u64) -> String {
    let millis = (SystemClock::default().now_micros() / 1000) as i64 + offset_ms;
    let (high, low) = (millis >> 16, millis & 0xffff);
    format!("{high:08x}-{low:04x}-7000-8000-{number:012x}")
}

async fn post(http: &mut Http, path: &str, id: &str, body: &str) -> Answer {
    let header = format!("{HEADER}: {id}");
    http.ask("POST", path, &[FULL, &header], body.as_bytes())
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_again() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    http.post("/rpush/list/a/b/c", "").await;
    let table = [
        ("/", r#"["INCR","n"]"#, r#"{"result":1}"#),
        ("/incr/n", "", r#"{"result":2}"#),
        ("/", r#"["LPOP","list"]"#, r#"{"result":"a"}"#),
        ("/", r#"["SET","n",5,"NX"]"#, r#"{"result":null}"#),
        (
            "/",
            r#"["EVAL","return {redis.call('INCR', KEYS[1]), 'two'}",1,"n"]"#,
            r#"{"result":[3,"two"]}"#,
        ),
        (
            "/pipeline",
            r#"[["INCR","n"],["NOPE"],["LPOP","list"]]"#,
            r#"[{"result":4},{"error":"ERR Command is not available: 'NOPE'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"},{"result":"b"}]"#,
        ),
        (
            "/multi-exec",
            r#"[["INCR","n"],["GET","n"],["HGET","n","f"]]"#,
            r#"[{"result":5},{"result":"5"},{"error":"WRONGTYPE Operation against a key holding the wrong kind of value"}]"#,
        ),
        ("/", r#"["PUBLISH","c","m"]"#, r#"{"result":0}"#),
    ];
    let ids: Vec<String> = (0..table.len()).map(|n| id_at(0, n as u64)).collect();
    for attempt in 0..3 {
        for ((path, body, expected), id) in table.iter().zip(&ids) {
            let id = if attempt == 1 {
                id.to_uppercase()
            } else {
                id.clone()
            };
            let answer = post(&mut http, path, &id, body).await;
            assert_eq!((answer.status, answer.text()), (200, *expected), "{body}");
            assert_eq!(answer.header(HEADER), Some(id.as_str()));
        }
    }
    let state = http.post("/pipeline", r#"[["GET","n"],["LLEN","list"]]"#);
    assert_eq!(state.await.text(), r#"[{"result":"5"},{"result":1}]"#);

    // The path form is the same request, in another encoding too.
    let header = format!("{HEADER}: {}", ids[2]);
    let headers = [FULL, &header, "upstash-encoding: base64"];
    let answer = http.ask("GET", "/LPOP/list", &headers, b"").await;
    assert_eq!(answer.text(), r#"{"result":"YQ=="}"#);

    // Nobody without rights is told, nor one who asks for something else.
    let headers = ["authorization: Bearer read", &header];
    let answer = http.ask("GET", "/lpop/list", &headers, b"").await;
    assert!(answer.text().contains("NOPERM"), "{}", answer.text());
    let headers = ["authorization: Bearer wrong", &header];
    let answer = http.ask("GET", "/lpop/list", &headers, b"").await;
    assert_eq!((answer.status, answer.header(HEADER)), (401, None));
    for (path, body) in [
        ("/", r#"["RPOP","list"]"#),
        ("/pipeline", r#"[["LPOP","list"]]"#),
    ] {
        let answer = post(&mut http, path, &ids[2], body).await;
        let refusal = format!(
            r#"{{"error":"ERR request id {} was used for another request; nothing was run"}}"#,
            ids[2]
        );
        assert_eq!((answer.status, answer.text()), (400, refusal.as_str()));
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_or_not_of_now_is_refused() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let malformed =
        r#"{"error":"ERR invalid request id: the header sangam-request-id takes one UUIDv7"}"#;
    let random = "01890a5d-ac96-474b-bcce-b302099a8057";
    for id in ["", "1", random] {
        for (path, body) in [
            ("/", r#"["INCR","n"]"#),
            ("/get/n", ""),
            ("/multi-exec", "[]"),
        ] {
            let answer = post(&mut http, path, id, body).await;
            assert_eq!((answer.status, answer.text()), (400, malformed), "{id}");
            assert_eq!(answer.header(HEADER), None);
        }
    }
    let header = format!("{HEADER}: {}", id_at(0, 1));
    let twice = [FULL, &header, &header];
    let answer = http.ask("GET", "/incr/n", &twice, b"").await;
    assert_eq!(answer.text(), malformed);

    for (offset, word) in [
        (-301_000, "older than the window of 300 s"),
        (305_000, "ahead"),
    ] {
        for (path, body) in [
            ("/", r#"["INCR","n"]"#),
            ("/incr/n", ""),
            ("/pipeline", r#"[["GET","n"],["INCR","n"]]"#),
            ("/multi-exec", r#"[["GET","n"],["INCR","n"]]"#),
        ] {
            let answer = post(&mut http, path, &id_at(offset, 1), body).await;
            assert_eq!(answer.status, 400, "{path} {}", answer.text());
            assert!(answer.text().contains(word), "{}", answer.text());
            assert!(
                answer.text().contains("nothing was run"),
                "{}",
                answer.text()
            );
        }
        let read = post(&mut http, "/get/n", &id_at(offset, 1), "").await;
        assert_eq!((read.status, read.text()), (200, r#"{"result":null}"#));
    }
    let commands = vec![r#"["INCR","n"]"#; 10_001].join(",");
    for path in ["/pipeline", "/multi-exec"] {
        let answer = post(&mut http, path, &id_at(0, 2), &format!("[{commands}]")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("at most 10000 commands"));
    }
    // Nothing of all that was run; a page may read the header.
    let header = format!("{HEADER}: {}", id_at(0, 3));
    let headers = [FULL, &header, "origin: https://app.example"];
    let answer = http.ask("POST", "/exists/n", &headers, b"").await;
    assert_eq!(answer.text(), r#"{"result":0}"#);
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.unwrap().contains(HEADER));
    assert!(answer.header(HEADER).is_some());
    let answer = http.ask("POST", "/exists/n", &[FULL], b"").await;
    assert_eq!(answer.header(HEADER), None);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_fit_was_not_applied() {
    let server = start_with(|config| config.max_request_size = 1000).await;
    let mut http = Http::connect(server.http()).await;
    let half = "x".repeat(600);
    for _ in 0..2 {
        http.post("/append/k", &half).await;
    }
    for _ in 0..2 {
        let answer = post(&mut http, "/", &id_at(0, 1), r#"["GETDEL","k"]"#).await;
        assert!(
            answer.text().contains("max request size"),
            "{}",
            answer.text()
        );
    }
    let body = r#"[["INCR","n"],["GETDEL","k"],["INCR","n"]]"#;
    let id = id_at(0, 2);
    for _ in 0..2 {
        let answer = post(&mut http, "/pipeline", &id, body).await;
        assert!(
            answer.text().contains("max request size"),
            "{}",
            answer.text()
        );
    }
    // The first command was applied, once, and stays so when the rest can run.
    http.post("/set/k/short", "").await;
    for _ in 0..2 {
        let answer = post(&mut http, "/pipeline", &id, body).await;
        let expected = r#"[{"result":1},{"result":"short"},{"result":2}]"#;
        assert_eq!(answer.text(), expected);
    }
    server.shutdown().await;
}

/// Four connections send the same at once, as a client does that gives an answer
/// up too early; pipelines are longer than a turn at the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_at_the_same_time_are_applied_once() {
    let server = start().await;
    let pipeline = format!("[{}]", vec![r#"["INCR","piped"]"#; 500].join(","));
    let unit = r#"[["INCR","unit"],["RPUSH","list","x"]]"#.to_owned();
    let requests: Vec<(&str, String, String)> = (0..40)
        .map(|n| {
            let (path, body) = match n % 10 {
                0 => ("/pipeline", pipeline.clone()),
                1..4 => ("/multi-exec", unit.clone()),
                _ => ("/", r#"["INCR","one"]"#.to_owned()),
            };
            (path, id_at(0, n), body)
        })
        .collect();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut http = Http::connect(server.http()).await;
        let requests = requests.clone();
        clients.push(tokio::spawn(async move {
            let mut answers = Vec::new();
            for (path, id, body) in &requests {
                let answer = post(&mut http, path, id, body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answers.push(answer.body);
            }
            answers
        }));
    }
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.unwrap());
    }
    assert!(all.iter().all(|answers| *answers == all[0]));
    let mut http = Http::connect(server.http()).await;
    let read = r#"[["GET","piped"],["GET","unit"],["LLEN","list"],["GET","one"]]"#;
    let state = http.post("/pipeline", read).await;
    let expected = r#"[{"result":"2000"},{"result":"12"},{"result":12},{"result":"24"}]"#;
    assert_eq!(state.text(), expected);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_knows_no_ids_does_not_say_that_it_does() {
    let server = over(Store::memory()).await;
    let mut http = Http::connect(server.http()).await;
    let id = id_at(0, 1);
    for expected in [r#"{"result":1}"#, r#"{"result":2}"#] {
        let answer = post(&mut http, "/incr/n", &id, "").await;
        assert_eq!((answer.text(), answer.header(HEADER)), (expected, None));
    }
    let answer = post(&mut http, "/incr/n", "1", "").await;
    assert_eq!(answer.status, 400, "it is no id anywhere");
    server.shutdown().await;
}
