//! A session: what one caller carries from command to command.
//!
//! A RESP connection has one for its life, a REST request uses its connection's
//! for that request, an in-process caller makes its own. All three take the
//! same path through dispatch.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ahash::AHashSet;
use parking_lot::Mutex;

use crate::acl::{self, Account};
use crate::command::Tracks;
use crate::command::spec::Command;
use crate::effect::Seq;
use crate::keyspace::{Key, Keyspace, Mark, Visible, Waiter, WatchFlag};
use crate::mailbox::Mailbox;
use crate::persist::Ticket;
use crate::pubsub::Topic;
use crate::reply::Reply;

/// The wire protocol, which decides a few reply shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2, and everything that speaks in its shapes.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// Whose rules hold where Redis and Upstash differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Redis 7.0: RESP and in-process callers.
    #[default]
    Redis,
    /// Upstash's REST API.
    Upstash,
    /// The same, and what Upstash does not have or take is refused
    /// (`command/upstash`).
    StrictUpstash,
}

impl Dialect {
    /// Whether Upstash's rules hold.
    #[inline]
    pub fn is_upstash(self) -> bool {
        self != Dialect::Redis
    }

    /// Whether what Upstash does not have is refused.
    #[inline]
    pub fn is_strict(self) -> bool {
        self == Dialect::StrictUpstash
    }
}

/// What a caller may do.
#[derive(Debug, Clone)]
pub enum Role {
    /// Everything: the full token's, and callers' in the same process.
    Full,
    /// Reading, without the commands that Redis calls dangerous: the reading
    /// token's.
    ReadOnly,
    /// What this user of the keyspace may (`crate::acl`).
    User(Arc<Account>),
}

impl Role {
    /// The user's name that it goes by.
    pub fn user_name(&self) -> &[u8] {
        match self {
            Role::Full => acl::users::DEFAULT,
            Role::ReadOnly => acl::users::READER,
            Role::User(account) => account.name(),
        }
    }

    /// The user's account, if it is one.
    pub(crate) const fn account(&self) -> Option<&Arc<Account>> {
        match self {
            Role::User(account) => Some(account),
            Role::Full | Role::ReadOnly => None,
        }
    }

    /// Moves when what let the caller in may no longer hold: who remembers a
    /// token's principal asks anew then.
    pub fn revision(&self) -> u64 {
        self.account().map_or(0, |account| account.revision())
    }
}

/// Who is calling: a keyspace and a role in it.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The keyspace that the token opens.
    pub keyspace: Arc<Keyspace>,
    /// What it may do there.
    pub role: Role,
}

/// What others may see of a connected client (CLIENT LIST) and do to it.
#[derive(Debug)]
pub struct Client {
    /// Never given twice.
    pub id: u64,
    /// Remote address.
    pub addr: String,
    /// Local address.
    pub local_addr: String,
    pub(crate) name: Mutex<String>,
    pub(crate) library: Mutex<(String, String)>,
    pub(crate) created_us: u64,
    pub(crate) active_us: AtomicU64,
    /// When it had no principal for the first time since it had one.
    pub(crate) unknown_us: AtomicU64,
    /// Id of the last command plus one; 0 for none.
    pub(crate) last_command: AtomicUsize,
    pub(crate) queued: AtomicUsize,
    pub(crate) in_multi: AtomicU8,
    pub(crate) channels: AtomicUsize,
    pub(crate) patterns: AtomicUsize,
    /// Whether it waits for the reply to a command.
    pub(crate) blocked: AtomicBool,
    /// Its place in the waiting room, if it is there.
    pub(crate) waiter: Mutex<Weak<Waiter>>,
    pub(crate) protocol: AtomicU8,
    pub(crate) monitoring: AtomicBool,
    /// CLIENT NO-EVICT.
    pub(crate) spared: AtomicBool,
    pub(crate) tracking: Visible,
    /// The keyspace's number and the role that it acts in; `None` for nobody.
    scope: Mutex<Option<(u32, Role)>>,
    /// What it is to be told; closing it ends the connection.
    pub mailbox: Arc<Mailbox>,
}

