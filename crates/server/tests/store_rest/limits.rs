//! Answers that are too large, by our limit and by the endpoint's.

use sangam_server::{Config, Server};
use sangam_store::{Commands, Error, Options, Reply, Store};

use crate::endpoint::{Act, Endpoint, answer, resp};
use crate::{connect, gateway, join_all, one_slot};

#[tokio::test]
async fn what_is_above_our_limit_is_not_read() {
    let (_server, url) = gateway(|_| {}).await;
    let options = Options {
        rest_reply_max: 50_000,
        ..one_slot()
    };
    let store = connect(&url, options).await.unwrap();
    store
        .call(&[b"SET", b"k", &vec![b'x'; 60_000]])
        .await
        .unwrap();
    let error = store.call(&[b"GET", b"k"]).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("more than 50000 bytes (option `rest_reply_max`)"),
        "{text}"
    );
    let error = store.call(&[b"GETDEL", b"k"]).await.unwrap_err();
    assert!(matches!(error, Error::Indeterminate(_)), "{error:?}");
    assert_eq!(store.call(&[b"GET", b"k"]).await, Ok(Reply::Null));
}

#[tokio::test]
async fn a_length_that_is_not_announced_is_bounded_too() {
    let endless = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        b"400\r\n".to_vec(),
        vec![b'x'; 0x400],
        b"\r\n400\r\n".to_vec(),
        vec![b'x'; 0x400],
        b"\r\n".to_vec(),
    ]
    .concat();
    let endpoint = Endpoint::start(move |_| Act::Silence(endless.clone())).await;
    let options = Options {
        rest_reply_max: 2000,
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    let error = store.call(&[b"GET", b"k"]).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
    endpoint.until_left(1).await;
}

#[tokio::test]
async fn reads_that_are_too_large_together_are_asked_one_by_one() {
    let limit = 100_000;
    let (_server, url) = gateway(|config| config.max_request_size = limit).await;
    for rest_reply_max in [limit, 1 << 20] {
        let options = Options {
            rest_reply_max,
            rest_slots: 1,
            ..Options::default()
        };
        let store = connect(&url, options).await.unwrap();
        for key in [b"a", b"b", b"c"] {
            let value = key.repeat(60_000);
            store.call(&[b"SET", key, &value]).await.unwrap();
        }
        // The first occupies the slot, so that the others gather.
        let gets = [b"a", b"b", b"c", b"a", b"b"].map(|key| {
            let store = &store;
            async move { store.call(&[b"GET", key]).await.map(|it| (key, it)) }
        });
        for outcome in join_all(gets).await {
            let (key, reply) = outcome.unwrap();
            assert_eq!(reply, Reply::bulk(key.repeat(60_000)));
        }
    }
}

#[tokio::test]
async fn writes_among_what_is_too_large_together_are_unknown() {
    let refusal = r#"{"error":"ERR max request size exceeded. Limit: 10 bytes, Actual: 20 bytes"}"#;
    let endpoint = Endpoint::start(move |seen| match seen.path.as_str() {
        "/pipeline" => Act::Answer(answer("400 Bad Request", &[], refusal)),
        _ if seen.text().contains("first") => Act::WhenOpen(resp("+OK\r\n")),
        _ => Act::Answer(resp("$1\r\nv\r\n")),
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let get: [&[u8]; 2] = [b"GET", b"k"];
    let del: [&[u8]; 2] = [b"GETDEL", b"k"];
    let (_, (read, write)) = tokio::join!(store.call(&[b"GET", b"first"]), async {
        endpoint.until_seen(1).await;
        let both = async { tokio::join!(store.call(&get), store.call(&del)) };
        let (both, ()) = tokio::join!(both, async {
            tokio::task::yield_now().await;
            endpoint.open();
        });
        both
    });
    assert_eq!(read, Ok(Reply::bulk("v")));
    assert!(matches!(write, Err(Error::Indeterminate(_))), "{write:?}");
    let paths: Vec<_> = endpoint.seen().into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/", "/pipeline", "/"]);
}

/// What became of a GETDEL by itself, and of one in a transaction.
async fn consumed(store: &Store) -> [Error; 2] {
    let del: [&[u8]; 2] = [b"GETDEL", b"k"];
    let alone = store.call(&del).await.unwrap_err();
    let mut unit = Commands::new();
    unit.push(&del);
    [alone, store.transaction(&unit).await.unwrap_err()]
}

#[tokio::test]
async fn a_write_whose_reply_is_too_large_for_the_endpoint_is_unknown() {
    let refusal =
        r#"{"error":"ERR max request size exceeded. Limit: 100 bytes, Actual: 120 bytes"}"#;
    let endpoint =
        Endpoint::start(move |_| Act::Answer(answer("400 Bad Request", &[], refusal))).await;
    let store = connect(&endpoint.url(), Options::default()).await.unwrap();
    for error in consumed(&store).await {
        assert!(matches!(error, Error::Indeterminate(_)), "{error:?}");
    }
    // It did nothing, or it was refused before it ran.
    let large = [b'x'; 100];
    let requests: [&[&[u8]]; 2] = [&[b"GET", b"k"], &[b"SET", b"k", &large]];
    for argv in requests {
        let error = store.call(argv).await.unwrap_err();
        assert!(matches!(error, Error::Command(_)), "{error:?}");
    }
    assert_eq!(endpoint.seen().len(), 4, "none is repeated");
}

#[tokio::test]
async fn where_it_is_undone_it_had_no_effect() {
    let (_server, url) = gateway(|config| config.max_request_size = 1000).await;
    let store = connect(&url, one_slot()).await.unwrap();
    for _ in 0..2 {
        let half: [&[u8]; 3] = [b"APPEND", b"k", &[b'x'; 600]];
        store.call(&half).await.unwrap();
    }
    for error in consumed(&store).await {
        assert!(matches!(error, Error::Command(_)), "{error:?}");
    }
    assert_eq!(store.call(&[b"STRLEN", b"k"]).await, Ok(Reply::Int(1200)));
}

#[tokio::test]
async fn a_gateway_over_a_store_does_not_undo_it() {
    let behind = Store::memory();
    let mut config = Config::in_memory("full");
    config.max_request_size = 1000;
    let server = Server::start_over(behind.clone(), config).await.unwrap();
    let url = format!("http://{}", server.http());
    let store = connect(&url, one_slot()).await.unwrap();
    let value = [b'x'; 1200];
    behind.call(&[b"SET", b"k", &value]).await.unwrap();
    let error = store.call(&[b"GETDEL", b"k"]).await.unwrap_err();
    assert!(matches!(error, Error::Indeterminate(_)), "{error:?}");
    assert_eq!(behind.call(&[b"GET", b"k"]).await, Ok(Reply::Null));
}
