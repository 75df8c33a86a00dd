//! The servers that the rig starts: one, paused, restarted, copied, in a
//! cluster, under sentinels.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use sangam_rig::redis::{Answer, Client, Cluster, Redis, Sentinel, TLS_CA};
use sangam_rig::wait::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

#[tokio::test]
async fn a_password_and_users_are_asked_for() {
    let redis = Redis::options()
        .password("secret")
        .user("app on >hidden ~app:* +@all -@dangerous")
        .start()
        .await;
    assert_eq!(redis.url(), format!("redis://:secret@{}", redis.addr()));
    let mut stranger = Client::connect(redis.addr()).await.unwrap();
    assert!(matches!(
        stranger.call(&["GET", "app:k"]).await.unwrap(),
        Answer::Error(text) if text.starts_with("NOAUTH")
    ));
    stranger.call(&["AUTH", "app", "hidden"]).await.unwrap();
    assert_eq!(stranger.call(&["GET", "app:k"]).await.unwrap(), Answer::Nil);
    assert!(matches!(
        stranger.call(&["GET", "other"]).await.unwrap(),
        Answer::Error(text) if text.starts_with("NOPERM")
    ));
    assert_eq!(redis.call(&["DBSIZE"]).await, Answer::Int(0));
}

#[tokio::test]
async fn tls_is_answered_under_a_certificate_that_our_authority_signed() {
    let redis = Redis::options().tls().start().await;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(TLS_CA.as_bytes()).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for name in ["localhost", "127.0.0.1"] {
        let stream = tokio::net::TcpStream::connect(redis.tls_addr().unwrap())
            .await
            .unwrap();
        let name = ServerName::try_from(name).unwrap();
        let mut tls = connector.connect(name, stream).await.unwrap();
        tls.write_all(b"PING\r\n").await.unwrap();
        let mut reply = [0; 7];
        tls.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }
}

#[tokio::test]
async fn a_paused_server_answers_when_it_goes_on() {
    let redis = Redis::start().await;
    let mut client = redis.client().await;
    redis.pause();
    client.send(&["PING"]).await.unwrap();
    assert!(
        timeout(Duration::from_millis(150), client.read())
            .await
            .is_err()
    );
    redis.resume();
    assert_eq!(client.read().await.unwrap().text(), "PONG");
}

