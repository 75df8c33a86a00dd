//! A group with a million pending entries: no command walks all of them but those
//! that answer with all, and memory stays in proportion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::time::{Duration, Instant};

use sangam_engine::session::Session;
use sangam_engine::{Engine, Reply};

const ENTRIES: usize = 1_000_000;

fn call(engine: &Engine, session: &mut Session, line: &str) -> Reply {
    let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = engine.call(session, &argv).0;
    assert!(!reply.is_error(), "{line}: {reply:?}");
    reply
}

fn used(engine: &Engine, session: &mut Session) -> usize {
    let Reply::Verbatim(_, text) = call(engine, session, "INFO memory") else {
        panic!("INFO answers with text");
    };
    let text = String::from_utf8(text).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("used_memory:"))
        .unwrap();
    line["used_memory:".len()..].trim().parse().unwrap()
}

#[test]
fn a_million_pending_entries() {
    let engine = Engine::default();
    let mut session = engine.session();
    for number in 1..=ENTRIES {
        call(&engine, &mut session, &format!("XADD s {number}-1 f v"));
    }
    call(&engine, &mut session, "XGROUP CREATE s g 0");
    let before = used(&engine, &mut session);
    let consumers = ["ada", "bob"];
    for (turn, _) in (0..ENTRIES).step_by(10_000).enumerate() {
        let consumer = consumers[turn % 2];
        let read = format!("XREADGROUP GROUP g {consumer} COUNT 10000 STREAMS s >");
        call(&engine, &mut session, &read);
    }
    let each = (used(&engine, &mut session) - before) / ENTRIES;
    assert!(each < 160, "{each} bytes for a pending entry");

    // A walk over all for each of a thousand would take many minutes.
    let began = Instant::now();
    for number in (1..=ENTRIES).step_by(ENTRIES / 1000) {
        for line in [
            format!("XPENDING s g {number}-1 + 1"),
            format!("XPENDING s g {number}-1 + 1 bob"),
            format!("XCLAIM s g bob 0 {number}-1 JUSTID"),
            format!("XAUTOCLAIM s g ada 0 {number}-1 COUNT 1 JUSTID"),
            format!("XREADGROUP GROUP g ada COUNT 1 STREAMS s {number}-0"),
            format!("XACK s g {number}-1"),
            format!("XDEL s {number}-1"),
        ] {
            call(&engine, &mut session, &line);
        }
        call(&engine, &mut session, "XPENDING s g");
    }
    assert!(began.elapsed() < Duration::from_mins(1));
    let Reply::Array(summary) = call(&engine, &mut session, "XPENDING s g") else {
        panic!("XPENDING answers with an array");
    };
    assert_eq!(summary[0], Reply::from(ENTRIES - 1000));

    let began = Instant::now();
    call(&engine, &mut session, "XGROUP DELCONSUMER s g bob");
    call(&engine, &mut session, "XGROUP DESTROY s g");
    assert!(began.elapsed() < Duration::from_secs(30));
    let after = used(&engine, &mut session);
    assert!(after < before + (1 << 20), "{before} bytes became {after}");
}
