//! Fences: numbers that grow with every grant, so that whoever guards a resource
//! can refuse a holder that was overtaken.
//!
//! The next fence is one more than the last, and never less than the store's time
//! in microseconds: it grows even where the last one was lost with a fail-over or
//! its time. The value is `f` and the decimal of the last fence. Cost as a script:
//! 3 billed commands.

use sangam_engine::{CommandError, Reply, Tx};
use smallvec::smallvec;

use super::{Args, AtomicOp, INTEGER_MAX, Keys, integer, with_int, within};
use crate::error::Error;
use crate::script::Script;
use crate::typed::{Ttl, int, unexpected};

/// The byte that begins a fence's value.
const FORM: u8 = b'f';

/// Takes the next fence of `key`: larger than every one before, at least `now`.
/// A number beyond [`INTEGER_MAX`], a value of another form and a key of another
/// type are errors.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The store's time in microseconds since the epoch, as
    /// [`Store::now`](crate::Store::now) has it.
    pub now: u64,
    /// When the last fence may be forgotten: long after all that it guards.
    pub ttl: Ttl,
}

static FENCE: Script = Script::new(
    "fence",
    with_int!(
        "local old = redis.call('GET', KEYS[1])
local next = int(ARGV[1])
if not next then
  return redis.error_reply('ERR value is not an integer or out of range')
end
if old then
  local last = string.sub(old, 1, 1) == 'f' and int(string.sub(old, 2))
  if not last then return redis.error_reply('ERR the value is not a fence') end
  if last >= next then next = last + 1 end
end
if next > 9007199254740991 then
  return redis.error_reply('ERR increment or decrement would overflow')
end
redis.call('SET', KEYS[1], 'f' .. string.format('%.0f', next), unpack(ARGV, 2))
return next"
    ),
);

impl AtomicOp for Fence<'_> {
    type Output = u64;

    fn script(&self) -> &'static Script {
        &FENCE
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.now.to_string().into_bytes()];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<u64, Error> {
        let fence = int(reply)?;
        u64::try_from(fence).map_err(|_| unexpected("a fence", &Reply::Int(fence)))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<u64, CommandError> {
        let last = |value: &[u8]| value.strip_prefix(&[FORM]).and_then(integer);
        let not_a_fence = CommandError::text("ERR the value is not a fence");
        let old = tx.get(self.key)?.map(|value| value.with(last));
        let now = within(self.now)?;
        let next = match old {
            None => now,
            Some(last) => now.max(last.ok_or(not_a_fence)? + 1),
        };
        if next > INTEGER_MAX {
            return Err(CommandError::Overflow);
        }
        let mut value = vec![FORM];
        value.extend_from_slice(itoa::Buffer::new().format(next).as_bytes());
        tx.put(self.key, &value, self.ttl.on_engine())?;
        Ok(next.max(0) as u64)
    }
}
