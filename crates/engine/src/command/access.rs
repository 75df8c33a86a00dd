//! How a request uses its keys, where that depends on its options.
//!
//! SET reads only with GET, and BITFIELD writes only with SET or INCRBY: a user
//! who may not read can SET, one who may not write can look at bit fields.

use super::args::is;
use super::spec::{Access, Command};

/// How this request uses its first key.
pub(super) fn of(command: &Command, argv: &[&[u8]]) -> Access {
    let stated = command.access.first().copied();
    let stated = stated.unwrap_or(Access::READS_AND_WRITES);
    if !stated.has(Access::VARIABLE) {
        return stated;
    }
    match command.spec.name {
        "set" if !argv.iter().skip(3).any(|option| is(option, "GET")) => Access::OVERWRITES,
        "bitfield" if only_looks(argv) => Access::READS,
        _ => Access::READS_AND_WRITES,
    }
}

/// Whether BITFIELD's operations are well-formed and all GET.
fn only_looks(argv: &[&[u8]]) -> bool {
    let mut rest = argv.get(2..).unwrap_or_default();
    while let Some((word, after)) = rest.split_first() {
        let takes = if is(word, "GET") {
            2
        } else if is(word, "OVERFLOW") {
            1
        } else {
            return false;
        };
        match after.get(takes..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}
