//! Start and stop: binds the listeners, makes the engine and runs its timer, or
//! stands before a store that is elsewhere.
//!
//! RESP has threads of its own, half as many as there are cores. Its commands
//! are so short that a kernel call a command is most of their cost: with more
//! threads, waking them costs more than they bring (on two cores, one thread
//! answers 5 to 10 % more than two, for 10 to 15 % less processor time), and a
//! large JSON body over HTTP delays nobody here.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sangam_engine::journal::storage::DiskStorage;
use sangam_engine::journal::{Fsync, JournalOptions};
use sangam_engine::persist::{OpenError, Opened};
use sangam_engine::session::Role;
use sangam_engine::{Engine, Options};
use sangam_store::Store;
use tokio::net::{TcpListener, lookup_host};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Caching, Keys, Limits};
use crate::config::Config;
use crate::data::{DataError, DataFolder, TokenOrigin, make_token};
use crate::gateway::{Gateway, OverEngine, OverStore};
use crate::listener::Listener;
use crate::progress::Progress;
use crate::resp::Resp;
use crate::tls::{self, TlsError};
use crate::{advice, handoff, listener};

/// The keyspace that the server's tokens open.
const KEYSPACE: &str = "default";
/// How often idle connections are looked for: CONFIG's `timeout` is in seconds.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// Longest sleep of the timer: a key set with an earlier deadline than the
/// timer knew of goes at most this late (readers never see it).
const TICK_MAX: Duration = Duration::from_millis(100);
/// Shortest sleep, so that a flood of deadlines leaves time to commands.
const TICK_MIN: Duration = Duration::from_millis(1);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that cannot be listened on.
    #[error(
        "cannot listen on {address}: {error} (setting `{name}`: --{name} or {variable}; port 0 \
         takes a free one)"
    )]
    Listen {
        /// The setting.
        name: &'static str,
        /// Its variable.
        variable: &'static str,
        /// Its value.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The threads of the RESP listener.
    #[error("cannot start threads for RESP: {0}")]
    Threads(io::Error),
    /// A listener that others can reach, without a token that was chosen.
    #[error(
        "setting `{name}` ({address}) can be reached from other machines, and there is no token \
         yet: choose one (setting `token`: --token or SANGAM_TOKEN), or start once on 127.0.0.1 \
         with a data folder, where one is made and kept"
    )]
    NeedsToken {
        /// The setting.
        name: &'static str,
        /// Its address.
        address: SocketAddr,
    },
    /// The read-only token equals the other one.
    #[error("settings `token` and `read-token` are the same: choose another for reading")]
    SameTokens,
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What is in the data folder.
    #[error("cannot open {}: {error}{advice}", folder.display())]
    Open {
        /// The engine's folder.
        folder: PathBuf,
        /// Why.
        error: Box<OpenError>,
        /// A line with the command that helps, if one does.
        advice: String,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store's setting: what does not heal by itself.
    #[error("{0}")]
    Store(sangam_store::Error),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that runs until [`Running::shutdown`], or until it is dropped, which
/// waits for nothing.
#[derive(Debug)]
pub struct Running {
    behind: Behind,
    http: SocketAddr,
    resp: Option<SocketAddr>,
    token: String,
    token_origin: TokenOrigin,
    tls: bool,
    strict_upstash: bool,
    stop: CancellationToken,
    tasks: TaskTracker,
    patience: Duration,
    resp_threads: Option<Runtime>,
    limits: Arc<Limits>,
    caching: Arc<Caching>,
    // Held to the end: the folder is ours as long as we run.
    _folder: Option<DataFolder>,
}

/// What the front doors open on.
#[derive(Debug)]
enum Behind {
    Engine(Engine),
    Store(Store),
}

impl Server {
    /// Starts a server on this runtime, which has to be a multi-threaded one.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let Some(target) = &config.store else {
            return Server::run(config, None).await;
        };
        let store = Store::connect(target, sangam_store::Options::default()).await;
        let store = store.map_err(StartError::Store)?;
        Server::run(config, Some(store)).await
    }

    /// The same in front of a store that is there already, whatever the settings
    /// say of one. There is no RESP: that is the engine's own.
    pub async fn start_over(store: Store, config: Config) -> Result<Running, StartError> {
        Server::run(config, Some(store)).await
    }

    async fn run(mut config: Config, store: Option<Store>) -> Result<Running, StartError> {
        if store.is_some() {
            config.resp = None;
        }
        let folder = config.data.as_deref().map(DataFolder::open).transpose()?;
        let tls = config.tls.as_ref().map(tls::acceptors).transpose()?;
        let (http, http_address) = bind("http", "SANGAM_HTTP", &config.http).await?;
        let resp = match &config.resp {
            Some(address) => Some(bind("resp", "SANGAM_RESP", address).await?),
            None => None,
        };
        let exposed = [
            ("http", Some(http_address)),
            ("resp", resp.as_ref().map(|(_, at)| *at)),
        ]
        .into_iter()
        .filter_map(|(name, address)| Some((name, address?)))
        .find(|(_, address)| !address.ip().is_loopback());
        let (token, token_origin) = choose_token(&config, folder.as_ref(), exposed)?;
        if config.read_token.as_ref() == Some(&token) {
            return Err(StartError::SameTokens);
        }

        let resp_address = resp.as_ref().map(|(_, address)| *address);
        let behind = if let Some(store) = store {
            Behind::Store(store)
        } else {
            let port = resp_address.map_or(0, |address| address.port());
            let engine = engine(&config, folder.as_ref(), port).await?;
            engine.grant(&token, KEYSPACE, Role::Full);
            if let Some(read_token) = &config.read_token {
                engine.grant(read_token, KEYSPACE, Role::ReadOnly);
            }
            Behind::Engine(engine)
        };

        let store = match &behind {
            Behind::Engine(engine) => Store::embedded_in(engine.clone(), KEYSPACE),
            Behind::Store(store) => store.clone(),
        };
        let limits = Arc::new(Limits::new(store.clone(), &config));
        let caching = Arc::new(Caching::new(store, &config));
        // Last of what may fail: a runtime cannot be dropped here.
        let resp_threads = resp.as_ref().map(|_| resp_threads()).transpose()?;
        let running = Running {
            http: http_address,
            resp: resp_address,
            token,
            token_origin,
            tls: tls.is_some(),
            strict_upstash: config.strict_upstash,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            patience: config.timing.shutdown,
            behind,
            resp_threads,
            limits,
            caching,
            _folder: folder,
        };
        let (http_tls, resp_tls) = tls.unzip();
        match &running.behind {
            Behind::Engine(engine) => {
                let commands = OverEngine::new(engine.clone(), config.strict_upstash);
                let gateway = Gateway::new(commands, &config).with_api(running.api(&config));
                running.listen(&Handle::current(), http, http_tls, &config, gateway);
                if let (Some((socket, _)), Some(threads)) = (resp, &running.resp_threads) {
                    let door = Resp::new(engine.clone());
                    running.listen(threads.handle(), socket, resp_tls, &config, door);
                }
                running.keep(engine, &config);
            }
            Behind::Store(store) => {
                let read_token = config.read_token.as_deref();
                let strict = config.strict_upstash;
                let commands = OverStore::new(store.clone(), &running.token, read_token, strict);
                let gateway = Gateway::new(commands, &config).with_api(running.api(&config));
                running.listen(&Handle::current(), http, http_tls, &config, gateway);
                let state = store.state();
                tracing::info!(store = store.place(), status = %state.status, "in front of a store");
            }
        }
        tracing::info!(http = %running.http, resp = ?running.resp, tls = running.tls, strict_upstash = running.strict_upstash, "listening");
        Ok(running)
    }
}