#[tokio::test]
async fn a_killed_server_is_empty_on_the_same_port_again() {
    let mut redis = Redis::start().await;
    let addr = redis.addr();
    redis.call(&["SET", "k", "v"]).await;
    redis.kill();
    assert!(Client::connect(addr).await.is_err());
    redis.restart().await;
    assert_eq!(redis.addr(), addr);
    assert_eq!(redis.call(&["GET", "k"]).await, Answer::Nil);
    // Also a paused one ends, and one that is not killed first.
    redis.pause();
    redis.restart().await;
    assert_eq!(redis.call(&["DBSIZE"]).await, Answer::Int(0));
    drop(redis);
    assert!(Client::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_replica_copies_its_master() {
    let master = Redis::options().password("secret").start().await;
    let replica = Redis::start().await;
    master.call(&["SET", "before", "1"]).await;
    replica.replica_of(&master).await;
    assert_eq!(replica.call(&["GET", "before"]).await.text(), "1");
    master.call(&["SET", "after", "2"]).await;
    assert_eq!(master.call(&["WAIT", "1", "5000"]).await, Answer::Int(1));
    assert_eq!(replica.call(&["GET", "after"]).await.text(), "2");
}

#[tokio::test]
async fn a_cluster_redirects_and_survives_the_loss_of_a_master() {
    let mut cluster = Cluster::start(3, 1).await;
    assert_eq!(cluster.addrs().len(), 6);
    let holders = cluster.holders("k").await;
    let [master, replica] = holders.as_slice() else {
        panic!("{holders:?}");
    };
    let other = (0..3).find(|node| node != master).unwrap();
    let mut asked = cluster.nodes()[other].client().await;
    let moved = asked.call(&["GET", "k"]).await.unwrap();
    let expected = format!("{}", cluster.nodes()[*master].addr());
    assert!(
        matches!(&moved, Answer::Error(text) if text.starts_with("MOVED") && text.ends_with(&expected)),
        "{moved:?}"
    );
    let node = &cluster.nodes()[*master];
    let mut client = node.client().await;
    client.call(&["SET", "k", "v"]).await.unwrap();
    // On the connection that wrote, which WAIT asks about.
    assert_eq!(
        client.call(&["WAIT", "1", "5000"]).await.unwrap(),
        Answer::Int(1)
    );

    assert_eq!(cluster.fail_over("k").await, (*master, *replica));
    assert_eq!(
        cluster.nodes()[*replica].call(&["GET", "k"]).await.text(),
        "v"
    );
    cluster.restart(*master).await;
    assert_eq!(cluster.switch_over("k").await, (*replica, *master));
    assert_eq!(
        cluster.nodes()[*master].call(&["GET", "k"]).await.text(),
        "v"
    );
}

#[tokio::test]
async fn a_cluster_behind_proxies_redirects_to_them() {
    let cluster = Cluster::behind_proxies(3, 0).await;
    let master = cluster.holders("k").await[0];
    let other = (master + 1) % 3;
    let proxies = cluster.proxies();
    let mut asked = Client::connect(proxies[other].addr()).await.unwrap();
    let moved = asked.call(&["SET", "k", "v"]).await.unwrap();
    let expected = format!("{}", proxies[master].addr());
    assert!(
        matches!(&moved, Answer::Error(text) if text.ends_with(&expected)),
        "{moved:?}"
    );
    let mut client = Client::connect(proxies[master].addr()).await.unwrap();
    assert_eq!(client.call(&["SET", "k", "v"]).await.unwrap().text(), "OK");
}

#[tokio::test]
async fn sentinels_name_another_master_when_theirs_dies() {
    let mut set = Sentinel::start(2).await;
    let master = &set.nodes()[set.master().await];
    let mut client = master.client().await;
    client.call(&["SET", "k", "v"]).await.unwrap();
    assert_eq!(
        client.call(&["WAIT", "2", "5000"]).await.unwrap(),
        Answer::Int(2)
    );
    let (old, new) = set.fail_over().await;
    assert_ne!(old, new);
    assert_eq!(set.master().await, new);
    assert_eq!(set.nodes()[new].call(&["GET", "k"]).await.text(), "v");
    assert_eq!(set.nodes()[new].call(&["SET", "k", "w"]).await.text(), "OK");
    set.restart(old).await;
    until("the old master to copy the new one", || async {
        let text = set.nodes()[old].call(&["GET", "k"]).await.text();
        if text == "w" { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test]
async fn sentinels_behind_proxies_name_the_proxies() {
    let mut set = Sentinel::behind_proxies(1).await;
    let named = |answer: &Answer| answer.items()[1].int().unwrap();
    let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
    let mut sentinel = Client::connect(set.sentinels()[0]).await.unwrap();
    let before = named(&sentinel.call(&ask).await.unwrap());
    assert_eq!(before, i64::from(set.proxies()[0].addr().port()));
    assert_eq!(set.fail_over().await, (0, 1));
    let after = named(&sentinel.call(&ask).await.unwrap());
    assert_eq!(after, i64::from(set.proxies()[1].addr().port()));
}

/// Says so in the process that is to be killed.
const CHILD: &str = "RIG_TEST_CHILD";

#[tokio::test]
async fn a_server_ends_with_a_process_that_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        let redis = Redis::start().await;
        println!("\nat {}", redis.addr());
        std::future::pending::<()>().await;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_server_ends_with_a_process_that_is_killed",
            "--nocapture",
        ])
        .env(CHILD, "yes")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let addr: std::net::SocketAddr = std::io::BufReader::new(child.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("at ")?.parse().ok())
        .unwrap();
    let mut client = Client::connect(addr).await.unwrap();
    let folder = client
        .call(&["CONFIG", "GET", "dir"])
        .await
        .unwrap()
        .items()[1]
        .text();
    child.kill().unwrap();
    child.wait().unwrap();
    until("its server to end", || async {
        match Client::connect(addr).await {
            Err(_) if !std::path::Path::new(&folder).exists() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
