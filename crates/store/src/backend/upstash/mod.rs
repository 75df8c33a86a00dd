//! Upstash's REST API, spoken to it or to this project's gateway.
//!
//! A few slots, each with one keep-alive connection, take calls from one queue
//! ([`queue`], which says what order they keep). While a request is on its way
//! further calls gather, and leave in one request.
//!
//! - **Bytes.** Replies are exact ([`reply`]); arguments may be any bytes, except
//!   inside transactions on endpoints that take only text ([`request`]).
//! - **Limits.** No blocking commands, none about connections. An answer above
//!   `rest_reply_max` is not read; reads that shared it are asked again one by
//!   one, and so they are where the endpoint's own limit is met.
//! - **Reading one's writes.** The newest `upstash-sync-token` goes with every
//!   request. Of two writes on their way at once, that whose answer came later
//!   counts as the newer.
//! - **Repeats.** A request that holds a write has an id ([`request_id`]). Once an
//!   answer has shown that the endpoint honours ids, and until one lacks that, a
//!   request whose answer was lost is sent again with the same id; elsewhere its
//!   outcome is unknown.
//!   `Retry-After` is waited for where a call has that much time.
//! - **Bill.** The clock is read from answers ([`clock`]), and the greeting is a
//!   PING, which costs nothing.

mod clock;
mod connection;
mod endpoint;
mod events;
mod queue;
mod reply;
mod request;
mod request_id;
mod shared;
mod slot;

use std::borrow::Cow;
use std::sync::Arc;

use sangam_engine::Reply;
use tokio::task::JoinSet;

use super::{ClockSample, Coming, Failure, Listener, Remote, Sent};
use crate::commands::Commands;
use crate::error::{Error, Why};
use crate::options::Options;
use crate::target::Target;
use endpoint::Endpoint;
use reply::Outcomes;
use request::{Call, Work};
use shared::Shared;
use slot::Slot;

pub(crate) struct Upstash {
    shared: Arc<Shared>,
    /// Ends with this value.
    _slots: JoinSet<()>,
}

impl Upstash {
    /// The endpoint at `target`; connects with its first call.
    pub(crate) fn new(target: &Target, options: &Options) -> Result<Self, Error> {
        let endpoint = Endpoint::of(target, options.connect_timeout)?;
        let shared = Arc::new(Shared::new(endpoint, options.clone()));
        let mut slots = JoinSet::new();
        for number in 0..options.rest_slots.max(1) {
            slots.spawn(slot::keep(shared.clone(), number, Slot::run));
        }
        Ok(Upstash {
            shared,
            _slots: slots,
        })
    }

    async fn outcomes(&self, work: Work, greets: bool, sent: &Sent) -> Outcomes {
        let mut waiting = self.shared.queue.push(work, greets, sent);
        waiting.outcomes().await.unwrap_or_default()
    }

    async fn outcome(&self, work: Work, greets: bool, sent: &Sent) -> Result<Reply, Failure> {
        let mut outcomes = self.outcomes(work, greets, sent).await;
        outcomes.pop().unwrap_or_else(|| Err(self.ended()))
    }

    /// For calls whose slot has panicked.
    fn ended(&self) -> Failure {
        Failure::Lost(self.shared.endpoint.broken("its task has ended"))
    }

    async fn greet(&self, call: Call) -> Result<Reply, Failure> {
        let work = Work::Calls(vec![call]);
        self.outcome(work, true, &Sent::default()).await
    }
}

impl Remote for Upstash {
    fn call<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            let work = request::command(argv, self.shared.takes_bytes());
            let work = work.map_err(Failure::Unsupported)?;
            self.outcome(work, false, sent).await
        })
    }

    fn call_blocking<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        _: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        let refusal = Failure::Unsupported(request::blocking(argv));
        Box::pin(std::future::ready(Err(refusal)))
    }

    fn pipeline<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Vec<Result<Reply, Failure>>> {
        Box::pin(async move {
            let batch = self.shared.options.rest_batch.max(1);
            let (work, sendable) = request::pipeline(commands, self.shared.takes_bytes(), batch);
            let replies = match work {
                Some(work) => self.outcomes(work, false, sent).await,
                None => Outcomes::new(),
            };
            let mut replies = replies.into_iter();
            let all = sendable.into_iter().map(|sendable| match sendable {
                Ok(()) => replies.next().unwrap_or_else(|| Err(self.ended())),
                Err(text) => Err(Failure::Unsupported(text)),
            });
            all.collect()
        })
    }

    fn transaction<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            let call = request::transaction(commands, self.shared.takes_bytes());
            let work = Work::Calls(vec![call.map_err(Failure::Unsupported)?]);
            let mut reply = self.outcome(work, false, sent).await?;
            if let Reply::Array(replies) = &mut reply {
                for (argv, reply) in commands.iter().zip(replies) {
                    restore_status(&argv, reply);
                }
            }
            Ok(reply)
        })
    }

    fn listen(&self) -> Coming<'_, Result<Box<dyn Listener>, Failure>> {
        Box::pin(async move {
            let listener = events::Events::open(self.shared.clone()).await?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }

    fn ping(&self) -> Coming<'_, Result<(), Failure>> {
        Box::pin(async move {
            let mut reply = self.greet(request::probe()).await?;
            let takes_bytes = matches!(&reply, Reply::Bulk(text) if text == b"\xff");
            self.shared.set_takes_bytes(takes_bytes);
            if reply.is_error() {
                // It may be the argument that it does not like.
                reply = self.greet(request::ping()).await?;
            }
            match reply {
                Reply::Error(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    Err(Failure::NotSent(Why::Refusing(text)))
                }
                _ => Ok(()),
            }
        })
    }

    fn clock(&self) -> Coming<'_, Result<ClockSample, Failure>> {
        Box::pin(async move {
            if let Some(sample) = self.shared.clock.take() {
                return Ok(sample);
            }
            self.ping().await?;
            self.shared.clock.take().ok_or_else(|| {
                let text = "answers without a `Date`, so its time is not known";
                Failure::Unsupported(format!("{} {text}", self.shared.endpoint.place))
            })
        })
    }

    // This project's gateway knows the flag too.
    fn locks_keys(&self) -> bool {
        true
    }
}

/// Base64 marks one status, `OK`; of the other commands whose reply is one, two
/// make sense in a transaction.
fn restore_status(argv: &[&[u8]], reply: &mut Reply) {
    let is_status = match argv {
        [name] => name.eq_ignore_ascii_case(b"ping"),
        [name, _] => name.eq_ignore_ascii_case(b"type"),
        _ => false,
    };
    if is_status && let Reply::Bulk(text) = reply {
        *reply = Reply::Status(Cow::Owned(String::from_utf8_lossy(text).into_owned()));
    }
}
