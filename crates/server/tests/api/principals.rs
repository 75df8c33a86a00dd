//! Who may call what: every route with every caller.

use sangam_server::api::{Api, Need, Scope};

use crate::{Bench, READ_TOKEN, TOKEN};

const KEYS: &str = r#"
[[service-keys]]
name = "checker"
key = "checker-key-0123456789"
scopes = ["limits:check"]

[[service-keys]]
name = "reader"
key = "reader-key-0123456789"
scopes = ["limits:read"]

[[service-keys]]
name = "manager"
key = "manager-key-0123456789"
scopes = ["limits:manage", "limits:check", "limits:read", "cache:read", "cache:write"]

[[service-keys]]
name = "one-class"
# one-class-key-0123456789
key-sha256 = "HASH"
scopes = ["limits:check:auth"]

[[service-keys]]
name = "viewer"
key = "viewer-key-0123456789"
scopes = ["cache:read"]

[[service-keys]]
name = "writer"
key = "writer-key-0123456789"
scopes = ["cache:write"]

[[service-keys]]
name = "one-cache"
key = "one-cache-key-0123456789"
scopes = ["cache:read:rooms", "cache:write:rooms"]
"#;

fn bench() -> Bench {
    let hash = sha256("one-class-key-0123456789");
    Bench::with(&KEYS.replace("HASH", &hash))
}

fn sha256(text: &str) -> String {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in <sha2::Sha256 as sha2::Digest>::digest(text) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[test]
fn every_route_asks_every_caller_for_what_the_table_says() {
    let mut bench = bench();
    let callers: [(&str, &[Scope]); 10] = [
        (TOKEN, &Scope::ALL),
        (READ_TOKEN, &[Scope::LimitsRead, Scope::CacheRead]),
        ("checker-key-0123456789", &[Scope::LimitsCheck]),
        ("reader-key-0123456789", &[Scope::LimitsRead]),
        ("manager-key-0123456789", &Scope::ALL),
        ("viewer-key-0123456789", &[Scope::CacheRead]),
        ("writer-key-0123456789", &[Scope::CacheWrite]),
        // On one class or cache only, which is not the one that is asked for here.
        ("one-class-key-0123456789", &[]),
        ("one-cache-key-0123456789", &[]),
        ("nobody", &[]),
    ];
    let table = Api::table();
    assert!(table.len() > 5);
    for route in &table {
        let path = route.path.replace("{class}", "payment");
        let path = path.replace("{name}", "users").replace("{key}", "ann");
        for (key, scopes) in callers {
            let bearer = format!("Bearer {key}");
            // Of the wrong type: what is let through is refused for that, or
            // answered where there is no body.
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "text/none"),
            ];
            bench.reconnect();
            let (status, head, _) = bench.send(route.method.as_str(), &path, &headers, "");
            let expected: &[u16] = match route.need {
                Need::Public => &[200],
                Need::Caller if key != "nobody" => &[200, 415],
                Need::Scope(scope) if scopes.contains(&scope) => &[200, 204, 404, 415],
                _ if key == "nobody" => &[401],
                _ => &[403],
            };
            assert!(expected.contains(&status), "{route:?} with {key}: {head}");
        }
        bench.reconnect();
        let (status, head, _) = bench.send(route.method.as_str(), &path, &[], "");
        let expected = if route.need == Need::Public { 200 } else { 401 };
        assert_eq!(status, expected, "{route:?}: {head}");
        assert!(status == 200 || head.to_lowercase().contains("www-authenticate: bearer"));
    }
}

/// A refund gives back what nobody has to have taken: who may only check may not.
#[test]
fn a_refund_is_for_who_manages() {
    let mut bench = bench();
    let path = "/v1/limits/payment/refund";
    let body = r#"{"user":"ann","address":"192.0.2.1","cost":10}"#;
    for (key, expected) in [
        ("checker-key-0123456789", 403),
        ("reader-key-0123456789", 403),
        ("manager-key-0123456789", 200),
        (TOKEN, 200),
    ] {
        let (status, answer) = bench.ask(key, "POST", path, body);
        assert_eq!(status, expected, "{key}: {answer}");
    }
}

#[test]
fn a_key_of_one_class_opens_that_class_alone() {
    let mut bench = bench();
    let key = "one-class-key-0123456789";
    let body = r#"{"user":"ann","address":"192.0.2.1"}"#;
    let (status, answer) = bench.ask(key, "POST", "/v1/limits/auth/check", body);
    assert_eq!(
        (status, &answer["allowed"]),
        (200, &true.into()),
        "{answer}"
    );
    let (status, problem) = bench.ask(key, "POST", "/v1/limits/payment/check", body);
    assert_eq!(status, 403);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("limits:check:payment"), "{detail}");
    // Each check of a batch is asked for by itself.
    let batch = r#"{"checks":[
        {"class":"auth","user":"ann","address":"192.0.2.1"},
        {"class":"payment","user":"ann","address":"192.0.2.1"}]}"#;
    let (status, answers) = bench.ask(key, "POST", "/v1/limits/check", batch);
    assert_eq!(status, 200);
    assert_eq!(answers["answers"][0]["allowed"], true, "{answers}");
    assert_eq!(answers["answers"][1]["status"], 403, "{answers}");
}

