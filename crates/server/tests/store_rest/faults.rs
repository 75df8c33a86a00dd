//! Lines that break and proxies that answer for the store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sangam_rig::proxy::{Answer, Cut, Direction, Fault, Whom};
use sangam_store::{Error, Options, Reply, Why};

use crate::endpoint::{Act, Endpoint, SHORT, all_ok, answer, resp};
use crate::{behind_a_line, connect, one_slot};

const SET: [&[u8]; 3] = [b"SET", b"k", b"v"];
const GET: [&[u8]; 2] = [b"GET", b"k"];

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let endpoint = Endpoint::start(|seen| Act::Last(all_ok(seen))).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    for turn in 1..=5 {
        assert_eq!(store.call(&SET).await, Ok(Reply::OK));
        endpoint.until_left(turn).await;
    }
    assert_eq!(store.metrics().repeated, 0);
    let connections: Vec<_> = endpoint.seen().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn an_answer_that_says_it_is_the_last_is() {
    let endpoint =
        Endpoint::start(|_| Act::Last(answer("200 OK", &[("connection", "close")], "+OK\r\n")))
            .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(store.call(&SET).await, Ok(Reply::OK));
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    for half in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n+OK".as_slice(),
        b"HTTP/1.1 200 OK\r\nconte",
        b"",
        b"garbage\r\n\r\n",
    ] {
        let endpoint = Endpoint::start(move |_| Act::Last(half.to_vec())).await;
        let store = connect(&endpoint.url(), one_slot()).await.unwrap();
        let set = store.call(&SET).await;
        assert!(matches!(set, Err(Error::Indeterminate(_))), "{set:?}");
        let get = store.call(&GET).await;
        assert!(matches!(get, Err(Error::Unavailable(_))), "{get:?}");
    }
}

#[tokio::test]
async fn too_few_and_too_many_replies_are_none() {
    for body in [
        "",
        "+OK\r\n+OK\r\n",
        "$5\r\nab\r\n",
        "OK",
        "{\"result\":{}}",
    ] {
        let endpoint = Endpoint::start(move |_| Act::Answer(resp(body))).await;
        let store = connect(&endpoint.url(), one_slot()).await.unwrap();
        let set = store.call(&SET).await;
        assert!(
            matches!(
                &set,
                Err(Error::Indeterminate(Why::Answer { status: 200, .. }))
            ),
            "{set:?}"
        );
    }
}

