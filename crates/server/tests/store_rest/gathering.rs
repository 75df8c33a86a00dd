//! Calls gather while a request is on its way, and only then.

use std::time::Duration;

use sangam_store::{Commands, Error, Options, Reply};
use tokio::time::timeout;

use crate::endpoint::{Act, Endpoint, SHORT, all_ok, commands};
use crate::{DEADLINE, connect, join_all, one_slot};

/// Holds the first call back until the gate opens.
async fn holding() -> Endpoint {
    Endpoint::start(|seen| {
        if seen.text().contains("\"first\"") {
            return Act::WhenOpen(all_ok(seen));
        }
        Act::Answer(all_ok(seen))
    })
    .await
}

#[tokio::test]
async fn what_waits_leaves_together_and_what_finds_a_slot_free_at_once() {
    let endpoint = holding().await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let mut pipeline = Commands::new();
    pipeline
        .push(&[b"SET", b"c", b"3"])
        .push(&[b"SET", b"d", b"4"]);
    let mut unit = Commands::new();
    unit.push(&[b"SET", b"t", b"5"]);
    let first = store.call(&[b"SET", b"first", b"1"]);
    let others = async {
        endpoint.until_seen(2).await;
        let calls = async {
            let (two, both, unit, last) = tokio::join!(
                store.call(&[b"SET", b"b", b"2"]),
                store.pipeline(&pipeline),
                store.transaction(&unit),
                store.call(&[b"SET", b"e", b"6"]),
            );
            assert_eq!(two, Ok(Reply::OK));
            assert_eq!(both, [Ok(Reply::OK), Ok(Reply::OK)]);
            // This endpoint does not answer JSON: what came cannot be read.
            assert!(matches!(unit, Err(Error::Indeterminate(_))), "{unit:?}");
            assert_eq!(last, Ok(Reply::OK));
        };
        let ((), ()) = tokio::join!(calls, async {
            tokio::task::yield_now().await;
            endpoint.open();
        });
    };
    let (first, ()) = timeout(DEADLINE, async { tokio::join!(first, others) })
        .await
        .unwrap();
    assert_eq!(first, Ok(Reply::OK));
    let seen = endpoint.seen();
    let paths: Vec<&str> = seen.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/", "/pipeline", "/multi-exec", "/"]);
    assert_eq!(seen[0].text(), r#"["SET","first","1"]"#);
    assert_eq!(
        seen[1].text(),
        r#"[["SET","b","2"],["SET","c","3"],["SET","d","4"]]"#
    );
    assert_eq!(seen[2].text(), r#"[["SET","t","5"]]"#);
    assert_eq!(seen[3].text(), r#"["SET","e","6"]"#);
}

#[tokio::test]
async fn a_request_stays_below_the_limits() {
    let endpoint = holding().await;
    let options = Options {
        rest_batch: 3,
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    let large = vec![b'x'; 3 << 20];
    let huge = vec![b'x'; 9 << 20];
    let first = store.call(&[b"SET", b"first", b"1"]);
    let others = async {
        endpoint.until_seen(2).await;
        let values: Vec<&[u8]> = vec![b"1", b"2", b"3", b"4", &large, &large, &huge, b"5"];
        let calls = values
            .into_iter()
            .map(|value| async { store.call(&[b"SET", b"k", value]).await.unwrap() });
        tokio::join!(join_all(calls), async {
            tokio::task::yield_now().await;
            endpoint.open();
        });
    };
    let (first, ()) = tokio::join!(first, others);
    first.unwrap();
    let sizes: Vec<(usize, usize)> = endpoint
        .seen()
        .iter()
        .map(|it| (commands(it), it.body.len() >> 20))
        .collect();
    assert_eq!(sizes, [(1, 0), (3, 0), (3, 6), (1, 9), (1, 0)]);
}

#[tokio::test]
async fn who_gives_up_in_the_queue_is_not_sent() {
    let endpoint = holding().await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let first = {
        let store = store.clone();
        tokio::spawn(async move { store.call(&[b"SET", b"first", b"1"]).await })
    };
    endpoint.until_seen(2).await;
    let kept = store.call(&[b"SET", b"kept", b"2"]);
    tokio::pin!(kept);
    {
        let mut given_up = Box::pin(store.call(&[b"SET", b"given up", b"1"]));
        let poll_both = std::future::poll_fn(|context| {
            assert!(given_up.as_mut().poll(context).is_pending());
            assert!(kept.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        });
        poll_both.await;
    }
    endpoint.open();
    assert_eq!(kept.await, Ok(Reply::OK));
    assert_eq!(first.await.unwrap(), Ok(Reply::OK));
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].text(), r#"["SET","kept","2"]"#);
}

#[tokio::test]
async fn waiting_in_the_queue_had_no_effect_and_being_on_the_way_may_have() {
    let endpoint = holding().await;
    let options = Options {
        command_timeout: SHORT,
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    let (sent, (queued, queued_unit)) =
        tokio::join!(store.call(&[b"SET", b"first", b"1"]), async {
            endpoint.until_seen(2).await;
            let mut unit = Commands::new();
            unit.push(&[b"INCR", b"n"]);
            tokio::join!(store.call(&[b"INCR", b"n"]), store.transaction(&unit))
        });
    assert!(matches!(sent, Err(Error::Indeterminate(_))), "{sent:?}");
    assert!(matches!(queued, Err(Error::Unavailable(_))), "{queued:?}");
    assert!(
        matches!(queued_unit, Err(Error::Unavailable(_))),
        "{queued_unit:?}"
    );
    assert_eq!(endpoint.seen().len(), 1);
    // The slot is free again: on a new connection, since the old one owes an answer.
    endpoint.until_left(1).await;
    let next = timeout(Duration::from_secs(5), store.call(&[b"SET", b"k", b"1"]));
    assert_eq!(next.await.unwrap(), Ok(Reply::OK));
    assert_eq!(endpoint.seen()[1].connection, 2);
}
