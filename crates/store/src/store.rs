//! The facade: what callers do, over whichever back end there is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sangam_engine::clock::{Clock as _, SystemClock};
use sangam_engine::journal::JournalOptions;
use sangam_engine::journal::storage::DiskStorage;
use sangam_engine::{Engine, Reply};
use tokio::sync::watch;

use crate::backend::redis::cluster::slot::slot_of;
use crate::backend::{Embedded, Remote};
use crate::commands::{Argv, By, Commands, as_script};
use crate::data::DataFolder;
use crate::error::{Error, Why};
use crate::op::AtomicOp;
use crate::options::Options;
use crate::resilience::{Guarded, Metrics, State, Status};
use crate::script::{self, Script};
use crate::subscribe::{Hub, Subscription};
use crate::target::{Scheme, Target};
use crate::{Topic, backend};

/// Longest and shortest pause of the timer of an engine that no server drives.
const TICK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// A store; see the crate. Cloning it costs a reference count, and all clones
/// share connections. Every method is cancellation-safe: a call that is dropped
/// may have been applied, and no other call gets its reply.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// Whose rules a store's commands follow, where stores differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Redis', with all that the engine knows besides.
    Embedded,
    /// Redis' or Valkey's, whichever version that is.
    Redis,
    /// Upstash's REST API: the service's, or Sangam's gateway.
    Upstash,
}

struct Inner {
    backend: Backend,
    place: String,
    /// The data folder of an engine that this store opened.
    folder: Option<DataFolder>,
}

enum Backend {
    Embedded(Embedded),
    Remote { guarded: Arc<Guarded>, hub: Hub },
    Disabled(watch::Sender<State>),
}

impl Store {
    /// The store that the environment names ([`Target::from_env`]). The embedded
    /// one keeps its data in the folder `SANGAM_DATA`, and in memory where that is
    /// not set, or `memory`.
    pub async fn from_env() -> Result<Self, Error> {
        let target = Target::from_env()?;
        let folder = std::env::var("SANGAM_DATA").ok();
        let folder = folder.filter(|it| !it.is_empty() && it != "memory");
        match (target.scheme(), folder) {
            (Scheme::Embedded, Some(folder)) => Store::open(Path::new(&folder)).await,
            _ => Store::connect(&target, Options::default()).await,
        }
    }

    /// The store at `target`. A store over a network that cannot be reached is
    /// `down`, and found when it comes back; what does not heal by itself, such as
    /// a wrong token, is an error that names the setting.
    pub async fn connect(target: &Target, options: Options) -> Result<Self, Error> {
        match target.scheme() {
            Scheme::Embedded => Ok(Store::memory()),
            Scheme::Disabled => Ok(Store::disabled()),
            Scheme::Redis | Scheme::Rest => {
                let remote = backend::remote(target, &options)?;
                Store::over(remote, target.place(), options).await
            }
        }
    }

    async fn over(remote: Box<dyn Remote>, place: String, options: Options) -> Result<Self, Error> {
        let clock = Arc::new(SystemClock::default());
        let guarded = Guarded::new(remote, place.clone(), options, clock);
        guarded.greet().await?;
        let hub = Hub::default();
        Ok(Store::with(Backend::Remote { guarded, hub }, place))
    }

    /// An engine of its own, in memory, with a timer for what expires.
    pub fn memory() -> Self {
        Store::driven(Engine::default(), None)
    }