impl Client {
    pub(crate) fn new(id: u64, addr: String, local_addr: String, now_us: u64) -> Self {
        Client {
            id,
            addr,
            local_addr,
            name: Mutex::default(),
            library: Mutex::default(),
            created_us: now_us,
            active_us: AtomicU64::new(now_us),
            unknown_us: AtomicU64::new(now_us),
            last_command: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            in_multi: AtomicU8::new(0),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            waiter: Mutex::default(),
            protocol: AtomicU8::new(2),
            monitoring: AtomicBool::new(false),
            spared: AtomicBool::new(false),
            tracking: Visible::default(),
            scope: Mutex::default(),
            mailbox: Arc::default(),
        }
    }

    /// The keyspace number and the role that it acts in.
    pub(crate) fn scope(&self) -> Option<(u32, Role)> {
        self.scope.lock().clone()
    }

    /// Says that it is alive: that bytes of it came in or went out.
    pub fn touch(&self, now_us: u64) {
        self.active_us.store(now_us, Ordering::Relaxed);
    }

    /// Says whether it waits for the reply to a command.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Whether it waits for the reply to a command.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Whether it listens to channels or patterns.
    pub(crate) fn is_subscriber(&self) -> bool {
        self.channels.load(Ordering::Relaxed) + self.patterns.load(Ordering::Relaxed) > 0
    }

    fn set_scope(&self, principal: Option<&Principal>) {
        let role = principal.map(|principal| principal.role.clone());
        self.mailbox
            .set_owner(role.as_ref().and_then(Role::account).cloned());
        let keyspace = principal.map(|principal| principal.keyspace.id);
        *self.scope.lock() = keyspace.zip(role);
    }
}

/// Bytes that the commands of one transaction may take while they wait for
/// EXEC: as many as one command may.
const QUEUE_MAX: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

/// The commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Vec<(&'static Command, Vec<Vec<u8>>)>,
    /// Bytes that they take.
    bytes: usize,
    /// A command was refused while queueing: EXEC aborts.
    pub(crate) aborted: bool,
}

impl Transaction {
    /// Puts a command behind the others, unless EXEC is to abort anyway. Past
    /// [`QUEUE_MAX`] it gives all of them up and answers false.
    pub(crate) fn push(&mut self, command: &'static Command, argv: &[&[u8]]) -> bool {
        if self.aborted {
            return true;
        }
        // An argument is a vector and its bytes, a command one more vector.
        let arguments = argv.iter().map(|arg| arg.len() + 32).sum::<usize>();
        self.bytes = self.bytes.saturating_add(arguments + 32);
        if self.bytes > QUEUE_MAX {
            self.queue = Vec::new();
            self.aborted = true;
            return false;
        }
        let argv = argv.iter().map(|arg| arg.to_vec()).collect();
        self.queue.push((command, argv));
        true
    }
}

/// What a session waits for before it gets its reply. Dropping it ends the wait.
#[derive(Debug)]
pub struct Blocked {
    pub(crate) until: Until,
    /// How long it waits; without limit if not said.
    pub patience: Option<Duration>,
}

impl Blocked {
    /// A wait for nothing but time.
    pub fn for_time(patience: Duration) -> Self {
        Blocked {
            until: Until::Never(Seq::default()),
            patience: Some(patience),
        }
    }
}

/// What ends a wait.
#[derive(Debug)]
pub(crate) enum Until {
    /// Everything up to here is durable.
    Durable(Seq),
    /// The same, and then what never comes.
    Never(Seq),
    /// Replicas have what was written; there are none.
    Replicas,
    /// This snapshot has ended.
    Saved(Ticket),
    /// A write has brought what it asked for.
    Served(Place),
}

