//! What waits, and what becomes of it over the engine and over servers that go away.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod engine;
mod queue;
mod server;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sangam_rig::wait::until;
use sangam_store::Store;

use super::super::bus::{Bus, Change, Changes, Coherence, Listener};
use super::super::key::{Keys, TagId};
use super::super::settings::{Compression, Encoding};
use super::super::value::{self, Envelope, Kind, Stamp};
use super::{Pending, PendingCache, Unsent};

const DELETED_MS: u64 = 60_000;
const TAG_MS: u64 = 7_200_000;
const TAG: TagId = TagId(7);

fn cache(name: &str, shared: Option<&str>) -> Arc<PendingCache> {
    Arc::new(PendingCache {
        name: name.into(),
        keys: Keys::new("", name, shared),
        deleted_ms: DELETED_MS,
        tag_ms: TAG_MS,
        shared: shared.is_some(),
    })
}

const fn stamp(time_us: u64) -> Stamp {
    Stamp { time_us, writer: 1 }
}

/// A value as the store has it.
fn sealed(stamp: Stamp, text: &str, ends_ms: u64) -> Vec<u8> {
    let envelope = Envelope {
        kind: Kind::Value,
        stamp,
        schema: 0,
        fresh_until_ms: ends_ms,
        ends_ms,
        tags: &[],
        validator: None,
        encoding: Encoding::Json,
        body: text.as_bytes(),
    };
    envelope.write(Compression::default())
}

fn written(time_us: u64, text: &str, ends_ms: u64) -> Unsent {
    let stamp = stamp(time_us);
    Unsent::Value {
        stamp,
        bytes: sealed(stamp, text, ends_ms),
        ends_ms,
    }
}

const fn deleted(time_us: u64) -> Unsent {
    Unsent::Deleted {
        stamp: stamp(time_us),
    }
}

/// What an instance was told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Listener for Told {
    fn changed(&self, changes: &Changes) {
        let shown = changes.changes.iter().map(|change| match change {
            Change::Key(key) => format!("{} {key}", changes.cache),
            Change::Tag(tag) => format!("{} #{}", changes.cache, tag.0),
        });
        self.0.lock().extend(shown);
    }

    fn lost(&self) {}
}

impl Told {
    fn take(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.0.lock());
        told.sort();
        told
    }
}

/// An instance over a store.
struct Instance {
    store: Store,
    bus: Arc<Bus>,
    told: Arc<Told>,
    pending: Pending,
}

impl Instance {
    fn new(store: &Store) -> Self {
        let told = Arc::new(Told::default());
        let listener: Arc<dyn Listener> = told.clone();
        let bus = Bus::new(
            store.clone(),
            "",
            Coherence::Poll,
            Duration::from_secs(10),
            Arc::downgrade(&listener),
        );
        let bus = Arc::new(bus);
        Instance {
            pending: Pending::new(store.clone(), bus.clone()),
            store: store.clone(),
            bus,
            told,
        }
    }

    /// One that hears from here on.
    async fn ready(store: &Store) -> Self {
        let instance = Instance::new(store);
        instance.bus.verify().await.unwrap();
        instance
    }

    async fn hears(&self) -> Vec<String> {
        self.bus.verify().await.unwrap();
        self.told.take()
    }

    async fn until_sent(&self) {
        until("all to be sent", async || match self.pending.len() {
            0 => Ok(()),
            left => Err(format!("{left} wait")),
        })
        .await;
    }

    /// The kind and the text of what a key has.
    async fn reads(&self, key: &[u8]) -> Option<(Kind, String)> {
        let bytes = self.store.get(key).await.unwrap()?;
        let read = value::read(bytes, 1 << 20).unwrap();
        Some((read.kind, String::from_utf8(read.body).unwrap()))
    }
}
