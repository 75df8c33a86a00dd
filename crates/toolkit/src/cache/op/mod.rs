//! What a cache does to a value in one step that compares first: fill a miss, and
//! replay what could not be sent.
//!
//! Both compare the first [`HEAD`](super::value::HEAD) bytes of what stands there, never
//! a whole value. Cost as a script: 3 billed commands, 2 where it writes nothing.

mod fill;
mod replay;
#[cfg(test)]
mod tests;

use sangam_store::{Error, Reply};

pub(super) use fill::Fill;
pub(super) use replay::Replay;

/// A script's 0 or 1.
fn truth(reply: Reply) -> Result<bool, Error> {
    match reply {
        Reply::Int(0) => Ok(false),
        Reply::Int(1) => Ok(true),
        other => Err(Error::Reply(format!("0 or 1 was expected, {other:?} came"))),
    }
}