#[tokio::test]
async fn a_slot_is_free_again_when_an_answer_drips_or_never_comes() {
    let options = Options {
        command_timeout: SHORT,
        ..one_slot()
    };
    let drip = Fault::Drip {
        direction: Direction::Reply,
        bytes: 1,
        every: Duration::from_millis(50),
    };
    for fault in [drip, Fault::HalfOpen, Fault::Stall, Fault::DropReplies] {
        let (_server, line, store) = behind_a_line(options.clone()).await;
        line.line().fault(fault, Whom::All);
        let began = Instant::now();
        let set = store.call(&SET).await;
        assert!(matches!(set, Err(Error::Indeterminate(_))), "{set:?}");
        assert!(began.elapsed() < SHORT * 3, "{:?}", began.elapsed());
        line.clear();
        // Waits in the queue until the slot's own watch ends the old request.
        sangam_rig::wait::until("a reply", || async {
            store.call(&SET).await.map_err(|error| error.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn what_broke_is_made_again() {
    let (_server, line, store) = behind_a_line(one_slot()).await;
    store.call(&SET).await.unwrap();
    line.line().cut(Cut::Reset);
    line.line()
        .wait_for("the connection to end", |it| it.open == 0)
        .await;
    assert_eq!(store.call(&SET).await, Ok(Reply::OK));
    line.line().stop_listening().await;
    line.line().cut(Cut::Close);
    line.line()
        .wait_for("the connection to end", |it| it.open == 0)
        .await;
    let refused = store.call(&SET).await;
    assert!(
        matches!(&refused, Err(Error::Unavailable(Why::Connect { .. }))),
        "{refused:?}"
    );
    line.line().listen_again().await;
    assert_eq!(store.call(&SET).await, Ok(Reply::OK));
}

#[tokio::test]
async fn answers_of_proxies_say_what_is_known() {
    let options = Options {
        breaker_failures: 100,
        ..one_slot()
    };
    let (_server, line, store) = behind_a_line(options).await;
    for (given, expected) in [
        (Answer::InternalError, "500"),
        (Answer::BadGateway, "502"),
        (Answer::Page, "200"),
    ] {
        line.answer(given, Whom::Next(2));
        match store.call(&SET).await {
            Err(Error::Indeterminate(why)) => {
                let text = why.to_string();
                let wanted = format!("answered {expected}: an HTML page");
                assert!(text.ends_with(&wanted), "{text}");
            }
            other => panic!("{given:?}: {other:?}"),
        }
        let get = store.call(&GET).await;
        assert!(matches!(get, Err(Error::Unavailable(_))), "{get:?}");
    }
    line.answer(Answer::Unauthorized, Whom::Next(1));
    match store.call(&SET).await {
        Err(Error::Setting(text)) => assert!(text.contains("SANGAM_STORE_TOKEN"), "{text}"),
        other => panic!("{other:?}"),
    }
    line.clear();
    assert_eq!(store.call(&SET).await, Ok(Reply::OK));
}

#[tokio::test]
async fn who_says_when_to_come_back_is_asked_then() {
    let (_server, line, store) = behind_a_line(one_slot()).await;
    line.answer(Answer::TooManyRequests { retry_after: 1 }, Whom::Next(1));
    let began = Instant::now();
    let (one, other) = tokio::join!(store.call(&SET), store.call(&GET));
    assert_eq!((one, other), (Ok(Reply::OK), Ok(Reply::bulk("v"))));
    assert!(began.elapsed() >= Duration::from_secs(1));
    // Later than a call can wait.
    line.answer(Answer::TooManyRequests { retry_after: 60 }, Whom::Next(1));
    let began = Instant::now();
    let late = store.call(&SET).await;
    assert!(
        matches!(
            &late,
            Err(Error::Unavailable(Why::Answer { status: 429, .. }))
        ),
        "{late:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(store.call(&SET).await, Ok(Reply::OK));
}

#[tokio::test]
async fn other_statuses() {
    let statuses = [
        ("503 Service Unavailable", "indeterminate"),
        ("404 Not Found", "unavailable"),
        ("408 Request Timeout", "unavailable"),
        ("504 Gateway Timeout", "indeterminate"),
        ("413 Payload Too Large", "unsupported"),
        ("414 URI Too Long", "unsupported"),
        ("302 Found", "setting"),
    ];
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |_| {
        let (status, _) = statuses[count.fetch_add(1, Ordering::Relaxed)];
        Act::Answer(answer(status, &[], "a  proxy's\nword"))
    })
    .await;
    let options = Options {
        breaker_failures: 100,
        ..one_slot()
    };
    let store = connect(&endpoint.url(), options).await.unwrap();
    for (status, expected) in statuses {
        let error = store.call(&SET).await.unwrap_err();
        let kind = match &error {
            Error::Unavailable(_) => "unavailable",
            Error::Indeterminate(_) => "indeterminate",
            Error::Unsupported(_) => "unsupported",
            Error::Setting(_) => "setting",
            _ => "other",
        };
        assert_eq!(kind, expected, "{status}: {error:?}");
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
}

#[tokio::test]
async fn a_503_is_without_effect_where_a_store_says_it() {
    for (body, no_effect) in [
        (r#"{"error":"ERR store unavailable: it is down"}"#, true),
        ("-ERR store unavailable: it is down\r\n", true),
        (r#"{"error":"upstream reset"}"#, false),
        (
            "upstream connect error or disconnect/reset before headers",
            false,
        ),
        ("", false),
    ] {
        let endpoint =
            Endpoint::start(move |_| Act::Answer(answer("503 Service Unavailable", &[], body)))
                .await;
        let options = Options {
            retries: 1,
            ..one_slot()
        };
        let store = connect(&endpoint.url(), options).await.unwrap();
        let set = store.call(&SET).await;
        match set {
            Err(Error::Unavailable(_)) if no_effect => {}
            Err(Error::Indeterminate(_)) if !no_effect => {}
            other => panic!("{body}: {other:?}"),
        }
        // Nobody repeats what may have been applied.
        assert_eq!(endpoint.seen().len(), if no_effect { 2 } else { 1 });
        let get = store.call(&GET).await;
        assert!(matches!(get, Err(Error::Unavailable(_))), "{get:?}");
    }
}

#[tokio::test]
async fn whoever_says_to_come_back_in_an_age_is_asked_again_all_the_same() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |seen| match count.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let headers = [("retry-after", "18446744073709551615")];
            Act::Answer(answer("429 Too Many Requests", &headers, ""))
        }
        _ => Act::Answer(all_ok(seen)),
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let late = store.call(&SET).await;
    assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
    assert_eq!(store.call(&SET).await, Ok(Reply::OK));
}
