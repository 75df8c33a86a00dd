//! The engine: keyspaces by token, and what they share.
//!
//! `Engine` is a handle; clones share one engine. It owns no thread and no
//! socket: whoever hosts it calls [`Engine::tick`] now and then, so that keys
//! expire on time though nobody asks for them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use crate::acl::{self, token::Token};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::effect::{EffectSink, Effects, MemorySink, Seq};
use crate::journal::{Journal, Lost};
use crate::keyspace::{Class, Db, Durability, Keyspace};
use crate::persist::{self, Saves};
use crate::random::Random;
use crate::session::{Client, Dialect, Principal, Role, Session};

/// How an engine is made.
pub struct Options {
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Where effects go.
    pub sink: Arc<dyn EffectSink>,
    /// Settings to start with.
    pub settings: Settings,
    /// Decides hashing and every random choice.
    pub seed: u64,
    /// Called under the lock when a command or script turns out to run long,
    /// so that the host can move its other tasks off this thread.
    pub on_long_unit: Option<Box<dyn Fn() + Send + Sync>>,
    /// The port that INFO shows.
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            clock: Arc::new(SystemClock::default()),
            sink: Arc::new(MemorySink::default()),
            settings: Settings::default(),
            seed: ahash::RandomState::new().hash_one(0),
            on_long_unit: None,
            port: 0,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    sink: OnceLock<Arc<dyn EffectSink>>,
    journal: OnceLock<Arc<Journal>>,
    settings: RwLock<Arc<Settings>>,
    settings_version: AtomicU64,
    keyspaces: RwLock<Vec<Arc<Keyspace>>>,
    grants: RwLock<AHashMap<[u8; 32], Principal>>,
    clients: Mutex<BTreeMap<u64, Weak<Client>>>,
    next_client: AtomicU64,
    seeds: Mutex<Random>,
    pub(crate) started_us: u64,
    pub(crate) run_id: String,
    pub(crate) on_long_unit: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) connections: AtomicU64,
    pub(crate) saves: Saves,
    pub(crate) port: u16,
}

/// A handle to the engine; see the module.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Shared>);

impl Default for Engine {
    fn default() -> Self {
        Engine::new(Options::default())
    }
}

impl Engine {
    /// An engine with one keyspace, `default`, that no token opens yet.
    pub fn new(options: Options) -> Self {
        let sink = options.sink.clone();
        let engine = Engine::empty(options);
        engine.set_sink(sink);
        engine.keyspace("default");
        engine
    }

    /// An engine without keyspaces, whose effects go nowhere yet.
    pub(crate) fn empty(options: Options) -> Self {
        let mut random = Random::new(options.seed);
        let run_id = format!(
            "{:016x}{:016x}{:08x}",
            random.next(),
            random.next(),
            random.next() as u32
        );
        let started_us = options.clock.now_micros();
        Engine(Arc::new(Shared {
            clock: options.clock,
            sink: OnceLock::new(),
            journal: OnceLock::new(),
            settings: RwLock::new(Arc::new(Settings {
                port: options.port,
                ..options.settings
            })),
            settings_version: AtomicU64::new(1),
            keyspaces: RwLock::default(),
            grants: RwLock::default(),
            clients: Mutex::default(),
            next_client: AtomicU64::new(1),
            seeds: Mutex::new(random),
            started_us,
            run_id,
            on_long_unit: options.on_long_unit,
            connections: AtomicU64::new(0),
            saves: Saves::new(started_us),
            port: options.port,
        }))
    }

    /// From now on effects go there.
    pub(crate) fn set_sink(&self, sink: Arc<dyn EffectSink>) {
        let wanted = sink.wants_effects();
        let _ = self.0.sink.set(sink);
        for keyspace in self.keyspaces() {
            if let Ok(mut db) = keyspace.data.lock_blocking() {
                db.effects = kept_effects(wanted, keyspace.class);
                if wanted && keyspace.class.durability == Durability::Latest {
                    db.note_changes();
                }
            }
        }
    }

