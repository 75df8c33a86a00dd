//! Where a command belongs.
//!
//! Commands with keys go to the master of their slot; several slots are refused
//! before anything is sent, in Redis' own words. Of those without keys, what
//! speaks of the whole database goes to all masters, the rest to any.

use sangam_engine::Reply;
use sangam_engine::command::spec;

use super::slot::slot_of;
use crate::commands::Commands;

/// Which masters run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Slot(u16),
    Any,
    /// The first that can be reached, so that what one caller publishes keeps its
    /// order.
    First,
    All(Merge),
    /// A master after the other, told by the cursor.
    Scan,
    /// Keys in several slots.
    Crossed,
}

/// How the masters' replies become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// Numbers are added.
    Sum,
    /// Arrays are joined.
    Join,
    /// Of each place the smallest: whether all have it.
    Least,
    /// They say the same.
    Same,
    /// The first that is no null.
    Some,
}

/// The refusal of keys in several slots.
pub(super) fn crossed() -> Reply {
    Reply::error("CROSSSLOT Keys in request don't hash to the same slot")
}

/// Where a command belongs.
pub(super) fn route(argv: &[&[u8]]) -> Route {
    match slot(argv) {
        Err(Crossed) => Route::Crossed,
        Ok(Some(slot)) => Route::Slot(slot),
        Ok(None) => without_keys(argv),
    }
}

/// Where a unit belongs, which runs on one master.
pub(super) fn route_of_all(commands: &Commands) -> Route {
    let mut found = None;
    for argv in commands.iter() {
        match (slot(&argv), found) {
            (Err(Crossed), _) => return Route::Crossed,
            (Ok(Some(slot)), Some(other)) if slot != other => return Route::Crossed,
            (Ok(Some(slot)), _) => found = Some(slot),
            (Ok(None), _) => {}
        }
    }
    found.map_or(Route::Any, Route::Slot)
}

struct Crossed;

/// The slot of a command's keys. The first argument of a command that our table
/// does not know (a module's) is taken for its key.
fn slot(argv: &[&[u8]]) -> Result<Option<u16>, Crossed> {
    let name = argv.first().copied().unwrap_or_default();
    let Some(command) = spec::find(name) else {
        return Ok(argv.get(1).map(|key| slot_of(key)));
    };
    let command = argv
        .get(1)
        .and_then(|name| command.subcommand(name))
        .unwrap_or(command);
    let mut found = None;
    for at in command.spec.keys.positions(argv) {
        let slot = argv.get(at).map(|key| slot_of(key));
        if found.is_some() && slot != found {
            return Err(Crossed);
        }
        found = slot;
    }
    if found.is_none() && name.eq_ignore_ascii_case(b"spublish") {
        return Ok(argv.get(1).map(|channel| slot_of(channel)));
    }
    Ok(found)
}

fn without_keys(argv: &[&[u8]]) -> Route {
    let word = |at: usize| {
        let word = argv.get(at).copied().unwrap_or_default();
        word.to_ascii_lowercase()
    };
    match word(0).as_slice() {
        b"scan" => Route::Scan,
        // Any would do, but of two that were published one after the other by
        // different masters the second may arrive first.
        b"publish" => Route::First,
        b"dbsize" => Route::All(Merge::Sum),
        b"keys" => Route::All(Merge::Join),
        b"flushall" | b"flushdb" => Route::All(Merge::Same),
        b"randomkey" => Route::All(Merge::Some),
        b"script" => match word(1).as_slice() {
            b"exists" => Route::All(Merge::Least),
            b"load" | b"flush" => Route::All(Merge::Same),
            _ => Route::Any,
        },
        // A setting holds for the cluster or for nobody.
        b"config" => match word(1).as_slice() {
            b"set" | b"resetstat" | b"rewrite" => Route::All(Merge::Same),
            _ => Route::Any,
        },
        b"function" => match word(1).as_slice() {
            b"load" | b"delete" | b"flush" | b"restore" => Route::All(Merge::Same),
            _ => Route::Any,
        },
        _ => Route::Any,
    }
}

