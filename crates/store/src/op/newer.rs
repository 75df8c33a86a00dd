//! Values with versions, of which an older one never replaces a newer: what comes
//! late, twice or out of order changes nothing.
//!
//! The value is `v`, the version in 16 digits and the payload. Cost as a script:
//! 2 billed commands, 3 where the value is kept.

use sangam_engine::{CommandError, Reply, Tx};
use smallvec::smallvec;

use super::{Args, AtomicOp, Keys, truth, within};
use crate::error::Error;
use crate::script::Script;
use crate::typed::Ttl;

/// The byte that begins a value.
const FORM: u8 = b'v';
/// Digits of a version.
const DIGITS: usize = 16;

/// Keeps a value where its version is higher than that of the one that is there.
/// Answers whether it did. A version beyond [`INTEGER_MAX`](super::INTEGER_MAX), a value of another
/// form and a key of another type are errors.
#[derive(Debug, Clone, Copy)]
pub struct PutIfNewer<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The version: a counter, or a moment.
    pub version: u64,
    /// The value.
    pub payload: &'a [u8],
    /// When it goes.
    pub ttl: Ttl,
}

/// A value that [`PutIfNewer`] kept, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versioned<'a> {
    /// Its version.
    pub version: u64,
    /// The value.
    pub payload: &'a [u8],
}

impl<'a> Versioned<'a> {
    /// Reads what the key holds; `None` where that has another form.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (digits, payload) = value.strip_prefix(&[FORM])?.split_at_checked(DIGITS)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let version = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Versioned { version, payload })
    }
}

static NEWER: Script = Script::new(
    "put-if-newer",
    "local old = redis.call('GET', KEYS[1])
local new = tonumber(ARGV[1])
if new > 9007199254740991 then
  return redis.error_reply('ERR value is not an integer or out of range')
end
if old then
  local digits = string.sub(old, 2, 17)
  if string.sub(old, 1, 1) ~= 'v' or #digits ~= 16 or string.find(digits, '%D') then
    return redis.error_reply('ERR the value has no version')
  end
  if tonumber(digits) >= new then return 0 end
end
redis.call('SET', KEYS[1], 'v' .. ARGV[1] .. ARGV[2], unpack(ARGV, 3))
return 1",
);

impl AtomicOp for PutIfNewer<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &NEWER
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let version = format!("{:0DIGITS$}", self.version);
        let mut args: Args = smallvec![version.into_bytes(), self.payload.into()];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let version = |value: &[u8]| Versioned::parse(value).map(|value| value.version);
        let no_version = CommandError::text("ERR the value has no version");
        let old = tx.get(self.key)?.map(|value| value.with(version));
        within(self.version)?;
        if let Some(old) = old
            && old.ok_or(no_version)? >= self.version
        {
            return Ok(false);
        }
        let mut value = Vec::with_capacity(1 + DIGITS + self.payload.len());
        value.push(FORM);
        value.extend_from_slice(format!("{:0DIGITS$}", self.version).as_bytes());
        value.extend_from_slice(self.payload);
        tx.put(self.key, &value, self.ttl.on_engine())?;
        Ok(true)
    }
}