    pub(crate) fn begin_journal(&self, journal: &Arc<Journal>) {
        let _ = self.0.journal.set(journal.clone());
        let mut settings = self.0.settings.write();
        *settings = Arc::new(Settings {
            appendonly: true,
            fsync: journal.fsync(),
            ..(**settings).clone()
        });
        drop(settings);
        self.0.settings_version.fetch_add(1, Ordering::Release);
        self.set_sink(Arc::new(journal.clone()));
    }

    /// Whether it is still being filled from a journal.
    pub(crate) fn is_being_filled(&self) -> bool {
        self.0.sink.get().is_none()
    }

    /// Why no write may run now, if so; the text is the client's error.
    pub(crate) fn admit(&self) -> Result<(), String> {
        self.0.sink.get().map_or(Ok(()), |sink| sink.admit())
    }

    /// Hands the effects of one unit on.
    pub(crate) fn append(&self, keyspace: u32, now_ms: u64, effects: &Effects) -> Seq {
        self.0
            .sink
            .get()
            .map_or_else(Seq::default, |sink| sink.append(keyspace, now_ms, effects))
    }

    /// The journal, if this engine keeps one.
    pub fn journal(&self) -> Option<&Arc<Journal>> {
        self.0.journal.get()
    }

    /// Whether a reply that depends on `seq` has to wait for
    /// [`durable`](Engine::durable).
    pub fn must_wait(&self, seq: Seq) -> bool {
        self.journal().is_some_and(|journal| journal.must_wait(seq))
    }

    /// Whether replies wait until what they depend on is on the disk.
    pub fn waits_for_the_disk(&self) -> bool {
        self.journal().is_some_and(|journal| journal.is_always())
    }

    /// Waits until everything up to `seq` is durable; at once where nothing is.
    pub async fn durable(&self, seq: Seq) -> Result<(), Lost> {
        match self.journal() {
            Some(journal) => journal.wait(seq).await,
            None => Ok(()),
        }
    }

    /// The same for a thread.
    pub fn durable_blocking(&self, seq: Seq) -> Result<(), Lost> {
        let outcome = self
            .journal()
            .and_then(|journal| journal.wait_blocking(seq, None));
        outcome.unwrap_or(Ok(()))
    }

    /// Whether more is written than the disk takes, so that callers have to
    /// wait before they take a lock.
    pub(crate) fn backlog(&self) -> Option<&Arc<Journal>> {
        self.journal().filter(|journal| journal.is_backlogged())
    }

    /// The keyspace of this name, made if there is none.
    pub fn keyspace(&self, name: &str) -> Arc<Keyspace> {
        self.keyspace_of(name, Class::default())
    }

    /// The keyspace of this name, made with this class if there is none.
    pub fn keyspace_of(&self, name: &str, class: Class) -> Arc<Keyspace> {
        let mut keyspaces = self.0.keyspaces.write();
        if let Some(found) = keyspaces.iter().find(|keyspace| keyspace.name == name) {
            return found.clone();
        }
        let keyspace = self.make_keyspace(keyspaces.len() as u32, name, class);
        if let Some(journal) = self.journal() {
            journal.declare(self.now_micros() / 1000, keyspace.id, class, name);
        }
        keyspaces.push(keyspace.clone());
        keyspace
    }

    /// The keyspace that a journal says exists, as it says.
    pub(crate) fn restore_keyspace(
        &self,
        id: u32,
        class: Class,
        name: &str,
    ) -> Result<Arc<Keyspace>, String> {
        let mut keyspaces = self.0.keyspaces.write();
        if let Some(found) = keyspaces.get(id as usize) {
            if found.name == name && found.class == class {
                return Ok(found.clone());
            }
            return Err(format!(
                "keyspace {id} is declared twice, as {} and {name}",
                found.name
            ));
        }
        if keyspaces.len() != id as usize {
            return Err(format!(
                "keyspace {id} comes before keyspace {}",
                keyspaces.len()
            ));
        }
        let keyspace = self.make_keyspace(id, name, class);
        keyspaces.push(keyspace.clone());
        Ok(keyspace)
    }

