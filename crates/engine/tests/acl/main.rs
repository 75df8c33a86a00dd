//! Access control at the engine's edge: users, what they may do, what follows
//! from a refusal, and what is left of it after a restart.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod enforcement;
mod listeners;
mod logins;
mod refusals;
mod restart;
mod rules;

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply};

/// An engine whose time stands still, without tokens.
fn engine() -> (Engine, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let engine = Engine::new(Options {
        clock: clock.clone(),
        seed: 1,
        ..Options::default()
    });
    (engine, clock)
}

fn connect(engine: &Engine) -> Session {
    engine.connect("1.2.3.4:5".to_owned(), "local".to_owned())
}

/// A connection that acts for a user.
fn log_in(engine: &Engine, user: &str, password: &str) -> Session {
    let mut session = connect(engine);
    assert_eq!(ask(engine, &mut session, &["AUTH", user, password]), "+OK");
    session
}

fn run(engine: &Engine, session: &mut Session, argv: &[&str]) -> Reply {
    let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
    engine.call(session, &argv).0
}

/// The reply as short text.
fn ask(engine: &Engine, session: &mut Session, argv: &[&str]) -> String {
    text(&run(engine, session, argv))
}

/// The same of a line of words.
fn say(engine: &Engine, session: &mut Session, line: &str) -> String {
    ask(engine, session, &line.split(' ').collect::<Vec<_>>())
}

fn text(reply: &Reply) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |items: &[Reply]| {
        let items: Vec<String> = items.iter().map(text).collect();
        format!("[{}]", items.join(", "))
    };
    match reply {
        Reply::Null | Reply::NullArray => "nil".to_owned(),
        Reply::Status(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{}", lossy(text)),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => lossy(bytes),
        Reply::Double(number) => number.to_string(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
            list(items)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{}={}", text(name), text(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// ACL LIST's line of a user, behind its name.
fn rules_of(engine: &Engine, session: &mut Session, user: &str) -> String {
    let Reply::Array(lines) = run(engine, session, &["ACL", "LIST"]) else {
        panic!("ACL LIST is no list");
    };
    let head = format!("user {user} ");
    lines
        .iter()
        .map(text)
        .find_map(|line| line.strip_prefix(&head).map(str::to_owned))
        .unwrap_or_default()
}
