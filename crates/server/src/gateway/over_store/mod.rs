//! Any [`Store`] behind the gateway: Redis, Valkey, a cluster, Upstash.
//!
//! A request is checked by the engine's table ([`admit_forwarded`]), so that it is
//! refused in the words of Upstash before it costs anything; [`plan`] makes of it
//! what the store understands, and of the store's reply what Upstash answers. A
//! pipeline travels as one, a transaction as one.
//!
//! What ran there stays: an answer that is too large is refused, and not undone.
//!
//! Cost beside the store's own: one copy of the arguments of a batch, and a boxed
//! future for each request.

mod failure;
mod feed;
mod plan;
mod scripts;
mod shape;
mod state;
mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};

use sangam_engine::command::admit_forwarded;
use sangam_engine::keyspace::requests::RequestId;
use sangam_engine::pubsub::Topic;
use sangam_engine::session::Dialect;
use sangam_engine::{Reply, Seq};
use sangam_store::{Commands as Batch, Error, Kind, Store};
use sangam_wire::rest;

use self::plan::{Plan, Request};
use self::scripts::Scripts;
use self::state::Pulse;
use self::tokens::{Rights, Tokens};
use super::commands::{
    Answer, Beside, Commands, Each, Feed, Outage, Readiness, Refusal, Room, Subscribed,
};
use super::metrics::Page;
use crate::config::Timing;

/// A store, and who may use it.
#[derive(Debug)]
pub struct OverStore {
    store: Store,
    tokens: Tokens,
    /// Whose rules hold over REST.
    dialect: Dialect,
    scripts: Scripts,
    pulse: Pulse,
    /// Requests that may have written: the position that the sync token names.
    writes: AtomicU64,
}

/// What a connection keeps.
#[derive(Debug, Default)]
pub struct Caller {
    rights: Option<Rights>,
}

/// What became of a request, and why there is no reply of the store, if so.
type Ended = (Reply, Option<Outage>);

impl OverStore {
    /// Before `store`, for the bearers of two tokens; `strict` refuses what
    /// Upstash refuses.
    pub fn new(store: Store, token: &str, read_token: Option<&str>, strict: bool) -> Self {
        OverStore {
            store,
            tokens: Tokens::new(token, read_token),
            dialect: if strict {
                Dialect::StrictUpstash
            } else {
                Dialect::Upstash
            },
            scripts: Scripts::default(),
            pulse: Pulse::default(),
            writes: AtomicU64::new(0),
        }
    }

    /// What is to be sent for a request.
    fn plan<'a>(&self, caller: &Caller, argv: &'a [&'a [u8]], alone: bool) -> Plan<'a> {
        let Some(rights) = caller.rights else {
            return Plan::Here(Reply::error("NOAUTH Authentication required."));
        };
        if let Err(refusal) = admit_forwarded(argv, self.dialect, rights == Rights::Read) {
            return Plan::Here(refusal);
        }
        let plan = plan::of(
            argv,
            self.store.dialect(),
            self.dialect.is_strict(),
            &self.scripts,
        );
        match plan {
            Plan::Send(request) if !alone && Kind::of(&request.argv()) == Kind::Blocking => {
                Plan::Here(plan::waits(argv))
            }
            plan => plan,
        }
    }

    /// Where the request stands in the order of writes.
    fn position_after(&self, wrote: bool) -> Seq {
        Seq(if wrote {
            self.writes.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.writes.load(Ordering::Relaxed)
        })
    }

    /// Makes of the store's reply what the request asked for.
    async fn finish(&self, request: &Request<'_>, outcome: Result<Reply, Error>) -> Ended {
        match plan::finish(request, outcome, &self.store, &self.scripts).await {
            Ok(reply) => (reply, None),
            Err(error) => failure::told(error, &request.argv()),
        }
    }

    async fn run(&self, caller: &Caller, argv: &[&[u8]]) -> (Reply, Beside) {
        let (ended, wrote) = match self.plan(caller, argv, true) {
            Plan::Here(reply) => ((reply, None), false),
            Plan::Send(request) => {
                let sent = request.argv();
                let outcome = self.store.call(&sent).await;
                let wrote = Kind::of(&sent) != Kind::Read;
                (self.finish(&request, outcome).await, wrote)
            }
        };
        let (reply, outage) = ended;
        let seq = self.position_after(wrote);
        (reply, Beside { seq, outage })
    }

    async fn run_pipeline(
        &self,
        caller: &Caller,
        commands: &rest::Batch<'_>,
        each: Each<'_>,
    ) -> Seq {
        let argvs: Vec<_> = commands.iter().collect();
        let plans: Vec<Plan<'_>> = argvs
            .iter()
            .map(|argv| self.plan(caller, argv, false))
            .collect();
        let (batch, wrote) = gathered(&plans);
        let mut outcomes = self.store.pipeline(&batch).await.into_iter();
        drop(batch);
        for plan in &plans {
            let reply = match plan {
                Plan::Here(reply) => reply.clone(),
                Plan::Send(request) => {
                    let outcome = outcomes.next().unwrap_or_else(|| Err(failure::missing()));
                    self.finish(request, outcome).await.0
                }
            };
            if each(&reply).is_none() {
                break;
            }
        }
        self.position_after(wrote)
    }

    async fn run_transaction(
        &self,
        caller: &Caller,
        commands: &rest::Batch<'_>,
        each: Each<'_>,
    ) -> (Result<(), Reply>, Beside) {
        let argvs: Vec<_> = commands.iter().collect();
        let mut plans = Vec::with_capacity(argvs.len());
        for argv in &argvs {
            let plan = self.plan(caller, argv, false);
            let plan = plan::within_unit(plan);
            if let Plan::Here(refusal @ Reply::Error(_)) = plan {
                return (Err(refusal), self.position_after(false).into());
            }
            plans.push(plan);
        }
        let (batch, wrote) = gathered(&plans);
        let outcomes = self.store.transaction(&batch).await;
        drop(batch);
        let seq = self.position_after(wrote);
        let mut outcomes = match outcomes {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                let requests = plans.iter().filter_map(Plan::request);
                let (refusal, outage) = failure::told_of_unit(error, requests);
                return (Err(refusal), Beside { seq, outage });
            }
        };
        for plan in &plans {
            let reply = match plan {
                Plan::Here(reply) => reply.clone(),
                Plan::Send(request) => {
                    let outcome = outcomes.next().unwrap_or_else(|| Err(failure::missing()));
                    self.finish(request, outcome).await.0
                }
            };
            if each(&reply).is_none() {
                break;
            }
        }
        (Ok(()), seq.into())
    }

