//! Requests that have an id: each of their writes runs once.
//!
//! A command's checks come first, then the memory of the keyspace is asked;
//! what is found there is the answer, and nothing else happens. What is not
//! found runs, and its reply is kept with the unit: as one more effect in its
//! frame, and in the keyspace's memory, all under the same hold of the lock. A
//! unit without effects has no frame; its reply is kept in memory alone.

use super::Batch;
use super::dispatch::is_script;
use super::spec::{Command, Flags};
use crate::effect::Effects;
use crate::keyspace::Durability;
use crate::keyspace::requests::{self, Once, REPLY_BYTES, Request};
use crate::reply::Reply;
use crate::reply::encoded::Encoder;

/// Of `maxmemory`, the part that remembered replies may have.
const SHARE: usize = 8;

/// Whether a repeat of the command would do something again.
pub(super) fn is_remembered(command: &Command) -> bool {
    let flags = command.spec.flags;
    flags.has(Flags::WRITE)
        || command.spec.name == "publish"
        || is_script(command) && !flags.has(Flags::READONLY)
}

/// For the replies of a transaction.
pub(super) fn encoder_of_all(count: usize) -> Encoder {
    let mut encoder = Encoder::new(REPLY_BYTES);
    encoder.array(count);
    encoder
}

impl Batch<'_> {
    /// Whether `request` may run: the refusal stands for all of it. To be asked
    /// before the first of a pipeline's commands; others ask by themselves.
    pub fn admit_request(&self, request: &Request) -> Result<(), Reply> {
        let admitted = self.db().requests.admit(request, self.now_ms());
        admitted.map_err(Reply::from)
    }

    /// The reply to an earlier attempt, or the refusal of this one.
    pub(super) fn recall(&mut self, once: &Once) -> Option<Reply> {
        match self.db().requests.recall(*once, self.now_ms()) {
            Ok(None) => None,
            Ok(Some(reply)) => {
                self.recalled = true;
                Some(reply)
            }
            Err(refusal) => Some(refusal.into()),
        }
    }

    /// The same for a transaction, whose replies go to `each`.
    pub(super) fn recall_all(
        &mut self,
        request: &Request,
        each: &mut dyn FnMut(&Reply) -> bool,
    ) -> Option<Result<(), Reply>> {
        Some(match self.recall(&request.at(0))? {
            Reply::Array(replies) if replies.iter().all(each) => Ok(()),
            Reply::Array(_) => Err(Reply::error(
                "ERR this request was applied; its replies are larger than an answer may be",
            )),
            refusal => Err(refusal),
        })
    }

    /// Hands the unit's effects on, as [`Batch::log`] does, with the reply to the
    /// command.
    #[cold]
    pub(super) fn log_reply(&mut self, once: &Once, reply: &Reply) {
        let mut encoder = Encoder::new(REPLY_BYTES);
        encoder.push(reply);
        self.log_once(Some((once, encoder.finish())));
    }

    /// The same where there may be nothing to remember, with an encoded reply.
    pub(super) fn log_once(&mut self, answered: Option<(&Once, Option<Vec<u8>>)>) {
        let Some((once, reply)) = answered else {
            self.log();
            return;
        };
        let remembered = self.db().requests.keep(*once, reply);
        let wrote = !self.db().effects.is_empty();
        if wrote {
            requests::push(&remembered, &mut self.db_mut().effects);
        }
        self.log();
        let now_ms = self.now_ms();
        let mut seq = self.seq();
        if wrote && self.keyspace.class.durability == Durability::Latest {
            // Its values come with the next tick, so it is there before them.
            let mut effects = Effects::default();
            requests::push(&remembered, &mut effects);
            seq = self.engine.append(self.keyspace.id, now_ms, &effects);
        }
        let most_bytes = self.most_bytes();
        let requests = &mut self.db_mut().requests;
        requests.insert(remembered, seq, now_ms, most_bytes);
    }

    /// Remembers what a frame says.
    pub(super) fn repeat_remembered(&mut self, argv: &[&[u8]]) -> Result<(), String> {
        let (seq, now_ms, most_bytes) = (self.seq(), self.db().now_ms, self.most_bytes());
        let requests = &mut self.db_mut().requests;
        requests.replay(argv, seq, now_ms, most_bytes)
    }

    fn most_bytes(&self) -> usize {
        match self.db().settings.maxmemory {
            0 => usize::MAX,
            limit => limit / SHARE,
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock_micros() / 1000
    }
}
