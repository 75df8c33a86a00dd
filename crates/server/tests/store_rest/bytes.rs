//! Arguments that are no text, at an endpoint that takes text only in JSON.

use sangam_store::{Commands, Error, Reply};

use crate::endpoint::{Act, Endpoint, all_ok, answer, resp};
use crate::{connect, one_slot};

#[tokio::test]
async fn they_go_by_path_in_their_place() {
    let endpoint = Endpoint::start(|seen| Act::Answer(all_ok(seen))).await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let set: [&[u8]; 5] = [b"SET", b"k/\xff", b"\xfe\x00", b"EX", b"60"];
    assert_eq!(store.call(&set).await, Ok(Reply::OK));
    let mut commands = Commands::new();
    commands
        .push(&[b"INCR", b"a"])
        .push(&[b"INCR", b"b"])
        .push(&[b"SET", b"c", b"\xff"])
        .push(&[b"INCR", b"d"]);
    let outcomes = store.pipeline(&commands).await;
    assert_eq!(outcomes, vec![Ok(Reply::OK); 4]);
    let unit = store.transaction(&commands).await;
    assert!(
        matches!(&unit, Err(Error::Unsupported(text)) if text.starts_with("SET has an argument that is no UTF-8")),
        "{unit:?}"
    );
    let seen: Vec<(String, Vec<u8>)> = endpoint
        .seen()
        .into_iter()
        .map(|it| (it.path, it.body))
        .collect();
    let expected: [(&str, &[u8]); 4] = [
        ("/SET/k%2F%FF?EX=60", b"\xfe\x00"),
        ("/pipeline", br#"[["INCR","a"],["INCR","b"]]"#),
        ("/SET/c", b"\xff"),
        ("/", br#"["INCR","d"]"#),
    ];
    assert_eq!(
        seen,
        expected.map(|(path, body)| (path.to_owned(), body.to_vec()))
    );
}

#[tokio::test]
async fn an_endpoint_that_answers_json_only_is_understood() {
    let endpoint = Endpoint::raw(|seen| {
        if seen.header("upstash-encoding") != Some("base64") {
            let json = [("content-type", "application/json")];
            return Act::Answer(answer("200 OK", &json, "{\"result\":\"\u{fffd}\"}"));
        }
        let body = match seen.text().as_str() {
            "[\"GET\",\"k\"]" => r#"{"result":"/wA="}"#,
            "[[\"TYPE\",\"k\"],[\"GET\",\"k\"]]" => r#"[{"result":"c3RyaW5n"},{"result":"T0s="}]"#,
            _ => r#"{"result":"77+9"}"#,
        };
        Act::Answer(answer("200 OK", &[], body))
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    assert_eq!(
        store.call(&[b"GET", b"k"]).await,
        Ok(Reply::bulk(b"\xff\0"))
    );
    let mut unit = Commands::new();
    unit.push(&[b"TYPE", b"k"]).push(&[b"GET", b"k"]);
    assert_eq!(
        store.transaction(&unit).await.unwrap(),
        [Ok(Reply::status("string")), Ok(Reply::bulk("OK"))]
    );
}

#[tokio::test]
async fn a_greeting_that_refuses_the_argument_is_asked_again_without() {
    let endpoint = Endpoint::raw(|seen| match seen.text().as_str() {
        "[\"PING\"]" => Act::Answer(resp("+PONG\r\n")),
        _ => Act::Answer(answer("400 Bad Request", &[], r#"{"error":"ERR no"}"#)),
    })
    .await;
    let store = connect(&endpoint.url(), one_slot()).await.unwrap();
    let error = store.call(&[b"SET", b"k", b"v"]).await.unwrap_err();
    assert_eq!(error.to_string(), "ERR no");
}