    fn make_keyspace(&self, id: u32, name: &str, class: Class) -> Arc<Keyspace> {
        let seed = self.next_seed();
        let wanted = self.0.sink.get().is_some_and(|sink| sink.wants_effects());
        let effects = kept_effects(wanted, class);
        let mut db = Db::new(seed, self.settings(), effects);
        if wanted && class.durability == Durability::Latest {
            db.note_changes();
        }
        Arc::new(Keyspace::new(id, name.to_owned(), class, db))
    }

    /// Every keyspace.
    pub fn keyspaces(&self) -> Vec<Arc<Keyspace>> {
        self.0.keyspaces.read().clone()
    }

    /// Lets `token` open the keyspace `name` in `role`.
    pub fn grant(&self, token: &str, name: &str, role: Role) {
        let principal = Principal {
            keyspace: self.keyspace(name),
            role,
        };
        self.0
            .grants
            .write()
            .insert(Sha256::digest(token).into(), principal);
    }

    /// Who `token` is: one that was granted, or one that ACL RESTTOKEN gave a
    /// user. Tokens are found by their hash, so the time it takes says nothing
    /// about the token.
    pub fn authenticate(&self, token: &[u8]) -> Option<Principal> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(principal) = self.0.grants.read().get(&digest) {
            return Some(principal.clone());
        }
        let token = Token::parse(token)?;
        let keyspace = self
            .0
            .keyspaces
            .read()
            .get(token.keyspace as usize)?
            .clone();
        self.log_in_to(&keyspace, &token.user, &token.password)
    }

    /// Who logs in with this name, or none, and this password, coming from the
    /// keyspace `here` or from nowhere. A token comes before all passwords, a user
    /// of the same keyspace before those of others; users that need no password
    /// are found in the same keyspace only, or in the first.
    pub(crate) fn log_in(
        &self,
        here: Option<&Arc<Keyspace>>,
        name: Option<&[u8]>,
        password: &[u8],
    ) -> Option<Principal> {
        let named =
            |principal: &Principal| name.is_none_or(|name| name == principal.role.user_name());
        if let Some(principal) = self.authenticate(password).filter(named) {
            return Some(principal);
        }
        let name = name.unwrap_or(acl::users::DEFAULT);
        let keyspaces = self.keyspaces();
        let nearest = here.or(keyspaces.first())?;
        let elsewhere = keyspaces.iter().filter(|keyspace| {
            let account = keyspace.users.find(name);
            let is_open = account.is_some_and(|account| account.user().needs_no_password());
            !Arc::ptr_eq(keyspace, nearest) && !is_open
        });
        std::iter::once(nearest)
            .chain(elsewhere)
            .find_map(|keyspace| self.log_in_to(keyspace, name, password))
    }

    fn log_in_to(
        &self,
        keyspace: &Arc<Keyspace>,
        name: &[u8],
        password: &[u8],
    ) -> Option<Principal> {
        let guarded = self.requires_token();
        let account = keyspace.users.log_in(name, password, guarded)?;
        Some(Principal {
            keyspace: keyspace.clone(),
            role: Role::User(account),
        })
    }

    /// Who a connection is that says nothing of itself: the user `default` of the
    /// first keyspace, if that needs no password and there are no tokens.
    pub(crate) fn stranger(&self) -> Option<Principal> {
        let keyspace = self.keyspace("default");
        let account = keyspace.users.find(acl::users::DEFAULT)?;
        let role = Role::User(account.clone());
        (self.is_open() && account.user().is_on()).then_some(Principal { keyspace, role })
    }

    /// Whether the user `default` of the first keyspace needs no password.
    pub(crate) fn is_open(&self) -> bool {
        let account = self.keyspace("default").users.find(acl::users::DEFAULT);
        !self.requires_token() && account.is_some_and(|account| account.user().needs_no_password())
    }

    /// Whether any token is needed.
    pub fn requires_token(&self) -> bool {
        !self.0.grants.read().is_empty()
    }

    /// Full access to `default` without a token: for in-process callers.
    pub fn owner(&self) -> Principal {
        self.owner_of(&self.keyspace("default"))
    }

    /// Full access to a keyspace without a token.
    pub fn owner_of(&self, keyspace: &Arc<Keyspace>) -> Principal {
        Principal {
            keyspace: keyspace.clone(),
            role: Role::Full,
        }
    }

    /// An in-process session with full access to `default`.
    pub fn session(&self) -> Session {
        let client = Arc::new(Client::new(0, String::new(), String::new(), 0));
        Session::new(client, Dialect::Redis, Some(self.owner()))
    }

    /// A session that repeats what was done; unlisted, of no keyspace yet.
    pub(crate) fn replaying_session() -> Session {
        let client = Arc::new(Client::new(0, String::new(), String::new(), 0));
        Session::new(client, Dialect::Redis, None)
    }

    /// A session of the REST gateway: Upstash's dialect, unlisted; the gateway
    /// sets its principal for each request.
    pub fn rest_session(&self) -> Session {
        self.rest_session_from(String::new())
    }

    /// The same for a caller at this address, which MONITOR and SLOWLOG show.
    pub fn rest_session_from(&self, addr: String) -> Session {
        let client = Arc::new(Client::new(0, addr, String::new(), 0));
        Session::new(client, Dialect::Upstash, None)
    }

    /// A connection's session: listed by CLIENT LIST, unauthenticated when
    /// there are tokens or the user `default` needs a password.
    pub fn connect(&self, addr: String, local_addr: String) -> Session {
        let id = self.0.next_client.fetch_add(1, Ordering::Relaxed);
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(id, addr, local_addr, self.now_micros()));
        self.0.clients.lock().insert(id, Arc::downgrade(&client));
        Session::new(client, Dialect::Redis, self.stranger())
    }

    /// Ends a connection's session.
    pub fn disconnect(&self, session: Session) {
        self.0.clients.lock().remove(&session.client().id);
        drop(session);
    }

    /// Closes the mailboxes, and so the connections, of clients that are silent
    /// for longer than CONFIG's `timeout`, and of those that have no token
    /// `patience` after they connected, or gave theirs up. To be called now and
    /// then.
    pub fn dismiss_idle(&self, patience: Duration) {
        let now = self.now_micros();
        let since = |then: u64| Duration::from_micros(now.saturating_sub(then));
        let timeout = Duration::from_secs(self.settings().timeout);
        for client in self.clients() {
            let unknown = client.scope().is_none()
                && since(client.unknown_us.load(Ordering::Relaxed)) > patience;
            let idle = !timeout.is_zero()
                && since(client.active_us.load(Ordering::Relaxed)) > timeout
                && !client.is_subscriber()
                && !client.monitoring.load(Ordering::Relaxed)
                && !client.blocked.load(Ordering::Relaxed);
            if unknown || idle {
                client.mailbox.close();
            }
        }
    }

    /// The connected clients, oldest first.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.0
            .clients
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Microseconds since the epoch by the engine's clock.
    pub fn now_micros(&self) -> u64 {
        self.0.clock.now_micros()
    }

    /// The settings now.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings.read().clone()
    }

    /// Changes settings; nothing changes when `change` fails.
    pub fn update_settings<E>(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut settings = self.0.settings.write();
        let mut next = (**settings).clone();
        change(&mut next)?;
        if let Some(journal) = self
            .journal()
            .filter(|journal| journal.fsync() != next.fsync)
        {
            journal.set_fsync(next.fsync);
        }
        *settings = Arc::new(next);
        self.0.settings_version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Tells the host that what runs now runs long.
    pub(crate) fn announce_long_unit(&self) {
        if let Some(announce) = &self.0.on_long_unit {
            announce();
        }
    }

    /// A random number.
    pub(crate) fn next_seed(&self) -> u64 {
        self.0.seeds.lock().next()
    }

    pub(crate) fn settings_version(&self) -> u64 {
        self.0.settings_version.load(Ordering::Acquire)
    }

    /// Removes keys whose time has come, a bounded number of each keyspace
    /// whose lock is free. Answers the milliseconds until the next deadline,
    /// 0 if there is more to do now.
    ///
    /// The same visit commits the latest values of keyspaces that keep no
    /// history, and begins a snapshot when one is due.
    pub fn tick(&self) -> u64 {
        const KEYS_A_TICK: usize = 400;
        persist::commit_latest(self);
        self.save_if_due();
        let mut wait = u64::MAX;
        for keyspace in self.keyspaces() {
            let Some(db) = keyspace.data.try_lock() else {
                wait = wait.min(1);
                continue;
            };
            let mut batch = crate::command::Batch::new(self, &keyspace, db);
            let next = batch.expire(KEYS_A_TICK);
            wait = wait.min(next.unwrap_or(u64::MAX));
        }
        wait
    }
}