/// A client's place in the waiting room; dropping it leaves it.
#[derive(Debug)]
pub(crate) struct Place(pub(crate) Arc<Waiter>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// How a command waits for one of its keys to be written.
pub(crate) struct Wait<'a> {
    /// The keys.
    pub(crate) keys: &'a [&'a [u8]],
    /// For how long; without limit if not said.
    pub(crate) patience: Option<Duration>,
    /// The reply after that time, and where a command may not wait.
    pub(crate) otherwise: Reply,
    /// Whether it runs again also when a key is removed or changes its type.
    pub(crate) minds_removal: bool,
}

impl<'a> Wait<'a> {
    /// As commands wait that take elements out.
    pub(crate) fn for_keys(keys: &'a [&'a [u8]], patience: Option<Duration>) -> Self {
        Wait {
            keys,
            patience,
            otherwise: Reply::NullArray,
            minds_removal: false,
        }
    }
}

/// A command that waits for a key, with what it takes to run it for its caller
/// without the caller's session.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) argv: Vec<Vec<u8>>,
    client: Arc<Client>,
    principal: Option<Principal>,
    protocol: Protocol,
    dialect: Dialect,
}

impl Request {
    pub(crate) fn new(session: &Session, argv: &[&[u8]]) -> Self {
        Request {
            argv: argv.iter().map(|arg| arg.to_vec()).collect(),
            client: session.client.clone(),
            principal: session.principal.clone(),
            protocol: session.protocol,
            dialect: session.dialect,
        }
    }

    /// A session to run it in, now that `key` was written.
    pub(crate) fn session(&self, key: &Key) -> Session {
        let mut session = Session::new(self.client.clone(), self.dialect, self.principal.clone());
        session.protocol = self.protocol;
        session.serving = Some(key.clone());
        session
    }
}

/// Which replies a caller does without (CLIENT REPLY).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Muted {
    /// None.
    #[default]
    No,
    /// This one and the next.
    Next,
    /// This one.
    This,
    /// All until it is taken back.
    All,
}

