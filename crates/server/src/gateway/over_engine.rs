//! The engine in the same process, behind the gateway.
//!
//! A command answers without suspending wherever the lock is free; nothing is
//! allocated for it then.

mod pipeline;

use std::task::{Context, Poll};
use std::time::Duration;

use sangam_engine::journal::Health;
use sangam_engine::keyspace::Busy;
use sangam_engine::keyspace::requests::{Request, RequestId};
use sangam_engine::mailbox::Post;
use sangam_engine::pubsub::Topic;
use sangam_engine::session::{Dialect, Role, Session};
use sangam_engine::{Batch, Engine, Reply, Seq};
use sangam_wire::{Argv, rest};

use super::commands::{
    Answer, Beside, Commands, Degraded, Each, Feed, Readiness, Refusal, Room, Subscribed, Told,
};
use super::metrics::Page;
use crate::config::Timing;
use pipeline::Pipeline;

/// Longest wait of `/metrics` for a keyspace's lock: it goes without its numbers
/// then.
const METRICS_PATIENCE: Duration = Duration::from_millis(50);

/// An engine, and whose rules hold over REST.
#[derive(Debug)]
pub struct OverEngine {
    engine: Engine,
    dialect: Dialect,
}

impl OverEngine {
    /// Before `engine`; `strict` refuses what Upstash refuses.
    pub fn new(engine: Engine, strict: bool) -> Self {
        OverEngine {
            engine,
            dialect: if strict {
                Dialect::StrictUpstash
            } else {
                Dialect::Upstash
            },
        }
    }

    fn session(&self, remote: String) -> Session {
        let mut session = self.engine.rest_session_from(remote);
        session.dialect = self.dialect;
        session
    }
}

impl Commands for OverEngine {
    type Caller = Session;

    fn honours_ids(&self) -> bool {
        true
    }

    fn caller(&self, remote: String) -> Session {
        self.session(remote)
    }

    fn authenticate(&self, session: &mut Session, token: &[u8]) -> Option<u64> {
        session.set_principal(None);
        let mut principal = self.engine.authenticate(token)?;
        let revision = principal.role.revision();
        if revision > 0 {
            // A change between the two must not pass for known.
            principal = self.engine.authenticate(token)?;
        }
        session.set_principal(Some(principal));
        Some(revision)
    }

    fn revision(&self, session: &Session) -> u64 {
        revision(session)
    }

    fn position(&self, session: &Session) -> Option<Seq> {
        session.keyspace().map(|keyspace| keyspace.last_seq())
    }

