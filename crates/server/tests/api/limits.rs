//! Limits over the API: what is taken, given back, refused and told.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::Value;

use crate::{Bench, TOKEN};

const PERMITS: &str = r#"
[limits.classes.streams]
rules = [{ by = "user", algorithm = "concurrency", limit = 2, window = "1m" }]

[limits.classes.both]
rules = [
    { by = "user", algorithm = "gcra", limit = 3, window = "1h" },
    { by = "address", algorithm = "fixed-window", limit = 5, window = "1h" },
]
"#;

impl Bench {
    /// A request to a class that has to be answered.
    fn on(&mut self, class: &str, what: &str, body: &str) -> Value {
        let path = format!("/v1/limits/{class}/{what}");
        let (status, answer) = self.ask(TOKEN, "POST", &path, body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    fn allows(&mut self, class: &str, body: &str) -> bool {
        self.on(class, "check", body)["allowed"] == true
    }
}

#[test]
fn the_twenty_first_token_is_refused_and_says_until_when() {
    let mut bench = Bench::with("");
    let body = r#"{"user":"ann"}"#;
    for turn in 0..20 {
        let answer = bench.on("livekit-token", "check", body);
        assert_eq!(answer["allowed"], true, "{turn}: {answer}");
        assert_eq!(answer["tiers"][0]["remaining"], 19 - turn, "{answer}");
        assert_eq!(answer["ruled"], "store");
        assert_eq!(answer["retry_after_ms"], 0);
    }
    let answer = bench.on("livekit-token", "check", body);
    assert_eq!(answer["allowed"], false, "{answer}");
    let wait = answer["retry_after_ms"].as_u64().unwrap();
    assert!((1..=120_000).contains(&wait), "{answer}");
    assert!(bench.allows("livekit-token", r#"{"user":"bea"}"#));
}

#[test]
fn a_check_says_what_the_app_answers_its_client() {
    let mut bench = Bench::with("");
    let body = r#"{"user":"ann"}"#;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let path = "/v1/limits/matching/check";
    for turn in 0..6 {
        let (status, head, answer) = bench.send("POST", path, &headers, body);
        assert_eq!(status, 200, "{head}");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let fields = answer["headers"].as_object().unwrap();
        for name in ["RateLimit-Policy", "RateLimit"] {
            let line = format!(
                "{}: {}",
                name.to_ascii_lowercase(),
                fields[name].as_str().unwrap()
            );
            assert!(head.contains(&line), "{line}\n{head}");
        }
        assert!(!head.contains("retry-after"), "{head}");
        if turn < 5 {
            assert!(answer.get("problem").is_none() && !fields.contains_key("Retry-After"));
            continue;
        }
        let seconds: u64 = fields["Retry-After"].as_str().unwrap().parse().unwrap();
        let millis = answer["retry_after_ms"].as_u64().unwrap();
        assert_eq!(seconds, millis.div_ceil(1000));
        let problem = &answer["problem"];
        assert_eq!(problem["status"], 429);
        assert_eq!(problem["retry-after"], seconds);
        assert_eq!(problem["violated-policies"][0], "matching.user");
    }
}

#[test]
fn what_one_rule_refuses_is_taken_from_none() {
    let mut bench = Bench::with(PERMITS);
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    for _ in 0..3 {
        assert!(bench.allows("both", ann));
    }
    for _ in 0..10 {
        assert!(!bench.allows("both", ann), "her own limit");
    }
    // The address has two left, which ann's refusals did not take.
    let bea = r#"{"user":"bea","address":"192.0.2.1"}"#;
    assert_eq!(bench.on("both", "peek", bea)["tiers"][1]["remaining"], 2);
    assert!(bench.allows("both", bea) && bench.allows("both", bea));
    assert!(!bench.allows("both", bea), "the address's limit");
    assert_eq!(bench.on("both", "peek", bea)["tiers"][0]["remaining"], 1);
}

#[test]
fn counts_are_given_back_charged_blocked_and_forgotten() {
    let mut bench = Bench::with(PERMITS);
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    let left = |bench: &mut Bench| bench.on("both", "peek", ann)["tiers"][0]["remaining"].clone();
    assert!(bench.allows("both", ann));
    assert_eq!(left(&mut bench), 2);
    assert_eq!(bench.on("both", "refund", ann)["changed"], true);
    assert_eq!(left(&mut bench), 3);
    let two = r#"{"user":"ann","cost":2}"#;
    assert_eq!(bench.on("both", "penalize", two)["changed"], true);
    assert_eq!(left(&mut bench), 1);
    let block = r#"{"user":"ann","for_ms":60000}"#;
    assert_eq!(bench.on("both", "block", block)["changed"], true);
    let refused = bench.on("both", "check", ann);
    assert_eq!(refused["allowed"], false);
    assert!(
        refused["retry_after_ms"].as_u64().unwrap() > 50_000,
        "{refused}"
    );
    assert_eq!(
        bench.on("both", "unblock", r#"{"user":"ann"}"#)["changed"],
        true
    );
    assert!(bench.allows("both", ann), "the one that was left");
    assert!(!bench.allows("both", ann));
    assert_eq!(
        bench.on("both", "reset", r#"{"user":"ann"}"#)["changed"],
        true
    );
    assert_eq!(left(&mut bench), 3);
    for (what, body) in [
        ("block", r#"{"user":"ann","for_ms":0}"#),
        ("block", r#"{"user":"ann","for_ms":99999999999999}"#),
        ("block", r#"{"for_ms":5}"#),
        ("block", r#"{"user":"ann"}"#),
        ("refund", r#"{"user":"ann","address":"x"}"#),
        ("penalize", r#"{"user":"ann","cost":0}"#),
        ("reset", "{}"),
        ("release", r#"{"user":"ann","permit":"no permit"}"#),
    ] {
        let path = format!("/v1/limits/both/{what}");
        let (status, problem) = bench.ask(TOKEN, "POST", &path, body);
        assert_eq!(status, 400, "{what} {body}: {problem}");
    }
}

#[test]
fn a_reset_is_of_one_identifier() {
    let mut bench = Bench::with(PERMITS);
    for user in ["*", "ann", "", "u:ann", "{x}", "ünï 𝄞", "a\\nb"] {
        let body = format!(r#"{{"user":"{user}","address":"192.0.2.9"}}"#);
        bench.on("api", "check", &body);
    }
    assert_eq!(bench.on("api", "reset", r#"{"user":"*"}"#)["changed"], true);
    for (user, left) in [
        ("*", 300),
        ("ann", 299),
        ("u:ann", 299),
        ("{x}", 299),
        ("ünï 𝄞", 299),
    ] {
        let answer = bench.on("api", "peek", &format!(r#"{{"user":"{user}"}}"#));
        assert_eq!(answer["tiers"][0]["remaining"], left, "{user}");
    }
}

#[test]
fn permits_are_held_until_they_are_returned() {
    let mut bench = Bench::with(PERMITS);
    let permit = |id: &str| format!(r#"{{"user":"ann","permit":"{id}"}}"#);
    assert!(bench.allows("streams", &permit("a")) && bench.allows("streams", &permit("b")));
    assert!(!bench.allows("streams", &permit("c")));
    assert!(bench.allows("streams", &permit("b")), "renewed");
    assert_eq!(
        bench.on("streams", "release", &permit("a"))["changed"],
        true
    );
    assert_eq!(
        bench.on("streams", "release", &permit("a"))["changed"],
        false
    );
    assert!(bench.allows("streams", &permit("c")));
    for body in [
        r#"{"user":"ann"}"#,
        r#"{"user":"ann","permit":"d","cost":2}"#,
    ] {
        let (status, problem) = bench.ask(TOKEN, "POST", "/v1/limits/streams/check", body);
        assert_eq!(status, 400, "{problem}");
    }
}

#[test]
fn what_happens_is_told_as_it_happens() {
    let mut bench = Bench::with(PERMITS);
    let mut listener = crate::connect(bench.server.http());
    let head = format!(
        "GET /v1/limits/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    listener.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(listener).lines();
    let mut until = |part: &str| loop {
        let line = lines.next().unwrap().unwrap();
        if line.contains(part) {
            return line;
        }
    };
    until("text/event-stream");
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    while bench.allows("both", ann) {}
    until("event: near");
    let data = until("data:");
    assert!(
        data.contains(r#""class":"both""#) && data.contains(r#""limit":3"#),
        "{data}"
    );
    until("event: refused");
    let data = until("data:");
    assert!(data.contains(r#""tier":"user""#), "{data}");
}

#[test]
fn events_are_told_to_64_at_a_time() {
    let mut bench = Bench::with(PERMITS);
    let head = format!(
        "GET /v1/limits/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let mut listeners: Vec<_> = (0..64)
        .map(|_| {
            let mut listener = crate::connect(bench.server.http());
            listener.write_all(head.as_bytes()).unwrap();
            let mut lines = BufReader::new(listener).lines();
            assert!(lines.next().unwrap().unwrap().contains("200"));
            lines
        })
        .collect();
    let (status, problem) = bench.ask(TOKEN, "GET", "/v1/limits/events", "");
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("64"));
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    while bench.allows("both", ann) {}
    for lines in &mut listeners {
        let mut events = lines.map(Result::unwrap);
        assert!(events.any(|line| line == "event: near"));
        assert!(events.any(|line| line == "event: refused"));
    }
    // A place is free again when one has gone, and events go on after all have.
    drop(listeners);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut lines = loop {
        let mut listener = crate::connect(bench.server.http());
        listener.write_all(head.as_bytes()).unwrap();
        let mut lines = BufReader::new(listener).lines();
        if lines.next().unwrap().unwrap().contains("200") {
            break lines;
        }
        assert!(std::time::Instant::now() < deadline, "no place is free");
    };
    assert!(!bench.allows("both", ann));
    assert!(lines.any(|line| line.unwrap() == "event: refused"));
}

#[test]
fn the_classes_are_listed() {
    let mut bench = Bench::with(PERMITS);
    assert!(bench.allows("matching", r#"{"user":"ann"}"#));
    let (status, list) = bench.ask(crate::READ_TOKEN, "GET", "/v1/limits", "");
    assert_eq!(status, 200);
    let class = |name: &str| {
        let classes = list["classes"].as_array().unwrap();
        let found = classes.iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {list}")).clone()
    };
    for (name, limit, window_s) in [
        ("auth", 5, 900),
        ("payment", 10, 60),
        ("token", 20, 3600),
        ("streaming", 100, 60),
        ("upload", 30, 3600),
        ("analytics", 200, 60),
        ("api", 300, 60),
        ("public", 1000, 60),
        ("livekit-token", 20, 60),
        ("matching", 5, 60),
    ] {
        let tier = &class(name)["tiers"][0];
        assert_eq!(tier["by"], "user");
        assert_eq!(tier["algorithm"], "sliding-window");
        assert_eq!(tier["limit"], limit, "{name}");
        assert_eq!(tier["window_ms"], window_s * 1000, "{name}");
    }
    assert_eq!(class("streams")["tiers"][0]["algorithm"], "concurrency");
    assert_eq!(class("auth")["policy"], "closed");
    assert_eq!(class("matching")["checked"], 1);
    assert_eq!(class("auth")["checked"], 0, "nothing uses it");
}

#[test]
fn limits_are_changed_while_the_server_runs() {
    let mut bench = Bench::with(&PERMITS.replace("gcra", "sliding-window"));
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    while bench.allows("both", ann) {}
    let more = r#"{"tier":"user","user":"ann","limit":4,"for_ms":60000}"#;
    let (status, set) = bench.ask(TOKEN, "PUT", "/v1/limits/both/overrides", more);
    assert_eq!((status, &set["id"]), (200, &"u:ann".into()), "{set}");
    assert!(bench.allows("both", ann), "one more, at once");
    assert!(!bench.allows("both", ann));
    let (status, list) = bench.ask(TOKEN, "GET", "/v1/limits/both/overrides", "");
    assert_eq!(status, 200);
    assert_eq!(list["overrides"][0]["limit"], 4, "{list}");
    let which = r#"{"tier":"user","user":"ann"}"#;
    let (status, cleared) = bench.ask(TOKEN, "DELETE", "/v1/limits/both/overrides", which);
    assert_eq!(
        (status, &cleared["changed"]),
        (200, &true.into()),
        "{cleared}"
    );
    for (body, part) in [
        (r#"{"limit":0,"for_ms":5}"#, "zero"),
        (r#"{"limit":5,"for_ms":0}"#, "366 days"),
        (r#"{"limit":5,"for_ms":18446744073709551615}"#, "366 days"),
        (r#"{"limit":18446744073709551615,"for_ms":5}"#, "too large"),
        (
            r#"{"limit":5,"for_ms":5,"user":"a","address":"192.0.2.1"}"#,
            "one of them",
        ),
        (r#"{"limit":5,"for_ms":5,"tier":"none"}"#, "no tier"),
        (r#"{"limit":-5,"for_ms":5}"#, "-5"),
        (r#"{"limit":5,"for_ms":5,"user":""}"#, "`user` is empty"),
        (r#"{"limit":5,"for_ms":5,"user":" "}"#, "`user` is empty"),
        (r#"{"limit":5,"for_ms":5,"tier":""}"#, "`tier` is empty"),
        (r#"{"limit":5,"for_ms":5,"tier":" \t"}"#, "`tier` is empty"),
        (
            r#"{"limit":5,"for_ms":5,"user":"","address":"192.0.2.1"}"#,
            "`user` is empty",
        ),
    ] {
        let (status, problem) = bench.ask(TOKEN, "PUT", "/v1/limits/both/overrides", body);
        assert_eq!(status, 400, "{body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{body}: {detail}");
    }
    for body in [r#"{"user":""}"#, r#"{"tier":""}"#, r#"{"address":""}"#] {
        let (status, _) = bench.ask(TOKEN, "DELETE", "/v1/limits/both/overrides", body);
        assert_eq!(status, 400, "{body}");
    }
    let (_, list) = bench.ask(TOKEN, "GET", "/v1/limits/both/overrides", "");
    assert_eq!(list["overrides"], serde_json::json!([]), "nothing was set");
    for (method, body) in [
        ("GET", ""),
        ("DELETE", "{}"),
        ("PUT", r#"{"limit":5,"for_ms":5}"#),
    ] {
        let (status, _) = bench.ask(TOKEN, method, "/v1/limits/none/overrides", body);
        assert_eq!(status, 404, "{method}");
    }
}

#[test]
fn statistics_say_what_became_of_requests() {
    let mut bench = Bench::with(PERMITS);
    let ann = r#"{"user":"ann","address":"192.0.2.1"}"#;
    for _ in 0..5 {
        bench.allows("both", ann);
    }
    bench.allows("both", r#"{"user":"bea","address":"192.0.2.1"}"#);
    let (status, stats) = bench.ask(crate::READ_TOKEN, "GET", "/v1/limits/both/stats", "");
    assert_eq!(status, 200, "{stats}");
    assert_eq!(stats["totals"]["allowed"], 4, "{stats}");
    assert_eq!(stats["totals"]["refused"], 2, "{stats}");
    assert_eq!(stats["top"]["entries"][0]["id"], "u:ann");
    assert_eq!(stats["top_refused"]["entries"][0]["at_least"], 2, "{stats}");
    for (query, expected) in [
        ("from=x", 400),
        ("to=-1", 400),
        ("from=2&to=1", 400),
        ("from=0&to=1", 200),
    ] {
        let path = format!("/v1/limits/both/stats?{query}");
        let (status, answer) = bench.ask(TOKEN, "GET", &path, "");
        assert_eq!(status, expected, "{query}: {answer}");
    }
    let (status, _) = bench.ask(TOKEN, "GET", "/v1/limits/none/stats", "");
    assert_eq!(status, 404);
    let bearer = format!("Bearer {TOKEN}");
    let (_, _, page) = bench.send("GET", "/metrics", &[("authorization", &bearer)], "");
    let page = String::from_utf8(page).unwrap();
    assert!(
        page.contains(r#"sangam_limit_checks_total{class="both",result="refused"} 2"#),
        "{page}"
    );
}

#[test]
fn classes_follow_their_file_and_a_wrong_one_is_not_taken() {
    let mut bench = Bench::with(
        "[limits.classes.own]\nrules = [{ by = \"user\", algorithm = \"fixed-window\", limit = 2, window = \"1h\" }]\n",
    );
    let limit = |bench: &mut Bench| {
        let body = r#"{"user":"ann"}"#;
        bench.on("own", "peek", body)["tiers"][0]["limit"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(limit(&mut bench), 2);
    bench.on("own", "check", r#"{"user":"ann"}"#);
    let wrong = "[limits.classes.own]\nrules = [{ by = \"user\", algorithm = \"fixed-window\", limit = 0, window = \"1h\" }]\n";
    bench.rewrite(wrong);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let bearer = format!("Bearer {TOKEN}");
    loop {
        let (_, _, page) = bench.send("GET", "/metrics", &[("authorization", &bearer)], "");
        if String::from_utf8_lossy(&page).contains("sangam_limit_settings_invalid 1") {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the file is not read again"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(limit(&mut bench), 2);
    bench.rewrite(&wrong.replace("limit = 0", "limit = 7"));
    while limit(&mut bench) != 7 {
        assert!(
            std::time::Instant::now() < deadline,
            "the file is not taken"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let left = &bench.on("own", "peek", r#"{"user":"ann"}"#)["tiers"][0]["remaining"];
    assert_eq!(*left, 6, "what was counted stays");
}
