//! Caches over the API: one server, several over one store, and one whose store is away.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use sangam_rig::proxy::{Cut, Proxy};
use sangam_rig::redis::Redis;
use serde_json::Value;

use crate::{Bench, TOKEN};

/// An answer: status, head in small letters, body.
type Answer = (u16, String, Vec<u8>);

impl Bench {
    /// A request with the server's token and more fields.
    fn asked(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend_from_slice(more);
        self.reconnect();
        let (status, head, body) = self.send(method, path, &headers, body);
        (status, head.to_lowercase(), body)
    }

    fn put(&mut self, path: &str, body: &str) -> u16 {
        self.asked("PUT", path, &[], body).0
    }

    fn status(&mut self, method: &str, path: &str) -> u16 {
        self.asked(method, path, &[], "").0
    }

    /// What a GET gives; none where there is none.
    fn value(&mut self, path: &str) -> Option<String> {
        let (status, head, body) = self.asked("GET", path, &[], "");
        assert!(matches!(status, 200 | 404), "{path}: {head}");
        (status == 200).then(|| String::from_utf8(body).unwrap())
    }

    /// Why a request is refused with this status.
    fn refused(&mut self, expected: u16, method: &str, path: &str, body: &str) -> String {
        let (status, head, answer) = self.asked(method, path, &[], body);
        assert_eq!(status, expected, "{method} {path} {body}: {head}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        let problem: Value = serde_json::from_slice(&answer).unwrap();
        problem["detail"].as_str().unwrap().to_owned()
    }

    fn json(&mut self, path: &str) -> Value {
        serde_json::from_slice(&self.asked("GET", path, &[], "").2).unwrap()
    }

    fn invalidate(&mut self, cache: &str, body: &str) -> u16 {
        let path = format!("/v1/cache/{cache}/invalidate");
        self.asked("POST", &path, &[], body).0
    }
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("no {name}: {head}")).1
}

fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happens() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn values_come_back_as_they_are_written() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    assert_eq!(bench.value(path), None);
    for json in [
        "{\"b\": 1,  \"a\":[1.0,1e2,-0],\n\"a\":\"\\u00e9é\"}",
        "null",
        "\"\"",
        "12345678901234567890123456789",
        "[[],{}]",
        r#"{"\ud83d\ude00":"\u0000"}"#,
    ] {
        assert_eq!(bench.put(path, &format!("  {json}\n")), 204);
        assert_eq!(bench.value(path).as_deref(), Some(json));
    }
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(bench.put(path, &deep(127)), 204);
    assert_eq!(bench.value(path), Some(deep(127)));
    for (json, part) in [
        (&*deep(128), "more than 127 lists and objects"),
        (&deep(50_000), "more than 127 lists and objects"),
        (r#"{"a":["\ud800"]}"#, "line 1 column"),
        (r#"{"\udc00":1}"#, "line 1 column"),
        (r#""\ud83d\u0041""#, "line 1 column"),
        ("[1e400]", "number out of range"),
    ] {
        let detail = bench.refused(400, "PUT", path, json);
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(bench.value(path), Some(deep(127)), "nothing was put");
    assert_eq!(bench.status("DELETE", path), 204);
    assert_eq!(bench.value(path), None);
    assert_eq!(bench.status("DELETE", path), 204, "there was none");
}

#[test]
fn an_answer_says_where_it_came_from_and_how_old_it_is() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    let (status, head, _) = bench.asked("GET", path, &[], "");
    assert_eq!(
        (status, field(&head, "cache-status")),
        (404, "sangam; fwd=uri-miss")
    );
    assert!(!head.contains("sangam-degraded"), "{head}");
    let address = format!("{path}?ttl=3600");
    assert_eq!(bench.put(&address, "[1]"), 204);
    let (status, head, _) = bench.asked("GET", path, &[], "");
    assert_eq!(status, 200);
    assert_eq!(field(&head, "content-type"), "application/json");
    assert!(field(&head, "age").parse::<u64>().unwrap() < 60);
    let said = field(&head, "cache-status");
    let ttl = said
        .strip_prefix("sangam; hit; ttl=")
        .and_then(|rest| rest.strip_suffix("; detail=memory"))
        .and_then(|ttl| ttl.parse::<u64>().ok());
    assert!(
        ttl.is_some_and(|ttl| (3540..=3600).contains(&ttl)),
        "{said}"
    );
    // HEAD says the same, and nothing more.
    let mut stream = crate::connect(bench.server.http());
    let request = format!(
        "HEAD {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.ends_with("\r\n\r\n"));
    assert_eq!(field(&answer, "content-length"), "3");
    assert_eq!(field(&answer, "etag"), field(&head, "etag"));
}

#[test]
fn who_has_a_value_is_not_sent_it_again() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    assert_eq!(bench.put(path, "[1]"), 204);
    let (_, head, _) = bench.asked("GET", path, &[], "");
    let tag = field(&head, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10);
    for (named, expected) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"x\", {tag} , \"y\""), 304),
        ("*".to_owned(), 304),
        ("\"x\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let (status, head, body) = bench.asked("GET", path, &[("if-none-match", &named)], "");
        assert_eq!(status, expected, "{named}: {head}");
        assert_eq!(field(&head, "etag"), tag);
        assert!(status == 200 || body.is_empty());
    }
    // The same bytes have the same tag, others another one.
    assert_eq!(bench.put(path, "[1]"), 204);
    let known = [("if-none-match", tag.as_str())];
    assert_eq!(bench.asked("GET", path, &known, "").0, 304);
    assert_eq!(bench.put(path, "[2]"), 204);
    assert_eq!(bench.asked("GET", path, &known, "").0, 200);
}

