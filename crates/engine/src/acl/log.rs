//! ACL LOG: what was refused to whom, alike refusals within a minute as one.

use std::collections::VecDeque;

/// Milliseconds within which alike refusals are one.
const TOGETHER_MS: u64 = 60_000;
/// Entries among which a like one is looked for.
const LOOKED_AT: usize = 10;
/// Bytes that an entry keeps of a key, a channel or a name.
const TEXT_MAX: usize = 4096;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Auth,
    Command,
    Key,
    Channel,
}

impl Reason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
        }
    }
}

/// Where it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    TopLevel,
    Multi,
    Lua,
}

impl Context {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) reason: Reason,
    pub(crate) context: Context,
    /// The command, key or channel.
    pub(crate) object: Vec<u8>,
    pub(crate) username: Vec<u8>,
}

/// One or more refusals.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) denial: Denial,
    pub(crate) count: u64,
    /// When the last was, milliseconds since the epoch.
    pub(crate) last_ms: u64,
    /// Who the last was, as CLIENT LIST shows it.
    pub(crate) client: String,
}

/// The newest first.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<Entry>);

impl Log {
    /// Notes a refusal; at most `limit` entries stay.
    pub(crate) fn add(&mut self, mut denial: Denial, client: String, now_ms: u64, limit: usize) {
        denial.object.truncate(TEXT_MAX);
        denial.username.truncate(TEXT_MAX);
        let alike = self.0.iter().take(LOOKED_AT).position(|entry| {
            entry.denial == denial && entry.last_ms.abs_diff(now_ms) <= TOGETHER_MS
        });
        let known = alike.and_then(|at| self.0.remove(at));
        self.0.push_front(Entry {
            denial,
            count: known.map_or(1, |known| known.count + 1),
            last_ms: now_ms,
            client,
        });
        self.0.truncate(limit);
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// Up to `count` entries, the newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Entry> {
        self.0.iter().take(count).cloned().collect()
    }
}
