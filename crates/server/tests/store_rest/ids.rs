//! A write whose answer is lost: repeated under its name where the endpoint
//! honours names, else of unknown outcome.

use std::sync::atomic::{AtomicUsize, Ordering};

use sangam_rig::proxy::{Answer, Whom};
use sangam_store::{Commands, Error, Reply};

use crate::endpoint::{Act, Endpoint, SHORT, Seen, all_ok, answer, resp};
use crate::{behind_a_line, connect, one_slot};

const ID: &str = "sangam-request-id";

/// `+OK` to each command, with the request's name.
fn honouring(seen: &Seen) -> Vec<u8> {
    let text = String::from_utf8(all_ok(seen)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    match seen.header(ID) {
        Some(id) => format!("{head}\r\n{ID}: {id}\r\n\r\n{body}").into_bytes(),
        None => text.into_bytes(),
    }
}

/// Breaks off in place of the answers to calls with these numbers, from 0.
async fn breaking(honours: bool, at: &'static [usize]) -> Endpoint {
    let count = AtomicUsize::new(0);
    Endpoint::start(move |seen| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        if at.contains(&number) {
            return Act::Last(Vec::new());
        }
        Act::Answer(if honours {
            honouring(seen)
        } else {
            all_ok(seen)
        })
    })
    .await
}

#[tokio::test]
async fn it_is_repeated_under_the_same_name() {
    let endpoint = breaking(true, &[1, 2, 4]).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let incr: [&[u8]; 2] = [b"INCR", b"n"];
    assert_eq!(store.call(&incr).await, Ok(Reply::OK));
    assert_eq!(store.call(&incr).await, Ok(Reply::OK));
    let mut commands = Commands::new();
    commands.push(&incr).push(&[b"GET", b"n"]);
    assert_eq!(
        store.pipeline(&commands).await,
        [Ok(Reply::OK), Ok(Reply::OK)]
    );
    let seen = endpoint.seen();
    let ids: Vec<_> = seen.iter().map(|it| it.header(ID).unwrap()).collect();
    let [first, second, again, third, pipeline, repeated] = ids[..] else {
        panic!("{ids:?}")
    };
    assert!(second == again && again == third && pipeline == repeated);
    assert!(first != second && third != pipeline);
    assert_eq!(seen[4].body, seen[5].body);
    assert!(seen[4].connection < seen[5].connection);
}

#[tokio::test]
async fn without_that_its_outcome_is_unknown_and_it_is_sent_once() {
    let endpoint = breaking(false, &[1, 2]).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    store.call(&[b"INCR", b"n"]).await.unwrap();
    let lost = store.call(&[b"INCR", b"n"]).await;
    assert!(matches!(lost, Err(Error::Indeterminate(_))), "{lost:?}");
    // What only reads had no effect.
    let read = store.call(&[b"GET", b"n"]).await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert_eq!(endpoint.seen().len(), 3);
}

#[tokio::test]
async fn repeats_end_with_the_callers_time() {
    let endpoint = breaking(true, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
    let options = sangam_store::Options {
        command_timeout: SHORT,
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    store.call(&[b"INCR", b"n"]).await.unwrap();
    let began = std::time::Instant::now();
    let lost = store.call(&[b"INCR", b"n"]).await;
    assert!(matches!(lost, Err(Error::Indeterminate(_))), "{lost:?}");
    assert!(began.elapsed() < SHORT * 5, "{:?}", began.elapsed());
    assert!(endpoint.seen().len() > 2, "it was tried again");
}

#[tokio::test]
async fn an_answer_that_tells_nothing_of_the_first_attempt_leaves_it_unknown() {
    for (error, is_known) in [
        (
            "ERR this request was applied; its reply is too large to be kept",
            false,
        ),
        (
            "ERR request id X is older than the window of 300 s; nothing was run",
            false,
        ),
        ("WRONGTYPE Operation against a key", true),
    ] {
        let count = AtomicUsize::new(0);
        let endpoint = Endpoint::start(move |seen| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Act::Answer(honouring(seen)),
            1 => Act::Last(Vec::new()),
            _ => Act::Answer(answer("400 Bad Request", &[], &format!("-{error}\r\n"))),
        })
        .await;
        let store = connect(&endpoint.url(), one_slot()).await.unwrap();
        store.call(&[b"INCR", b"n"]).await.unwrap();
        let outcome = store.call(&[b"INCR", b"n"]).await;
        match outcome {
            Err(Error::Command(refusal)) if is_known => assert_eq!(refusal.to_string(), error),
            Err(Error::Indeterminate(_)) if !is_known => {}
            other => panic!("{error}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_name_of_another_time_is_made_again_once() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let headers = [("date", "Sat, 01 Jan 2000 00:00:00 GMT")];
            let text = "-ERR request id X is more than 300 s ahead of the server's clock; nothing \
                        was run\r\n";
            Act::Answer(answer("400 Bad Request", &headers, text))
        }
        _ => Act::Answer(resp("+OK\r\n")),
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    assert_eq!(store.call(&[b"INCR", b"n"]).await, Ok(Reply::OK));
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 2);
    // 946684800 s in milliseconds, as the first 48 bits.
    let id = seen[1].header(ID).unwrap().replace('-', "");
    let millis = u64::from_str_radix(&id[..12], 16).unwrap();
    assert!(millis.abs_diff(946_684_800_000) < 15_000, "{millis}");
}

#[tokio::test]
async fn at_our_gateway_every_write_counts_once_and_none_is_unknown() {
    let (_server, line, store) = behind_a_line(one_slot()).await;
    let incr: [&[u8]; 2] = [b"INCR", b"n"];
    assert_eq!(store.call(&incr).await, Ok(Reply::Int(1)));
    let mut next = 2;
    for given in [Answer::ResetAfterRun, Answer::BadGatewayAfterRun] {
        for times in 1..4 {
            line.answer(given, Whom::Times(times));
            assert_eq!(store.call(&incr).await, Ok(Reply::Int(next)));
            line.answer(given, Whom::Times(times));
            let mut unit = Commands::new();
            unit.push(&incr).push(&incr);
            let replies = store.transaction(&unit).await.unwrap();
            assert_eq!(
                replies,
                [Ok(Reply::Int(next + 1)), Ok(Reply::Int(next + 2))]
            );
            line.answer(given, Whom::Times(times));
            let replies = store.pipeline(&unit).await;
            assert_eq!(
                replies,
                [Ok(Reply::Int(next + 3)), Ok(Reply::Int(next + 4))]
            );
            next += 5;
        }
    }
}
