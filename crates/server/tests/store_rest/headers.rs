//! What travels beside commands: the token, the position in the writes, the time.

use std::sync::atomic::{AtomicUsize, Ordering};

use sangam_store::Commands;

use crate::endpoint::{Act, Endpoint, all_ok, answer, resp};
use crate::{connect, one_slot};

#[tokio::test]
async fn the_newest_sync_token_is_echoed() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |seen| {
        let token = format!("t{}", count.fetch_add(1, Ordering::Relaxed));
        let body = String::from_utf8(all_ok(seen)).unwrap();
        let (head, body) = body.split_once("\r\n\r\n").unwrap();
        Act::Answer(format!("{head}\r\nupstash-sync-token: {token}\r\n\r\n{body}").into_bytes())
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    for _ in 0..3 {
        store.call(&[b"SET", b"k", b"v"]).await.unwrap();
        store.call(&[b"GET", b"k"]).await.unwrap();
    }
    let seen = endpoint.seen();
    let echoed: Vec<_> = seen
        .iter()
        .map(|it| it.header("upstash-sync-token").map(str::to_owned))
        .collect();
    let expected: Vec<_> = (0..6)
        .map(|turn: usize| turn.checked_sub(1).map(|before| format!("t{before}")))
        .collect();
    assert_eq!(echoed, expected);
    assert!(
        seen.iter()
            .all(|it| it.header("authorization") == Some("Bearer full"))
    );
}

#[tokio::test]
async fn only_requests_that_may_write_have_a_name_and_each_its_own() {
    let endpoint = Endpoint::start(|seen| Act::Answer(all_ok(seen))).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    store.call(&[b"GET", b"k"]).await.unwrap();
    store.call(&[b"SET", b"k", b"v"]).await.unwrap();
    let mut commands = Commands::new();
    commands.push(&[b"GET", b"k"]).push(&[b"GET", b"k"]);
    store.pipeline(&commands).await;
    commands.push(&[b"EVAL", b"return 1", b"0"]);
    store.pipeline(&commands).await;
    let ids: Vec<_> = endpoint
        .seen()
        .iter()
        .map(|it| it.header("sangam-request-id").map(str::to_owned))
        .collect();
    let [None, Some(one), None, Some(other)] = &ids[..] else {
        panic!("{ids:?}")
    };
    assert_ne!(one, other);
    assert_eq!((one.len(), one.as_bytes()[14]), (36, b'7'));
}

#[tokio::test]
async fn time_comes_from_the_date_of_answers() {
    // Of the year 2000.
    let date = [("date", "Sat, 01 Jan 2000 00:00:00 GMT")];
    let endpoint = Endpoint::raw(move |_| Act::Answer(answer("200 OK", &date, "+PONG\r\n"))).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let then = 946_684_800_000_000;
    let now = store.now();
    assert!((then..then + 15_000_000).contains(&now), "{now}");

    // An endpoint that tells none is taken to agree with this machine.
    let endpoint = Endpoint::start(|_| Act::Answer(resp("+OK\r\n"))).await;
    let other = connect(&endpoint.url(), one_slot()).await.unwrap();
    assert!(other.now() > now + 1_000_000_000_000);
}