/// What one caller carries; see the module.
#[derive(Debug)]
pub struct Session {
    pub(crate) principal: Option<Principal>,
    /// The protocol of its replies.
    pub protocol: Protocol,
    /// Whose rules hold.
    pub dialect: Dialect,
    pub(crate) client: Arc<Client>,
    pub(crate) transaction: Option<Transaction>,
    /// The flag that a change raises, and the keys it is for.
    pub(crate) watching: Option<(Arc<WatchFlag>, AHashSet<Vec<u8>>)>,
    channels: AHashSet<Arc<[u8]>>,
    patterns: AHashSet<Arc<[u8]>>,
    /// Whether it is told of every command.
    pub(crate) monitoring: bool,
    /// How it caches what it reads, if it does.
    pub(crate) tracking: Option<Tracks>,
    /// Its place in the keyspace's table, if it ever did.
    pub(crate) mark: Option<Arc<Mark>>,
    /// Set by QUIT: the connection closes after this reply.
    pub(crate) closing: bool,
    pub(crate) muted: Muted,
    /// Whether the command runs inside a script.
    pub(crate) scripted: bool,
    /// Set by a command whose reply has to wait.
    pub(crate) blocked: Option<Blocked>,
    /// The written key for which a waiting command runs again, until that finds
    /// that it has to wait on.
    pub(crate) serving: Option<Key>,
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, dialect: Dialect, principal: Option<Principal>) -> Self {
        client.set_scope(principal.as_ref());
        Session {
            principal,
            protocol: Protocol::Resp2,
            dialect,
            client,
            transaction: None,
            watching: None,
            channels: AHashSet::new(),
            patterns: AHashSet::new(),
            monitoring: false,
            tracking: None,
            mark: None,
            closing: false,
            muted: Muted::No,
            scripted: false,
            blocked: None,
            serving: None,
        }
    }

    /// Who it acts for; `None` before authentication.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Acts for `principal` from now on.
    pub fn set_principal(&mut self, principal: Option<Principal>) {
        self.client.set_scope(principal.as_ref());
        self.principal = principal;
    }

    /// Its keyspace.
    pub fn keyspace(&self) -> Option<&Arc<Keyspace>> {
        self.principal.as_ref().map(|principal| &principal.keyspace)
    }

    /// What it may do; `None` before authentication.
    #[inline]
    pub(crate) fn role(&self) -> Option<&Role> {
        self.principal.as_ref().map(|principal| &principal.role)
    }

    /// Whether its user was deleted.
    #[inline]
    pub(crate) fn is_orphaned(&self) -> bool {
        match self.role() {
            Some(Role::User(account)) => account.is_gone(),
            _ => false,
        }
    }

    /// Its visible part.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Whether QUIT was asked.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether the caller wants the last command's reply; to be asked once for
    /// each. Subscribing and its messages are told all the same.
    pub fn wants_reply(&mut self) -> bool {
        match self.muted {
            Muted::No => return true,
            Muted::Next => self.muted = Muted::This,
            Muted::This => self.muted = Muted::No,
            Muted::All => {}
        }
        false
    }

    /// What the last command waits for, if it does; its reply is then
    /// [`Engine::blocked_reply`](crate::Engine::blocked_reply).
    pub fn take_blocked(&mut self) -> Option<Blocked> {
        self.blocked.take()
    }

    /// Whether its last command waits, and its reply comes later.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether MULTI is open.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether it is told when what it read changes.
    pub fn is_tracking(&self) -> bool {
        self.tracking.is_some()
    }

    /// Whether invalidations may wait for it, of its own cache or of another's.
    pub fn hears_of_changes(&self) -> bool {
        self.is_tracking() || self.client.tracking.is_target()
    }

    /// Number of channels and patterns subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        self.client.protocol.store(number, Ordering::Relaxed);
    }

    /// Subscribes; answers the number of subscriptions after it.
    pub fn subscribe(&mut self, topic: Topic, name: &[u8]) -> usize {
        let Some(keyspace) = self.keyspace().cloned() else {
            return 0;
        };
        let name: Arc<[u8]> = name.into();
        let names = self.names(topic);
        if names.insert(name.clone()) {
            keyspace.hub.subscribe(topic, &name, &self.client.mailbox);
            // A change of the user's rules looks through the listeners: where it
            // came before this one, it did not see it.
            self.client.mailbox.close_unless_allowed(topic, &name);
        }
        self.count_subscriptions()
    }

    /// Unsubscribes; answers the number of subscriptions after it.
    pub fn unsubscribe(&mut self, topic: Topic, name: &[u8]) -> usize {
        if self.names(topic).remove(name)
            && let Some(keyspace) = self.keyspace()
        {
            keyspace.hub.unsubscribe(topic, name, &self.client.mailbox);
        }
        self.count_subscriptions()
    }

    /// The names subscribed to.
    pub fn subscribed(&self, topic: Topic) -> Vec<Arc<[u8]>> {
        match topic {
            Topic::Channel => self.channels.iter().cloned().collect(),
            Topic::Pattern => self.patterns.iter().cloned().collect(),
        }
    }

    /// Ends all subscriptions.
    pub fn unsubscribe_all(&mut self) {
        for topic in [Topic::Channel, Topic::Pattern] {
            for name in self.subscribed(topic) {
                self.unsubscribe(topic, &name);
            }
        }
    }

    /// Ends all that it is told unasked.
    pub(crate) fn stop_listening(&mut self) {
        self.unsubscribe_all();
        self.stop_monitoring();
        self.tracking = None;
        self.mark = None;
    }

    fn names(&mut self, topic: Topic) -> &mut AHashSet<Arc<[u8]>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
        }
    }

    fn count_subscriptions(&self) -> usize {
        self.client
            .channels
            .store(self.channels.len(), Ordering::Relaxed);
        self.client
            .patterns
            .store(self.patterns.len(), Ordering::Relaxed);
        self.subscriptions()
    }

    /// Forgets MULTI and WATCH.
    pub(crate) fn discard(&mut self) {
        self.transaction = None;
        self.watching = None;
        self.client.in_multi.store(0, Ordering::Relaxed);
        self.client.queued.store(0, Ordering::Relaxed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop_listening();
    }
}
