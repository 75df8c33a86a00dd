//! The bus over the engine, with time as the test has it, and over real servers.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod engine;
mod form;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sangam_store::{Commands, Error, Reply, Store};

use super::{Bus, Change, Changes, Coherence, Listener};

pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// What an instance was told.
#[derive(Debug, Default)]
struct Told {
    keys: Mutex<Vec<String>>,
    lost: AtomicUsize,
}

impl Listener for Told {
    fn changed(&self, changes: &Changes) {
        assert_eq!(&*changes.cache, "test");
        let shown = changes.changes.iter().map(|change| match change {
            Change::Key(key) => key.to_string(),
            Change::Tag(tag) => format!("#{}", tag.0),
        });
        self.keys.lock().extend(shown);
    }

    fn lost(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
    }
}

impl Told {
    /// What came since the last call, in order.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.keys.lock())
    }

    /// Whether words were lost since the last call.
    fn lost(&self) -> bool {
        let lost = self.lost.swap(0, Ordering::SeqCst);
        assert!(lost <= 1, "told {lost} times");
        lost == 1
    }
}

/// One of the instances over a store.
struct Instance {
    bus: Bus,
    told: Arc<Told>,
    store: Store,
}

impl Instance {
    fn new(store: &Store, coherence: Coherence) -> Self {
        let told = Arc::new(Told::default());
        let listener: Arc<dyn Listener> = told.clone();
        let listener = Arc::downgrade(&listener);
        let bus = Bus::new(store.clone(), "", coherence, HEARTBEAT, listener);
        Instance {
            bus,
            told,
            store: store.clone(),
        }
    }

    /// One that has compared once.
    async fn ready(store: &Store, coherence: Coherence) -> Self {
        let instance = Instance::new(store, coherence);
        instance.bus.verify().await.unwrap();
        assert!(instance.told.lost());
        instance
    }

    async fn say(&self, keys: &[&str]) -> Vec<Result<Reply, Error>> {
        let mut commands = Commands::new();
        self.bus.say(&mut commands, &keys_changed(keys));
        self.store.pipeline(&commands).await
    }

    /// Compares; what it was told.
    async fn hears(&self) -> Vec<String> {
        self.bus.verify().await.unwrap();
        self.told.take()
    }
}

fn keys_changed(keys: &[&str]) -> Changes {
    Changes {
        cache: "test".into(),
        changes: keys.iter().map(|key| Change::Key((*key).into())).collect(),
    }
}
