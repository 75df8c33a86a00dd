//! A counter with an end: the write that begins it says when it goes.
//!
//! The value is a plain decimal, in all of 64 bits: Lua computes nothing, and where
//! the sum is more than its numbers hold, it asks for the text. A counter begins
//! where it stands at zero, since that costs nothing to see in the sum: asking
//! whether there is a key would be one more billed command on each call.
//!
//! Cost as a script: 2 billed commands, 3 for the call that begins the counter.

use sangam_engine::command::args::parse_i64;
use sangam_engine::{CommandError, Reply, Tx};
use smallvec::smallvec;

use super::{Args, AtomicOp, Keys};
use crate::error::Error;
use crate::script::Script;
use crate::typed::{Ttl, unexpected, value};

/// Adds to the number at `key`, and answers the sum. Where the number was 0, or
/// there was no key, the key also gets its time to live; later calls leave it. A
/// string that is no integer, a key of another type and a sum beyond 64 bits are
/// errors.
#[derive(Debug, Clone, Copy)]
pub struct Increment<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What is added; may be negative.
    pub amount: i64,
    /// When a counter that begins now goes; [`Ttl::Keep`] and [`Ttl::None`] say
    /// nothing of it.
    pub ttl: Ttl,
}

static INCREMENT: Script = Script::new(
    "increment",
    "local n = redis.call('INCRBY', KEYS[1], ARGV[1])
local sum
if n <= 9007199254740991 and n >= -9007199254740991 then
  sum = string.format('%.0f', n)
else
  sum = redis.call('GET', KEYS[1])
end
if sum == ARGV[1] and ARGV[2] then redis.call(ARGV[2], KEYS[1], ARGV[3]) end
return sum",
);

impl Increment<'_> {
    /// Whether a counter that begins is told when it goes.
    fn ends(&self) -> bool {
        matches!(self.ttl, Ttl::In(_) | Ttl::At(_))
    }
}

impl AtomicOp for Increment<'_> {
    type Output = i64;

    fn script(&self) -> &'static Script {
        &INCREMENT
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.amount.to_string().into_bytes()];
        if self.ends() {
            self.ttl.push_command(&mut args);
        }
        args
    }

    fn read(&self, reply: Reply) -> Result<i64, Error> {
        let text = value(reply)?.unwrap_or_default();
        parse_i64(&text).ok_or_else(|| unexpected("an integer", &Reply::Bulk(text)))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<i64, CommandError> {
        let sum = tx.add(self.key, self.amount)?;
        if sum == self.amount && self.ends() {
            tx.set_ttl(self.key, self.ttl.on_engine())?;
        }
        Ok(sum)
    }
}
