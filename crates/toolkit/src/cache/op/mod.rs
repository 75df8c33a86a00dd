//! What a cache does in one step that compares first: fill a miss, replay what could not
//! be sent, and note a key of other apps in a set ([`Track`]).
//!
//! The first two compare the first [`HEAD`](super::value::HEAD) bytes of what stands there, never
//! a whole value. Cost as a script: 3 billed commands, 2 where it writes nothing.

mod fill;
mod replay;
#[cfg(test)]
mod tests;
mod track;

use sangam_store::{AtomicOp, Commands, Error, Reply};

pub(super) use fill::Fill;
pub(super) use replay::Replay;
pub(super) use track::Track;

/// Adds an op to what is sent at once.
pub(super) fn push(commands: &mut Commands, op: &impl AtomicOp) {
    let args = op.args();
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    commands.push_script(op.script(), &op.keys(), &args);
}

/// A script's 0 or 1.
fn truth(reply: Reply) -> Result<bool, Error> {
    match reply {
        Reply::Int(0) => Ok(false),
        Reply::Int(1) => Ok(true),
        other => Err(Error::Reply(format!("0 or 1 was expected, {other:?} came"))),
    }
}
