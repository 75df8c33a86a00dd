//! Filling what a load saw to be missing, stale or unreadable.

use sangam_store::op::{Args, Keys};
use sangam_store::{AtomicOp, CommandError, Error, Reply, Script, Ttl, Tx};
use smallvec::smallvec;

use super::super::value::head;
use super::truth;

static FILL: Script = Script::new("cache-fill", include_str!("fill.lua"));

/// Sets a value where the writing that was seen still stands; whether it did. A key of
/// another type is an error.
#[derive(Debug)]
pub(in super::super) struct Fill<'a> {
    pub(in super::super) key: &'a [u8],
    /// The [`head`] of what was seen. Empty where there was no key, or one of an empty
    /// string, which are the same to it.
    pub(in super::super) seen: &'a [u8],
    pub(in super::super) value: &'a [u8],
    pub(in super::super) ttl: Ttl,
}

impl AtomicOp for Fill<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &FILL
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.seen.into(), self.value.into()];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let is_as_seen = match tx.get(self.key)? {
            Some(value) => value.with(|value| head(value) == self.seen),
            None => self.seen.is_empty(),
        };
        if is_as_seen {
            tx.put(self.key, self.value, self.ttl.on_engine())?;
        }
        Ok(is_as_seen)
    }
}