impl Running {
    /// Where the gateway listens.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where RESP is spoken, if it is.
    pub fn resp(&self) -> Option<SocketAddr> {
        self.resp
    }

    /// The token with full access.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where that token came from.
    pub fn token_origin(&self) -> &TokenOrigin {
        &self.token_origin
    }

    /// Whether the listeners speak TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether REST refuses what Upstash refuses.
    pub fn is_strict_upstash(&self) -> bool {
        self.strict_upstash
    }

    /// The engine behind both doors; `None` in front of a store.
    pub fn engine(&self) -> Option<&Engine> {
        match &self.behind {
            Behind::Engine(engine) => Some(engine),
            Behind::Store(_) => None,
        }
    }

    /// The store behind the gateway, if that is not the engine.
    pub fn store(&self) -> Option<&Store> {
        match &self.behind {
            Behind::Engine(_) => None,
            Behind::Store(store) => Some(store),
        }
    }

    /// Stops accepting, lets running requests finish within
    /// [`Timing::shutdown`](crate::config::Timing::shutdown), closes what is
    /// left.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        // An idle RESP connection waits for its socket or its mailbox.
        for client in self.engine().map(Engine::clients).into_iter().flatten() {
            client.mailbox.close();
        }
        if tokio::time::timeout(self.patience, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("{} connections did not end in time", self.tasks.len());
        }
        self.limits.close().await;
        match &self.behind {
            Behind::Engine(engine) => {
                let engine = engine.clone();
                let _ = tokio::task::spawn_blocking(move || engine.close()).await;
            }
            Behind::Store(store) => store.clone().close().await,
        }
    }

    fn api(&self, config: &Config) -> Api {
        let read_token = config.read_token.as_deref();
        let keys = Keys::new(&self.token, read_token, config.service_keys.clone());
        Api::new(
            self.limits.clone(),
            self.caching.clone(),
            keys,
            config.file.clone().filter(|file| file.exists()),
            config.timing.body,
            self.stop.clone(),
        )
    }

    /// What an engine needs to have done now and then.
    fn keep(&self, engine: &Engine, config: &Config) {
        tokio::spawn(keep_time(engine.clone(), self.stop.clone()));
        let idle = dismiss_idle(engine.clone(), config.timing.authentication);
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(idle).await });
    }

    fn listen<D: listener::Door>(
        &self,
        threads: &Handle,
        socket: std::net::TcpListener,
        tls: Option<TlsAcceptor>,
        config: &Config,
        door: D,
    ) {
        let listener = Listener {
            socket,
            tls,
            handshake: config.timing.handshake,
            door: Arc::new(door),
            stop: self.stop.clone(),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn_on(listener.run(), threads);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(threads) = self.resp_threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The engine, with what the folder holds if there is one.
async fn engine(
    config: &Config,
    folder: Option<&DataFolder>,
    port: u16,
) -> Result<Engine, StartError> {
    let options = Options {
        settings: config.settings.clone(),
        port,
        on_long_unit: Some(Box::new(handoff::free_this_worker)),
        ..Options::default()
    };
    match folder {
        None => Ok(Engine::new(options)),
        Some(folder) => load(folder, options, config.fsync).await,
    }
}

/// The engine with what the folder holds.
async fn load(folder: &DataFolder, options: Options, fsync: Fsync) -> Result<Engine, StartError> {
    let path = folder.engine_path();
    let failed = |error: OpenError| StartError::Open {
        folder: folder.engine_path(),
        advice: advice::after(&error, folder.path()),
        error: Box::new(error),
    };
    let journal = JournalOptions {
        fsync,
        ..JournalOptions::default()
    };
    let work = move || {
        let storage = DiskStorage::open(&path)?;
        let mut progress = Progress::of_bytes("loading").or_log();
        Engine::open(options, Arc::new(storage), journal, &mut |done, total| {
            progress.set(done, total);
        })
    };
    let (engine, opened) = match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(failed)?,
        Err(error) => return Err(failed(io::Error::other(error).into())),
    };
    tell(&opened);
    Ok(engine)
}

/// What an operator should know of a start.
fn tell(opened: &Opened) {
    for (file, reason) in &opened.skipped {
        tracing::warn!("{file} is not a whole snapshot and was not used: {reason}");
    }
    if let Some((file, bytes)) = &opened.quarantined {
        tracing::warn!("the log had a torn tail: {bytes} bytes were set apart in {file}");
    }
    if !opened.new {
        tracing::info!(
            snapshot = opened.snapshot.map(|cut| cut.0),
            units = opened.frames,
            last = opened.last.0,
            "data is loaded"
        );
    }
}

/// Bytes of a thread's stack: codecs of scripts nest a thousand levels deep.
pub(crate) const STACK: usize = 8 << 20;

fn resp_threads() -> Result<Runtime, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads((cores / 2).max(1))
        .thread_name("resp")
        .thread_stack_size(STACK)
        .enable_all()
        .build()
        .map_err(StartError::Threads)
}

