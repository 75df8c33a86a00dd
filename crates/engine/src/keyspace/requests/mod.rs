//! What was answered to requests that had an id, so that a repeat is answered
//! the same and writes nothing (docs/request-ids.md).
//!
//! An entry is made with the unit that it belongs to: under the same hold of
//! the lock and, where the unit has effects, in the same frame, as an effect
//! that no client can call. A unit that is undone makes none.
//!
//! Invariant: a request that ran and changed something is remembered, or its id
//! is not above the newest one that was dropped. So whatever is neither runs for
//! the first time, however the clock moves and wherever a bound is met. Ids are
//! dropped from the oldest on, with all their replies.
//!
//! Cost: 24 bytes and an empty map while nobody uses ids; a look-up in a tree of
//! at most [`REPLIES`] ids, and an allocation for the reply, where somebody does.

mod id;
mod journal;

use std::collections::BTreeMap;

use smallvec::SmallVec;

pub use id::{Once, Request, RequestId};
pub(crate) use journal::{Place, Remembered, is_block, is_remembered, push};

use crate::effect::Seq;
use crate::reply::{Reply, encoded};

/// Milliseconds around the present in which an id's time has to be.
pub const WINDOW_MS: u64 = 300_000;
/// Most bytes of a reply that is kept.
pub(crate) const REPLY_BYTES: usize = 64 << 10;
/// Most bytes of the replies to one pipeline; beyond them it is only kept that a
/// command was applied.
const ID_BYTES: usize = 1 << 20;
/// Most commands of a request with an id.
const COMMANDS: usize = 10_000;
/// Most replies of a keyspace.
const REPLIES: usize = 100_000;
/// Most bytes of a keyspace's replies, with what they cost beside.
const BYTES: usize = 32 << 20;
/// What an id and a reply cost beside the reply's bytes, roughly.
const ID_COST: usize = 96;
const REPLY_COST: usize = 48;
/// Entries beyond the window that a new one takes with it.
const DUE: usize = 16;

/// Why a request with an id does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// It may have run already.
    #[error(
        "ERR request id {0} is older than the window of {window} s (or than what is kept); \
         nothing was run",
        window = WINDOW_MS / 1000
    )]
    Old(RequestId),
    /// Its time is not near yet.
    #[error(
        "ERR request id {0} is more than {window} s ahead of the server's clock; nothing was run",
        window = WINDOW_MS / 1000
    )]
    Ahead(RequestId),
    /// Something else was asked under it.
    #[error("ERR request id {0} was used for another request; nothing was run")]
    Another(RequestId),
    /// It has too many commands.
    #[error("ERR a request with an id may have at most {COMMANDS} commands; nothing was run")]
    TooMany,
}

impl From<RequestRefusal> for Reply {
    fn from(refusal: RequestRefusal) -> Self {
        Reply::error(refusal.to_string())
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    replies: usize,
    bytes: usize,
    /// Of the replies to one id.
    id_bytes: usize,
}

const BOUNDS: Bounds = Bounds {
    replies: REPLIES,
    bytes: BYTES,
    id_bytes: ID_BYTES,
};

/// The requests that a keyspace remembers; see the module.
#[derive(Debug)]
pub(crate) struct Requests {
    kept: BTreeMap<RequestId, Entry>,
    /// The newest id that was dropped.
    dropped: Option<RequestId>,
    replies: usize,
    bytes: usize,
    bounds: Bounds,
}

#[derive(Debug)]
struct Entry {
    fingerprint: u64,
    /// In the order of their places.
    replies: SmallVec<[Kept; 1]>,
    /// Bytes of the replies.
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    place: u32,
    /// The last unit that the reply depends on.
    seq: Seq,
    /// Encoded; empty where it was too large.
    reply: Box<[u8]>,
}

impl Default for Requests {
    fn default() -> Self {
        Requests {
            kept: BTreeMap::new(),
            dropped: None,
            replies: 0,
            bytes: 0,
            bounds: BOUNDS,
        }
    }
}

impl Requests {
    /// Bytes that they take up, roughly.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether commands of `request` may run at `now_ms`, those that have not.
    pub(crate) fn admit(&self, request: &Request, now_ms: u64) -> Result<(), RequestRefusal> {
        let id = request.id;
        if request.commands > COMMANDS {
            return Err(RequestRefusal::TooMany);
        }
        match self.kept.get(&id) {
            Some(entry) if entry.fingerprint == request.fingerprint => Ok(()),
            Some(_) => Err(RequestRefusal::Another(id)),
            None if id.millis() + WINDOW_MS < now_ms || self.dropped >= Some(id) => {
                Err(RequestRefusal::Old(id))
            }
            None if id.millis() > now_ms + WINDOW_MS => Err(RequestRefusal::Ahead(id)),
            None => Ok(()),
        }
    }