    fn subscribe<'a>(
        &'a self,
        caller: &'a mut Session,
        token: &'a [u8],
        topic: Topic,
        names: &'a [&'a [u8]],
    ) -> Answer<'a, Result<Subscribed, Refusal>> {
        let word: &[u8] = match topic {
            Topic::Channel => b"subscribe",
            Topic::Pattern => b"psubscribe",
        };
        let request: Vec<&[u8]> = [word].into_iter().chain(names.iter().copied()).collect();
        let mut listener = match Listener::new(self, caller, token, &request) {
            Ok(listener) => listener,
            Err(refusal) => return Answer::Ready(Err(refusal)),
        };
        let session = &mut listener.session;
        let counts = names
            .iter()
            .map(|name| session.subscribe(topic, name))
            .collect();
        Answer::Ready(Ok(Subscribed {
            counts,
            feed: Box::new(listener),
        }))
    }

    fn monitor(&self, caller: &Session, token: &[u8]) -> Result<Box<dyn Feed>, Refusal> {
        let mut listener = Listener::new(self, caller, token, &[b"monitor"])?;
        match listener.session.monitor() {
            Ok(()) => Ok(Box::new(listener)),
            Err(refusal) => Err(Reply::from(refusal).into()),
        }
    }

    fn call<'a>(
        &'a self,
        session: &'a mut Session,
        argv: &'a [&'a [u8]],
        id: Option<RequestId>,
        room: Room<'a>,
    ) -> Answer<'a, (Reply, Beside)> {
        let once = id.map(|id| Request::command(id, argv).at(0));
        let mut fits = |reply: &Reply| (room.fits)(reply);
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((no_principal(), Beside::default()));
        };
        let held = self.engine.paused(session, argv).is_some();
        if !held && let Some(mut batch) = self.engine.try_batch(&keyspace) {
            let reply = batch.run_once(session, argv, once.as_ref(), room.bytes, &mut fits);
            let done = Done::of(&batch);
            drop(batch);
            if !self.engine.must_wait(done.seq) {
                return Answer::Ready((reply, done.seq.into()));
            }
            return Answer::later(async move {
                let reply = done.settle(&self.engine).await.err().unwrap_or(reply);
                (reply, done.seq.into())
            });
        }
        if !held && let Some(reply) = self.engine.call_unlocked(session, argv) {
            return Answer::Ready((reply, keyspace.last_seq().into()));
        }
        Answer::later(async move {
            until_resumed(&self.engine, session, argv).await;
            let (reply, done) = match self.engine.batch(&keyspace).await {
                Ok(mut batch) => {
                    let reply = batch.run_once(session, argv, once.as_ref(), room.bytes, &mut fits);
                    (reply, Done::of(&batch))
                }
                Err(Busy) => return (Engine::busy_reply(&keyspace), keyspace.last_seq().into()),
            };
            let reply = done.settle(&self.engine).await.err().unwrap_or(reply);
            (reply, done.seq.into())
        })
    }

    fn pipeline<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        id: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            let _ = commands.iter().all(|_| each(&no_principal()).is_some());
            return Answer::Ready((Ok(()), Beside::default()));
        };
        let mut work = Pipeline::new(commands, id);
        let mut done = Done {
            seq: keyspace.last_seq(),
            wrote: false,
        };
        if let Some(batch) = self.engine.try_batch(&keyspace) {
            done = work.turn(&self.engine, batch, session, each);
        }
        if work.is_over() && !self.engine.must_wait(done.seq) {
            return Answer::Ready((work.outcome(), done.seq.into()));
        }
        Answer::later(async move {
            work.finish(&self.engine, session, keyspace, each, &mut done)
                .await;
            let settled = done.settle(&self.engine).await;
            (settled.and(work.outcome()), done.seq.into())
        })
    }

    fn transaction<'a>(
        &'a self,
        session: &'a mut Session,
        commands: &'a rest::Batch<'a>,
        id: Option<RequestId>,
        each: Each<'a>,
    ) -> Answer<'a, (Result<(), Reply>, Beside)> {
        let Some(keyspace) = session.keyspace().cloned() else {
            return Answer::Ready((Err(no_principal()), Beside::default()));
        };
        let unit: Vec<Vec<&[u8]>> = commands.iter().map(Argv::into_vec).collect();
        let request = id.map(|id| Request::transaction(id, &unit));
        let held = unit
            .iter()
            .any(|argv| self.engine.paused(session, argv).is_some());
        if !held && let Some(mut batch) = self.engine.try_batch(&keyspace) {
            let each = &mut |reply: &Reply| each(reply).is_some();
            let outcome = batch.transaction_once(session, &unit, request.as_ref(), each);
            let done = Done::of(&batch);
            drop(batch);
            if !self.engine.must_wait(done.seq) {
                return Answer::Ready((outcome, done.seq.into()));
            }
            return Answer::later(async move {
                (
                    done.settle(&self.engine).await.and(outcome),
                    done.seq.into(),
                )
            });
        }
        Answer::later(async move {
            for argv in &unit {
                until_resumed(&self.engine, session, argv).await;
            }
            let (outcome, done) = match self.engine.batch(&keyspace).await {
                Ok(mut batch) => {
                    let each = &mut |reply: &Reply| each(reply).is_some();
                    let outcome = batch.transaction_once(session, &unit, request.as_ref(), each);
                    (outcome, Done::of(&batch))
                }
                Err(Busy) => {
                    return (
                        Err(Engine::busy_reply(&keyspace)),
                        keyspace.last_seq().into(),
                    );
                }
            };
            (
                done.settle(&self.engine).await.and(outcome),
                done.seq.into(),
            )
        })
    }

    fn readiness<'a>(&'a self, timing: &'a Timing) -> Answer<'a, Readiness> {
        let keyspaces = self.engine.keyspaces();
        let told = |redis| Readiness {
            redis: Some(redis),
            degraded: degraded(&self.engine),
            store: None,
        };
        if keyspaces
            .iter()
            .all(|keyspace| self.engine.try_batch(keyspace).is_some())
        {
            return Answer::Ready(told(true));
        }
        Answer::later(async move {
            let locks = async {
                for keyspace in &keyspaces {
                    if self.engine.batch(keyspace).await.is_err() {
                        return false;
                    }
                }
                true
            };
            let redis = tokio::time::timeout(timing.readiness, locks).await;
            told(redis.unwrap_or(false))
        })
    }

    fn metrics<'a>(
        &'a self,
        session: &'a mut Session,
        page: &'a mut Page,
    ) -> Answer<'a, Result<(), Reply>> {
        let plain = session
            .principal()
            .is_some_and(|it| matches!(it.role, Role::Full | Role::ReadOnly));
        if !plain && let Some(refusal) = self.engine.refuse(session, &[b"info"]) {
            return Answer::Ready(Err(refusal));
        }
        Answer::later(async move {
            page.gauge(
                "sangam_resp_connections",
                "Connections over RESP.",
                &[],
                self.engine.clients().len() as f64,
            );
            page.gauge(
                "sangam_writes_refused",
                "1 while reads go on and writes are refused.",
                &[],
                u8::from(degraded(&self.engine).is_some()),
            );
            for keyspace in self.engine.keyspaces() {
                let wait = tokio::time::timeout(METRICS_PATIENCE, self.engine.batch(&keyspace));
                let Ok(Ok(batch)) = wait.await else {
                    continue;
                };
                let (keys, memory) = (batch.db().len(), batch.db().used_memory());
                let commands = batch.commands_run();
                drop(batch);
                let labels = [("keyspace", &*keyspace.name)];
                page.gauge("sangam_keys", "Keys.", &labels, keys as f64);
                let help = "Bytes of keys and values.";
                page.gauge("sangam_memory_bytes", help, &labels, memory as f64);
                page.counter("sangam_commands_total", "Commands run.", &labels, commands);
            }
            Ok(())
        })
    }

    fn now_millis(&self) -> u64 {
        self.engine.now_micros() / 1000
    }
}

