//! MONITOR: every command of a keyspace, told to who watches.
//!
//! A line is made once and shared by those who watch; each has it in its
//! mailbox, which cuts off who does not read. While nobody watches, a command
//! costs one load and a branch.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::acl::Account;
use crate::command::spec::{Command, Flags};
use crate::command::{may_call, redacted};
use crate::error::CommandError;
use crate::mailbox::{MAILBOX_BYTES, Mailbox, Post};
use crate::session::Session;

/// Who watches a keyspace.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    count: AtomicUsize,
    mailboxes: Mutex<Vec<Arc<Mailbox>>>,
}

impl Monitors {
    pub(crate) fn add(&self, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.push(mailbox.clone());
        self.count.store(mailboxes.len(), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
        self.count.store(mailboxes.len(), Ordering::Relaxed);
    }

    /// The mailboxes of a user that watch.
    pub(crate) fn of(&self, account: &Arc<Account>) -> Vec<Arc<Mailbox>> {
        let mailboxes = self.mailboxes.lock();
        let is_theirs = |mailbox: &&Arc<Mailbox>| {
            let owner = mailbox.owner();
            owner.is_some_and(|owner| Arc::ptr_eq(&owner, account))
        };
        mailboxes.iter().filter(is_theirs).cloned().collect()
    }

    /// Whether anybody watches.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Tells of a command that ran; not of what operators do, which may carry
    /// secrets, nor of what says so itself.
    #[cold]
    pub(crate) fn tell(&self, command: &Command, session: &Session, now_us: u64, argv: &[&[u8]]) {
        let flags = command.spec.flags;
        if !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
            self.show(command, session, now_us, argv);
        }
    }

    /// The same for a script, which comes before the commands that it runs.
    #[cold]
    pub(crate) fn show(&self, command: &Command, session: &Session, now_us: u64, argv: &[&[u8]]) {
        let mailboxes = self.mailboxes.lock();
        if argv.iter().map(|arg| arg.len()).sum::<usize>() > MAILBOX_BYTES {
            // It would overflow all of them.
            return mailboxes.iter().for_each(|mailbox| mailbox.close());
        }
        let line: Arc<str> = line(command, session, now_us, argv).into();
        for mailbox in &*mailboxes {
            mailbox.deliver(Post::Line(line.clone()));
        }
    }
}

/// `<seconds>.<micros> [0 <who>] "<arg>" "<arg>"`.
fn line(command: &Command, session: &Session, now_us: u64, argv: &[&[u8]]) -> String {
    let addr = &session.client().addr;
    let who = match addr.as_str() {
        _ if session.scripted => "lua",
        // A caller in this process has no address; clients parse this one.
        "" => "unix:in-process",
        addr => addr,
    };
    let mut line = format!("{}.{:06} [0 {who}]", now_us / 1_000_000, now_us % 1_000_000);
    for arg in redacted(command, argv) {
        line.push(' ');
        quote(arg, &mut line);
    }
    line
}

/// Adds `text` in quotes, with escapes for all that is not printable ASCII.
fn quote(text: &[u8], line: &mut String) {
    line.push('"');
    for byte in text {
        match byte {
            b'\\' | b'"' => {
                line.push('\\');
                line.push(char::from(*byte));
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            7 => line.push_str("\\a"),
            8 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            other => {
                let _ = write!(line, "\\x{other:02x}");
            }
        }
    }
    line.push('"');
}

impl Session {
    /// Whether it is told of every command.
    pub fn is_monitoring(&self) -> bool {
        self.monitoring
    }

    /// From now on it is told of every command of its keyspace.
    pub fn monitor(&mut self) -> Result<(), CommandError> {
        let Some(principal) = self.principal() else {
            return Err(CommandError::text("NOAUTH Authentication required."));
        };
        if may_call(self, &[b"monitor"]) != Some(true) {
            return Err(CommandError::text(
                "NOPERM this user has no permissions to run the 'monitor' command",
            ));
        }
        if !self.monitoring {
            principal.keyspace.monitors.add(&self.client.mailbox);
            self.set_monitoring(true);
        }
        Ok(())
    }

    /// Ends that.
    pub(crate) fn stop_monitoring(&mut self) {
        if self.monitoring
            && let Some(keyspace) = self.keyspace()
        {
            keyspace.monitors.remove(&self.client.mailbox);
            self.set_monitoring(false);
        }
    }

    fn set_monitoring(&mut self, on: bool) {
        self.monitoring = on;
        self.client.monitoring.store(on, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped() {
        let mut line = String::new();
        quote(b"a\"b\\c\n\r\t\x07\x08\x01\xc3\xa9 ~\x7f", &mut line);
        assert_eq!(line, r#""a\"b\\c\n\r\t\a\b\x01\xc3\xa9 ~\x7f""#);
    }
}
