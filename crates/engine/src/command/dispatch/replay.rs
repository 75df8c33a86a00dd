//! Commands that ran before: frames of the journal, and what a snapshot keeps as
//! commands. They run as any command, and nothing is logged again.

use std::fmt;
use std::sync::atomic::Ordering;

use super::super::admission::resolve;
use super::super::redact::{abridge, redacted};
use super::super::spec::find;
use super::{Batch, call};
use crate::effect;
use crate::journal::frame::Frame;
use crate::keyspace::requests;
use crate::reply::Reply;
use crate::session::Session;

impl Batch<'_> {
    /// Runs the commands of a frame again, at the frame's time, and logs nothing.
    pub(crate) fn replay(
        &mut self,
        session: &mut Session,
        frame: &Frame<'_>,
    ) -> Result<(), String> {
        self.db.now_ms = frame.now_ms;
        self.db.now_us = frame.now_ms * 1000;
        self.db.seq = frame.seq;
        self.repeat_all(session, frame.payload)?;
        self.db.effects.clear();
        self.db.outbox.clear();
        self.keyspace.last_seq.store(frame.seq.0, Ordering::Release);
        Ok(())
    }

    /// Runs the commands of a snapshot that make users, and nothing else.
    pub(crate) fn repeat_users(
        &mut self,
        session: &mut Session,
        commands: &[u8],
    ) -> Result<(), String> {
        let mut all = effect::decode(commands).ok_or("the payload is not commands")?;
        if !all.all(|argv| matches!(argv.as_slice(), [b"ACL", b"SETUSER", ..])) {
            return Err("a snapshot's users are made by other commands".to_owned());
        }
        self.repeat_all(session, commands)?;
        self.db.effects.clear();
        Ok(())
    }

    /// Loads a library that a snapshot holds, and logs nothing.
    pub(crate) fn restore_library(
        &mut self,
        session: &mut Session,
        code: &[u8],
    ) -> Result<(), String> {
        self.repeat(session, &[b"FUNCTION", b"LOAD", code])?;
        self.db.effects.clear();
        Ok(())
    }

    /// Runs the commands of a unit again.
    fn repeat_all(&mut self, session: &mut Session, unit: &[u8]) -> Result<(), String> {
        let mut commands = effect::decode(unit).ok_or("the payload is not commands")?;
        commands.try_for_each(|argv| {
            if requests::is_remembered(&argv) {
                self.repeat_remembered(&argv)
            } else {
                self.repeat(session, &argv)
            }
        })
    }

    fn repeat(&mut self, session: &mut Session, argv: &[&[u8]]) -> Result<(), String> {
        let command = argv
            .first()
            .and_then(|name| find(name))
            .and_then(|command| resolve(command, argv).ok())
            .filter(|command| command.spec.accepts(argv.len()))
            .ok_or_else(|| format!("no such command: {}", Abridged(argv)))?;
        match self.with_ctx(session, |ctx| call(ctx, command, argv)) {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(&text);
                let shown = redacted(command, argv);
                Err(format!("{} answered {text}", Abridged(&shown)))
            }
            _ => Ok(()),
        }
    }
}

/// A request for an error's text.
struct Abridged<'a>(&'a [&'a [u8]]);

impl fmt::Display for Abridged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = abridge(self.0);
        let words: Vec<_> = words
            .iter()
            .map(|word| String::from_utf8_lossy(word))
            .collect();
        f.write_str(&words.join(" "))
    }
}
