//! Commands that speak of the whole database: to all masters, one reply.

use futures_util::future::join_all;
use sangam_engine::Reply;

use super::Cluster;
use super::route::{Merge, joined_cursor, split_cursor};
use crate::backend::{Failure, Sent};
use crate::error::Why;
use crate::kind::Kind;

impl Cluster {
    /// Runs a command on all masters at once. It is no unit: where one fails,
    /// others may have run it.
    pub(super) async fn on_all(
        &self,
        argv: &[&[u8]],
        merge: Merge,
        sent: &Sent,
    ) -> Result<Reply, Failure> {
        let masters = self.masters().await?;
        let calls = masters.iter().map(|node| node.call(argv, sent));
        let outcomes = join_all(calls).await;
        let ran = |outcome: &Result<Reply, _>| matches!(outcome, Ok(reply) if !reply.is_error());
        let some = outcomes.iter().any(ran);
        let mut replies = Vec::with_capacity(outcomes.len());
        let mut error = None;
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok(reply @ Reply::Error(_)) => {
                    error.get_or_insert(reply);
                }
                Ok(reply) => replies.push(reply),
                Err(lost @ Failure::Lost(_)) => failure = Some(lost),
                // Not there, but elsewhere.
                Err(Failure::NotSent(why)) if some => {
                    failure.get_or_insert(Failure::Lost(why));
                }
                Err(other) => {
                    failure.get_or_insert(other);
                }
            }
        }
        if let Some(failure) = failure {
            self.refresh_soon();
            return Err(failure);
        }
        match error {
            // One refused what others ran: the whole was not without effect.
            Some(Reply::Error(text)) if some && Kind::of(argv) != Kind::Read => {
                let text = String::from_utf8_lossy(&text).into_owned();
                Err(Failure::Lost(Why::Refusing(text)))
            }
            Some(error) => Ok(error),
            None => Ok(merge.merged(replies)),
        }
    }

    /// SCAN through one master after the other. The cursor says which, so that a
    /// scan during which masters come and go may miss keys that moved.
    pub(super) async fn scan(&self, argv: &[&[u8]], sent: &Sent) -> Result<Reply, Failure> {
        let masters = self.masters().await?;
        let invalid = || Ok(Reply::error("ERR invalid cursor"));
        let cursor = argv.get(1).copied().unwrap_or(b"0");
        let Some((at, own)) = split_cursor(cursor) else {
            return invalid();
        };
        let Some(node) = masters.get(at) else {
            return invalid();
        };
        let own = own.to_string();
        let mut argv = argv.to_vec();
        if let Some(place) = argv.get_mut(1) {
            *place = own.as_bytes();
        }
        let reply = node.call(&argv, sent).await?;
        let Reply::Array(mut parts) = reply else {
            return Ok(reply);
        };
        let next = match parts.first() {
            Some(Reply::Bulk(next)) => std::str::from_utf8(next).ok(),
            _ => None,
        };
        let next = next.and_then(|next| next.parse().ok());
        let joined = next.and_then(|next| joined_cursor(at, masters.len(), next));
        let (Some(joined), Some(place)) = (joined, parts.first_mut()) else {
            return Ok(Reply::error("ERR the cursor of a master is too large"));
        };
        *place = Reply::bulk(joined.to_string());
        Ok(Reply::Array(parts))
    }
}
