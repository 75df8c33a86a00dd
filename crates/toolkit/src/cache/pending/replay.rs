//! Sending what waits, when the store answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sangam_store::{AtomicOp, Commands, Error, Reply, State, Status, Ttl};

use super::super::bus::{Change, Changes};
use super::super::gate::Pass;
use super::super::op::Replay;
use super::super::settings::{Compression, Encoding};
use super::super::tags;
use super::super::value::{Envelope, Kind, Stamp};
use super::queue::{Refused, Sending, What};
use super::{Inner, PendingCache, Unsent, passes};
use crate::background::Background;

/// Shortest and longest pause after something failed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How much is sent at once.
const TOGETHER: usize = 100;
const BYTES: usize = 4 << 20;

/// The one task that sends; another may begin when it is dropped.
struct Only(Option<Arc<Inner>>);

impl Drop for Only {
    fn drop(&mut self) {
        if let Some(inner) = &self.0 {
            inner.queue.lock().is_sent = false;
        }
    }
}

/// Starts to send, where something waits and nobody does.
pub(super) fn start(inner: &Arc<Inner>, tasks: &Background) {
    {
        let mut queue = inner.queue.lock();
        if queue.is_sent || queue.len() == 0 {
            return;
        }
        queue.is_sent = true;
    }
    let only = Only(Some(inner.clone()));
    tasks.start(run(only, inner.clone()));
}

async fn run(mut only: Only, inner: Arc<Inner>) {
    let mut states = inner.store.states();
    let answers = |state: &State| matches!(state.status, Status::Up | Status::Slow);
    let mut pause = PAUSE.0;
    loop {
        if states.wait_for(answers).await.is_err() {
            return;
        }
        let batch = {
            let mut queue = inner.queue.lock();
            let batch = queue.batch(TOGETHER, BYTES);
            if batch.is_empty() {
                queue.is_sent = false;
                // Whoever comes from here on starts another.
                only.0 = None;
                return;
            }
            batch
        };
        match inner.replay(batch).await {
            Taken::All => pause = PAUSE.0,
            Taken::Some => {
                pause = PAUSE.0;
                tokio::time::sleep(pause).await;
            }
            Taken::None => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// How much of a batch the store took.
enum Taken {
    All,
    Some,
    None,
}

/// What is sent for one change.
enum Step {
    Replay {
        key: Vec<u8>,
        stamp: Stamp,
        value: Vec<u8>,
        ttl: Ttl,
    },
    Plain(Vec<Vec<u8>>),
}

impl Inner {
    /// Sends a batch and says so.
    async fn replay(&self, batch: Vec<Sending>) -> Taken {
        let count = batch.len();
        let (batch, _passes) = self.admitted(batch);
        let all_admitted = batch.len() == count;
        let now_ms = self.store.now() / 1000;
        let steps: Vec<Result<Step, Error>> = batch.iter().map(|one| step(one, now_ms)).collect();
        let outcomes = self.send(&steps).await;
        let (mut applied, mut all) = (Vec::new(), all_admitted);
        for (one, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => applied.push(one),
                Err(error) => {
                    all = false;
                    self.failed(&one, &error);
                }
            }
        }
        let said = self.say(&applied).await;
        match &said {
            Ok(()) => {
                let count = applied.len() as u64;
                self.replayed.fetch_add(count, Ordering::Relaxed);
                self.change(|queue| applied.iter().for_each(|one| queue.sent(one)));
            }
            Err(error) => applied.iter().for_each(|one| self.failed(one, error)),
        }
        match said {
            Ok(()) if all => Taken::All,
            Ok(()) if !applied.is_empty() => Taken::Some,
            _ => Taken::None,
        }
    }

    /// What may be sent now, and no write of it begins meanwhile. A replay in the form of
    /// other apps compares nothing: where a write is under way it would come after it.
    fn admitted(&self, batch: Vec<Sending>) -> (Vec<Sending>, Vec<Pass>) {
        let mut passes = Vec::new();
        let admit = |one: &Sending| {
            let What::Key(key, _) = &one.what else {
                return true;
            };
            if !one.cache.shared {
                return true;
            }
            let Some(pass) = self.gate.fill(vec![one.cache.keys.value(key)]) else {
                return false;
            };
            passes.push(pass);
            // A write that ended before has taken its place.
            self.queue.lock().waits(one)
        };
        let batch = batch.into_iter().filter(admit).collect();
        (batch, passes)
    }

    async fn send(&self, steps: &[Result<Step, Error>]) -> Vec<Result<(), Error>> {
        let mut outcomes = Vec::with_capacity(steps.len());
        if self.store.is_embedded() {
            for step in steps {
                outcomes.push(match step {
                    Ok(step) => self.send_one(step).await,
                    Err(error) => Err(error.clone()),
                });
            }
            return outcomes;
        }
        let mut commands = Commands::new();
        for step in steps.iter().flatten() {
            step.push(&mut commands);
        }
        let mut replies = self.store.pipeline(&commands).await.into_iter();
        for step in steps {
            outcomes.push(match step {
                Ok(step) => replies
                    .next()
                    .unwrap_or_else(missing)
                    .and_then(|it| step.read(it)),
                Err(error) => Err(error.clone()),
            });
        }
        outcomes
    }

    async fn send_one(&self, step: &Step) -> Result<(), Error> {
        match step.op() {
            Ok(op) => self.store.atomic(&op).await.map(drop),
            Err(argv) => {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                self.store.call(&argv).await.map(drop)
            }
        }
    }

    /// Tells this process and the others. This one may have learned a version, or kept
    /// a value, that is another one by now.
    async fn say(&self, applied: &[Sending]) -> Result<(), Error> {
        let mut by_cache: BTreeMap<&str, Vec<Change>> = BTreeMap::new();
        for one in applied {
            let changes = by_cache.entry(&one.cache.name).or_default();
            changes.push(one.change());
        }
        let mut commands = Commands::new();
        for (cache, changes) in by_cache {
            let cache = cache.into();
            let changes = Changes { cache, changes };
            self.bus.tell_here(&changes);
            self.bus.say(&mut commands, &changes);
        }
        let replies = self.store.pipeline(&commands).await;
        replies.into_iter().try_for_each(|reply| reply.map(drop))
    }

    /// One was not taken: what another time may heal waits for that.
    fn failed(&self, one: &Sending, error: &Error) {
        if passes(error) {
            self.change(|queue| queue.later(one));
            return;
        }
        let (cache, change) = (&one.cache.name, one.change());
        match self.change(|queue| queue.refused(one)) {
            Refused::Waits => {}
            Refused::Deletes => {
                tracing::warn!(%cache, ?change, "the store refuses a value, which is deleted: {error}");
            }
            Refused::Dropped => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%cache, ?change, "the store refuses a change, which is dropped: {error}");
            }
        }
    }
}

