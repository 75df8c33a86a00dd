//! What cannot be read is refused with what to send, and the connection goes on.

use crate::{Bench, TOKEN};

#[test]
fn bad_bodies_are_told_what_is_wrong() {
    let mut bench = Bench::with("");
    let path = "/v1/limits/api/check";
    for (body, part) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("[]", "counts by user"),
        ("null", "invalid"),
        (r#"{"user":1}"#, "column"),
        (r#"{"usr":"ann"}"#, "unknown field `usr`"),
        (r#"{"user":"ann","cost":-1}"#, "-1"),
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
fn a_batch_answers_each_check_in_its_place() {
    let mut bench = Bench::with("");
    let checks: Vec<_> = (0..7)
        .map(|_| r#"{"class":"matching","user":"bea"}"#)
        .chain([
            r#"{"class":"none","user":"bea"}"#,
            r#"{"class":"api","usr":"bea"}"#,
            r#"{"user":"bea"}"#,
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
    for answer in &answers[8..] {
        assert_eq!(answer["status"], 400, "{answer}");
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
