//! Classes: the limits of an app by name, such as `auth` or `upload`, as data.
//!
//! A class has *tiers*, each a rule and whom it counts; a request has to fit all of
//! them, and takes from all or from none.

mod cidr;
mod condition;
mod file;
mod glob;
mod list;
mod settings;

use std::sync::Arc;

pub use cidr::{Cidr, CidrError, Networks};
pub use condition::{Condition, Request};
pub use glob::{Glob, GlobError};
pub use list::List;
pub use settings::{ClassError, Settings};

use super::rule::Rule;
use super::terms::Terms;

/// Whom a tier counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// The user; where nobody is signed in, the address.
    User,
    /// The client's address, IPv6 by its /64.
    Address,
    /// Everybody together.
    All,
}

impl By {
    /// All of them.
    pub const ALL: [By; 3] = [By::User, By::Address, By::All];

    /// Its name in settings: `user`, `address` or `all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            By::User => "user",
            By::Address => "address",
            By::All => "all",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        By::ALL.into_iter().find(|it| it.as_str() == name)
    }
}

/// Whose keys a class counts in, where these are not our own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Compat {
    /// Those of npm's `@upstash/ratelimit`, so that both share a budget; see
    /// [`compat`](super::compat). A user is counted by its id and an address as it
    /// is spelled, as apps pass them to the package.
    Upstash {
        /// The `prefix` of the package's limiter.
        prefix: String,
    },
}

impl Compat {
    /// The package's prefix where the app names none.
    pub const UPSTASH_PREFIX: &str = "@upstash/ratelimit";

    /// What it is called in settings: `upstash`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Compat::Upstash { .. } => "upstash",
        }
    }
}

/// One rule of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// What it is called in answers and fields, unique in its class: 1 to 30
    /// letters, digits, `-` or `_`.
    pub name: String,
    /// Whom it counts.
    pub by: By,
    /// The rule.
    pub rule: Rule,
    /// Counts and reports, refuses nobody.
    pub shadow: bool,
}

/// The limits of one kind of request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name: 1 to 30 letters, digits, `-` or `_`.
    pub name: String,
    /// Its rules; at least one. Either all count what runs at one time, or none.
    pub tiers: Vec<Tier>,
    /// Without the store, and on the bill.
    pub terms: Terms,
    /// Counts and reports, refuses nobody.
    pub shadow: bool,
    /// Requests that it is for, any of these; where there are none it is only
    /// chosen by its name.
    pub when: Vec<Condition>,
    /// Who passes unasked, and takes nothing.
    pub allow: List,
    /// Who never passes, also where `allow` names it.
    pub deny: List,
    /// Whose keys it counts in, where these are not our own. Such a class has one
    /// tier.
    pub compat: Option<Compat>,
}

impl Class {
    /// A class of these tiers, on the default terms.
    pub fn new(name: &str, tiers: Vec<Tier>) -> Self {
        Class {
            name: name.to_owned(),
            tiers,
            terms: Terms::default(),
            shadow: false,
            when: Vec::new(),
            allow: List::default(),
            deny: List::default(),
            compat: None,
        }
    }
}

/// An app's classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes {
    classes: Vec<Arc<Class>>,
}

impl Classes {
    /// These classes; of two with one name the later one counts.
    pub fn new(classes: impl IntoIterator<Item = Class>) -> Self {
        let mut all = Classes::default();
        for class in classes {
            all.insert(class);
        }
        all
    }

    /// Adds a class, in the place of the one of its name.
    pub fn insert(&mut self, class: Class) {
        let class = Arc::new(class);
        match self.classes.iter_mut().find(|it| it.name == class.name) {
            Some(old) => *old = class,
            None => self.classes.push(class),
        }
    }

    /// The class of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Class>> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// The first class that a request is for.
    pub fn classify(&self, request: &Request<'_>) -> Option<&Arc<Class>> {
        let path = condition::form(request.path);
        self.classes
            .iter()
            .find(|class| class.when.iter().any(|when| when.fits(request, &path)))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Class>> {
        self.classes.iter()
    }
}

/// Longest name of a class or a tier: both stand in a count's name, which has 64.
pub(super) const NAME_MAX: usize = 30;

/// Whether a class or a tier can be named so.
pub(super) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}