impl Step {
    /// The step as an atomic one, or as a plain command.
    fn op(&self) -> Result<Replay<'_>, &[Vec<u8>]> {
        match self {
            Step::Replay {
                key,
                stamp,
                value,
                ttl,
            } => Ok(Replay {
                key,
                stamp: *stamp,
                value,
                ttl: *ttl,
            }),
            Step::Plain(argv) => Err(argv),
        }
    }

    fn push(&self, commands: &mut Commands) {
        match self.op() {
            Ok(op) => {
                let args = op.args();
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                commands.push_script(op.script(), &op.keys(), &args);
            }
            Err(argv) => {
                let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                commands.push(&argv);
            }
        }
    }

    fn read(&self, reply: Reply) -> Result<(), Error> {
        match self.op() {
            Ok(op) => op.read(reply).map(drop),
            Err(_) => Ok(()),
        }
    }
}

fn step(one: &Sending, now_ms: u64) -> Result<Step, Error> {
    let cache = &*one.cache;
    let (key, unsent) = match &one.what {
        What::Key(key, unsent) => (cache.keys.value(key), &**unsent),
        What::Tag(tag) => return version(cache, cache.keys.tag(*tag)),
    };
    Ok(match unsent {
        Unsent::Value {
            stamp,
            bytes,
            ends_ms,
        } if *ends_ms > now_ms => {
            let left = ends_ms - now_ms;
            if cache.shared {
                Step::Plain(set(key, bytes.clone(), left))
            } else {
                Step::Replay {
                    key,
                    stamp: *stamp,
                    value: bytes.clone(),
                    ttl: Ttl::In(Duration::from_millis(left.max(cache.deleted_ms))),
                }
            }
        }
        Unsent::Value { .. } | Unsent::Deleted { .. } if cache.shared => Step::Plain(delete(key)),
        Unsent::Value { stamp, .. } | Unsent::Deleted { stamp } => Step::Replay {
            key,
            stamp: *stamp,
            value: deleted(*stamp, now_ms + cache.deleted_ms),
            ttl: Ttl::In(Duration::from_millis(cache.deleted_ms)),
        },
    })
}

fn version(cache: &PendingCache, key: Vec<u8>) -> Result<Step, Error> {
    let version = tags::make()?.to_string();
    Ok(Step::Plain(set(key, version.into_bytes(), cache.tag_ms)))
}

fn set(key: Vec<u8>, value: Vec<u8>, millis: u64) -> Vec<Vec<u8>> {
    let millis = millis.max(1).to_string().into_bytes();
    vec![b"SET".into(), key, value, b"PX".into(), millis]
}

fn delete(key: Vec<u8>) -> Vec<Vec<u8>> {
    vec![b"DEL".into(), key]
}

/// The mark of a deleted value.
fn deleted(stamp: Stamp, ends_ms: u64) -> Vec<u8> {
    let envelope = Envelope {
        kind: Kind::Deleted,
        stamp,
        schema: 0,
        fresh_until_ms: ends_ms,
        ends_ms,
        tags: &[],
        validator: None,
        encoding: Encoding::Json,
        body: &[],
    };
    envelope.write(Compression {
        method: None,
        from: 0,
    })
}

fn missing() -> Result<Reply, Error> {
    Err(Error::Reply(
        "a reply to each command was expected".to_owned(),
    ))
}
