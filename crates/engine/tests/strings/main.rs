//! Strings, bitmaps and bit fields at the crate's edge: what they answer, what
//! they log, and whether a real redis-server says the same.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod behaviour;
mod differential;
mod effects;

use std::sync::Arc;

use sangam_engine::clock::ManualClock;
use sangam_engine::session::Session;
use sangam_engine::{Engine, Options, Reply};

const START_MS: u64 = 1_700_000_000_000;

/// An engine whose time stands still, with a session.
struct Caller {
    engine: Engine,
    session: Session,
    clock: Arc<ManualClock>,
}

impl Caller {
    fn new(options: Options) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS * 1000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            ..options
        });
        let session = engine.session();
        Caller {
            engine,
            session,
            clock,
        }
    }

    fn call(&mut self, argv: &[&[u8]]) -> Reply {
        self.engine.call(&mut self.session, argv).0
    }

    /// Runs a line of words.
    fn run(&mut self, line: &str) -> Reply {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.call(&argv)
    }

    /// Runs a line and answers its reply as text.
    fn say(&mut self, line: &str) -> String {
        show(&self.run(line))
    }
}

/// A reply as RESP2 would carry it, on one line.
fn show(reply: &Reply) -> String {
    match reply {
        Reply::Null => "nil".into(),
        Reply::NullArray => "nil array".into(),
        Reply::Status(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{}", String::from_utf8_lossy(text)),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(text) => format!("${}", text.escape_ascii()),
        Reply::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
