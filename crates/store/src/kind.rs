//! What a command does to a store, as far as the engine's table knows it.
//!
//! It decides three things: whether a call may be repeated after a break, whether
//! it needs a connection of its own, and whether a `Store`, which has no
//! connection that its callers own, can run it at all.

use sangam_engine::command::spec::{self, Flags};

/// A command's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It changes nothing: repeating it is harmless.
    Read,
    /// It may change something; so may a command that the table does not know.
    Write,
    /// It may wait for others: on a shared connection all would wait with it.
    Blocking,
    /// It is about the connection it comes on.
    Connection,
}

/// Commands about a connection: a `Store` has other means, or keeps them to
/// itself.
const OF_CONNECTIONS: &[&str] = &[
    "asking",
    "auth",
    "client",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "psync",
    "punsubscribe",
    "quit",
    "readonly",
    "readwrite",
    "reset",
    "select",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "sync",
    "unsubscribe",
    "unwatch",
    "watch",
];

impl Kind {
    /// The kind of a command; one without a name is a `Write`, and refused by
    /// whoever runs it.
    pub fn of(argv: &[&[u8]]) -> Kind {
        let Some(name) = argv.first() else {
            return Kind::Write;
        };
        if is_of_connection(name) {
            return Kind::Connection;
        }
        let Some(command) = spec::find(name) else {
            return Kind::Write;
        };
        let command = argv
            .get(1)
            .and_then(|name| command.subcommand(name))
            .unwrap_or(command);
        let flags = command.spec.flags;
        // Redis' own table does not say it of WAIT.
        let blocking = flags.has(Flags::BLOCKING) || command.spec.name == "wait";
        if blocking && waits(argv) {
            Kind::Blocking
        } else if flags.has(Flags::READONLY) {
            Kind::Read
        } else {
            Kind::Write
        }
    }
}

/// Whether a command is about the connection it comes on.
pub(crate) fn is_of_connection(name: &[u8]) -> bool {
    // Most commands end at their length or first letter.
    OF_CONNECTIONS
        .iter()
        .any(|it| it.len() == name.len() && it.as_bytes().eq_ignore_ascii_case(name))
}

/// XREAD and XREADGROUP wait only where they say so.
fn waits(argv: &[&[u8]]) -> bool {
    let name = argv.first().copied().unwrap_or_default();
    if !name
        .get(..5)
        .is_some_and(|it| it.eq_ignore_ascii_case(b"xread"))
    {
        return true;
    }
    argv.iter()
        .take_while(|arg| !arg.eq_ignore_ascii_case(b"streams"))
        .any(|arg| arg.eq_ignore_ascii_case(b"block"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Kind {
        let argv: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        Kind::of(&argv)
    }

    #[test]
    fn kinds_of_commands() {
        for read in [
            "get k",
            "GET k",
            "hgetall k",
            "eval_ro x 0",
            "object encoding k",
            "xread streams a 0",
        ] {
            assert_eq!(kind(read), Kind::Read, "{read}");
        }
        for write in [
            "set k v",
            "eval x 0",
            "no.such thing",
            "publish a b",
            "script flush",
        ] {
            assert_eq!(kind(write), Kind::Write, "{write}");
        }
        for blocking in [
            "blpop k 0",
            "XREAD BLOCK 0 STREAMS a $",
            "bzmpop 0 1 k min",
            "WAIT 1 0",
            "waitaof 1 0 0",
        ] {
            assert_eq!(kind(blocking), Kind::Blocking, "{blocking}");
        }
        for connection in ["MULTI", "subscribe a", "client id", "Select 1"] {
            assert_eq!(kind(connection), Kind::Connection, "{connection}");
        }
    }
}
