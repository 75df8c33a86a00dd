//! Writing later what could not be written when it happened.

use sangam_store::op::{Args, INTEGER_MAX, Keys};
use sangam_store::{AtomicOp, CommandError, Error, Reply, Script, Ttl, Tx};
use smallvec::smallvec;

use super::super::value::Stamp;
use super::truth;

static REPLAY: Script = Script::new("cache-replay", include_str!("replay.lua"));

/// Sets a value unless a newer writing stands there; whether it did. Of two at the same
/// moment, the one by the larger writer counts as newer, and the same writing is set
/// again, so that a step whose outcome is unknown may be repeated. What is no writing of
/// a cache, or has a time beyond [`INTEGER_MAX`], is overwritten. A key of another type
/// is an error.
#[derive(Debug)]
pub(in super::super) struct Replay<'a> {
    pub(in super::super) key: &'a [u8],
    /// Of the value.
    pub(in super::super) stamp: Stamp,
    pub(in super::super) value: &'a [u8],
    pub(in super::super) ttl: Ttl,
}

impl Replay<'_> {
    fn is_older_than(&self, other: Stamp) -> bool {
        let order = |stamp: Stamp| (stamp.time_us, stamp.writer);
        other.time_us <= INTEGER_MAX as u64 && order(other) > order(self.stamp)
    }
}

impl AtomicOp for Replay<'_> {
    type Output = bool;

    fn script(&self) -> &'static Script {
        &REPLAY
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        let Stamp { time_us, writer } = self.stamp;
        let mut args: Args = smallvec![
            time_us.to_string().into_bytes(),
            writer.to_string().into_bytes(),
            self.value.into(),
        ];
        self.ttl.push_set_options(&mut args);
        args
    }

    fn read(&self, reply: Reply) -> Result<bool, Error> {
        truth(reply)
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, CommandError> {
        let stands = tx.get(self.key)?.and_then(|value| value.with(Stamp::of));
        if stands.is_some_and(|stands| self.is_older_than(stands)) {
            return Ok(false);
        }
        tx.put(self.key, self.value, self.ttl.on_engine())?;
        Ok(true)
    }
}
