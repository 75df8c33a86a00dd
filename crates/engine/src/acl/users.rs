//! The users of a keyspace, and the log of what they were refused.
//!
//! It stands beside the keyspace's lock, so that who may do what is known
//! without it. Changes are made under the lock (`Db` records how to undo them),
//! which gives them their place in the journal.
//!
//! Sessions hold their [`Account`], which stays the same while its rules change:
//! a change holds for connections that are open. Each change moves the account's
//! revision, by which who remembers a decision knows that it is old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::log::{Denial, Log, Reason};
use super::rules::RuleError;
use super::token;
use super::user::User;
use crate::effect::Effects;

/// Bytes that all users of a keyspace may take together.
pub(crate) const BYTES_MAX: usize = if cfg!(test) { 4 << 20 } else { 64 << 20 };
/// What an account takes beyond its user.
const ACCOUNT: usize = 512;

/// The name of the user that every keyspace has.
pub(crate) const DEFAULT: &[u8] = b"default";
/// What the reading token goes by; no user can have this name.
pub(crate) const READER: &[u8] = b"default_ro";

/// A user by its name, as sessions hold it.
#[derive(Debug)]
pub struct Account {
    name: Arc<[u8]>,
    user: RwLock<Arc<User>>,
    revision: AtomicU64,
    gone: AtomicBool,
}

impl Account {
    fn new(name: &[u8], user: Arc<User>) -> Arc<Self> {
        Arc::new(Account {
            name: name.into(),
            user: RwLock::new(user),
            revision: AtomicU64::new(1),
            gone: AtomicBool::new(false),
        })
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Moves with each change: a decision of another revision is to be made
    /// again.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether it was deleted.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// What it may do now.
    pub(crate) fn user(&self) -> Arc<User> {
        self.user.read().clone()
    }

    fn change(&self, user: Arc<User>, gone: bool) {
        *self.user.write() = user;
        self.gone.store(gone, Ordering::Release);
        self.revision.fetch_add(1, Ordering::Release);
    }
}

/// What stood under a name, to be put back.
#[derive(Debug, Clone)]
pub(crate) struct Before(Option<(Arc<Account>, Arc<User>)>);

/// Refusals since the start, as INFO counts them.
#[derive(Debug, Default)]
pub(crate) struct Denials([AtomicU64; 4]);

impl Denials {
    const fn place(reason: Reason) -> usize {
        match reason {
            Reason::Auth => 0,
            Reason::Command => 1,
            Reason::Key => 2,
            Reason::Channel => 3,
        }
    }

    pub(crate) fn of(&self, reason: Reason) -> u64 {
        let count = self.0.get(Denials::place(reason));
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn clear(&self) {
        for count in &self.0 {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Users {
    accounts: RwLock<BTreeMap<Arc<[u8]>, Arc<Account>>>,
    /// Bytes that they take.
    bytes: AtomicUsize,
    log: Mutex<Log>,
    pub(crate) denials: Denials,
}

impl Default for Users {
    fn default() -> Self {
        let account = Account::new(DEFAULT, Arc::new(User::unlimited()));
        Users {
            accounts: RwLock::new(BTreeMap::from([(account.name.clone(), account)])),
            bytes: AtomicUsize::new(0),
            log: Mutex::default(),
            denials: Denials::default(),
        }
    }
}

impl Users {
    /// The account of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<Account>> {
        self.accounts.read().get(name).cloned()
    }

    /// All, in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }

    /// The account that this name and password open. `guarded` says that
    /// `default` needs a password whatever its rules say.
    pub(crate) fn log_in(
        &self,
        name: &[u8],
        password: &[u8],
        guarded: bool,
    ) -> Option<Arc<Account>> {
        let account = self.find(name)?;
        let user = account.user();
        let open = user.needs_no_password() && !(guarded && name == DEFAULT);
        let password = token::password_in(name, password);
        (user.is_on() && (open || user.has_password(&password))).then_some(account)
    }

    /// Makes `user` the one of this name, and answers what was there before.
    pub(crate) fn put(&self, name: &[u8], user: Arc<User>) -> Result<Before, RuleError> {
        let mut accounts = self.accounts.write();
        let known = accounts.get(name).cloned();
        let size = |user: &User| ACCOUNT + name.len() + user.heap_bytes();
        let freed = known.as_ref().map_or(0, |known| size(&known.user()));
        let bytes = self.bytes.load(Ordering::Relaxed).saturating_sub(freed) + size(&user);
        if bytes > BYTES_MAX && name != DEFAULT {
            return Err(RuleError::TooMany);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        let before = known.as_ref().map(|known| (known.clone(), known.user()));
        if let Some(known) = known {
            known.change(user, false);
        } else {
            let account = Account::new(name, user);
            accounts.insert(account.name.clone(), account);
        }
        Ok(Before(before))
    }

    /// Removes the user of this name; `None` where there is none.
    pub(crate) fn remove(&self, name: &[u8]) -> Option<(Arc<Account>, Before)> {
        let account = self.accounts.write().remove(name)?;
        let user = account.user();
        let size = ACCOUNT + name.len() + user.heap_bytes();
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.bytes
            .store(bytes.saturating_sub(size), Ordering::Relaxed);
        account.change(user.clone(), true);
        Some((account.clone(), Before(Some((account, user)))))
    }

    /// Puts back what was there before a change that is taken back.
    pub(crate) fn restore(&self, name: &[u8], before: Before) {
        let mut accounts = self.accounts.write();
        let now = match before.0 {
            None => accounts.remove(name).inspect(|made| {
                made.change(made.user(), true);
            }),
            Some((account, user)) => {
                account.change(user, false);
                accounts.insert(account.name.clone(), account)
            }
        };
        drop(now);
        let size =
            |account: &Arc<Account>| ACCOUNT + account.name.len() + account.user().heap_bytes();
        let bytes = accounts.values().map(size).sum();
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// What makes all users, of a keyspace that has none but `default` as it
    /// begins; empty where there is nothing to say.
    pub(crate) fn to_effects(&self) -> Effects {
        let mut effects = Effects::default();
        for account in self.all() {
            let user = account.user();
            if account.name() != DEFAULT || *user != User::unlimited() {
                push_setuser(account.name(), &user, &mut effects);
            }
        }
        effects
    }

    /// Counts a refusal and notes it in the log.
    pub(crate) fn note(&self, denial: Denial, client: String, now_ms: u64, limit: usize) {
        if let Some(count) = self.denials.0.get(Denials::place(denial.reason)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.log.lock().add(denial, client, now_ms, limit);
    }

    /// The log of refusals.
    pub(crate) fn log(&self) -> &Mutex<Log> {
        &self.log
    }
}

/// Adds the command that makes `user`, whatever it was before.
pub(crate) fn push_setuser(name: &[u8], user: &User, effects: &mut Effects) {
    let rules = user.to_rules();
    let head = [&b"ACL"[..], b"SETUSER", name];
    let argv: Vec<&[u8]> = head
        .into_iter()
        .chain(rules.iter().map(Vec::as_slice))
        .collect();
    effects.push(&argv);
}
