//! What a cache keeps of a value in the store, as bytes.
//!
//! A cache's own form is an [`Envelope`]: a header that says what was written, when,
//! by whom and until when it holds, then the tags, the validator and the body. All
//! integers are big-endian.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `c`, 1: the form and its version |
//! | 2 | 1 | `v` a value, `n` there is none, `d` deleted |
//! | 3 | 1 | encoding: `j` JSON, `m` MessagePack; 0 where there is no value |
//! | 4 | 1 | compression: 0 none, `z` zstd, `g` gzip |
//! | 5 | 12 | [`Stamp`]: microseconds since the epoch, the writer's number in 4 bytes |
//! | 17 | 4 | schema |
//! | 21 | 8 | until when it is fresh, milliseconds since the epoch |
//! | 29 | 8 | when it ends, milliseconds since the epoch |
//! | 37 | 4 | length of the body before compression |
//! | 41 | 2 | number of tags |
//! | 43 | 2 | length of the validator; 0 where there is none |
//! | 45 | 4 | CRC-32C of all the other bytes |
//! | 49 | | tags, 16 bytes each: id, version; the validator in UTF-8; the body |
//!
//! The [`head`], 17 bytes, names a writing: ops of the store compare no more than it.
//!
//! The other form is that of apps that share the cache, [`read_shared`]: JSON, or gzip
//! of it in base64.
//!
//! Invariants:
//!
//! - What was cut short, changed, continued or made by something else is
//!   [`Unreadable`], never a panic and never another value.
//! - No value becomes larger than the reader allows, whatever its bytes promise:
//!   decompression ends there.
//! - Reading what is not compressed moves the body to the front of the bytes that came,
//!   without another allocation for it.
//!
//! Nothing here asks the store: it costs no billed command.

mod codec;
mod compress;
mod envelope;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;

pub(super) use codec::{decode, encode};
pub(super) use envelope::{Envelope, HEAD, Kind, Read, Stamp, head, read};
pub(super) use shared::{read_shared, write_shared};

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const CUT_SHORT: Unreadable = Unreadable("it is cut short");
const DAMAGED: Unreadable = Unreadable("it is damaged");
const TOO_LARGE: Unreadable = Unreadable("it is larger than a value may be");
