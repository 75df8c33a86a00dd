//! Users from outside: bearer tokens on every path of REST, and what happens to
//! open connections when users change.

use std::time::Duration;

use crate::http::Http;
use crate::resp::Resp;
use crate::start::start;

const FULL: &str = "authorization: Bearer full";

/// The one string in `{"result":"…"}`.
fn result(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    value["result"].as_str().unwrap().to_owned()
}

/// Waits for the last chunk of a stream.
async fn ended(events: &mut Http) {
    let rest = async { while events.line().await != "0" {} };
    let done = tokio::time::timeout(Duration::from_secs(10), rest).await;
    done.unwrap();
}

async fn admin(http: &mut Http, body: &str) -> String {
    let answer = http.ask("POST", "/", &[FULL], body.as_bytes()).await;
    answer.text().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_token_works_on_every_path() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let made = admin(
        &mut http,
        r#"["ACL","SETUSER","app","on",">pass","~app:*","&app:*","+@all","-@dangerous"]"#,
    )
    .await;
    assert_eq!(made, r#"{"result":"OK"}"#);
    let token = result(&admin(&mut http, r#"["ACL","RESTTOKEN","app","pass"]"#).await);
    let bearer = format!("authorization: Bearer {token}");
    let bearer = bearer.as_str();
    let in_query = |path: &str| format!("{path}?_token={token}");

    // Connections of their own, and one that changes from token to token.
    for own in [true, false] {
        let mut other = Http::connect(server.http()).await;
        let http = if own { &mut other } else { &mut http };
        for (method, path, headers, body, status, text) in [
            (
                "GET",
                "/acl/whoami".to_owned(),
                vec![bearer],
                "",
                200,
                r#"{"result":"app"}"#,
            ),
            (
                "GET",
                in_query("/acl/whoami"),
                vec![],
                "",
                200,
                r#"{"result":"app"}"#,
            ),
            (
                "GET",
                in_query("/acl/whoami"),
                vec![FULL],
                "",
                200,
                r#"{"result":"app"}"#,
            ),
            (
                "POST",
                "/set/app:1".to_owned(),
                vec![bearer],
                "v",
                200,
                r#"{"result":"OK"}"#,
            ),
            (
                "POST",
                "/".to_owned(),
                vec![bearer],
                r#"["GET","app:1"]"#,
                200,
                r#"{"result":"v"}"#,
            ),
            (
                "GET",
                "/get/other".to_owned(),
                vec![bearer],
                "",
                400,
                r#"{"error":"NOPERM this user has no permissions to access one of the keys used as arguments"}"#,
            ),
            (
                "GET",
                "/keys/*".to_owned(),
                vec![bearer],
                "",
                400,
                r#"{"error":"NOPERM this user has no permissions to run the 'keys' command"}"#,
            ),
            (
                "POST",
                in_query("/pipeline"),
                vec![],
                r#"[["GET","app:1"],["GET","other"],["FLUSHALL"],["PUBLISH","app:c","m"],["PUBLISH","c","m"]]"#,
                200,
                r#"[{"result":"v"},{"error":"NOPERM this user has no permissions to access one of the keys used as arguments"},{"error":"NOPERM this user has no permissions to run the 'flushall' command"},{"result":0},{"error":"NOPERM this user has no permissions to access one of the channels used as arguments"}]"#,
            ),
            (
                "POST",
                "/multi-exec".to_owned(),
                vec![bearer],
                r#"[["GET","app:1"],["GET","other"]]"#,
                400,
                r#"{"error":"NOPERM this user has no permissions to access one of the keys used as arguments"}"#,
            ),
            (
                "POST",
                in_query("/subscribe/other"),
                vec![],
                "",
                400,
                r#"{"error":"NOPERM this user has no permissions to access one of the channels used as arguments"}"#,
            ),
            (
                "POST",
                "/psubscribe/*".to_owned(),
                vec![bearer],
                "",
                400,
                r#"{"error":"NOPERM this user has no permissions to access one of the channels used as arguments"}"#,
            ),
        ] {
            let answer = http.ask(method, &path, &headers, body.as_bytes()).await;
            assert_eq!(
                (answer.status, answer.text()),
                (status, text),
                "{path} {own}"
            );
        }
    }
    // The right holds as long as the password, on a connection that is open too.
    let mut open = Http::connect(server.http()).await;
    let me = |status, text: &str| (status, text.to_owned());
    let mut ask = async |change: &str| {
        admin(&mut http, change).await;
        let answer = open.ask("GET", "/acl/whoami", &[bearer], b"").await;
        (answer.status, answer.text().to_owned())
    };
    let wrong = me(
        401,
        r#"{"error":"WRONGPASS invalid or missing auth token. See https://docs.upstash.com/redis/troubleshooting/http_unauthorized for details."}"#,
    );
    let right = me(200, r#"{"result":"app"}"#);
    assert_eq!(ask(r#"["PING"]"#).await, right);
    assert_eq!(ask(r#"["ACL","SETUSER","app","off"]"#).await, wrong);
    assert_eq!(ask(r#"["ACL","SETUSER","app","on"]"#).await, right);
    assert_eq!(
        ask(r#"["ACL","SETUSER","app","resetpass",">new"]"#).await,
        wrong
    );
    assert_eq!(ask(r#"["ACL","SETUSER","app",">pass"]"#).await, right);
    assert_eq!(ask(r#"["ACL","DELUSER","app"]"#).await, wrong);
    assert_eq!(
        ask(r#"["ACL","SETUSER","app","on",">pass","+acl"]"#).await,
        right
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_their_channels_and_their_user() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let setuser = r#"["ACL","SETUSER","app","on",">pass","&a","&b","+@all"]"#;
    admin(&mut http, setuser).await;
    let token = result(&admin(&mut http, r#"["ACL","RESTTOKEN","app","pass"]"#).await);
    let bearer = format!("authorization: Bearer {token}");
    let listen = async |path: &str| {
        let mut events = Http::connect(server.http()).await;
        events.send("GET", path, &[&bearer], b"").await;
        assert_eq!(events.head().await.status, 200);
        events
    };
    let (mut a, mut b) = (listen("/subscribe/a").await, listen("/subscribe/b").await);
    assert_eq!(
        http.post("/publish/a/1", "").await.text(),
        r#"{"result":1}"#
    );
    admin(&mut http, r#"["ACL","SETUSER","app","resetchannels","&a"]"#).await;
    ended(&mut b).await;
    assert_eq!(
        http.post("/publish/b/1", "").await.text(),
        r#"{"result":0}"#
    );
    assert_eq!(
        http.post("/publish/a/2", "").await.text(),
        r#"{"result":1}"#
    );
    admin(&mut http, r#"["ACL","DELUSER","app"]"#).await;
    ended(&mut a).await;
    assert_eq!(
        http.post("/publish/a/3", "").await.text(),
        r#"{"result":0}"#
    );
    server.shutdown().await;
}

/// A change that takes the stream's right away ends it before its next event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_their_token_and_their_command() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    for change in ["off", "<pass", "-subscribe"] {
        admin(&mut http, r#"["ACL","DELUSER","app"]"#).await;
        let setuser = r#"["ACL","SETUSER","app","on",">pass","&*","+@all"]"#;
        admin(&mut http, setuser).await;
        let token = result(&admin(&mut http, r#"["ACL","RESTTOKEN","app","pass"]"#).await);
        let bearer = format!("authorization: Bearer {token}");
        let mut events = Http::connect(server.http()).await;
        events.send("GET", "/subscribe/a", &[&bearer], b"").await;
        assert_eq!(events.head().await.status, 200);
        admin(&mut http, r#"["ACL","SETUSER","app","~other"]"#).await;
        http.post("/publish/a/one", "").await;
        let mut line = String::new();
        while !line.contains("message") {
            line = events.line().await;
        }
        assert!(line.ends_with("one"), "{line}");
        admin(&mut http, &format!(r#"["ACL","SETUSER","app","{change}"]"#)).await;
        http.post("/publish/a/two", "").await;
        ended(&mut events).await;
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_users_connections_end() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    admin(
        &mut http,
        r#"["ACL","SETUSER","app","on",">pass","+@all","~*"]"#,
    )
    .await;
    let mut admin_too = Resp::authenticated(server.resp()).await;
    let mut app = Resp::authenticated(server.resp()).await;
    app.check(b"AUTH app pass\r\n", b"+OK\r\n").await;
    let mut waiting = Resp::authenticated(server.resp()).await;
    waiting
        .check(b"AUTH app pass\r\nBZPOPMIN nothing 0\r\n", b"+OK\r\n")
        .await;
    // The owner, deleted or not, stays.
    admin_too.check(b"ACL DELUSER app\r\n", b":1\r\n").await;
    assert!(app.is_closed().await);
    assert!(waiting.is_closed().await);
    admin_too.check(b"PING\r\n", b"+PONG\r\n").await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_monitor_sees_nothing() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let setuser = r#"["ACL","SETUSER","app","on",">pass","+@all","-@dangerous"]"#;
    admin(&mut http, setuser).await;
    let token = result(&admin(&mut http, r#"["ACL","RESTTOKEN","app","pass"]"#).await);
    let bearer = format!("authorization: Bearer {token}");
    let mut events = Http::connect(server.http()).await;
    let refused = events.ask("POST", "/monitor", &[&bearer], b"").await;
    assert_eq!(
        (refused.status, refused.text()),
        (
            400,
            r#"{"error":"NOPERM this user has no permissions to run the 'monitor' command"}"#
        )
    );
    admin(&mut http, r#"["ACL","SETUSER","app","+monitor"]"#).await;
    events.send("POST", "/monitor", &[&bearer], b"").await;
    assert_eq!(events.head().await.status, 200);
    admin(&mut http, r#"["ACL","RESTTOKEN","app","pass"]"#).await;
    loop {
        let line = events.line().await;
        if line.contains("RESTTOKEN") {
            assert!(
                line.ends_with(r#""ACL" "RESTTOKEN" "app" "(redacted)""#),
                "{line}"
            );
            break;
        }
    }
    admin(&mut http, r#"["ACL","DELUSER","app"]"#).await;
    ended(&mut events).await;
    server.shutdown().await;
}
