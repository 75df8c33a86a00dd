//! A number that only grows: a high-water mark, the last position that was seen.
//!
//! The value is a plain decimal of at most [`INTEGER_MAX`](super::INTEGER_MAX).
//! Cost as a script: 2 billed commands, 3 where the number grows.

use sangam_engine::{CommandError, Reply, Tx};
use smallvec::smallvec;

use super::{Args, AtomicOp, Keys, integer, with_int};
use crate::error::Error;
use crate::script::Script;
use crate::typed::{Ttl, int};

/// Sets the number at `key` to `value` where that is more, or there is no key;
/// answers what it is then. Where it does not grow, its time to live stays too. A
/// number beyond the bounds, a string that is none and a key of another type are
/// errors.
#[derive(Debug, Clone, Copy)]
pub struct Raise<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The number.
    pub value: i64,
    /// When it goes, if it grows.
    pub ttl: Ttl,
}

static RAISE: Script = Script::new(
    "raise",
    with_int!(
        "local new = int(ARGV[1])
local old = redis.call('GET', KEYS[1])
local n = old and int(old)
if not new or (old and not n) then
  return redis.error_reply('ERR value is not an integer or out of range')
end
if n and n >= new then return n end
redis.call('SET', KEYS[1], unpack(ARGV))
return new"
    ),
);

impl AtomicOp for Raise<'_> {
    type Output = i64;

    fn script(&self) -> &'static Script {
        &RAISE
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.value.to_string().into_bytes()];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<i64, Error> {
        int(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<i64, CommandError> {
        let old = match tx.get(self.key)? {
            None => None,
            Some(text) => Some(text.with(integer).ok_or(CommandError::NotInteger)?),
        };
        let mut digits = itoa::Buffer::new();
        let text = digits.format(self.value).as_bytes();
        let new = integer(text).ok_or(CommandError::NotInteger)?;
        if let Some(old) = old
            && old >= new
        {
            return Ok(old);
        }
        tx.put(self.key, text, self.ttl.on_engine())?;
        Ok(new)
    }
}