impl Merge {
    /// One reply out of the masters', of which none is an error.
    pub(super) fn merged(self, replies: Vec<Reply>) -> Reply {
        match self {
            Merge::Sum => Reply::Int(replies.iter().map(int).sum()),
            Merge::Join => Reply::Array(replies.into_iter().flat_map(items).collect()),
            Merge::Least => replies
                .into_iter()
                .map(items)
                .reduce(|one, other| {
                    let pairs = one.iter().zip(&other);
                    pairs
                        .map(|(one, other)| Reply::Int(int(one).min(int(other))))
                        .collect()
                })
                .map_or(Reply::Null, Reply::Array),
            Merge::Same => replies.into_iter().next().unwrap_or(Reply::Null),
            Merge::Some => replies
                .into_iter()
                .find(|reply| !matches!(reply, Reply::Null | Reply::NullArray))
                .unwrap_or(Reply::Null),
        }
    }
}

fn int(reply: &Reply) -> i64 {
    match reply {
        Reply::Int(value) => *value,
        _ => 0,
    }
}

fn items(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        _ => Vec::new(),
    }
}

/// Bits of a cursor that name the master; the server's own stand above them.
/// Redis keeps the slot in a cursor too from version 8 on; 54 bits are enough
/// for it and a table of 2^40 keys.
const MASTER_BITS: u32 = 10;

/// A cursor over all masters: which one, and its own cursor.
pub(super) fn split_cursor(text: &[u8]) -> Option<(usize, u64)> {
    let cursor: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let master = cursor & ((1 << MASTER_BITS) - 1);
    Some((master as usize, cursor >> MASTER_BITS))
}

/// The cursor to go on with; 0 at the end.
pub(super) fn joined_cursor(master: usize, masters: usize, own: u64) -> Option<u64> {
    let master = match (own, master + 1) {
        (0, next) if next >= masters => return Some(0),
        (0, next) => next,
        _ => master,
    };
    let fits = own >> (64 - MASTER_BITS) == 0 && master >> MASTER_BITS == 0;
    fits.then_some(own << MASTER_BITS | master as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Route {
        let argv: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        route(&argv)
    }

    #[test]
    fn commands_find_their_masters() {
        let slot = Route::Slot(12_182);
        for text in [
            "get foo",
            "mset {foo}a 1 {foo}b 2",
            "eval return 2 foo {foo}",
            "xread count 1 streams foo 0",
            "object encoding foo",
            "json.set foo . 1",
            "bzmpop 0 1 foo min",
            "spublish foo x",
        ] {
            let route = if text.starts_with("eval") {
                let argv: [&[u8]; 5] = [b"eval", b"return 1", b"2", b"foo", b"{foo}"];
                route(&argv)
            } else {
                of(text)
            };
            assert_eq!(route, slot, "{text}");
        }
        for text in ["mget a b", "rename a b", "bitop and a b"] {
            assert_eq!(of(text), Route::Crossed, "{text}");
        }
        for text in ["ping", "info", "time", "script kill"] {
            assert_eq!(of(text), Route::Any, "{text}");
        }
        assert_eq!(of("publish a b"), Route::First);
        assert_eq!(of("DBSIZE"), Route::All(Merge::Sum));
        assert_eq!(of("script load x"), Route::All(Merge::Same));
        assert_eq!(of("scan 0"), Route::Scan);
    }

    #[test]
    fn units_run_in_one_slot() {
        let unit = |all: &[&[&[u8]]]| route_of_all(&all.iter().collect());
        assert_eq!(unit(&[&[b"PING"]]), Route::Any);
        assert_eq!(
            unit(&[&[b"GET", b"foo"], &[b"PING"], &[b"DEL", b"x{foo}"]]),
            Route::Slot(12_182)
        );
        assert_eq!(unit(&[&[b"GET", b"a"], &[b"GET", b"b"]]), Route::Crossed);
    }

    #[test]
    fn cursors_go_through_all_masters() {
        assert_eq!(split_cursor(b"0"), Some((0, 0)));
        assert_eq!(joined_cursor(0, 3, 7), Some(7 << 10));
        assert_eq!(split_cursor(b"7168"), Some((0, 7)));
        assert_eq!(joined_cursor(0, 3, 0), Some(1));
        assert_eq!(split_cursor(b"1"), Some((1, 0)));
        assert_eq!(joined_cursor(2, 3, 0), Some(0));
        assert_eq!(joined_cursor(0, 3, u64::MAX), None);
        assert_eq!(split_cursor(b"x"), None);
    }
}