/// What a keyspace of this class collects for a sink that wants effects or not.
fn kept_effects(wanted: bool, class: Class) -> Effects {
    if wanted && class.durability == Durability::Every {
        Effects::default()
    } else {
        Effects::discarding()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("keyspaces", &self.keyspaces())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::reply::Reply;

    fn call(engine: &Engine, session: &mut Session, text: &str) -> String {
        let argv: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        match engine.call(session, &argv).0 {
            Reply::Bulk(text) | Reply::Verbatim(_, text) => String::from_utf8(text).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn who_gives_no_token_or_says_nothing_has_to_go() {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let engine = Engine::new(Options {
            clock: clock.clone(),
            ..Options::default()
        });
        engine.grant("token", "default", Role::Full);
        let connect = || engine.connect("a".to_owned(), "b".to_owned());
        let (mut known, mut stranger, mut returned) = (connect(), connect(), connect());
        let mut listener = connect();
        let patience = Duration::from_secs(30);
        for session in [&mut known, &mut returned, &mut listener] {
            call(&engine, session, "AUTH token");
        }
        call(&engine, &mut listener, "SUBSCRIBE a");
        clock.advance_millis(30_000);
        // Its time begins anew, but not for one that gave no token.
        call(&engine, &mut returned, "RESET");
        call(&engine, &mut stranger, "RESET");
        engine.dismiss_idle(patience);
        assert!(!stranger.client().mailbox.is_closed());
        clock.advance_millis(1);
        engine.dismiss_idle(patience);
        assert!(stranger.client().mailbox.is_closed());
        assert!(!returned.client().mailbox.is_closed());
        call(&engine, &mut returned, "AUTH token");

        call(&engine, &mut known, "CONFIG SET timeout 60");
        let waiting = connect();
        waiting.client().set_blocked(true);
        clock.advance_millis(60_001);
        call(&engine, &mut returned, "PING");
        engine.dismiss_idle(Duration::MAX);
        let gone = |session: &Session| session.client().mailbox.is_closed();
        assert!(gone(&known));
        assert!(!gone(&returned) && !gone(&listener) && !gone(&waiting));
        waiting.client().set_blocked(false);
        waiting.client().touch(engine.now_micros());
        engine.dismiss_idle(Duration::MAX);
        assert!(!gone(&waiting));
        clock.advance_millis(60_001);
        engine.dismiss_idle(Duration::MAX);
        assert!(gone(&waiting) && gone(&returned) && !gone(&listener));
    }

    #[test]
    fn the_count_of_connections_can_be_reset() {
        let engine = Engine::default();
        let mut session = engine.connect(String::new(), String::new());
        let count = |text: String| text.contains("total_connections_received:1");
        assert!(count(call(&engine, &mut session, "INFO stats")));
        call(&engine, &mut session, "CONFIG RESETSTAT");
        assert!(!count(call(&engine, &mut session, "INFO stats")));
    }
}
