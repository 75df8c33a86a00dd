//! The guard: checks requests against an app's classes. What stands before routes,
//! the HTTP API and the tower layer are made of it.
//!
//! A tier's count is named `<class>.<tier>`, so classes share nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sangam_store::Store;
use smallvec::SmallVec;

use super::class::{By, Class, Classes};
use super::decision::{Decision, Outcome, Ruled};
use super::limiter::{Limit, LimitError, Limiter};

/// Whose request it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The user who is signed in: an id that the client cannot choose.
    pub user: Option<&'a str>,
    /// The client's address, as trusted proxies tell it.
    pub address: Option<IpAddr>,
    /// What the client says that it is.
    pub user_agent: Option<&'a str>,
}

/// Why a request cannot be checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GuardError {
    /// No class of that name.
    #[error("there is no class of limits named {0:?}")]
    Class(String),
    /// The request does not say whom to count.
    #[error("class {class:?} counts by {}, which the request does not tell", by.as_str())]
    Subject {
        /// The class.
        class: String,
        /// What is missing.
        by: By,
    },
    /// The check.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// One tier's part of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its place in [`Class::tiers`].
    pub tier: usize,
    /// What the rule answers.
    pub outcome: Outcome,
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The class that it was checked against.
    pub class: Arc<Class>,
    /// Whether it may go on. What may not has consumed nothing.
    pub allowed: bool,
    /// Who decided.
    pub ruled: Ruled,
    /// Whether the rules alone would have let it through: differs from `allowed`
    /// in shadow mode.
    pub fits: bool,
    /// The tiers that were asked; empty where none was.
    pub tiers: SmallVec<[Judged; 4]>,
    /// When to ask again; zero where it fits, `None` where nobody knows.
    pub retry_after: Option<Duration>,
}

/// Checks requests against classes, over a store that other instances share. Clones
/// share everything.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limiter: Limiter,
    classes: RwLock<Arc<Classes>>,
}

/// Whom a class counts in a request: an id for each tier.
type Ids = SmallVec<[String; 4]>;

impl Guard {
    /// A guard of these classes over a store.
    pub fn new(store: Store, classes: Classes) -> Self {
        Guard::over(Limiter::new(store), classes)
    }

    /// A guard with a limiter of one's own.
    pub fn over(limiter: Limiter, classes: Classes) -> Self {
        Guard(Arc::new(Inner {
            limiter,
            classes: RwLock::new(Arc::new(classes)),
        }))
    }

    /// The limiter below.
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// The classes as they are now.
    pub fn classes(&self) -> Arc<Classes> {
        self.0.classes.read().clone()
    }

    /// Puts other classes in their place; counts stay.
    pub fn replace(&self, classes: Classes) {
        *self.0.classes.write() = Arc::new(classes);
    }

    /// Takes `cost` from each tier of a class, or from none.
    pub async fn check(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<Verdict, GuardError> {
        let class = self.class(class)?;
        let ids = ids(&class, subject)?;
        let limits = limits(&class, &ids);
        let limiter = &self.0.limiter;
        let decision = limiter.check_with(class.terms, &limits, cost).await?;
        drop(limits);
        Ok(verdict(class, decision))
    }

    /// What a check would answer; takes nothing.
    pub async fn peek(
        &self,
        class: &str,
        subject: &Subject<'_>,
        cost: u64,
    ) -> Result<Verdict, GuardError> {
        let class = self.class(class)?;
        let ids = ids(&class, subject)?;
        let decision = self.0.limiter.peek(&limits(&class, &ids), cost).await?;
        Ok(verdict(class, decision))
    }

    fn class(&self, name: &str) -> Result<Arc<Class>, GuardError> {
        let classes = self.0.classes.read();
        let class = classes.get(name).cloned();
        class.ok_or_else(|| GuardError::Class(name.chars().take(64).collect()))
    }
}

/// Whom each tier counts in this request.
fn ids(class: &Class, subject: &Subject<'_>) -> Result<Ids, GuardError> {
    let address = || subject.address.map(spell);
    let missing = |by| GuardError::Subject {
        class: class.name.clone(),
        by,
    };
    class
        .tiers
        .iter()
        .map(|tier| match tier.by {
            By::User => match subject.user {
                Some(user) => Ok(format!("u:{user}")),
                None => address().ok_or_else(|| missing(By::User)),
            },
            By::Address => address().ok_or_else(|| missing(By::Address)),
            By::All => Ok("all".to_owned()),
        })
        .collect()
}

/// An address as it is counted: IPv6 by its /64, which one client has as a whole.
fn spell(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("a:{address}"),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("a:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn limits<'a>(class: &'a Class, ids: &'a Ids) -> SmallVec<[Limit<'a>; 4]> {
    class
        .tiers
        .iter()
        .zip(ids)
        .map(|(tier, id)| Limit {
            name: &tier.name,
            rule: tier.rule,
            id: id.as_bytes(),
        })
        .collect()
}

fn verdict(class: Arc<Class>, decision: Decision) -> Verdict {
    Verdict {
        allowed: decision.allowed || class.shadow,
        fits: decision.allowed,
        ruled: decision.ruled,
        tiers: decision
            .outcomes
            .into_iter()
            .enumerate()
            .map(|(tier, outcome)| Judged { tier, outcome })
            .collect(),
        retry_after: decision.retry_after,
        class,
    }
}