    /// An engine of its own with its journal in a data folder, which no other
    /// process may hold.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let folder =
                DataFolder::open(&path).map_err(|error| Error::Setting(error.to_string()))?;
            let failed = |error: &dyn std::fmt::Display| {
                let shown = folder.path().display();
                Error::Setting(format!("cannot open the data in {shown}: {error}"))
            };
            let storage =
                DiskStorage::open(&folder.engine_path()).map_err(|error| failed(&error))?;
            let options = sangam_engine::Options::default();
            let journal = JournalOptions::default();
            let (engine, _) = Engine::open(options, Arc::new(storage), journal, &mut |_, _| {})
                .map_err(|error| failed(&error))?;
            Ok((engine, folder))
        });
        match opened.await {
            Ok(Ok((engine, folder))) => Ok(Store::driven(engine, Some(folder))),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(Error::Setting(format!("cannot open the data: {error}"))),
        }
    }

    fn driven(engine: Engine, folder: Option<DataFolder>) -> Self {
        let embedded = Embedded::new(engine.clone(), engine.keyspace("default"));
        let store = Store(Arc::new(Inner {
            backend: Backend::Embedded(embedded),
            place: "embedded".to_owned(),
            folder,
        }));
        let alive = Arc::downgrade(&store.0);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                while alive.strong_count() > 0 {
                    let wait = Duration::from_millis(engine.tick());
                    tokio::time::sleep(wait.clamp(TICK.0, TICK.1)).await;
                }
            });
        }
        store
    }

    /// The keyspace `default` of an engine that somebody else drives.
    pub fn embedded(engine: Engine) -> Self {
        Store::embedded_in(engine, "default")
    }

    /// A keyspace of an engine that somebody else drives.
    pub fn embedded_in(engine: Engine, keyspace: &str) -> Self {
        let keyspace = engine.keyspace(keyspace);
        let embedded = Embedded::new(engine, keyspace);
        Store::with(Backend::Embedded(embedded), "embedded".to_owned())
    }

    /// No store, by choice: every call is [`Why::Disabled`].
    pub fn disabled() -> Self {
        let (state, _) = watch::channel(State {
            status: Status::Disabled,
            reason: "no store is configured".to_owned(),
            since_ms: 0,
        });
        Store::with(Backend::Disabled(state), "none".to_owned())
    }

    fn with(backend: Backend, place: String) -> Self {
        Store(Arc::new(Inner {
            backend,
            place,
            folder: None,
        }))
    }

    /// Runs one command.
    pub async fn call(&self, argv: &[&[u8]]) -> Result<Reply, Error> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.call(argv).await,
            Backend::Remote { guarded, .. } => Box::pin(guarded.call(argv)).await,
            Backend::Disabled(_) => Err(Error::Unavailable(Why::Disabled)),
        }
    }

    /// Runs commands one after the other, sent together; others may come in
    /// between, and each has an outcome of its own, in order.
    pub async fn pipeline(&self, commands: &Commands) -> Vec<Result<Reply, Error>> {
        let locks_keys = self.locks_keys();
        let mut outcomes = self
            .send_pipeline(&commands.with_scripts(By::Name, locks_keys))
            .await;
        for (at, script) in commands.scripts() {
            let unknown = |outcome: &&mut Result<Reply, Error>| matches!(outcome, Err(error) if error.is_unknown_script());
            if let Some(outcome) = outcomes.get_mut(*at).filter(unknown)
                && let Some(argv) = commands.get(*at)
            {
                *outcome = self
                    .call(&as_script(argv, script, By::Text, locks_keys))
                    .await;
            }
        }
        outcomes
    }

    async fn send_pipeline(&self, commands: &Commands) -> Vec<Result<Reply, Error>> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.pipeline(commands).await,
            Backend::Remote { guarded, .. } => Box::pin(guarded.pipeline(commands)).await,
            Backend::Disabled(_) => {
                vec![Err(Error::Unavailable(Why::Disabled)); commands.len()]
            }
        }
    }

    /// Runs commands as one atomic unit. An error found before it runs refuses all
    /// of it; an error of one command while it runs is that command's outcome, and
    /// the others count.
    pub async fn transaction(
        &self,
        commands: &Commands,
    ) -> Result<Vec<Result<Reply, Error>>, Error> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let spelled = commands.with_scripts(By::Text, self.locks_keys());
        let commands = &*spelled;
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.transaction(commands).await,
            Backend::Remote { guarded, .. } => Box::pin(guarded.transaction(commands)).await,
            Backend::Disabled(_) => Err(Error::Unavailable(Why::Disabled)),
        }
    }

    /// Runs a script: by its name where the store knows it, else with its text.
    pub async fn script(
        &self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Reply, Error> {
        let (text, sha1) = script.sent(self.locks_keys());
        let count = script::count(keys.len());
        let by_name = script::argv("EVALSHA", sha1, &count, keys, args);
        match self.call(&by_name).await {
            Err(error) if error.is_unknown_script() => {
                let by_text = script::argv("EVAL", text, &count, keys, args);
                self.call(&by_text).await
            }
            outcome => outcome,
        }
    }

    /// Runs an atomic step: as Rust on the engine of this process, as Lua
    /// elsewhere. An error of the step is [`Error::Command`] with the same text on
    /// every back end, and means that nothing was changed.
    pub async fn atomic<O: AtomicOp>(&self, op: &O) -> Result<O::Output, Error> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.atomic(op).await,
            Backend::Remote { .. } => {
                let (keys, args) = (op.keys(), op.args());
                let args: Argv<'_> = args.iter().map(Vec::as_slice).collect();
                let reply = Box::pin(self.script(op.script(), &keys, &args)).await;
                op.read(reply.map_err(Error::without_place)?)
            }
            Backend::Disabled(_) => Err(Error::Unavailable(Why::Disabled)),
        }
    }

    /// [`atomic`](Self::atomic) where nothing has to be waited for: on the engine of
    /// this process, while its lock is free and writes need not be on the disk before
    /// they are answered. `None` where that is not so, and nothing was done.
    pub fn atomic_now<O: AtomicOp>(&self, op: &O) -> Option<Result<O::Output, Error>> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.atomic_at_once(op),
            Backend::Remote { .. } | Backend::Disabled(_) => None,
        }
    }

    /// Listens to channels, or to all channels that match patterns; returns when
    /// the store has confirmed it.
    pub async fn subscribe(&self, topic: Topic, names: &[&[u8]]) -> Result<Subscription, Error> {
        if names.is_empty() {
            let text = "name at least one channel to subscribe to".to_owned();
            return Err(Error::Unsupported(text));
        }
        match &self.0.backend {
            Backend::Embedded(embedded) => {
                Ok(Subscription::of_engine(embedded.session(), topic, names))
            }
            Backend::Remote { guarded, hub } => hub.subscribe(guarded, topic, names).await,
            Backend::Disabled(_) => Err(Error::Unavailable(Why::Disabled)),
        }
    }

    /// Microseconds since the Unix epoch by the store's clock. Costs no call: its
    /// offset to this machine's clock is measured now and then.
    pub fn now(&self) -> u64 {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.engine.now_micros(),
            Backend::Remote { guarded, .. } => guarded.clock.now_micros(),
            Backend::Disabled(_) => SystemClock::default().now_micros(),
        }
    }

    /// Whether the store answers now; fails within its time-outs.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.call(&[b"PING"]).await.map(drop),
            Backend::Remote { guarded, .. } => guarded.ping().await,
            Backend::Disabled(_) => Err(Error::Unavailable(Why::Disabled)),
        }
    }

    /// How the store is.
    pub fn state(&self) -> State {
        self.states().borrow().clone()
    }

    /// How the store is, and whenever that changes. The engine is always up.
    pub fn states(&self) -> watch::Receiver<State> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.state.subscribe(),
            Backend::Remote { guarded, .. } => guarded.states(),
            Backend::Disabled(state) => state.subscribe(),
        }
    }

    /// What the store has done; all zero for the engine, which has INFO.
    pub fn metrics(&self) -> Metrics {
        match &self.0.backend {
            Backend::Remote { guarded, .. } => guarded.metrics(),
            Backend::Embedded(_) | Backend::Disabled(_) => Metrics::default(),
        }
    }

    /// Writes and syncs what an engine that this store opened has not yet; what
    /// is written later is lost. Dropping the last clone does the same, and holds
    /// up its thread for that. Other stores have nothing to close.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.0.close());
        let _ = closing.await;
    }

    /// Where it is, without secrets.
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// Whether commands run in this process.
    pub fn is_embedded(&self) -> bool {
        matches!(self.0.backend, Backend::Embedded(_))
    }

    /// Whether it is a cluster, whose keys are spread over slots ([`slot_of`](crate::slot_of)):
    /// scripts and atomic steps reach one slot only. A gateway does not say what
    /// stands behind it: there it is `false`, and what reaches over several slots
    /// fails with the code `CROSSSLOT`.
    pub fn is_cluster(&self) -> bool {
        match &self.0.backend {
            Backend::Remote { guarded, .. } => guarded.remote.has_slots(),
            Backend::Embedded(_) | Backend::Disabled(_) => false,
        }
    }

    /// Whether one atomic step can touch all of these keys.
    pub fn same_slot(&self, keys: &[&[u8]]) -> bool {
        let mut slots = keys.iter().map(|key| slot_of(key));
        let first = slots.next();
        !self.is_cluster() || slots.all(|slot| Some(slot) == first)
    }

    /// Whose rules its commands follow.
    pub fn dialect(&self) -> Dialect {
        match &self.0.backend {
            Backend::Embedded(_) => Dialect::Embedded,
            Backend::Remote { .. } if self.locks_keys() => Dialect::Upstash,
            Backend::Remote { .. } | Backend::Disabled(_) => Dialect::Redis,
        }
    }

    fn locks_keys(&self) -> bool {
        match &self.0.backend {
            Backend::Remote { guarded, .. } => guarded.remote.locks_keys(),
            Backend::Embedded(_) | Backend::Disabled(_) => false,
        }
    }
}

impl Inner {
    fn close(&self) {
        if let (Backend::Embedded(embedded), Some(_)) = (&self.backend, &self.folder) {
            embedded.engine.close();
        }
    }
}

impl Drop for Inner {
    // Before another process can take the folder.
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Store({})", self.place())
    }
}