    async fn listen(
        &self,
        caller: &Caller,
        topic: Topic,
        names: &[&[u8]],
    ) -> Result<Subscribed, Refusal> {
        let Some(_) = caller.rights else {
            return Err(Reply::error("NOAUTH Authentication required.").into());
        };
        match self.store.subscribe(topic, names).await {
            Ok(subscription) => Ok(feed::subscribed(subscription, names)),
            Err(error) => {
                let (reply, outage) = failure::told(error, &[]);
                Err(Refusal { reply, outage })
            }
        }
    }
}

/// What of the plans is sent, and whether any of it may write.
fn gathered(plans: &[Plan<'_>]) -> (Batch, bool) {
    let mut batch = Batch::new();
    let mut wrote = false;
    for plan in plans {
        if let Plan::Send(request) = plan {
            let argv = request.argv();
            wrote |= Kind::of(&argv) != Kind::Read;
            batch.push(&argv);
        }
    }
    (batch, wrote)
}

impl Commands for OverStore {
    type Caller = Caller;

    fn caller(&self, _: String) -> Caller {
        Caller::default()
    }

    fn authenticate(&self, caller: &mut Caller, token: &[u8]) -> Option<u64> {
        caller.rights = self.tokens.rights(token);
        caller.rights.map(|_| 0)
    }

    fn revision(&self, _: &Caller) -> u64 {
        0
    }

    fn position(&self, caller: &Caller) -> Option<Seq> {
        caller.rights.map(|_| self.position_after(false))
    }

    fn subscribe<'a>(
        &'a self,
        caller: &'a mut Caller,
        _: &'a [u8],
        topic: Topic,
        names: &'a [&'a [u8]],
    ) -> Answer<'a, Result<Subscribed, Refusal>> {
        Answer::later(self.listen(caller, topic, names))
    }

    fn monitor(&self, _: &Caller, _: &[u8]) -> Result<Box<dyn Feed>, Refusal> {
        let text = "ERR MONITOR shows the commands of the embedded engine only";
        Err(Reply::error(text).into())
    }

    fn call<'a>(
        &'a self,
        caller: &'a mut Caller,
        argv: &'a [&'a [u8]],
        _: Option<RequestId>,
        _: Room<'a>,
    ) -> Answer<'a, (Reply, Beside)> {
        Answer::later(self.run(caller, argv))
    }

    fn pipeline<'a>(
        &'a self,
        caller: &'a mut Caller,
        commands: &'a rest::Batch<'a>,
        _: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)> {
        Answer::later(async move {
            let seq = self.run_pipeline(caller, commands, each).await;
            (Ok(()), seq.into())
        })
    }

    fn transaction<'a>(
        &'a self,
        caller: &'a mut Caller,
        commands: &'a rest::Batch<'a>,
        _: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)> {
        Answer::later(self.run_transaction(caller, commands, each))
    }

    fn readiness<'a>(&'a self, timing: &'a Timing) -> Answer<'a, Readiness> {
        Answer::later(self.pulse.readiness(&self.store, timing))
    }

    fn metrics<'a>(
        &'a self,
        _: &'a mut Caller,
        page: &'a mut Page,
    ) -> Answer<'a, Result<(), Reply>> {
        state::metrics(&self.store, page);
        Answer::Ready(Ok(()))
    }

    fn now_millis(&self) -> u64 {
        self.store.now() / 1000
    }
}