#[test]
fn a_write_with_a_condition_is_refused() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    assert_eq!(bench.put(path, "1"), 204);
    for condition in [
        ("if-none-match", "*"),
        ("if-match", "\"x\""),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        for method in ["PUT", "DELETE"] {
            let (status, head, body) = bench.asked(method, path, &[condition], "2");
            let body = String::from_utf8(body).unwrap();
            assert_eq!(status, 501, "{condition:?}: {head}");
            assert!(body.contains("conditional writes are not supported"));
            assert!(body.contains(condition.0), "{body}");
        }
    }
    assert_eq!(bench.value(path).as_deref(), Some("1"));
}

#[test]
fn a_key_is_anything() {
    let mut bench = Bench::with("");
    let long = "k".repeat(60_000);
    let keys = [
        "user:1/channels",
        "/",
        "a//b/",
        "invalidate",
        "%E0%A4%95",
        "%00%0D%0A",
        "a?b".replace('?', "%3F").leak(),
        "+",
        "..",
        &long,
    ];
    for (at, key) in keys.iter().enumerate() {
        let path = format!("/v1/cache/users/{key}");
        assert_eq!(bench.put(&path, &at.to_string()), 204, "{at}");
    }
    for (at, key) in keys.iter().enumerate() {
        let path = format!("/v1/cache/users/{key}");
        assert_eq!(bench.value(&path), Some(at.to_string()));
    }
    let value = bench.value("/v1/cache/users/user%3A1%2Fchannels");
    assert_eq!(value.as_deref(), Some("0"), "the same key");
    assert_eq!(bench.status("DELETE", "/v1/cache/users/invalidate"), 204);
    assert_eq!(bench.value("/v1/cache/users/invalidate"), None);
    for method in ["GET", "PUT", "DELETE"] {
        let detail = bench.refused(400, method, "/v1/cache/users/", "1");
        assert!(detail.contains("name a key"), "{detail}");
        let detail = bench.refused(400, method, "/v1/cache/users/%FF", "1");
        assert!(detail.contains("UTF-8"), "{detail}");
    }
    let path = format!("/v1/cache/users/{}", "k".repeat(100 * 1024));
    let (status, head, _) = bench.asked("GET", &path, &[], "");
    assert_eq!(status, 414, "{head}");
    assert_eq!(bench.status("POST", "/v1/cache/users/user:1"), 405);
}

