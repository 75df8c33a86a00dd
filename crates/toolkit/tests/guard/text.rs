//! Settings as text: what they mean, and what is said of wrong ones.

use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;
use sangam::limit::class::{By, Compat};
use sangam::limit::{Algorithm, ClassError, Classes, Mode, Policy, Settings};

use crate::settings;

const ALL_OF_IT: &str = r#"
http = "127.0.0.1:1"

[limits]
trusted-proxies = ["10.0.0.0/8", "2001:db8::1"]
legacy-headers = true
near = 90

[limits.classes.zoo]
policy = "open"
mode = "leased"
shadow = true
when = [{ method = ["post"], path = ["/a/*", "/b/**"], header = { X-Plan = "free" } }, {}]
allow = { users = ["svc-1"], addresses = ["192.0.2.0/24"], user-agents = ["Uptime*"] }
deny = { user-agents = ["*sqlmap*"] }
[[limits.classes.zoo.rules]]
by = "user"
algorithm = "token-bucket"
limit = 5
window = "250ms"
burst = 10
[[limits.classes.zoo.rules]]
name = "everybody"
by = "all"
algorithm = "fixed-window"
limit = 1_000
window = "1d"
shadow = true

[limits.classes.api]
compat = "upstash"
rules = [{ by = "address", algorithm = "sliding-window", limit = 0x10, window = "10s" }]

[other]
limits = 3
"#;

#[test]
fn settings_mean_what_they_say() {
    let settings = settings(ALL_OF_IT);
    assert!(settings.legacy_headers);
    assert_eq!(settings.near, 90);
    let proxies = &settings.trusted_proxies;
    assert!(proxies.contains("10.200.0.1".parse().unwrap()));
    assert!(proxies.contains("2001:db8::1".parse().unwrap()));
    assert!(!proxies.contains("2001:db8::2".parse().unwrap()));

    let names: Vec<&str> = settings.classes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names[..2],
        ["zoo", "api"],
        "in their order, before what is built in"
    );
    assert_eq!(names.len(), 11);
    let zoo = settings.classes.get("zoo").unwrap();
    assert_eq!(
        (zoo.terms.policy, zoo.terms.mode),
        (Policy::Open, Mode::Leased)
    );
    assert!(zoo.shadow && zoo.compat.is_none() && zoo.when.len() == 2);
    assert!(zoo.allow.names(Some("svc-1"), None, None));
    assert!(
        zoo.allow
            .names(None, Some("192.0.2.77".parse().unwrap()), None)
    );
    assert!(zoo.deny.names(None, None, Some("x SqlMap/1")));
    let [bucket, all] = zoo.tiers.as_slice() else {
        panic!("two tiers");
    };
    assert_eq!((bucket.name.as_str(), bucket.by), ("user", By::User));
    assert_eq!(bucket.rule.algorithm(), Algorithm::TokenBucket);
    assert_eq!((bucket.rule.limit(), bucket.rule.burst()), (5, 10));
    assert_eq!(bucket.rule.window(), Duration::from_millis(250));
    assert_eq!(
        (all.name.as_str(), all.by, all.shadow),
        ("everybody", By::All, true)
    );
    assert_eq!(
        (all.rule.limit(), all.rule.window()),
        (1000, Duration::from_hours(24))
    );

    let api = settings.classes.get("api").unwrap();
    let prefix = "@upstash/ratelimit".to_owned();
    assert_eq!(api.compat, Some(Compat::Upstash { prefix }));
    assert_eq!(api.terms.policy, Policy::Closed);
    assert_eq!(api.tiers[0].rule.limit(), 16);
}

#[test]
fn without_a_table_what_is_built_in_holds() {
    for text in ["", "http = 'x'\n", "[limits]\n", "[limits.classes]\n"] {
        assert_eq!(
            Settings::parse(text).unwrap(),
            Settings::default(),
            "{text:?}"
        );
    }
    let none = Classes::parse("[limits]\nbuiltin = false").unwrap();
    assert_eq!(none, Classes::default());
}

/// A class with this among its settings.
fn class(more: &str) -> String {
    format!("[limits.classes.a]\n{more}\n")
}

