//! CLIENT PAUSE and UNPAUSE, and which commands wait.

use std::time::Duration;

use super::args::{at, int_or, is};
use super::dispatch::is_script;
use super::spec::{Command, Flags, Outcome, find};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::{Keyspace, Paused};
use crate::reply::Reply;
use crate::session::Session;

/// How long to wait at most before asking again: a pause may be ended early.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub(super) fn pause(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let what = match argv.get(3..).unwrap_or_default() {
        [] => Paused::All,
        [mode] if is(mode, "ALL") => Paused::All,
        [mode] if is(mode, "WRITE") => Paused::Writes,
        [_] => {
            return Err(CommandError::text(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ));
        }
        _ => {
            return Err(CommandError::from(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try CLIENT HELP.",
                String::from_utf8_lossy(at(argv, 1)?)
            )));
        }
    };
    let bad = "ERR timeout is not an integer or out of range";
    let millis = u64::try_from(int_or(at(argv, 2)?, bad)?)
        .map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let now_ms = engine.now_micros() / 1000;
    if now_ms
        .checked_add(millis)
        .is_none_or(|end| end > i64::MAX as u64)
    {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    if let Some(keyspace) = session.keyspace() {
        keyspace.pause.begin(what, now_ms, millis);
    }
    Ok(Reply::OK)
}

pub(super) fn unpause(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    if let Some(keyspace) = session.keyspace() {
        keyspace.pause.end();
    }
    Ok(Reply::OK)
}

impl Engine {
    /// How long a command has to wait before it is worth asking again; `None`
    /// where it may run.
    #[inline]
    pub fn paused(&self, session: &Session, argv: &[&[u8]]) -> Option<Duration> {
        let keyspace = session.keyspace()?;
        if !keyspace.pause.is_on() {
            return None;
        }
        self.wait_of(keyspace, session, argv)
    }

    #[cold]
    fn wait_of(&self, keyspace: &Keyspace, session: &Session, argv: &[&[u8]]) -> Option<Duration> {
        let (what, left) = keyspace.pause.now(self.now_micros() / 1000)?;
        let waits = !session.is_monitoring() && (what == Paused::All || changes(session, argv));
        waits.then(|| LOOK_AGAIN.min(Duration::from_millis(left)))
    }

    /// Waits for that, in a caller's own thread.
    pub(crate) fn wait_until_resumed(&self, session: &Session, argv: &[&[u8]]) {
        while let Some(wait) = self.paused(session, argv) {
            std::thread::sleep(wait);
        }
    }
}

/// Whether a command may change data, or publish.
fn changes(session: &Session, argv: &[&[u8]]) -> bool {
    let Some(command) = argv.first().and_then(|name| find(name)) else {
        return false;
    };
    if command.spec.name == "exec"
        && let Some(transaction) = &session.transaction
    {
        return transaction
            .queue
            .iter()
            .any(|(command, _)| may_replicate(command));
    }
    may_replicate(command)
}

fn may_replicate(command: &Command) -> bool {
    let flags = command.spec.flags;
    flags.has(Flags::WRITE)
        || (is_script(command) && !flags.has(Flags::READONLY))
        || matches!(command.spec.name, "publish" | "spublish" | "pfcount")
}