#[test]
fn a_name_is_plain() {
    let mut bench = Bench::with("");
    for name in ["a%20b", "a%2Fb", "%C3%A9", "a*", &"a".repeat(65), ""] {
        for (method, path) in [
            ("GET", format!("/v1/cache/{name}/k")),
            ("PUT", format!("/v1/cache/{name}/k")),
            ("POST", format!("/v1/cache/{name}/invalidate")),
        ] {
            let body = if method == "POST" {
                r#"{"all":true}"#
            } else {
                "1"
            };
            let detail = bench.refused(400, method, &path, body);
            assert!(detail.contains("is no name of a cache"), "{detail}");
        }
    }
    assert_eq!(bench.json("/v1/cache")["caches"], serde_json::json!([]));
}

#[test]
fn times_and_tags_that_cannot_be_are_refused() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    let tags = |count: usize| vec!["tag=t"; count].join("&");
    for (query, part) in [
        ("ttl=0", "from 0.001 to 31622400"),
        ("ttl=-1", "not \"-1\""),
        ("ttl=%2B1", "not \"+1\""),
        ("ttl=1e12", "not \"1e12\""),
        ("ttl=NaN", "not \"NaN\""),
        ("ttl=inf", "not \"inf\""),
        ("ttl=", "not \"\""),
        ("ttl", "not \"\""),
        ("ttl=5m", "not \"5m\""),
        ("ttl=.5", "not \".5\""),
        ("ttl=1.", "not \"1.\""),
        ("ttl=0.0001", "from 0.001"),
        ("ttl=9467280000", "366 days"),
        ("ttl=31622401", "366 days"),
        (&format!("ttl={}", "9".repeat(400)), "366 days"),
        ("ttl=1&ttl=1", "twice"),
        ("TTL=1", "no parameter \"TTL\""),
        ("tags=a", "known are ttl and tag"),
        ("tag=", "a tag of 0 bytes"),
        ("tag=%FF", "UTF-8"),
        (&format!("tag={}", "t".repeat(1025)), "1025 bytes"),
        (&tags(257), "257 tags"),
        (&tags(5000), "5000 tags"),
    ] {
        let address = format!("{path}?{query}");
        let detail = bench.refused(400, "PUT", &address, "1");
        assert!(detail.contains(part), "{query}: {detail}");
        assert!(detail.len() < 300, "{detail}");
    }
    assert_eq!(bench.value(path), None);
    for query in ["ttl=31622400", "ttl=0.5", &tags(256)] {
        assert_eq!(bench.put(&format!("{path}?{query}"), "1"), 204, "{query}");
    }
}

#[test]
fn a_value_ends_with_its_time() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    assert_eq!(bench.put(&format!("{path}?ttl=0.2"), "1"), 204);
    until("the end of a value", || bench.value(path).is_none());
}

#[test]
fn bodies_that_are_no_json_are_told_where() {
    let mut bench = Bench::with("");
    let path = "/v1/cache/users/user:1";
    for (body, part) in [
        ("", "line 1 column 0"),
        ("{", "line 1 column 1"),
        ("{\"a\":1,\n\"b\":}", "line 2 column 5"),
        ("[1] [2]", "trailing characters at line 1 column 5"),
        ("nul", "line 1 column 3"),
        ("NaN", "line 1 column 1"),
        ("'a'", "line 1 column 1"),
        ("\u{feff}1", "line 1 column 1"),
    ] {
        let detail = bench.refused(400, "PUT", path, body);
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let mut stream = crate::connect(bench.server.http());
    let headers = [("authorization", &*format!("Bearer {TOKEN}"))];
    let (head, _) = crate::support::http(&mut stream, "PUT", path, &headers, b"\"\xFF\"");
    assert!(head.contains(" 400 "), "no UTF-8: {head}");
    let typed = [("content-type", "text/plain")];
    assert_eq!(bench.asked("PUT", path, &typed, "1").0, 415);
    let typed = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(bench.asked("PUT", path, &typed, "1").0, 204);
    for (encoding, expected) in [("gzip", 415), ("identity, br", 415), ("Identity", 204)] {
        let encoded = [("content-encoding", encoding)];
        let (status, head, body) = bench.asked("PUT", path, &encoded, "2");
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, expected, "{encoding}: {head}");
        assert_eq!(
            body.contains("`Content-Encoding`"),
            expected == 415,
            "{body}"
        );
    }
}

