//! Classes: the limits of an app by name, such as `auth` or `upload`, as data.
//!
//! A class has *tiers*, each a rule and whom it counts; a request has to fit all of
//! them, and takes from all or from none.

use std::sync::Arc;

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

/// One rule of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// What it is called in answers and fields, unique in its class.
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
    /// Its name.
    pub name: String,
    /// Its rules; at least one.
    pub tiers: Vec<Tier>,
    /// Without the store, and on the bill.
    pub terms: Terms,
    /// Counts and reports, refuses nobody.
    pub shadow: bool,
}

impl Class {
    /// A class of these tiers, on the default terms.
    pub fn new(name: &str, tiers: Vec<Tier>) -> Self {
        Class {
            name: name.to_owned(),
            tiers,
            terms: Terms::default(),
            shadow: false,
        }
    }
}

/// An app's classes.
#[derive(Debug, Clone, Default)]
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

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Class>> {
        self.classes.iter()
    }
}
