//! A script that does not end holds its keyspace, and nothing else.

use std::time::{Duration, Instant};

use crate::http::Http;
use crate::start::start_with;

// One worker: only a hand-off lets anything else run.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_looping_script_leaves_the_rest_of_the_server_alone() {
    let server = start_with(|config| config.settings.busy_reply_threshold = 300).await;
    let address = server.http();
    let (worst, busy) = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut looping = Http::connect(address).await;
            let mut http = Http::connect(address).await;
            http.ask("GET", "/live", &[], b"").await;
            let script = br#"["EVAL","while true do end",0]"#;
            looping
                .send("POST", "/", &["authorization: full"], script)
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut times = Vec::new();
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(700) {
                let start = Instant::now();
                assert_eq!(http.ask("GET", "/live", &[], b"").await.status, 200);
                times.push(start.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times.sort();
            let busy = http.post("/get/k", "").await;
            let ready = http.ask("GET", "/ready", &[], b"").await;
            assert_eq!(ready.status, 503);
            assert_eq!(
                http.post("/script/kill", "").await.text(),
                r#"{"result":"OK"}"#
            );
            let killed = looping.receive(true).await;
            assert!(
                killed.text().contains("Script killed by user"),
                "{}",
                killed.text()
            );
            assert_eq!(http.post("/get/k", "").await.text(), r#"{"result":null}"#);
            // The machine may be busy with other things: the median tells.
            (times[times.len() / 2], busy)
        })
    })
    .await
    .unwrap();
    assert!(worst < Duration::from_millis(10), "{worst:?}");
    assert_eq!(busy.status, 400);
    assert!(busy.text().contains("BUSY"), "{}", busy.text());
    server.shutdown().await;
}
