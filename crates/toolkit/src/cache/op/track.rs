//! Noting other apps' keys in the sets that their tags are.

use std::time::Duration;

use sangam_store::op::{Args, Keys};
use sangam_store::{AtomicOp, CommandError, Error, Reply, Script, Tx};
use smallvec::smallvec;

static TRACK: Script = Script::new("cache-track", include_str!("track.lua"));

/// Adds keys to a set, which then lives for `ttl` at least; answers how many were not in
/// it. A set that another app keeps without a time to live stays so, one that is made
/// here never is without. A key of another type is an error.
///
/// Cost as a script: 4 billed commands, 3 where the set's time to live stays.
#[derive(Debug)]
pub(in super::super) struct Track<'a> {
    pub(in super::super) set: &'a [u8],
    pub(in super::super) names: &'a [Vec<u8>],
    pub(in super::super) ttl: Duration,
}

impl Track<'_> {
    fn millis(&self) -> i64 {
        i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX)
    }
}

impl AtomicOp for Track<'_> {
    type Output = u64;

    fn script(&self) -> &'static Script {
        &TRACK
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.set]
    }

    fn args(&self) -> Args {
        let mut args: Args = smallvec![self.millis().to_string().into_bytes()];
        args.extend(self.names.iter().cloned());
        args
    }

    fn read(&self, reply: Reply) -> Result<u64, Error> {
        match reply {
            Reply::Int(added) => Ok(added.unsigned_abs()),
            other => Err(Error::Reply(format!(
                "a number was expected, {other:?} came"
            ))),
        }
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<u64, CommandError> {
        let left = number(tx.call(&[b"PTTL", self.set]))?;
        let mut add: Vec<&[u8]> = vec![b"SADD", self.set];
        add.extend(self.names.iter().map(Vec::as_slice));
        let added = number(tx.call(&add))?;
        if left == -2 || (left != -1 && left < self.millis()) {
            let millis = self.millis().to_string();
            number(tx.call(&[b"PEXPIRE", self.set, millis.as_bytes()]))?;
        }
        Ok(added.unsigned_abs())
    }
}

/// A command's number, or its error.
fn number(reply: Reply) -> Result<i64, CommandError> {
    match reply {
        Reply::Int(number) => Ok(number),
        Reply::Error(text) => Err(CommandError::Bytes(text)),
        _ => Err(CommandError::NotInteger),
    }
}