/// A class with a rule of which some settings are other ones.
fn rule(change: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("by", "\"user\""),
        ("algorithm", "\"fixed-window\""),
        ("limit", "1"),
        ("window", "\"1m\""),
    ];
    for (name, value) in change {
        fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    let mut text = class("[[limits.classes.a.rules]]");
    for (name, value) in fields {
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut wrong = String::new();
    let two = |other: &str| format!("{}\n[[limits.classes.a.rules]]\n{other}", rule(&[]));
    let long = format!("[limits.classes.{}]", "n".repeat(31));
    let deny = class(r#"deny = { addresses = ["10.1.0.0/8"] }"#);
    for (text, line, column, says) in [
        (
            "limits = 3".to_owned(),
            1,
            10,
            "a table, [limits] is expected, not a whole number",
        ),
        ("[limits]\nnaer = 1".into(), 2, 1, "no setting \"naer\""),
        (
            "[limits]\nnear = 0".into(),
            2,
            8,
            "from 1 to 100 is expected, not 0",
        ),
        ("[limits]\nnear = 101".into(), 2, 8, "from 1 to 100"),
        ("[limits]\nnear = 1.5".into(), 2, 8, "not a fraction"),
        (
            "[limits]\nbuiltin = \"no\"".into(),
            2,
            11,
            "true or false is expected, not a text",
        ),
        (
            "[limits]\ntrusted-proxies = [\"x\"]".into(),
            2,
            20,
            "a network is written",
        ),
        (
            "[limits]\ntrusted-proxies = [\"ü\", \"x\"]".into(),
            2,
            20,
            "a network",
        ),
        ("[limits]\n  near = 1\n  near = 2".into(), 3, 3, "duplicate"),
        ("[limits".into(), 1, 8, "expected"),
        ("[limits.classes.\"a b\"]".into(), 1, 17, "1 to 30 letters"),
        (long, 1, 17, "1 to 30 letters"),
        (class(""), 1, 1, "needs at least one rule"),
        (class("rules = []"), 2, 9, "needs at least one rule"),
        (
            class("policy = \"ajar\""),
            2,
            10,
            "\"open\", \"closed\" or \"local\" is expected, not \"ajar\"",
        ),
        (
            class("mode = 1"),
            2,
            8,
            "\"exact\" or \"leased\" is expected, not a whole number",
        ),
        (class("polic = 1"), 2, 1, "known are policy, mode"),
        (class("when = {}"), 2, 8, "a list of conditions"),
        (class("when = [{ path = [\"a\"] }]"), 2, 19, "begins with /"),
        (
            class("when = [{ path = [\"/a/\"] }]"),
            2,
            19,
            "write \"/a\"",
        ),
        (
            class("when = [{ path = [\"/%61?b\"] }]"),
            2,
            19,
            "write \"/a\"",
        ),
        (
            class("when = [{ methods = [] }]"),
            2,
            11,
            "known are method, path and header",
        ),
        (class("when = [{ method = [\"\"] }]"), 2, 21, "a method"),
        (
            class("when = [{ header = { \"a b\" = \"c\" } }]"),
            2,
            22,
            "name of a header",
        ),
        (deny, 2, 23, "write 10.0.0.0/8"),
        (
            class("allow = { users = [1] }"),
            2,
            20,
            "a user's id is expected, not a whole number",
        ),
        (class("allow = { users = [\"\"] }"), 2, 20, "not empty"),
        (class("allow = { ids = [] }"), 2, 11, "known are users"),
        (rule(&[("by", "")]), 2, 1, "needs `by`"),
        (rule(&[("algorithm", "")]), 2, 1, "needs an `algorithm`"),
        (rule(&[("limit", "")]), 2, 1, "needs a `limit`"),
        (rule(&[("window", "")]), 2, 1, "needs a `window`"),
        (
            rule(&[("limit", "0")]),
            6,
            9,
            "from 1 on is expected, not 0",
        ),
        (rule(&[("limit", "-4")]), 6, 9, "not -4"),
        (rule(&[("limit", "nan")]), 6, 9, "not a fraction"),
        (
            rule(&[("limit", "99999999999999999999999")]),
            6,
            9,
            "is expected",
        ),
        (rule(&[("limit", "9000000000000000")]), 6, 9, "too large"),
        (
            rule(&[("window", "\"0s\"")]),
            6,
            10,
            "not between 1 ms and 366 days",
        ),
        (
            rule(&[("window", "\"400d\"")]),
            6,
            10,
            "not between 1 ms and 366 days",
        ),
        (
            rule(&[("window", "\"99999999999999999d\"")]),
            6,
            10,
            "a time such as",
        ),
        (rule(&[("window", "\"-1s\"")]), 6, 10, "a time such as"),
        (rule(&[("window", "\"1 s\"")]), 6, 10, "a time such as"),
        (rule(&[("window", "60")]), 6, 10, "a time such as"),
        (rule(&[("burst", "2")]), 7, 9, "only token-bucket and gcra"),
        (
            rule(&[("algorithm", "\"gcra\""), ("burst", "0")]),
            7,
            9,
            "from 1 on",
        ),
        (rule(&[("name", "\"a.b\"")]), 7, 8, "1 to 30 letters"),
        (rule(&[("shadow", "1")]), 7, 10, "true or false"),
        (rule(&[("weight", "1")]), 7, 1, "no setting \"weight\""),
        (
            two("by = 'user'\nalgorithm = 'gcra'\nlimit = 1\nwindow = '1s'"),
            8,
            1,
            "named \"user\" already",
        ),
        (
            two("by = 'all'\nalgorithm = 'concurrency'\nlimit = 1\nwindow = '1s'"),
            2,
            1,
            "class of their own",
        ),
        (
            two("by = 'all'\nalgorithm = 'gcra'\nlimit = 1\nwindow = '1s'").replacen(
                '\n',
                "\ncompat = \"upstash\"\n",
                1,
            ),
            2,
            10,
            "one rule only",
        ),
    ] {
        let Err(error) = Settings::parse(&text) else {
            panic!("nothing is wrong with\n{text}");
        };
        let ClassError {
            line: l,
            column: c,
            reason,
        } = &error;
        let shown = format!("line {l}, column {c}: {reason}");
        if (*l, *c) != (line, column) || !reason.contains(says) || shown != error.to_string() {
            let _ = writeln!(
                wrong,
                "{text}\n  -> {error}\n  not {line}, {column}: {says}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_class_in_upstashs_form_is_one_that_it_has() {
    let parse = |change: &[(&str, &str)], more: &str| {
        Settings::parse(&rule(change).replacen('\n', &format!("\ncompat = \"upstash\"{more}\n"), 1))
    };
    for algorithm in Algorithm::ALL {
        let name = format!("{:?}", algorithm.as_str());
        let has = matches!(
            algorithm,
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::TokenBucket
        );
        assert_eq!(parse(&[("algorithm", &name)], "").is_ok(), has, "{name}");
    }
    let named = rule(&[]).replacen('\n', "\ncompat = { upstash = \"app\" }\n", 1);
    let classes = Classes::parse(&named).unwrap();
    let prefix = "app".to_owned();
    let shared = Some(Compat::Upstash { prefix });
    assert_eq!(classes.get("a").unwrap().compat, shared);
    for wrong in [
        "\"redis\"",
        "{}",
        "{ upstash = 1 }",
        "{ redis = \"a\" }",
        "true",
    ] {
        let text = class(&format!("compat = {wrong}"));
        assert_eq!(Settings::parse(&text).unwrap_err().line, 2, "{wrong}");
    }
    let leased = parse(&[], "\nmode = \"leased\"").unwrap_err();
    assert!(leased.reason.contains("exact"), "{leased}");
}

/// Other tables hold secrets, which no error repeats.
#[test]
fn errors_repeat_nothing_of_other_tables() {
    for text in [
        "token = hidden",
        "token = \"hidden",
        "token = 'hidden' 'hidden'",
        "token = 'hidden'\ntoken = 'hidden'",
        "'hidden'",
    ] {
        let error = Settings::parse(text).unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{text}: {error}");
    }
}

/// Pieces of settings, right and wrong.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[limits]\n"),
        Just("[limits.classes.a]\n"),
        Just("[[limits.classes.a.rules]]\n"),
        Just("by = "),
        Just("\"user\"\n"),
        Just("algorithm = "),
        Just("\"gcra\"\n"),
        Just("limit = "),
        Just("5\n"),
        Just("window = "),
        Just("\"1m\"\n"),
        Just("when = "),
        Just("[{ path = [\"/a\"] }]\n"),
        Just("allow = "),
        Just("{ users = [] }\n"),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just("near = "),
        Just("-1\n"),
        Just("nan\n"),
        Just("1979-05-27\n"),
        Just("\"\"\"\n"),
        Just("classes = "),
        Just("ü"),
        Just("\0"),
        Just("builtin = false\n"),
        Just("limits.classes.b.rules = "),
        Just("18446744073709551616\n"),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_text_does_harm(text in prop_oneof![pieces(), any::<String>(), "[a-z\\[\\]={}.\"'\n 0-9]{0,80}"]) {
        if let Err(error) = Settings::parse(&text) {
            prop_assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1);
            let line = text.split('\n').nth(error.line - 1).unwrap();
            prop_assert!(error.column >= 1 && error.column <= line.chars().count() + 1);
            prop_assert!(!error.reason.is_empty() && error.reason.len() < 600, "{}", error);
        }
    }

    /// Wherever a right text ends too early or is changed, something is said or meant.
    #[test]
    fn no_change_of_a_right_text_does_harm(at in 0..ALL_OF_IT.len(), byte in 0u8..128, cut: bool) {
        let mut bytes = ALL_OF_IT.as_bytes().to_vec();
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        let _ = Settings::parse(std::str::from_utf8(&bytes).unwrap());
    }
}

#[test]
fn deep_texts_are_refused() {
    let deep = format!("[limits]\nclasses = {}", "[".repeat(100_000));
    assert!(Settings::parse(&deep).is_err());
    let deep = format!("[limits]\nclasses = {}", "{a=".repeat(100_000));
    assert!(Settings::parse(&deep).is_err());
}