    /// What the command was answered; `None` where it is to run.
    pub(crate) fn recall(&self, once: Once, now_ms: u64) -> Result<Option<Reply>, RequestRefusal> {
        self.admit(&once.request, now_ms)?;
        let kept = self.kept.get(&once.request.id).and_then(|entry| {
            let at = entry.position(once.place).ok()?;
            entry.replies.get(at)
        });
        Ok(kept.map(|kept| {
            encoded::decode(&kept.reply).unwrap_or_else(|| {
                Reply::error("ERR this request was applied; its reply is too large to be kept")
            })
        }))
    }

    /// What is kept of a reply to a command of this id; empty for a reply that is
    /// too large.
    pub(crate) fn keep(&self, once: Once, reply: Option<Vec<u8>>) -> Remembered {
        let there = self
            .kept
            .get(&once.request.id)
            .map_or(0, |entry| entry.bytes);
        let reply = reply.filter(|reply| there + reply.len() <= self.bounds.id_bytes);
        Remembered {
            once,
            reply: reply.unwrap_or_default(),
        }
    }

    /// Remembers a reply that depends on units up to `seq`, with up to
    /// `most_bytes` for all.
    pub(crate) fn insert(&mut self, it: Remembered, seq: Seq, now_ms: u64, most_bytes: usize) {
        let Request {
            id, fingerprint, ..
        } = it.once.request;
        let reply = it.reply.into_boxed_slice();
        let entry = self.kept.entry(id).or_insert_with(|| {
            self.bytes += ID_COST;
            Entry {
                fingerprint,
                replies: SmallVec::new(),
                bytes: 0,
            }
        });
        let added = reply.len();
        let kept = Kept {
            place: it.once.place,
            seq,
            reply,
        };
        match entry.position(it.once.place) {
            Ok(at) => {
                if let Some(place) = entry.replies.get_mut(at) {
                    let gone = std::mem::replace(place, kept).reply.len();
                    entry.bytes -= gone;
                    self.bytes -= gone;
                }
            }
            Err(at) => {
                entry.replies.insert(at, kept);
                self.replies += 1;
                self.bytes += REPLY_COST;
            }
        }
        entry.bytes += added;
        self.bytes += added;
        self.prune(now_ms, DUE);
        let most_bytes = self.bounds.bytes.min(most_bytes);
        while (self.replies > self.bounds.replies || self.bytes > most_bytes) && self.drop_oldest()
        {
        }
    }

    /// Drops up to `limit` ids that are beyond the window.
    pub(crate) fn prune(&mut self, now_ms: u64, limit: usize) {
        for _ in 0..limit {
            let oldest = self.kept.first_key_value();
            if oldest.is_none_or(|(id, _)| id.millis() + WINDOW_MS >= now_ms) {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((id, entry)) = self.kept.pop_first() else {
            return false;
        };
        self.dropped = self.dropped.max(Some(id));
        self.replies -= entry.replies.len();
        self.bytes -= ID_COST + entry.bytes + entry.replies.len() * REPLY_COST;
        true
    }
}

impl Entry {
    fn position(&self, place: u32) -> Result<usize, usize> {
        self.replies.binary_search_by_key(&place, |kept| kept.place)
    }
}

#[cfg(test)]
mod tests;
