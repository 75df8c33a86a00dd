//! Effects: what an atomic unit did, as commands that repeat it exactly.
//!
//! An effect is deterministic and absolute: `EXPIRE` is recorded as `PEXPIREAT`,
//! `SPOP` as `SREM`, a script as the writes that it made. All effects of one
//! unit reach the sink in one [`EffectSink::append`], under the keyspace lock,
//! so the order of appends is the order of visibility.

use std::sync::atomic::{AtomicU64, Ordering};

/// Position of a unit in the process-wide order of writes; 0 is before all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Seq(pub u64);

/// Most bytes of a unit of several commands: the journal keeps a unit in one
/// frame. More than the largest string and its key.
pub const UNIT_MAX: usize = if cfg!(test) { 16 << 20 } else { 1 << 30 };

/// The effects of one unit, flat: a count of arguments, then each argument with
/// its length, all lengths as little-endian `u32`.
#[derive(Debug, Default, Clone)]
pub struct Effects {
    bytes: Vec<u8>,
    count: usize,
    discard: bool,
}

impl Effects {
    /// Effects that are counted and not kept, for a sink that wants none.
    pub fn discarding() -> Self {
        Effects {
            discard: true,
            ..Effects::default()
        }
    }

    /// Adds one command.
    pub fn push(&mut self, argv: &[&[u8]]) {
        self.count += 1;
        if self.discard {
            return;
        }
        self.bytes
            .extend_from_slice(&(argv.len() as u32).to_le_bytes());
        for arg in argv {
            self.bytes
                .extend_from_slice(&(arg.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(arg);
        }
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a unit of several commands may not be as large as this.
    pub fn exceed_a_unit(&self) -> bool {
        self.bytes.len() > UNIT_MAX
    }

    /// The flat bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Each command's arguments.
    pub fn iter(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        commands(&self.bytes)
    }

    /// A place to return to with [`Effects::truncate`].
    pub(crate) fn mark(&self) -> (usize, usize) {
        (self.bytes.len(), self.count)
    }

    pub(crate) fn truncate(&mut self, (bytes, count): (usize, usize)) {
        self.bytes.truncate(bytes);
        self.count = count;
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(64 * 1024);
        self.count = 0;
    }
}

/// The commands in the flat bytes of [`Effects::as_bytes`], each as its
/// arguments; `None` unless the bytes are commands of at least one argument to
/// the last byte. Takes any bytes and allocates one command at a time.
pub fn decode(bytes: &[u8]) -> Option<impl Iterator<Item = Vec<&[u8]>>> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = take_u32(&mut rest)?;
        if count == 0 {
            return None;
        }
        for _ in 0..count {
            take_arg(&mut rest)?;
        }
    }
    Some(commands(bytes))
}

fn commands(mut rest: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    std::iter::from_fn(move || {
        let count = take_u32(&mut rest)?;
        (0..count).map(|_| take_arg(&mut rest)).collect()
    })
}

fn take_arg<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)? as usize;
    let (arg, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(arg)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

/// Where effects go. Called under a keyspace's lock: it must not block on I/O.
pub trait EffectSink: Send + Sync {
    /// Whether effects are to be collected at all.
    fn wants_effects(&self) -> bool;
    /// Asked before a write runs; the text of a refusal is the client's error.
    fn admit(&self) -> Result<(), String>;
    /// Takes one unit of keyspace number `keyspace` at `now_ms`.
    fn append(&self, keyspace: u32, now_ms: u64, effects: &Effects) -> Seq;
}

/// The sink of an engine without a journal: numbers units and keeps nothing.
#[derive(Debug, Default)]
pub struct MemorySink(AtomicU64);

impl EffectSink for MemorySink {
    fn wants_effects(&self) -> bool {
        false
    }

    fn admit(&self) -> Result<(), String> {
        Ok(())
    }

    fn append(&self, _keyspace: u32, _now_ms: u64, _effects: &Effects) -> Seq {
        Seq(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_comes_back() {
        let mut effects = Effects::default();
        effects.push(&[b"SET", b"k", b""]);
        let mark = effects.mark();
        effects.push(&[b"DEL", b"x"]);
        assert_eq!(effects.iter().count(), 2);
        effects.truncate(mark);
        let all: Vec<_> = effects.iter().collect();
        assert_eq!(all, vec![vec![&b"SET"[..], b"k", b""]]);
    }

    #[test]
    fn bytes_decode_to_the_last_or_not_at_all() {
        let mut effects = Effects::default();
        effects.push(&[b"SET", b"k", b""]);
        effects.push(&[b"DEL", b"x"]);
        let bytes = effects.as_bytes();
        let all: Vec<_> = decode(bytes).unwrap().collect();
        assert_eq!(all, effects.iter().collect::<Vec<_>>());
        let whole: Vec<usize> = (0..bytes.len())
            .filter(|end| decode(&bytes[..*end]).is_some())
            .collect();
        assert_eq!(whole, [0, 4 + 3 * 4 + 4], "only between commands");
        assert!(decode(&[0; 4]).is_none(), "a command without a name");
        assert!(decode(&[0xff; 64]).is_none());
    }
}
