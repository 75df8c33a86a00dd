//! MULTI to EXEC on a connection of its own.
//!
//! Everything leaves in one piece. Where MULTI itself could be refused (an ACL
//! without it), the commands behind it would run one by one: so a connection on
//! which none has run yet is asked beforehand, with an empty one.

use std::iter::once;

use sangam_engine::Reply;

use super::link::Link;
use crate::backend::{Failure, Sent};
use crate::commands::{Argv, Commands};
use crate::error::Why;

/// Runs commands as one unit: an array of their replies, or the first error
/// that refused one of them and so all of them.
pub(super) async fn run(link: &Link, commands: &Commands, sent: &Sent) -> Result<Reply, Failure> {
    if let Some(error) = link.refuses_units().await? {
        return Ok(error);
    }
    let one = |name: &'static [u8]| once(Argv::from_slice(&[name]));
    let unit: Vec<Argv<'_>> = one(b"MULTI")
        .chain(commands.iter())
        .chain(one(b"EXEC"))
        .collect();
    let mut replies = link.pipeline(unit.iter(), sent).await?;
    let outcome = replies.pop().unwrap_or(Reply::Null);
    let mut queued = replies.into_iter();
    if queued.next() != Some(Reply::OK) {
        // MULTI was permitted a moment ago and is not now: what came after it ran.
        return Err(Failure::Lost(Why::Refusing(
            "MULTI was refused, and the commands ran one by one".to_owned(),
        )));
    }
    match outcome {
        Reply::Error(text) => Ok(queued.find(Reply::is_error).unwrap_or(Reply::Error(text))),
        outcome => Ok(outcome),
    }
}
