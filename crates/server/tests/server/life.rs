use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use sangam_server::config::TlsFiles;
use sangam_server::data::TokenOrigin;
use sangam_server::{Config, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::http::Http;
use crate::start::{start, start_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_and_ready() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    let live = http.ask("GET", "/live", &[], b"").await;
    assert_eq!((live.status, live.text()), (200, r#"{"status":"live"}"#));
    let ready = http.ask("GET", "/ready", &[], b"").await;
    assert_eq!(ready.status, 200);
    let begin = r#"{"status":"ready","checks":{"database":null,"redis":true,"timestamp":"#;
    assert!(ready.text().starts_with(begin), "{}", ready.text());
    assert_eq!(http.ask("POST", "/live", &[], b"").await.status, 405);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_for_bearers_of_a_token() {
    let server = start().await;
    let mut http = Http::connect(server.http()).await;
    assert_eq!(http.ask("GET", "/metrics", &[], b"").await.status, 401);
    http.post("/set/a/b", "").await;
    let user = r#"["ACL","SETUSER","u","on","nopass","~*","+get"]"#;
    assert_eq!(http.post("/", user).await.status, 200);
    let token = http.post("/", r#"["ACL","RESTTOKEN","u","x"]"#).await;
    let token: serde_json::Value = serde_json::from_slice(&token.body).unwrap();
    let token = token["result"].as_str().unwrap();
    let by_user = format!("authorization: Bearer {token}");
    let refused = http.ask("GET", "/metrics", &[&by_user], b"").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("NOPERM"), "{}", refused.text());
    let page = http.ask("GET", "/metrics?_token=read", &[], b"").await;
    assert_eq!(page.status, 200);
    for line in [
        "sangam_keys{keyspace=\"default\"} 1\n",
        "# TYPE sangam_commands_total counter\n",
        "sangam_memory_bytes{keyspace=\"default\"} ",
        "sangam_writes_refused 0\n",
        "sangam_resp_connections 0\n",
        "sangam_uptime_seconds ",
    ] {
        assert!(page.text().contains(line), "{line}: {}", page.text());
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_closes_idle_connections_and_the_ports() {
    let server = start().await;
    let (http, resp) = (server.http(), server.resp().unwrap());
    let mut idle_http = Http::connect(http).await;
    assert_eq!(idle_http.post("/ping", "").await.status, 200);
    let mut idle_resp = TcpStream::connect(resp).await.unwrap();
    idle_resp.write_all(b"AUTH full\r\n").await.unwrap();
    let mut reply = [0; 5];
    idle_resp.read_exact(&mut reply).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.shutdown())
        .await
        .unwrap();
    assert_eq!(idle_resp.read(&mut reply).await.unwrap(), 0);
    assert_eq!(idle_http.stream.read(&mut reply).await.unwrap(), 0);
    assert!(TcpStream::connect(http).await.is_err());
    assert!(TcpStream::connect(resp).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_made_once_and_a_folder_serves_one_process() {
    let folder = std::env::temp_dir().join(format!("sangam-life-{}", std::process::id()));
    let config = || {
        let mut config = Config::in_memory("");
        config.token = None;
        config.data = Some(folder.clone());
        config
    };
    let mut exposed = config();
    exposed.http = "0.0.0.0:0".to_owned();
    let refused = Server::start(exposed.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("`http`") && refused.contains("SANGAM_TOKEN"),
        "{refused}"
    );

    let first = Server::start(config()).await.unwrap();
    let token = first.token().to_owned();
    assert_eq!(token.len(), 43);
    assert_eq!(
        *first.token_origin(),
        TokenOrigin::Kept(folder.join("token"))
    );
    let refused = Server::start(config()).await.unwrap_err().to_string();
    assert!(
        refused.contains(&format!("process {}", std::process::id())),
        "{refused}"
    );
    first.shutdown().await;
    // Now there is a token, so others may come.
    let second = Server::start(exposed).await.unwrap();
    assert_eq!(second.token(), token);
    second.shutdown().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_names_the_setting() {
    let server = start().await;
    let mut config = Config::in_memory("t");
    config.resp = server.resp().map(|address| address.to_string());
    let refused = Server::start(config).await.unwrap_err().to_string();
    assert!(
        refused.contains("`resp`: --resp or SANGAM_RESP"),
        "{refused}"
    );
    server.shutdown().await;
}

fn tls_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/server/tls", name]
        .iter()
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_doors_speak_tls() {
    let server = start_with(|config| {
        config.tls = Some(TlsFiles {
            cert: tls_file("cert.pem"),
            key: tls_file("key.pem"),
        });
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(tls_file("cert.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    for (address, sent, expected) in [
        (
            server.resp().unwrap(),
            &b"AUTH full\r\nPING\r\n"[..],
            &b"+OK\r\n+PONG\r\n"[..],
        ),
        (
            server.http(),
            b"GET /live HTTP/1.1\r\nhost: a\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
        ),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(
            got.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
    server.shutdown().await;

    let mut config = Config::in_memory("t");
    config.tls = Some(TlsFiles {
        cert: tls_file("key.pem"),
        key: tls_file("key.pem"),
    });
    let refused = Server::start(config).await.unwrap_err().to_string();
    assert!(refused.contains("`tls-cert`"), "{refused}");
}
