//! What RESP and event streams tell unasked: invalidations in their place among
//! replies, MONITOR, and commands that wait while others do not.

use std::time::{Duration, Instant};

use crate::http::Http;
use crate::resp::Resp;
use crate::start::{start, start_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_comes_before_a_newer_value() {
    let server = start().await;
    let mut reader = Resp::authenticated(server.resp()).await;
    let mut writer = Resp::authenticated(server.resp()).await;
    reader.send(b"CLIENT TRACKING ON\r\n").await;
    reader.expect(b"+OK\r\n").await;
    // RESP2 has no form for it.
    reader.check(b"GET k\r\n", b"$-1\r\n").await;
    writer.check(b"SET k 0\r\n", b"+OK\r\n").await;
    reader.send(b"HELLO 3 SETNAME r\r\n").await;
    let greeting = b"%7\r\n$6\r\nserver\r\n";
    reader.expect(greeting).await;
    reader.skip_past("*0").await;
    for round in 1..200 {
        let old = format!("${}\r\n{}\r\n", (round - 1).to_string().len(), round - 1);
        reader.check(b"GET k\r\n", old.as_bytes()).await;
        writer
            .check(format!("SET k {round}\r\n").as_bytes(), b"+OK\r\n")
            .await;
        let new = format!("${}\r\n{round}\r\n", round.to_string().len());
        let expected = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n{new}");
        reader.check(b"GET k\r\n", expected.as_bytes()).await;
        // Its own change follows its reply at once.
        let expected = b"+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        reader
            .check(format!("SET k {round}\r\n").as_bytes(), expected)
            .await;
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_reads_lines_and_is_one_no_more_after_reset() {
    let server = start().await;
    let mut watcher = Resp::authenticated(server.resp()).await;
    let mut other = Resp::authenticated(server.resp()).await;
    watcher.check(b"MONITOR\r\n", b"+OK\r\n").await;
    other.check(b"SET k \"a b\"\r\n", b"+OK\r\n").await;
    let line = watcher.line().await;
    assert!(
        line.starts_with('+') && line.contains(" [0 127.0.0.1:"),
        "{line}"
    );
    assert!(line.ends_with("] \"SET\" \"k\" \"a b\""), "{line}");
    watcher.check(b"RESET\r\n", b"+RESET\r\n").await;
    other.check(b"SET k v\r\n", b"+OK\r\n").await;
    watcher
        .check(b"PING\r\n", b"-NOAUTH Authentication required.\r\n")
        .await;
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_monitored_over_rest() {
    let server = start().await;
    let mut events = Http::connect(server.http()).await;
    let full = "authorization: Bearer full";
    events.send("POST", "/monitor", &[full], b"[]").await;
    let head = events.head().await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let event = async |events: &mut Http| loop {
        let line = events.line().await;
        if line.starts_with("data: ") {
            return line;
        }
    };
    assert_eq!(event(&mut events).await, "data: \"OK\"");
    let mut http = Http::connect(server.http()).await;
    http.post("/set/k/v", "").await;
    let line = event(&mut events).await;
    assert!(line.contains(" [0 127.0.0.1:"), "{line}");
    assert!(line.ends_with("] \"set\" \"k\" \"v\""), "{line}");

    let mut reader = Http::connect(server.http()).await;
    reader.send("GET", "/monitor?_token=read", &[], b"").await;
    let head = reader.head().await;
    assert_eq!(head.status, 400);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_commands_until_it_ends() {
    let server = start().await;
    let mut one = Resp::authenticated(server.resp()).await;
    let mut other = Resp::authenticated(server.resp()).await;
    one.check(b"CLIENT PAUSE 60000 WRITE\r\n", b"+OK\r\n").await;
    other.check(b"GET k\r\n", b"$-1\r\n").await;
    other.send(b"SET k v\r\n").await;
    let mut http = Http::connect(server.http()).await;
    let set = tokio::spawn(async move { http.post("/set/h/v", "").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    one.check(b"EXISTS k h\r\n", b":0\r\n").await;
    assert!(!set.is_finished());
    one.check(b"CLIENT UNPAUSE\r\n", b"+OK\r\n").await;
    other.expect(b"+OK\r\n").await;
    assert_eq!(set.await.unwrap().text(), r#"{"result":"OK"}"#);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_debug_sleep_keeps_only_its_keyspace() {
    let server = start_with(|config| config.settings.debug_command = true).await;
    let mut sleeper = Resp::authenticated(server.resp()).await;
    let mut other = Resp::authenticated(server.resp()).await;
    let began = Instant::now();
    sleeper.send(b"DEBUG SLEEP 0.5\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut http = Http::connect(server.http()).await;
    http.send("GET", "/live", &[], b"").await;
    assert_eq!(http.head().await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(400));
    other.check(b"GET k\r\n", b"$-1\r\n").await;
    assert!(began.elapsed() >= Duration::from_millis(500));
    sleeper.expect(b"+OK\r\n").await;
    server.shutdown().await;
}
