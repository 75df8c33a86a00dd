//! What cannot be read is refused with what to send, and the connection goes on.

use std::io::{BufRead as _, BufReader, Write as _};

use crate::{Bench, TOKEN};

#[test]
fn bad_bodies_are_told_what_is_wrong() {
    let mut bench = Bench::with("");
    let path = "/v1/limits/api/check";
    for (body, part) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("[]", "expected an object"),
        (r#"["ann"]"#, "expected an object"),
        (" \n\t[\"ann\"]", "expected an object"),
        ("null", "expected an object"),
        (r#"{"user":1}"#, "expected a text at line 1 column"),
        (r#"{"user":{}}"#, "this is an object, expected a text"),
        (r#"{"user":"ann","user":"bea"}"#, "duplicate field `user`"),
        (r#"{"usr":"ann"}"#, "unknown field `usr`"),
        (
            r#"{"user":"ann","cost":-1}"#,
            "`-1`, expected a whole number",
        ),
        (r#"{"user":"ann","cost":1.5}"#, "1.5"),
        (r#"{"user":"ann","cost":NaN}"#, "expected"),
        (r#"{"user":"ann","cost":0}"#, "at least 1"),
        (r#"{"user":"ann","cost":301}"#, "never fits"),
        (
            r#"{"user":"ann","cost":18446744073709551615}"#,
            "never fits",
        ),
        (r#"{"user":"ann","cost":18446744073709551616}"#, "column"),
        (r#"{"address":"192.0.2.256"}"#, "IPv4 or IPv6"),
        (r#"{"address":"192.0.2.0/24"}"#, "IPv4 or IPv6"),
        ("{}", "counts by user"),
    ] {
        let (status, problem) = bench.ask(TOKEN, "POST", path, body);
        assert_eq!(status, 400, "{body}: {problem}");
        assert_eq!(problem["status"], 400);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{body}: {detail}");
        assert!(
            !detail.contains("struct") && !detail.contains("u64"),
            "{detail}"
        );
    }
    let (status, problem) = bench.ask(TOKEN, "POST", "/v1/limits/none/check", r#"{"user":"a"}"#);
    assert_eq!(status, 404);
    assert!(problem["detail"].as_str().unwrap().contains("\"none\""));
}

#[test]
fn paths_methods_and_types_are_told_apart() {
    let mut bench = Bench::with("");
    let (status, _) = bench.ask(TOKEN, "GET", "/v1/nothing", "");
    assert_eq!(status, 404);
    let (status, _) = bench.ask(TOKEN, "GET", "/v1", "");
    assert_eq!(status, 404);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str())];
    let (status, head, _) = bench.send("GET", "/v1/limits/api/check", &headers, "");
    assert_eq!(status, 405);
    assert!(head.to_lowercase().contains("allow: post"), "{head}");
    let typed = [headers[0], ("content-type", "text/plain")];
    let (status, ..) = bench.send("POST", "/v1/limits/api/check", &typed, r#"{"user":"a"}"#);
    assert_eq!(status, 415);
    let typed = [
        headers[0],
        ("content-type", "Application/JSON; charset=utf-8"),
    ];
    bench.reconnect();
    let (status, ..) = bench.send("POST", "/v1/limits/api/check", &typed, r#"{"user":"a"}"#);
    assert_eq!(status, 200);
    // The gateway's own paths are as they were.
    let (status, answer) = bench.ask(TOKEN, "POST", "/", r#"["SET","v1","x"]"#);
    assert_eq!((status, &answer["result"]), (200, &"OK".into()));
    let (status, answer) = bench.ask(TOKEN, "GET", "/get/v1", "");
    assert_eq!((status, &answer["result"]), (200, &"x".into()));
}

#[test]
fn a_body_has_a_bound() {
    let mut bench = Bench::with("");
    let long = format!(r#"{{"user":"{}"}}"#, "a".repeat(900_000));
    let (status, answer) = bench.ask(TOKEN, "POST", "/v1/limits/api/check", &long);
    assert_eq!((status, &answer["allowed"]), (200, &true.into()));
    let long = format!(r#"{{"user":"{}"}}"#, "a".repeat(2_000_000));
    let (status, _) = bench.ask(TOKEN, "POST", "/v1/limits/api/check", &long);
    assert_eq!(status, 413);
}

#[test]
fn what_is_too_long_is_refused_before_it_comes() {
    let mut bench = Bench::with("");
    let bearer = format!("Bearer {TOKEN}");
    let head = |more: &str| {
        format!(
            "POST /v1/limits/api/check HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n{more}\r\n"
        )
    };
    // The rest is never sent, and the answer does not wait for it.
    let mut announced = crate::connect(bench.server.http());
    let sent = head("content-length: 1048577\r\n") + "{";
    announced.write_all(sent.as_bytes()).unwrap();
    let mut lines = BufReader::new(announced.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("413"));
    // Once it has come, the connection goes on.
    let mut begun = crate::connect(bench.server.http());
    begun
        .write_all(head("content-length: 2000000\r\n").as_bytes())
        .unwrap();
    let mut lines = BufReader::new(begun.try_clone().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("413"));
    begun.write_all(&vec![b' '; 2_000_000]).unwrap();
    let next = head("content-length: 14\r\n") + r#"{"user":"ann"}"#;
    begun.write_all(next.as_bytes()).unwrap();
    let answer = lines.map(Result::unwrap).find(|it| it.contains("HTTP/1.1"));
    assert!(answer.is_some_and(|it| it.contains("HTTP/1.1 200")));
    // One that waits to be asked for the body is not.
    let mut asking = crate::connect(bench.server.http());
    let sent = head("content-length: 2000000\r\nexpect: 100-continue\r\n");
    asking.write_all(sent.as_bytes()).unwrap();
    let mut lines = BufReader::new(asking).lines();
    assert!(lines.next().unwrap().unwrap().contains("413"));
    // Without a length it is refused when it has become too long.
    let mut chunked = crate::connect(bench.server.http());
    let sent = head("transfer-encoding: chunked\r\n") + "200000\r\n";
    chunked.write_all(sent.as_bytes()).unwrap();
    chunked.write_all(&vec![b' '; 0x0011_0000]).unwrap();
    let mut lines = BufReader::new(chunked).lines();
    assert!(lines.next().unwrap().unwrap().contains("413"));
    assert_eq!(bench.ask(TOKEN, "GET", "/v1/limits", "").0, 200);
}

#[test]
fn names_that_are_no_text_are_refused_as_everything_is() {
    let mut bench = Bench::with("");
    for (method, path) in [
        ("POST", "/v1/limits/%FF/check"),
        ("POST", "/v1/limits/%FF/reset"),
        ("PUT", "/v1/limits/%C3/overrides"),
        ("GET", "/v1/limits/%FF/stats"),
    ] {
        let (status, problem) = bench.ask(TOKEN, method, path, "{}");
        assert_eq!((status, &problem["status"]), (400, &400.into()), "{path}");
        assert!(problem["detail"].as_str().unwrap().contains("UTF-8"));
    }
}

#[test]
fn a_batch_answers_each_check_in_its_place() {
    let mut bench = Bench::with("");
    let checks: Vec<_> = (0..7)
        .map(|_| r#"{"class":"matching","user":"bea"}"#)
        .chain([
            r#"{"class":"none","user":"bea"}"#,
            r#"{"class":"api","usr":"bea"}"#,
            r#"{"user":"bea"}"#,
            r#"{"class":"api","user":"bea","user":"ann"}"#,
            r#"{"class":"api","class":"public","user":"bea"}"#,
            r#"["api","bea"]"#,
            "7",
        ])
        .collect();
    let body = format!(r#"{{"checks":[{}]}}"#, checks.join(","));
    let (status, answers) = bench.ask(TOKEN, "POST", "/v1/limits/check", &body);
    assert_eq!(status, 200, "{answers}");
    let answers = answers["answers"].as_array().unwrap();
    assert_eq!(answers.len(), checks.len());
    let allowed = answers.iter().filter(|it| it["allowed"] == true).count();
    let refused = answers.iter().filter(|it| it["allowed"] == false).count();
    assert_eq!((allowed, refused), (5, 2));
    assert_eq!(answers[7]["status"], 404);
    for (answer, part) in answers[8..].iter().zip([
        "unknown field `usr`",
        "missing field `class`",
        "duplicate field `user`",
        "duplicate field `class`",
        "expected an object",
        "expected an object",
    ]) {
        assert_eq!(answer["status"], 400, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{detail}");
    }
    for body in [r#"{"checks":[]}"#.to_owned(), {
        let many = vec![r#"{"class":"api","user":"bea"}"#; 101];
        format!(r#"{{"checks":[{}]}}"#, many.join(","))
    }] {
        let (status, problem) = bench.ask(TOKEN, "POST", "/v1/limits/check", &body);
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains("1 to 100"));
    }
}

#[test]
fn a_batch_is_counted_and_not_kept() {
    let mut bench = Bench::with("");
    // As many as a body holds, and one that is as large.
    let many = format!(r#"{{"checks":[{}7]}}"#, "7,".repeat(500_000));
    let (status, problem) = bench.ask(TOKEN, "POST", "/v1/limits/check", &many);
    assert_eq!(status, 400);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1 to 100 of them, not 500001"), "{detail}");
    let large = format!(
        r#"{{"checks":[{{"class":"api","more":[{}7]}},{{"class":"api","user":"bea"}}]}}"#,
        "7,".repeat(500_000)
    );
    let (status, answers) = bench.ask(TOKEN, "POST", "/v1/limits/check", &large);
    assert_eq!(status, 200, "{answers}");
    let detail = answers["answers"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("unknown field `more`"), "{detail}");
    assert_eq!(answers["answers"][1]["allowed"], true);
    for body in [r#"{"checks":{}}"#, r#"{"checks":[7,]}"#, r#"{"checks":[7"#] {
        let (status, problem) = bench.ask(TOKEN, "POST", "/v1/limits/check", body);
        assert_eq!(status, 400, "{body}: {problem}");
    }
}