#[test]
fn a_key_of_one_cache_opens_that_cache_alone() {
    let mut bench = bench();
    let bearer = "Bearer one-cache-key-0123456789";
    let headers = [
        ("authorization", bearer),
        ("content-type", "application/json"),
    ];
    for (method, path, body, expected) in [
        ("PUT", "/v1/cache/rooms/a/b", "1", 204),
        ("GET", "/v1/cache/rooms/a/b", "", 200),
        ("POST", "/v1/cache/rooms/invalidate", r#"{"all":true}"#, 204),
        ("DELETE", "/v1/cache/rooms/a", "", 204),
        ("GET", "/v1/cache/users/a", "", 403),
        ("PUT", "/v1/cache/users/a", "1", 403),
        ("GET", "/v1/cache/users/rooms/a", "", 403),
        ("POST", "/v1/cache/users/invalidate", r#"{"all":true}"#, 403),
        ("GET", "/v1/cache/r%6Foms/a", "", 403),
        ("GET", "/v1/cache", "", 403),
    ] {
        bench.reconnect();
        let (status, head, _) = bench.send(method, path, &headers, body);
        assert_eq!(status, expected, "{method} {path}: {head}");
    }
}

#[test]
fn tokens_come_in_the_header_alone() {
    let mut bench = bench();
    for (path, headers) in [
        (format!("/v1/limits?_token={TOKEN}"), vec![]),
        ("/v1/limits".to_owned(), vec![("cookie", TOKEN)]),
        ("/v1/limits".to_owned(), vec![("authorization", TOKEN)]),
        ("/v1/limits".to_owned(), vec![("authorization", "Bearer ")]),
        (
            "/v1/limits".to_owned(),
            vec![("authorization", "Basic eDp5")],
        ),
    ] {
        let (status, head, _) = bench.send("GET", &path, &headers, "");
        assert_eq!(status, 401, "{path} {headers:?}: {head}");
        assert!(!head.to_lowercase().contains("access-control-allow-origin"));
    }
    // Browsers are not told that they may.
    let headers = [
        ("origin", "https://elsewhere.example"),
        ("access-control-request-method", "POST"),
    ];
    let (status, head, _) = bench.send("OPTIONS", "/v1/limits/auth/check", &headers, "");
    assert_eq!(status, 405);
    assert!(!head.to_lowercase().contains("access-control"), "{head}");
}

#[test]
fn keys_that_cannot_be_are_refused_at_the_start() {
    let refused = |text: &str| {
        let args = sangam_server::cli::ServeArgs {
            config: Some(crate::tempfile(text).to_str().unwrap().to_owned()),
            ..sangam_server::cli::ServeArgs::default()
        };
        let error = sangam_server::Config::load(&args).unwrap_err().to_string();
        assert!(!error.contains("secret-key"), "{error}");
        error
    };
    let with = |lines: &str| refused(&format!("\n[[service-keys]]\nname = \"a\"\n{lines}"));
    for (lines, part) in [
        (
            "scopes = [\"limits:check\"]",
            "needs either `key` or `key-sha256`",
        ),
        (
            "key = \"short\"\nscopes = [\"limits:check\"]",
            "shorter than 16",
        ),
        (
            "key-sha256 = \"zz\"\nscopes = [\"limits:check\"]",
            "64 hexadecimal",
        ),
        (
            "key = \"secret-key-secret-key\"\nscopes = []",
            "opens nothing",
        ),
        (
            "key = \"secret-key-secret-key\"\nscopes = [\"all\"]",
            "is no scope",
        ),
        (
            "key = \"secret-key-secret-key\"\nscopes = [\"limits:check:\"]",
            "is no scope",
        ),
        (
            "key = \"secret-key-secret-key\"\nscope = [\"limits:check\"]",
            "unknown field",
        ),
    ] {
        let error = with(lines);
        assert!(error.contains(part), "{lines}: {error}");
        assert!(error.contains("line"), "{error}");
    }
    let twice = "key = \"secret-key-secret-key\"\nscopes = [\"limits:check\"]\n\
                 [[service-keys]]\nname = \"a\"\nkey = \"secret-key-secret-ke2\"\nscopes = [\"limits:read\"]";
    assert!(with(twice).contains("two keys"));
}

#[test]
fn a_key_that_is_taken_out_of_the_file_stops_to_work() {
    let with = |name: &str, key: &str| {
        format!(
            "[[service-keys]]\nname = \"{name}\"\nkey = \"{key}\"\nscopes = [\"limits:read\"]\n"
        )
    };
    let (old, new) = ("old-key-0123456789", "new-key-0123456789");
    let mut bench = Bench::with(&with("old", old));
    let opens = |bench: &mut Bench, key: &str| bench.ask(key, "GET", "/v1/limits", "").0 == 200;
    assert!(opens(&mut bench, old) && !opens(&mut bench, new));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let until = |bench: &mut Bench, what: &mut dyn FnMut(&mut Bench) -> bool| {
        while !what(bench) {
            assert!(std::time::Instant::now() < deadline, "it does not happen");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    let bearer = format!("Bearer {TOKEN}");
    let says = |bench: &mut Bench, line: &str| {
        let (_, _, page) = bench.send("GET", "/metrics", &[("authorization", &bearer)], "");
        String::from_utf8(page)
            .unwrap()
            .lines()
            .any(|it| it == line)
    };
    // What is wrong leaves the keys that there are.
    bench.rewrite("[[service-keys]]\nname = \"none\"\n");
    until(&mut bench, &mut |bench| {
        says(bench, "sangam_service_keys_invalid 1")
    });
    assert!(opens(&mut bench, old));
    bench.rewrite(&with("new", new));
    until(&mut bench, &mut |bench| opens(bench, new));
    assert!(!opens(&mut bench, old), "revoked");
    assert!(says(&mut bench, "sangam_service_keys_invalid 0"));
}
