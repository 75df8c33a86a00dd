//! `https`, and what is said where there is none.

use sangam_server::config::TlsFiles;
use sangam_store::{Error, Event, Reply, Topic};

use crate::{DEADLINE, connect, gateway, one_slot};

fn file(name: &str) -> String {
    format!("{}/../rig/src/redis/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

async fn secure(http: &str) -> (sangam_server::Running, String) {
    let (server, _) = gateway(|config| {
        http.clone_into(&mut config.http);
        config.tls = Some(TlsFiles {
            cert: file("cert.pem").into(),
            key: file("key.pem").into(),
        });
    })
    .await;
    let url = format!("https://{}", server.http());
    (server, url)
}

async fn refusal(url: &str) -> String {
    match connect(url, one_slot()).await {
        Err(Error::Setting(text)) => {
            assert!(!text.contains('\n'), "{text}");
            text
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_is_named_in_the_url() {
    let (server, url) = secure("127.0.0.1:0").await;
    let ca = file("ca.pem");
    let store = connect(&format!("{url}/?ca={ca}"), one_slot())
        .await
        .unwrap();
    assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
    let mut messages = store.subscribe(Topic::Channel, &[b"c"]).await.unwrap();
    store.call(&[b"PUBLISH", b"c", b"hello"]).await.unwrap();
    let event = tokio::time::timeout(DEADLINE, messages.next())
        .await
        .unwrap();
    assert!(matches!(event, Some(Event::Message(it)) if &*it.payload == b"hello"));

    let text = refusal(&url).await;
    assert_eq!(
        text,
        format!(
            "setting `SANGAM_STORE`: {url} has a certificate of an authority that this machine \
             does not trust: name a file with that authority's by ?ca=<file>"
        )
    );
    let plain = format!("http://{}", server.http());
    let text = refusal(&plain).await;
    assert_eq!(
        text,
        format!(
            "setting `SANGAM_STORE`: {plain} does not speak HTTP: write https:// if it speaks TLS"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name() {
    let (_server, url) = secure("127.0.0.2:0").await;
    let text = refusal(&format!("{url}?ca={}", file("ca.pem"))).await;
    assert_eq!(
        text,
        format!("setting `SANGAM_STORE`: {url} has a certificate for another name than 127.0.0.2")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_to_a_port_without_tls() {
    let (server, _) = gateway(|_| {}).await;
    let url = format!("https://{}", server.http());
    let text = refusal(&format!("{url}?ca={}", file("ca.pem"))).await;
    assert_eq!(
        text,
        format!(
            "setting `SANGAM_STORE`: {url} does not speak TLS: write http:// if it is meant to"
        )
    );
}
