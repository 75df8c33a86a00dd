//! The form of a message: one line of text, since Upstash's channels carry nothing
//! else; a byte for the format, then base64 of
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the instance, at random |
//! | 8 | the message's number there, from 1 on |
//! | 1, n | length of the cache's name, and the name |
//! | | changes: `k`, 4 bytes of length and the key; or `t` and 8 bytes of a tag |
//! | 4 | crc32c of all that |
//!
//! Integers are big-endian. A message that is not of this form is none that can be
//! read, and whoever finds one does not know what it says.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use base64_simd::STANDARD_NO_PAD as BASE64;

use super::super::key::TagId;
use super::{Change, Changes};

/// The format of what is written here.
const FORMAT: u8 = b'1';
/// Bytes of changes from which on another message begins: of 64 KiB of text.
const CHANGES_MAX: usize = 47 << 10;

/// Who says something.
pub(super) type Instance = [u8; 16];

/// A message that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) instance: Instance,
    pub(super) sequence: u64,
    pub(super) changes: Changes,
}

/// A new one.
pub(super) fn instance() -> Instance {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        // Each of these has keys of its own.
        for half in bytes.chunks_mut(8) {
            let chance = RandomState::new().build_hasher().finish();
            half.copy_from_slice(&chance.to_be_bytes()[..half.len()]);
        }
    }
    bytes
}

/// The message that begins a stream, and no other one.
pub(super) fn hello() -> Vec<u8> {
    sealed(start(instance(), 0, ""))
}

/// Changes in as many messages as they need.
pub(super) fn write(
    instance: Instance,
    mut next: impl FnMut() -> u64,
    changes: &Changes,
) -> Vec<Vec<u8>> {
    let mut messages = Vec::with_capacity(1);
    let mut open = start(instance, next(), &changes.cache);
    let empty = open.len();
    for change in &changes.changes {
        if open.len() > empty && open.len() - empty + size(change) > CHANGES_MAX {
            messages.push(sealed(open));
            open = start(instance, next(), &changes.cache);
        }
        match change {
            Change::Key(key) => {
                open.push(b'k');
                open.extend_from_slice(&(key.len() as u32).to_be_bytes());
                open.extend_from_slice(key.as_bytes());
            }
            Change::Tag(tag) => {
                open.push(b't');
                open.extend_from_slice(&tag.0.to_be_bytes());
            }
        }
    }
    messages.push(sealed(open));
    messages
}

fn size(change: &Change) -> usize {
    match change {
        Change::Key(key) => 5 + key.len(),
        Change::Tag(_) => 9,
    }
}

fn start(instance: Instance, sequence: u64, cache: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(&instance);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    // Names of caches have 64 bytes at most.
    bytes.push(cache.len() as u8);
    bytes.extend_from_slice(cache.as_bytes());
    bytes
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    let mut text = Vec::with_capacity(1 + BASE64.encoded_length(bytes.len()));
    text.push(FORMAT);
    BASE64.encode_append(&bytes, &mut text);
    text
}

/// What a message says; `None` for another format, or a damaged one.
pub(super) fn read(text: &[u8]) -> Option<Message> {
    let (&FORMAT, text) = text.split_first()? else {
        return None;
    };
    let bytes = BASE64.decode_to_vec(text).ok()?;
    let (rest, crc) = bytes.split_last_chunk()?;
    if crc32c::crc32c(rest) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (instance, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first()?;
    let (cache, mut rest) = rest.split_at_checked(usize::from(*length))?;
    let mut changes = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let (change, after) = match kind {
            b'k' => {
                let (length, after) = after.split_first_chunk()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (key, after) = after.split_at_checked(length)?;
                (Change::Key(std::str::from_utf8(key).ok()?.into()), after)
            }
            b't' => {
                let (tag, after) = after.split_first_chunk()?;
                (Change::Tag(TagId(u64::from_be_bytes(*tag))), after)
            }
            _ => return None,
        };
        changes.push(change);
        rest = after;
    }
    Some(Message {
        instance: *instance,
        sequence: u64::from_be_bytes(*sequence),
        changes: Changes {
            cache: std::str::from_utf8(cache).ok()?.into(),
            changes,
        },
    })
}