#[test]
fn a_body_that_never_ends_is_refused_in_time() {
    let patience = Duration::from_millis(300);
    let mut bench = Bench::set("", |config| config.timing.body = patience);
    let path = "/v1/cache/users/k";
    for framing in [
        "content-length: 9\r\n\r\n\"a",
        "transfer-encoding: chunked\r\n\r\n1\r\n1\r\n",
    ] {
        let mut stream = crate::connect(bench.server.http());
        let request =
            format!("PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{framing}");
        let began = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 408");
        assert!(began.elapsed() >= patience);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains("did not arrive in time"), "{rest}");
    }
    assert_eq!(bench.value(path), None);
}

#[test]
fn values_have_a_bound_that_settings_say() {
    let mut bench = Bench::with("max-request-size = '64kb'\n[caches.small]\nmax-value = '1KiB'\n");
    let json = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    for (cache, bound) in [("users", 64 << 10), ("small", 1 << 10)] {
        let path = format!("/v1/cache/{cache}/k");
        assert_eq!(bench.put(&path, &json(bound)), 204);
        let detail = bench.refused(413, "PUT", &path, &json(bound + 1));
        assert!(detail.contains(&bound.to_string()), "{detail}");
        assert!(detail.contains("`max-value`") && detail.contains("`max-request-size`"));
        assert_eq!(bench.value(&path), Some(json(bound)));
    }
    // 100 MB are refused before they come.
    let mut stream = crate::connect(bench.server.http());
    let request = format!(
        "PUT /v1/cache/users/k HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 100000000\r\n\r\n1"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 413");
}

#[test]
fn tags_keys_and_all_are_invalidated() {
    let mut bench = Bench::with("");
    let path = |key: &str| format!("/v1/cache/users/{key}");
    let fill = |bench: &mut Bench| {
        for (key, query) in [
            ("a", "tag=red&tag=dark%20blue"),
            ("b", "tag=red"),
            ("c", "tag=dark+blue"),
            ("d", ""),
        ] {
            assert_eq!(bench.put(&format!("{}?{query}", path(key)), "1"), 204);
        }
        assert_eq!(bench.put("/v1/cache/rooms/a?tag=red", "1"), 204);
    };
    for (body, left) in [
        (r#"{"tags":["red"]}"#, "cd"),
        (r#"{"tags":["dark blue","none"]}"#, "bd"),
        (r#"{"keys":["a","d","none"]}"#, "bc"),
        (r#"{"tags":["red"],"keys":["d"]}"#, "c"),
        (r#"{"all":true}"#, ""),
        (r#"{"all":true,"tags":["red"],"keys":[]}"#, ""),
    ] {
        fill(&mut bench);
        assert_eq!(bench.invalidate("users", body), 204, "{body}");
        let found: String = ["a", "b", "c", "d"]
            .into_iter()
            .filter(|key| bench.value(&path(key)).is_some())
            .collect();
        assert_eq!(found, left, "{body}");
        assert!(bench.value("/v1/cache/rooms/a").is_some(), "of another");
    }
    fill(&mut bench);
    let many = format!(r#"{{"tags":[{}"t"]}}"#, "\"t\",".repeat(1000));
    let long = format!(r#"{{"keys":["{}"]}}"#, "k".repeat(100 * 1024));
    let late = long.replace('}', r#","tags":["red"],"all":true}"#);
    for (body, part) in [
        ("{}", "name what to invalidate"),
        (r#"{"all":false}"#, "name what to invalidate"),
        (r#"{"tags":[],"keys":[]}"#, "name what to invalidate"),
        (r#"{"tag":["red"]}"#, "unknown field `tag`"),
        (r#"{"tags":"red"}"#, "expected a list"),
        (r#"{"tags":[1]}"#, "expected a text"),
        (r#"{"tags":[""]}"#, "a tag of 0 bytes"),
        (r#"{"all":"yes"}"#, "expected true or false"),
        (r#"{"all":true,"all":true}"#, "duplicate field `all`"),
        ("[]", "expected an object"),
        ("", "EOF"),
        (&many, "at most 1000 of them, not 1001"),
        (&long, "a key of 102400 bytes"),
        (r#"{"tags":["red"],"keys":["a",""]}"#, "an empty one"),
        (r#"{"keys":["a"],"tags":["red",""]}"#, "a tag of 0 bytes"),
        (&late, "a key of 102400 bytes"),
    ] {
        let detail = bench.refused(400, "POST", "/v1/cache/users/invalidate", body);
        assert!(detail.contains(part), "{body}: {detail}");
    }
    for key in ["a", "b", "c", "d"] {
        assert!(bench.value(&path(key)).is_some(), "nothing was done");
    }
}

#[test]
fn all_of_a_shared_cache_is_refused_before_anything_is_done() {
    let mut bench = Bench::with("[caches.creators]\nshared-prefix = 'creator:'\n");
    let path = "/v1/cache/creators/1";
    assert_eq!(bench.put(&format!("{path}?tag=t"), "1"), 204);
    let body = r#"{"keys":["1"],"tags":["t"],"all":true}"#;
    let detail = bench.refused(400, "POST", "/v1/cache/creators/invalidate", body);
    assert!(detail.contains("`shared-prefix`"), "{detail}");
    assert_eq!(bench.value(path).as_deref(), Some("1"));
    assert_eq!(bench.invalidate("creators", r#"{"tags":["t"]}"#), 204);
    assert_eq!(bench.value(path), None);
}

#[test]
fn a_value_of_another_app_may_have_no_end() {
    let mut bench = Bench::with("[caches.creators]\nshared-prefix = 'creator:'\n");
    let (status, ..) = bench.asked("POST", "/", &[], r#"["SET","creator:1","[1]"]"#);
    assert_eq!(status, 200);
    let (status, head, body) = bench.asked("GET", "/v1/cache/creators/1", &[], "");
    assert_eq!((status, &*body), (200, &b"[1]"[..]), "{head}");
    assert_eq!(field(&head, "cache-status"), "sangam; hit; detail=store");
}

#[test]
fn settings_hold_for_their_cache() {
    let mut bench = Bench::with(
        "[caches.default]\nttl = '2h'\njitter = 0\n\
         [caches.users]\nttl = '3h'\n[caches.bare]\nmemory = 0\n",
    );
    for (cache, ttl, source) in [
        ("users", 10_800, "memory"),
        ("bare", 7_200, "store"),
        ("other", 7_200, "memory"),
    ] {
        let path = format!("/v1/cache/{cache}/k");
        assert_eq!(bench.value(&path), None, "from now on memory is compared");
        assert_eq!(bench.put(&path, "1"), 204);
        let (_, head, _) = bench.asked("GET", &path, &[], "");
        let said = field(&head, "cache-status");
        let rest = said.strip_prefix("sangam; hit; ttl=").unwrap();
        let (left, detail) = rest.split_once("; detail=").unwrap();
        let left: u64 = left.parse().unwrap();
        assert!(left <= ttl && left + 60 > ttl, "{cache}: {said}");
        assert_eq!(detail, source, "{cache}");
    }
}

#[test]
fn caches_of_any_name_take_no_more_memory_than_they_may_and_all_work() {
    let mut bench = Bench::with("[caches]\nothers-max = 2\n[caches.users]\n");
    let source = |bench: &mut Bench, cache: &str| {
        let (status, head, _) = bench.asked("GET", &format!("/v1/cache/{cache}/k"), &[], "");
        assert_eq!(status, 200, "{cache}: {head}");
        let said = field(&head, "cache-status");
        said.rsplit_once("detail=").unwrap().1.to_owned()
    };
    for cache in ["users", "one", "two", "three"] {
        let path = format!("/v1/cache/{cache}/k");
        assert_eq!(bench.value(&path), None, "from now on memory is compared");
        assert_eq!(bench.put(&format!("{path}?tag=t"), "1"), 204);
    }
    // Who comes first has memory; the third does without.
    for (cache, expected) in [("users", "memory"), ("one", "memory"), ("two", "memory")] {
        assert_eq!(source(&mut bench, cache), expected, "{cache}");
    }
    let path = "/v1/cache/three/k";
    for body in [r#"{"tags":["t"]}"#, r#"{"keys":["k"]}"#, r#"{"all":true}"#] {
        assert_eq!(source(&mut bench, "three"), "store");
        assert_eq!(bench.invalidate("three", body), 204);
        assert_eq!(bench.value(path), None, "{body}");
        assert_eq!(bench.put(&format!("{path}?tag=t"), "1"), 204);
    }
    assert_eq!(bench.status("DELETE", path), 204);
    assert_eq!(bench.value(path), None);
    let known = |report: &Value| {
        let caches = report["caches"].as_array().unwrap().iter();
        let names = caches.map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(known(&bench.json("/v1/cache")), ["one", "two", "users"]);
    // One with nothing in memory makes room, and loses nothing but its numbers.
    assert_eq!(bench.status("DELETE", "/v1/cache/one/k"), 204);
    assert_eq!(bench.put(path, "2"), 204);
    assert_eq!(source(&mut bench, "three"), "memory");
    assert_eq!(known(&bench.json("/v1/cache")), ["three", "two", "users"]);
    assert_eq!(bench.value("/v1/cache/two/k").as_deref(), Some("1"));
    assert_eq!(bench.value("/v1/cache/users/k").as_deref(), Some("1"));
}

#[test]
fn what_caches_did_is_reported() {
    let mut bench = Bench::with("[caches.users]\nmemory = '1mb'\n");
    let report = bench.json("/v1/cache");
    assert_eq!(report["connected"], true);
    assert_eq!(report["total"]["hit_rate"], 0.0);
    assert_eq!(report["caches"][0]["name"], "users", "from the start");
    let path = "/v1/cache/users/k";
    let large = format!("\"{}\"", "a".repeat(10_000));
    assert_eq!(bench.status("GET", "/v1/cache/users/none"), 404);
    assert_eq!(bench.put(path, &large), 204);
    for _ in 0..3 {
        assert_eq!(bench.status("GET", path), 200);
    }
    assert_eq!(bench.status("DELETE", "/v1/cache/users/none"), 204);
    assert_eq!(bench.invalidate("users", r#"{"tags":["t"]}"#), 204);
    let report = bench.json("/v1/cache");
    let users = &report["caches"][0];
    for (name, number) in [
        ("memory_hits", 3),
        ("store_hits", 0),
        ("misses", 1),
        ("sets", 1),
        ("deletes", 1),
        ("invalidations", 1),
        ("loads", 0),
        ("items", 1),
        ("bytes_plain", 10_002),
    ] {
        assert_eq!(users[name], number, "{name}: {report}");
    }
    assert_eq!(users["hit_rate"], 0.75);
    let saved = users["bytes_saved"].as_u64().unwrap();
    assert!(saved > 5000, "{report}");
    assert!(users["bytes"].as_u64().unwrap() > 0 && users["commands"].as_u64().unwrap() > 0);
    assert!(report["total"]["commands"].as_u64() >= users["commands"].as_u64());
    assert_eq!(report["unsent"], 0);
    let (status, _, page) = bench.asked("GET", "/metrics", &[], "");
    assert_eq!(status, 200);
    let page = String::from_utf8(page).unwrap();
    for line in [
        "sangam_cache_hits_total{cache=\"users\",tier=\"memory\"} 3".to_owned(),
        "sangam_cache_misses_total{cache=\"users\"} 1".to_owned(),
        "sangam_cache_sets_total{cache=\"users\"} 1".to_owned(),
        format!("sangam_cache_saved_bytes_total{{cache=\"users\"}} {saved}"),
        "sangam_cache_items{cache=\"users\"} 1".to_owned(),
        "sangam_cache_unsent 0".to_owned(),
        "sangam_cache_connected 1".to_owned(),
        "# TYPE sangam_cache_hits_total counter".to_owned(),
    ] {
        assert!(page.lines().any(|it| it == line), "{line}:\n{page}");
    }
}

/// A runtime for what the rig starts.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[test]
fn servers_over_one_store_see_each_others_changes() {
    let runtime = runtime();
    let redis = runtime.block_on(Redis::start());
    let over = |more: &str| Bench::with(&format!("store = '{}'\n{more}", redis.url()));
    let (mut one, mut other) = (over(""), over(""));
    let path = "/v1/cache/users/user:1";
    let held = |bench: &mut Bench| {
        until("a value in memory", || {
            let (status, head, _) = bench.asked("GET", path, &[], "");
            status == 200 && field(&head, "cache-status").ends_with("detail=memory")
        });
    };
    for round in 0..3 {
        let value = round.to_string();
        assert_eq!(one.put(&format!("{path}?tag=people"), &value), 204);
        assert_eq!(one.value(path), Some(value.clone()), "at once");
        until("the put to be seen", || {
            other.value(path).as_ref() == Some(&value)
        });
        held(&mut one);
        held(&mut other);
        let gone = match round {
            0 => one.status("DELETE", path),
            1 => one.invalidate("users", r#"{"tags":["people"]}"#),
            _ => one.invalidate("users", r#"{"all":true}"#),
        };
        assert_eq!(gone, 204);
        assert_eq!(one.value(path), None, "at once");
        until("the deletion to be seen", || other.value(path).is_none());
        for _ in 0..20 {
            assert_eq!((one.value(path), other.value(path)), (None, None));
        }
    }
    // The tag of a value is the same, whoever answers.
    assert_eq!(one.put(path, "[1]"), 204);
    let tag = |bench: &mut Bench| {
        let (_, head, _) = bench.asked("GET", path, &[], "");
        field(&head, "etag").to_owned()
    };
    assert_eq!(tag(&mut one), tag(&mut other));
    let mut apart = over("prefix = 'another:'\n");
    assert_eq!(apart.value(path), None, "of another app");
}

#[test]
fn a_store_that_is_away_is_told_and_told_what_it_missed() {
    let runtime = runtime();
    let redis = runtime.block_on(Redis::start());
    let proxy = runtime.block_on(async { Proxy::start(redis.addr()) });
    let text = format!(
        "store = 'redis://{}'\n[caches.closed]\npolicy = 'closed'\n",
        proxy.addr()
    );
    let mut cut_off = Bench::with(&text);
    let mut other = Bench::with(&format!("store = '{}'\n", redis.url()));
    let path = |key: &str| format!("/v1/cache/users/{key}");
    for key in ["old", "gone", "tagged"] {
        let address = format!("{}?tag={key}", path(key));
        assert_eq!(cut_off.put(&address, "\"before\""), 204);
        assert!(other.value(&path(key)).is_some());
    }
    let unmet = "/v1/cache/unmet/k";
    assert_eq!(other.put(unmet, "\"before\""), 204);
    runtime.block_on(proxy.stop_listening());
    proxy.cut(Cut::Reset);
    until("the store to be away", || {
        cut_off.status("GET", &path("none"));
        cut_off.json("/v1/cache")["connected"] == false
    });
    let (status, head, _) = cut_off.asked("PUT", &path("new"), &[], "\"meanwhile\"");
    assert_eq!(
        (status, field(&head, "sangam-degraded")),
        (202, "queued"),
        "{head}"
    );
    assert_eq!(cut_off.put(&path("old"), "\"meanwhile\""), 202);
    assert_eq!(cut_off.status("DELETE", &path("gone")), 202);
    assert_eq!(cut_off.invalidate("users", r#"{"tags":["tagged"]}"#), 202);
    // What a cache's values hold by was never read: so the others only hear of a change.
    assert_eq!(cut_off.put(unmet, "\"meanwhile\""), 202);
    assert_eq!(cut_off.value(unmet).as_deref(), Some("\"meanwhile\""));
    // It goes on, and says what its answers are worth.
    for key in ["new", "old"] {
        let (status, head, body) = cut_off.asked("GET", &path(key), &[], "");
        assert_eq!((status, &*body), (200, &b"\"meanwhile\""[..]), "{head}");
        assert_eq!(field(&head, "sangam-degraded"), "memory");
        let said = field(&head, "cache-status");
        assert!(said.ends_with("detail=\"memory, degraded\""), "{said}");
    }
    for key in ["gone", "tagged", "none"] {
        let (status, head, _) = cut_off.asked("GET", &path(key), &[], "");
        assert_eq!(status, 404, "{key}: {head}");
        assert_eq!(field(&head, "sangam-degraded"), "memory");
        assert!(field(&head, "cache-status").contains("fwd=uri-miss"));
    }
    for (method, body) in [("PUT", "1"), ("GET", ""), ("DELETE", "")] {
        cut_off.refused(503, method, "/v1/cache/closed/k", body);
    }
    let report = cut_off.json("/v1/cache");
    assert_eq!(report["connected"], false);
    assert!(!report["reason"].as_str().unwrap().is_empty());
    assert_eq!(report["unsent"], 5, "{report}");
    let ready = cut_off.json("/ready");
    assert_eq!(ready["cache"], "memory only", "{ready}");
    assert_eq!(ready["unsent"], 5, "{ready}");
    let ready = other.json("/ready");
    assert_eq!(
        (&ready["cache"], &ready["unsent"]),
        (&Value::Null, &Value::Null)
    );
    // The store is back.
    runtime.block_on(proxy.listen_again());
    until("what waits to be sent", || {
        let report = cut_off.json("/v1/cache");
        report["connected"] == true && report["unsent"] == 0
    });
    let report = cut_off.json("/v1/cache");
    assert_eq!(
        (&report["replayed"], &report["dropped"]),
        (&5.into(), &0.into()),
        "{report}"
    );
    let (_, _, page) = cut_off.asked("GET", "/metrics", &[], "");
    let page = String::from_utf8(page).unwrap();
    for line in [
        "sangam_cache_replayed_total 5",
        "sangam_cache_dropped_total 0",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}:\n{page}");
    }
    for (key, value) in [
        ("new", Some("\"meanwhile\"")),
        ("old", Some("\"meanwhile\"")),
        ("gone", None),
        ("tagged", None),
    ] {
        until(key, || other.value(&path(key)).as_deref() == value);
        assert_eq!(cut_off.value(&path(key)).as_deref(), value, "{key}");
    }
    until("the change to be heard of", || other.value(unmet).is_none());
    assert_eq!(cut_off.put(&path("new"), "\"after\""), 204);
    until("what is put afterwards", || {
        other.value(&path("new")).as_deref() == Some("\"after\"")
    });
    assert_eq!(cut_off.put("/v1/cache/closed/k", "1"), 204);
}
