//! Which requests a class is for, and who is on its lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sangam::limit::class::{Cidr, Glob, List, Networks};
use sangam::limit::{Classes, Request, Ruled, Subject};

use crate::{address, at, check, guard, passed, user};

const CLASSES: &str = r#"
[limits]
builtin = false
[limits.classes.login]
when = [{ method = ["POST"], path = ["/auth/login", "/auth/*/code"] }]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.free]
when = [{ path = ["/api/**"], header = { x-plan = "free", x-beta = "*" } }]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.files]
when = [{ path = ["/files/**/raw"] }, { method = ["PUT", "DELETE"], path = ["/files/*"] }]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.unnamed]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.search]
when = [{ method = ["GET"], path = ["/search"] }]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.escaped]
when = [{ path = ["/caf%C3%A9"] }]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
[limits.classes.rest]
when = [{}]
rules = [{ by = "address", algorithm = "fixed-window", limit = 2, window = "1m" }]
"#;

#[test]
fn the_first_class_that_a_request_fits_is_its_own() {
    let classes = Classes::parse(CLASSES).unwrap();
    let class = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let header = |name: &str| {
            let header = headers.iter().find(|(known, _)| *known == name);
            header.map(|(_, value)| *value)
        };
        let request = Request {
            method,
            path,
            header: &header,
        };
        classes.classify(&request).unwrap().name.clone()
    };
    for path in [
        "/auth/login",
        "/auth/login?next=/",
        "/auth/login/",
        "//auth///login",
        "/%61uth/logi%6E",
        "/auth/ann/code",
    ] {
        assert_eq!(class("POST", path, &[]), "login", "{path}");
        assert_eq!(class("post", path, &[]), "login", "{path}");
        assert_eq!(class("GET", path, &[]), "rest", "{path}");
    }
    for (method, name) in [
        ("GET", "search"),
        ("HEAD", "search"),
        ("head", "search"),
        ("POST", "rest"),
    ] {
        assert_eq!(class(method, "/search", &[]), name, "{method}");
    }
    assert_eq!(class("HEAD", "/auth/login", &[]), "rest");
    for path in [
        "/auth/a/b/code",
        "/auth/code",
        "/auth%2Flogin",
        "/auth/logi",
        "/x/auth/login",
        "",
        "%",
        "/%4",
    ] {
        assert_eq!(class("POST", path, &[]), "rest", "{path}");
    }
    assert_eq!(class("GET", "/caf%c3%a9", &[]), "escaped");
    assert_eq!(class("GET", "/caf%C3%A9/", &[]), "escaped");
    let free = [("x-plan", "Free"), ("x-beta", "")];
    assert_eq!(class("GET", "/api/a/b", &free), "free");
    assert_eq!(class("GET", "/api/a", &free[..1]), "rest");
    assert_eq!(
        class("GET", "/api/a", &[("x-plan", "freed"), ("x-beta", "")]),
        "rest"
    );
    assert_eq!(class("GET", "/files/a/b/raw", &[]), "files");
    assert_eq!(class("DELETE", "/files/a", &[]), "files");
    assert_eq!(class("DELETE", "/files/a/b", &[]), "rest");
    let unnamed = Classes::new([classes.get("unnamed").unwrap().as_ref().clone()]);
    let any = Request {
        method: "GET",
        path: "/",
        header: &|_| None,
    };
    assert!(unnamed.classify(&any).is_none());
}

