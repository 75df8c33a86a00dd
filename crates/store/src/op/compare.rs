//! Changes of a string that happen only where it still is what the caller saw: to
//! swap a value, to give a lease back, to keep it.
//!
//! Cost as a script: 3 billed commands, 2 where it was something else.

use sangam_engine::{CommandError, Reply, Tx};
use smallvec::smallvec;

use super::{Args, AtomicOp, Keys, truth};
use crate::error::Error;
use crate::script::Script;
use crate::typed::Ttl;

/// Whether the string at `key` is this.
fn holds(tx: &mut Tx<'_>, key: &[u8], expected: &[u8]) -> Result<bool, CommandError> {
    let found = tx.get(key)?;
    Ok(found.is_some_and(|found| found.with(|found| found == expected)))
}

/// Sets a string where it still is `expected`, or where there still is no key.
/// Answers whether it did. A key of another type is an error.
#[derive(Debug, Clone, Copy)]
pub struct CompareAndSet<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What the key holds; `None` for no key.
    pub expected: Option<&'a [u8]>,
    /// What it is to hold.
    pub value: &'a [u8],
    /// When it goes.
    pub ttl: Ttl,
}

static SET: Script = Script::new(
    "compare-and-set",
    "local old = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if old then return 0 end
elseif old ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], unpack(ARGV, 3))
return 1",
);

impl AtomicOp for CompareAndSet<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &SET
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let known: &[u8] = if self.expected.is_some() { b"1" } else { b"0" };
        let expected = self.expected.unwrap_or_default();
        let mut args: Args = smallvec![known.into(), expected.into(), self.value.into()];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let is_as_seen = match self.expected {
            None => tx.get(self.key)?.is_none(),
            Some(expected) => holds(tx, self.key, expected)?,
        };
        if is_as_seen {
            tx.put(self.key, self.value, self.ttl.on_engine())?;
        }
        Ok(is_as_seen)
    }
}

/// Removes a string where it still is `expected`: gives a lease back, but nobody
/// else's. Answers whether it did. A key of another type is an error.
#[derive(Debug, Clone, Copy)]
pub struct CompareAndDelete<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What it holds.
    pub expected: &'a [u8],
}

static DELETE: Script = Script::new(
    "compare-and-delete",
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])",
);

impl AtomicOp for CompareAndDelete<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &DELETE
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        smallvec![self.expected.into()]
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        if !holds(tx, self.key, self.expected)? {
            return Ok(false);
        }
        tx.remove(self.key)
    }
}

/// Says anew when a string goes, where it still is `expected`: keeps a lease.
/// Answers whether it is; a moment that has passed removes it. A key of another
/// type is an error.
#[derive(Debug, Clone, Copy)]
pub struct CompareAndExtend<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What it holds.
    pub expected: &'a [u8],
    /// When it goes.
    pub ttl: Ttl,
}

static EXTEND: Script = Script::new(
    "compare-and-extend",
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then redis.call(ARGV[2], KEYS[1], unpack(ARGV, 3)) end
return 1",
);

impl AtomicOp for CompareAndExtend<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &EXTEND
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.expected.into()];
        self.ttl.push_command(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let is_held = holds(tx, self.key, self.expected)?;
        if is_held && self.ttl != Ttl::Keep {
            tx.set_ttl(self.key, self.ttl.on_engine())?;
        }
        Ok(is_held)
    }
}