/// Why writes are refused while reads go on, if so.
fn degraded(engine: &Engine) -> Option<Degraded> {
    let reason = match engine.journal()?.health() {
        Health::Good => return None,
        Health::Full => "the disk is full: writes are refused".to_owned(),
        Health::Poisoned(reason) => format!("the journal failed: writes are refused: {reason}"),
    };
    Some(Degraded {
        reason,
        since_ms: None,
    })
}

/// How often the user behind the session has changed.
fn revision(session: &Session) -> u64 {
    let principal = session.principal();
    principal.map_or(0, |principal| principal.role.revision())
}

/// The session of a stream.
struct Listener {
    session: Session,
    engine: Engine,
    dialect: Dialect,
    token: Vec<u8>,
    /// What was asked for; asked again when the user's rules have changed since.
    request: Vec<Vec<u8>>,
    revision: u64,
}

impl Listener {
    /// A session like the caller's, which may make the request.
    fn new(
        door: &OverEngine,
        caller: &Session,
        token: &[u8],
        request: &[&[u8]],
    ) -> Result<Self, Refusal> {
        let mut session = door.session(caller.client().addr.clone());
        session.set_principal(caller.principal().cloned());
        if let Some(refusal) = door.engine.refuse(&session, request) {
            return Err(refusal.into());
        }
        Ok(Listener {
            revision: revision(&session),
            session,
            engine: door.engine.clone(),
            dialect: door.dialect,
            token: token.to_vec(),
            request: request.iter().map(|arg| arg.to_vec()).collect(),
        })
    }

    /// Whether the token opens the door and may request this.
    fn is_warranted(&self) -> bool {
        let Some(principal) = self.engine.authenticate(&self.token) else {
            return false;
        };
        let mut session = self.engine.rest_session();
        session.dialect = self.dialect;
        session.set_principal(Some(principal));
        let request: Vec<&[u8]> = self.request.iter().map(Vec::as_slice).collect();
        self.engine.refuse(&session, &request).is_none()
    }
}

impl Feed for Listener {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Told>> {
        loop {
            let told = match self.session.client().mailbox.poll_next(context) {
                Poll::Ready(Some(Post::Message(message))) => Told::Message(message),
                Poll::Ready(Some(Post::Line(line))) => Told::Line(line),
                // For clients that cache; there are none here.
                Poll::Ready(Some(_)) => continue,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            };
            return Poll::Ready(Some(told));
        }
    }

    fn is_permitted(&mut self) -> bool {
        let revision = revision(&self.session);
        if revision == self.revision {
            return true;
        }
        self.revision = revision;
        self.is_warranted()
    }
}

/// What ran under a lock that was given back.
#[derive(Clone, Copy)]
struct Done {
    seq: Seq,
    wrote: bool,
}

impl Done {
    fn of(batch: &Batch<'_>) -> Self {
        Done {
            seq: batch.seq(),
            wrote: batch.wrote(),
        }
    }

    /// Waits until it is as durable as the policy wants; the error takes the
    /// place of its replies.
    async fn settle(self, engine: &Engine) -> Result<(), Reply> {
        if engine.must_wait(self.seq) && engine.durable(self.seq).await.is_err() && self.wrote {
            return Err(engine.lost_reply());
        }
        Ok(())
    }
}

/// Waits until a command is not paused.
async fn until_resumed(engine: &Engine, session: &Session, argv: &[&[u8]]) {
    while let Some(wait) = engine.paused(session, argv) {
        tokio::time::sleep(wait).await;
    }
}

/// For a caller that asks without having authenticated; the gateway does not.
fn no_principal() -> Reply {
    Reply::error("NOAUTH Authentication required.")
}
