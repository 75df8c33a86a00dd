//! Who the client is behind proxies: never what somebody untrusted wrote.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use sangam::limit::class::{Cidr, Networks};
use sangam::limit::http::{ForwardedBy, client_address};

fn trusted() -> Networks {
    ["10.0.0.0/8", "fd00::/8", "::1"]
        .into_iter()
        .map(|it| it.parse::<Cidr>().unwrap())
        .collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The client whose connection came from `peer` with these lines of a field.
fn client(by: ForwardedBy, peer: &str, lines: &[&str]) -> IpAddr {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(by.as_str(), value);
    }
    client_address(&trusted(), by, ip(peer), &headers)
}

fn through(lines: &[&str]) -> IpAddr {
    client(ForwardedBy::XForwardedFor, "10.0.0.1", lines)
}

fn forwarded(lines: &[&str]) -> IpAddr {
    client(ForwardedBy::Forwarded, "10.0.0.1", lines)
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_it_says() {
    for by in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
        let lines = ["10.0.0.9", "for=10.0.0.9"];
        assert_eq!(client(by, "192.0.2.7", &lines), ip("192.0.2.7"));
        assert_eq!(client(by, "::ffff:192.0.2.7", &lines), ip("192.0.2.7"));
    }
    let headers = HeaderMap::new();
    let nobody = Networks::default();
    let by = ForwardedBy::XForwardedFor;
    assert_eq!(
        client_address(&nobody, by, ip("10.0.0.1"), &headers),
        ip("10.0.0.1")
    );
}

#[test]
fn the_rightmost_untrusted_address_is_the_client() {
    assert_eq!(through(&["192.0.2.7"]), ip("192.0.2.7"));
    assert_eq!(through(&["1.1.1.1, 192.0.2.7"]), ip("192.0.2.7"));
    assert_eq!(through(&["1.1.1.1,192.0.2.7 ,\t10.2.0.1"]), ip("192.0.2.7"));
    assert_eq!(
        through(&["1.1.1.1", "192.0.2.7", "10.2.0.1,fd00::2"]),
        ip("192.0.2.7")
    );
    // All of them are proxies: the one furthest away.
    assert_eq!(through(&["10.3.0.1, 10.2.0.1"]), ip("10.3.0.1"));
    assert_eq!(through(&[]), ip("10.0.0.1"));
    // Which other field a client sends does not matter.
    let by = ForwardedBy::Forwarded;
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("1.1.1.1"));
    assert_eq!(
        client_address(&trusted(), by, ip("10.0.0.1"), &headers),
        ip("10.0.0.1")
    );
}

#[test]
fn ports_brackets_and_mapped_addresses_are_read() {
    for (text, address) in [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
    ] {
        assert_eq!(through(&[text]), ip(address), "{text}");
    }
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_last_known_proxy() {
    for text in [
        "",
        "unknown",
        "_hidden",
        "192.0.2",
        "192.0.2.7:",
        "192.0.2.7:99999",
        "[192.0.2.7]",
        "[2001:db8::7",
        "fe80::1%eth0",
        "192.0.2.7 8",
        "\u{e4}",
        "localhost",
        "0x7f.1",
        "010.0.0.1",
    ] {
        assert_eq!(through(&["1.1.1.1", text]), ip("10.0.0.1"), "{text:?}");
        let line = format!("{text}, 10.2.0.1");
        assert_eq!(through(&["1.1.1.1", &line]), ip("10.2.0.1"), "{text:?}");
    }
}

#[test]
fn no_more_proxies_are_walked_than_anybody_has() {
    let many = vec!["10.2.0.1"; 100].join(",");
    assert_eq!(through(&["192.0.2.7", &many]), ip("10.2.0.1"));
}

#[test]
fn forwarded_is_read_with_its_quotes() {
    for (line, address) in [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=\"192.0.2.7:4711\"", "192.0.2.7"),
        (
            "proto=https;FOR=\"[2001:db8::7]:4711\";by=_p",
            "2001:db8::7",
        ),
        ("for=\"[2001:db8::7]:_port\"", "2001:db8::7"),
        (
            "for=1.1.1.1, for=192.0.2.7;host=\"a,b;for=8.8.8.8\"",
            "192.0.2.7",
        ),
        (
            "for=1.1.1.1, by=\"\\\",\\\\\" ; for=192.0.2.7 , for=10.2.0.1",
            "192.0.2.7",
        ),
    ] {
        assert_eq!(forwarded(&[line]), ip(address), "{line}");
    }
}

#[test]
fn a_forged_beginning_does_not_reach_what_the_proxy_wrote() {
    for forged in [
        "for=\"1.1.1.1",
        "for=1.1.1.1;x=\"",
        "\"",
        "x=\"\\",
        "for=1.1.1.1\\\"",
        ",,;",
    ] {
        let line = format!("{forged}, for=192.0.2.7;by=\"_p\"");
        assert_eq!(forwarded(&[&line]), ip("192.0.2.7"), "{line}");
        let line = format!("{forged}, for=\"[2001:db8::7]\"");
        assert_eq!(forwarded(&[&line]), ip("2001:db8::7"), "{line}");
    }
}

#[test]
fn an_element_that_tells_no_address_ends_the_walk() {
    for element in [
        "by=1.1.1.1",
        "for=unknown",
        "for=_hidden",
        "for=",
        "for",
        "for=\"1.1.1.1",
        "=1.1.1.1",
        "for=1.1.1.1;for=2.2.2.2",
        "for=2001:db8::7",
        "for=\"2001:db8::7\"",
        "for=1.1.1.1 x",
        "for=1.1.1.1:",
        "for=\"[::1\"",
        "for=\"[1.1.1.1]\"",
        "for=1.1.1.1;;",
    ] {
        let line = format!("for=3.3.3.3, {element}, for=10.2.0.1");
        assert_eq!(forwarded(&[&line]), ip("10.2.0.1"), "{element}");
    }
}

proptest! {
    /// Whatever a client sends, the address is one that the trusted proxy saw.
    #[test]
    fn nothing_that_a_client_sends_changes_its_address(
        forged in proptest::collection::vec("[ -~\t]{0,60}", 0..4),
        by in prop_oneof![Just(ForwardedBy::XForwardedFor), Just(ForwardedBy::Forwarded)],
        same_line in any::<bool>(),
        six in any::<bool>(),
    ) {
        let (seen, address) = match (by, six) {
            (ForwardedBy::XForwardedFor, true) => ("2001:db8::7", "2001:db8::7"),
            (ForwardedBy::XForwardedFor, false) => ("192.0.2.7", "192.0.2.7"),
            (ForwardedBy::Forwarded, true) => ("for=\"[2001:db8::7]:81\"", "2001:db8::7"),
            (ForwardedBy::Forwarded, false) => ("for=192.0.2.7;proto=\"a,b\"", "192.0.2.7"),
        };
        let mut lines = forged.clone();
        match lines.last_mut() {
            Some(last) if same_line => *last = format!("{last}, {seen}"),
            _ => lines.push(seen.to_owned()),
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(client(by, "10.0.0.1", &lines), ip(address));
    }

    /// Any bytes at all are survived.
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            for by in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
                let mut headers = HeaderMap::new();
                headers.insert(by.as_str(), value.clone());
                client_address(&trusted(), by, ip("10.0.0.1"), &headers);
            }
        }
    }
}