/// What a pattern means, in the plainest way.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| matches(rest, &text[at..])),
        [b'*', rest @ ..] => {
            let segment = text.iter().take_while(|it| **it != b'/').count();
            (0..=segment).any(|at| matches(rest, &text[at..]))
        }
        [first, rest @ ..] => text.first() == Some(first) && matches(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn patterns_match_as_they_should(pattern in "[ab/*]{1,9}", text in "[ab/]{0,10}") {
        let glob = Glob::path(&pattern).unwrap();
        prop_assert_eq!(glob.matches(&text), matches(pattern.as_bytes(), text.as_bytes()));
        prop_assert_eq!(glob.as_str(), pattern);
    }

    #[test]
    fn no_pattern_and_no_text_does_harm(pattern: String, text: String) {
        if let Ok(glob) = Glob::text(&pattern) {
            glob.matches(&text);
            prop_assert!(pattern.contains('*') || glob.matches(&pattern));
        }
    }

    #[test]
    fn networks_hold_what_begins_like_them(bits: u32, length in 0u8..=32, other: u32, near: bool) {
        let network = Cidr::new(IpAddr::V4(Ipv4Addr::from(bits)), length).unwrap();
        let flips = if near { 1u32.checked_shl(u32::from(other as u8 % 32)).unwrap() } else { 0 };
        let other = if near { bits ^ flips } else { other };
        let shift = |it: u32| it.checked_shr(32 - u32::from(length)).unwrap_or(0);
        let inside = shift(bits) == shift(other);
        let plain = IpAddr::V4(Ipv4Addr::from(other));
        let mapped = IpAddr::V6(Ipv4Addr::from(other).to_ipv6_mapped());
        prop_assert_eq!(network.contains(plain), inside);
        prop_assert_eq!(network.contains(mapped), inside);
        let set: Networks = [network].into_iter().collect();
        prop_assert_eq!(set.contains(plain), inside);
        prop_assert_eq!(set.contains(mapped), inside);
        prop_assert_eq!(network.to_string().parse::<Cidr>().unwrap(), network);
    }

    #[test]
    fn a_set_holds_what_one_of_its_networks_holds(
        networks in proptest::collection::vec((any::<u128>(), 0u8..=128, any::<bool>()), 0..20),
        probes in proptest::collection::vec(any::<u128>(), 20),
    ) {
        // Close together, so that they meet.
        let address = |bits: u128, v4: bool| if v4 {
            IpAddr::V4(Ipv4Addr::from((bits % 1024) as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from((bits % 1024) | (1 << 125)))
        };
        let all: Vec<Cidr> = networks.iter()
            .filter_map(|(bits, length, v4)| Cidr::new(address(*bits, *v4), if *v4 { 20 + length % 13 } else { 110 + length % 19 }))
            .collect();
        let set: Networks = all.iter().copied().collect();
        for bits in probes {
            for v4 in [true, false] {
                let address = address(bits, v4);
                prop_assert_eq!(set.contains(address), all.iter().any(|it| it.contains(address)));
            }
        }
    }

    #[test]
    fn no_network_does_harm(text in prop_oneof![any::<String>(), "[0-9a-f:./]{0,30}"]) {
        let _ = text.parse::<Cidr>();
    }
}

#[test]
fn networks_are_read_as_they_are_written() {
    let contains = |network: &str, address: &str| {
        let network: Cidr = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    };
    assert!(contains("::ffff:192.0.2.0/120", "192.0.2.7"));
    assert!(contains("192.0.2.0/24", "::ffff:192.0.2.7"));
    assert!(
        !contains("::/0", "192.0.2.7"),
        "IPv4 lies in no network of IPv6"
    );
    assert!(!contains("0.0.0.0/0", "2001:db8::1"));
    assert!(contains("192.0.2.7", "192.0.2.7") && !contains("192.0.2.7", "192.0.2.8"));
    for wrong in [
        "",
        "/",
        "1.2.3.4/",
        "1.2.3.4/33",
        "1.2.3.4/-1",
        "1.2.3.4/+8",
        "::/129",
        "1.2.3/8",
        "a",
        "1.2.3.4/8/8",
        "1.2.3.4 ",
    ] {
        assert!(wrong.parse::<Cidr>().is_err(), "{wrong:?}");
    }
    let error = "2001:db8::1/32".parse::<Cidr>().unwrap_err().to_string();
    assert!(error.ends_with("write 2001:db8::/32"), "{error}");
}

/// The largest lists do not cost more than the smallest, nor do texts made for it.
#[test]
fn long_lists_and_long_texts_stay_fast() {
    let users: Vec<String> = (0..10_000).map(|at| format!("user-{at}")).collect();
    let networks =
        (0..10_000u32).map(|at| Cidr::new(IpAddr::V4(Ipv4Addr::from(at << 9)), 24).unwrap());
    let agents: Vec<String> = (0..200).map(|at| format!("*a*{at}*b*")).collect();
    let agents = agents.iter().map(String::as_str);
    let list = List::new(users.iter().map(String::as_str), networks, agents).unwrap();
    let began = Instant::now();
    for at in 0..10_000u32 {
        let inside = IpAddr::V4(Ipv4Addr::from((at << 9) + 7));
        let outside = IpAddr::V4(Ipv4Addr::from((at << 9) + 300));
        assert!(list.names(None, Some(inside), None));
        assert!(!list.names(Some("user-x"), Some(outside), None));
        assert!(list.names(Some(&users[at as usize]), None, None));
    }
    let long = "a".repeat(1 << 20);
    for _ in 0..10 {
        assert!(!list.names(None, None, Some(&long)));
    }
    let path = Glob::path("/**/a*a*a*a/**/b").unwrap();
    assert!(!path.matches(&format!("/{}", "a/".repeat(100_000))));
    // Linear in the lists this would be 300 million comparisons.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

const LISTED: &str = r#"
[limits.classes.a]
allow = { users = ["svc", "both"], addresses = ["192.0.2.0/24", "2001:db8::/32"], user-agents = ["uptime*", "Exact/1"] }
deny = { users = ["mallory", "both"], addresses = ["192.0.2.66"], user-agents = ["*sqlmap*"] }
rules = [{ by = "user", algorithm = "fixed-window", limit = 1, window = "1m" }]
"#;

#[tokio::test]
async fn lists_decide_without_the_store() {
    let (_, guard) = guard(LISTED);
    let agent = |user_agent| Subject {
        user_agent: Some(user_agent),
        ..at("ann", "198.51.100.1")
    };
    for subject in [
        user("svc"),
        address("192.0.2.7"),
        address("::ffff:192.0.2.7"),
        address("2001:db8:1::1"),
        agent("UptimeRobot/2"),
        agent("exact/1"),
    ] {
        for _ in 0..3 {
            let verdict = check(&guard, "a", subject).await;
            assert!(
                verdict.allowed && verdict.ruled == Ruled::Allowed,
                "{subject:?}"
            );
            assert!(verdict.tiers.is_empty() && verdict.counted.is_empty());
        }
    }
    for subject in [
        user("mallory"),
        user("both"),
        at("svc", "192.0.2.66"),
        agent("Mozilla (SQLMap)"),
    ] {
        let verdict = check(&guard, "a", subject).await;
        assert!(
            !verdict.allowed && verdict.ruled == Ruled::Denied,
            "{subject:?}"
        );
        assert_eq!(verdict.retry_after, None);
        let waited = guard
            .until_allowed("a", &subject, 1, Duration::MAX)
            .await
            .unwrap();
        assert!(!waited.allowed, "nobody waits for a list");
    }
    // Nothing was taken of anybody.
    for subject in [agent("uptime"), agent("curl"), agent("Exact/12")] {
        let verdict = guard.peek("a", &subject, 1).await.unwrap();
        assert!(verdict.allowed);
    }
    assert_eq!(passed(&guard, "a", agent("curl"), 3).await, 1);
    let counts = guard.counts()["a"];
    assert_eq!((counts.allowed, counts.refused), (19, 10));
}

#[tokio::test]
async fn lists_hold_while_the_store_is_away() {
    let text = crate::settings(LISTED);
    let guard = sangam::limit::Guard::new(sangam::store::Store::disabled(), text);
    assert!(check(&guard, "a", user("svc")).await.allowed);
    assert_eq!(
        check(&guard, "a", user("mallory")).await.ruled,
        Ruled::Denied
    );
    assert_eq!(check(&guard, "a", user("ann")).await.ruled, Ruled::Closed);
}