async fn bind(
    name: &'static str,
    variable: &'static str,
    address: &str,
) -> Result<(std::net::TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen {
        name,
        variable,
        address: address.to_owned(),
        error,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for candidate in lookup_host(address).await.map_err(failed)? {
        match TcpListener::bind(candidate).await {
            Ok(socket) => {
                let bound = socket.local_addr().map_err(failed)?;
                // Whichever runtime accepts takes it up.
                return Ok((socket.into_std().map_err(failed)?, bound));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn choose_token(
    config: &Config,
    folder: Option<&DataFolder>,
    exposed: Option<(&'static str, SocketAddr)>,
) -> Result<(String, TokenOrigin), StartError> {
    if let Some(token) = &config.token {
        return Ok((token.clone(), TokenOrigin::Given));
    }
    if let Some(folder) = folder
        && let Some(token) = folder.kept_token()?
    {
        return Ok((token, TokenOrigin::Kept(folder.token_path())));
    }
    if let Some((name, address)) = exposed {
        return Err(StartError::NeedsToken { name, address });
    }
    Ok(match folder {
        Some(folder) => (folder.make_token()?, TokenOrigin::Kept(folder.token_path())),
        None => (make_token()?, TokenOrigin::Made),
    })
}

/// Closes RESP connections that are silent for too long.
async fn dismiss_idle(engine: Engine, patience: Duration) {
    loop {
        tokio::time::sleep(IDLE_CHECK.min(patience)).await;
        engine.dismiss_idle(patience);
    }
}

/// Removes keys when their time comes, though nobody asks for them.
async fn keep_time(engine: Engine, stop: CancellationToken) {
    let work = async {
        loop {
            let wait = Duration::from_millis(engine.tick());
            tokio::time::sleep(wait.clamp(TICK_MIN, TICK_MAX)).await;
        }
    };
    stop.run_until_cancelled(work).await;
}
