//! What is wrong with a setting is said in one line that names it.

use sangam_rig::redis::{Redis, TLS_CA};
use sangam_rig::wait::until;
use sangam_store::{Error, Reply, Status};

use crate::{connect, store};

/// The error of connecting to what no waiting heals.
async fn refused(url: &str) -> String {
    let outcome = connect(url).await;
    let error = match outcome {
        Err(error) => error,
        Ok(store) => panic!("{url} was taken: {:?}", store.state()),
    };
    assert!(matches!(error, Error::Setting(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("setting `REDIS_URL`: redis"), "{text}");
    assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
    text
}

async fn refused_with(url: &str, words: &[&str]) {
    let text = refused(url).await;
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

/// The reason why a store is down.
async fn down(url: &str) -> String {
    let store = connect(url).await.unwrap();
    let state = store.state();
    assert_eq!(state.status, Status::Down, "{url}");
    state.reason
}

#[tokio::test]
async fn nobody_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let reason = down(&format!("redis://u:secret@{addr}")).await;
    assert!(
        reason.starts_with(&format!(
            "cannot connect to redis://{addr}: Connection refused"
        )),
        "{reason}"
    );
    let reason = down("redis://no-such-host.invalid").await;
    assert!(
        reason.starts_with("cannot connect to redis://no-such-host.invalid:6379: "),
        "{reason}"
    );
    let reason = down("unix:///no/such.sock").await;
    assert!(
        reason.contains("unix:///no/such.sock: No such file"),
        "{reason}"
    );
}

#[tokio::test]
async fn logging_in() {
    let redis = Redis::options()
        .password("p")
        .user("app on >s ~* +@all")
        .start()
        .await;
    let addr = redis.addr();
    refused_with(
        &format!("redis://:secret@{addr}"),
        &["refuses the user or the password", "WRONGPASS"],
    )
    .await;
    refused_with(
        &format!("redis://app:secret@{addr}"),
        &["refuses the user or the password"],
    )
    .await;
    refused_with(
        &format!("redis://{addr}"),
        &["asks for a password", "redis://:password@host"],
    )
    .await;
    let name = store(&format!("redis://app:s@{addr}"))
        .await
        .call(&[b"ACL", b"WHOAMI"])
        .await;
    assert_eq!(name, Ok(Reply::bulk("app")));
    let open = Redis::start().await;
    refused_with(
        &format!("redis://:secret@{}?protocol=resp2", open.addr()),
        &["has no password, and the URL gives one"],
    )
    .await;
}

#[tokio::test]
async fn what_a_user_may_not_do() {
    let redis = Redis::options()
        .user("app on >s ~* +@all -ping")
        .start()
        .await;
    refused_with(
        &format!("redis://app:s@{}", redis.addr()),
        &["run PING", "ACL SETUSER app +ping"],
    )
    .await;
    let redis = Redis::options()
        .user("app on >s ~* +@all -role")
        .start()
        .await;
    refused_with(
        &format!("redis://app:s@{}?protocol=resp2", redis.addr()),
        &["run ROLE", "ACL SETUSER app +role"],
    )
    .await;
}

#[tokio::test]
async fn databases() {
    let redis = Redis::start().await;
    refused_with(
        &format!("redis://{}/99", redis.addr()),
        &["has no database 99"],
    )
    .await;
}

#[tokio::test]
async fn a_replica() {
    let (master, replica) = (Redis::start().await, Redis::start().await);
    replica.replica_of(&master).await;
    for query in ["", "?protocol=resp2"] {
        refused_with(
            &format!("redis://{}{query}", replica.addr()),
            &["is a replica: point REDIS_URL at its master, or name the sentinels"],
        )
        .await;
    }
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let (one, other) = (Redis::start().await, Redis::start().await);
    let store = store(&one.url()).await;
    one.replica_of(&other).await;
    until("the store to say so", || async {
        match store.call(&[b"SET", b"k", b"v"]).await {
            Err(Error::Setting(text)) if text.contains("is a replica") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(other.call(&["EXISTS", "k"]).await.int(), Some(0));
    one.call(&["REPLICAOF", "NO", "ONE"]).await;
    until("the store to be up again", || async {
        store
            .call(&[b"SET", b"k", b"v"])
            .await
            .map_err(|error| error.to_string())
    })
    .await;
}

/// Something that answers each connection in one way.
struct Answering {
    addr: std::net::SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Answering {
    async fn with(answer: &'static [u8]) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut asked = [0; 256];
                let _ = socket.read(&mut asked).await;
                let _ = socket.write_all(answer).await;
            }
        });
        Answering { addr, task }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn not_a_redis() {
    for (answer, words) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            "answers HTTP",
        ),
        (b"<html>400</html>", "answers HTTP"),
        (
            b"220 mail.example ESMTP\r\n",
            "does not speak Redis' protocol",
        ),
        (
            b"SSH-2.0-OpenSSH_9.6\r\n",
            "it answers \"SSH-2.0-OpenSSH_9.6",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "speaks TLS"),
        (
            b"-DENIED Redis is running in protected mode because ...\r\n",
            "is in protected mode",
        ),
    ] {
        let other = Answering::with(answer).await;
        refused_with(&format!("redis://{}", other.addr), &[words]).await;
    }
}

#[tokio::test]
async fn what_passes_is_no_setting() {
    for (answer, words) in [
        (
            &b"+OK\r\n-LOADING Redis is loading the dataset in memory\r\n"[..],
            "cannot serve now: LOADING",
        ),
        (b"-BUSY Redis is busy running a script\r\n+OK\r\n", "BUSY"),
        (b"+OK\r\n", "it closed the connection"),
    ] {
        let other = Answering::with(answer).await;
        let reason = down(&format!("redis://{}", other.addr)).await;
        assert!(reason.contains(words), "{reason}");
    }
}

struct Authority(std::path::PathBuf);

impl Authority {
    fn new(name: &str) -> Self {
        let name = format!("sangam-ca-{name}-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, TLS_CA).unwrap();
        Authority(path)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn over_tls() {
    let authority = Authority::new("calls");
    let redis = Redis::options().password("p").tls().start().await;
    let addr = redis.tls_addr().unwrap();
    let url = format!("rediss://:p@{addr}?ca={}", authority.0.display());
    let store = store(&url).await;
    assert_eq!(store.call(&[b"SET", b"k", b"v"]).await, Ok(Reply::OK));
    let large = vec![b'x'; 2 << 20];
    store.call(&[b"SET", b"l", &large]).await.unwrap();
    assert_eq!(store.call(&[b"GET", b"l"]).await, Ok(Reply::Bulk(large)));
    let replies = store
        .transaction(&crate::commands(&[&["GET", "k"]]))
        .await
        .unwrap();
    assert_eq!(replies, [Ok(Reply::bulk("v"))]);
    let mut news = store
        .subscribe(sangam_store::Topic::Channel, &[b"c"])
        .await
        .unwrap();
    store.call(&[b"PUBLISH", b"c", b"x"]).await.unwrap();
    assert!(matches!(
        news.next().await,
        Some(sangam_store::Event::Message(_))
    ));
    let localhost = url.replace("127.0.0.1", "localhost");
    assert!(connect(&localhost).await.is_ok());
}

#[tokio::test]
async fn what_goes_wrong_with_tls() {
    let authority = Authority::new("faults");
    let redis = Redis::options().tls().start().await;
    let (plain, tls) = (redis.addr(), redis.tls_addr().unwrap());
    let ca = authority.0.display();
    refused_with(
        &format!("rediss://{tls}"),
        &["unknown authority", "?ca=<PEM file>"],
    )
    .await;
    refused_with(&format!("redis://{tls}"), &["speaks TLS: write rediss://"]).await;
    refused_with(
        &format!("rediss://{plain}?ca={ca}"),
        &["does not speak TLS: write redis://"],
    )
    .await;
    // The certificate is for 127.0.0.1: the same server by another name.
    redis
        .call(&["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"])
        .await;
    refused_with(
        &format!("rediss://127.0.0.2:{}?ca={ca}", tls.port()),
        &["a certificate that does not hold"],
    )
    .await;
    let missing = connect(&format!("rediss://{tls}?ca=/no/such.pem"))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("/no/such.pem"), "{missing}");
    let strict = Redis::options().tls().start().await;
    strict
        .call(&["CONFIG", "SET", "tls-auth-clients", "yes"])
        .await;
    refused_with(
        &format!("rediss://{}?ca={ca}", strict.tls_addr().unwrap()),
        &["may ask for a certificate of yours"],
    )
    .await;
}
