//! Lists of who passes a class unasked, and of who never passes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cidr::{Cidr, Networks};
use super::glob::{Glob, GlobError};

/// Bytes of a user agent that are looked at; what follows is not.
const AGENT_MAX: usize = 1024;

/// Users by their ids, addresses by their networks, user agents by patterns. Users,
/// addresses and agents without a `*` are looked up in a logarithm of their number;
/// patterns are tried one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    users: BTreeSet<Box<str>>,
    addresses: Networks,
    /// In lower case.
    agents: BTreeSet<Box<str>>,
    patterns: Vec<Glob>,
}

impl List {
    /// A list of these. User agents are compared in either case, and may hold `*`
    /// for anything.
    pub fn new<'a>(
        users: impl IntoIterator<Item = &'a str>,
        addresses: impl IntoIterator<Item = Cidr>,
        user_agents: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, GlobError> {
        let mut list = List {
            users: users.into_iter().map(Box::from).collect(),
            addresses: addresses.into_iter().collect(),
            ..List::default()
        };
        for agent in user_agents {
            list.add_agent(agent)?;
        }
        Ok(list)
    }

    pub(super) fn add_user(&mut self, user: &str) {
        self.users.insert(user.into());
    }

    pub(super) fn set_addresses(&mut self, addresses: Networks) {
        self.addresses = addresses;
    }

    pub(super) fn add_agent(&mut self, agent: &str) -> Result<(), GlobError> {
        if agent.contains('*') {
            self.patterns.push(Glob::text(agent)?);
        } else if agent.is_empty() {
            return Err(GlobError::Empty);
        } else {
            self.agents.insert(agent.to_ascii_lowercase().into());
        }
        Ok(())
    }

    /// Whether any of these is on the list.
    pub fn names(
        &self,
        user: Option<&str>,
        address: Option<IpAddr>,
        user_agent: Option<&str>,
    ) -> bool {
        user.is_some_and(|user| self.users.contains(user))
            || address.is_some_and(|address| self.addresses.contains(address))
            || user_agent.is_some_and(|agent| self.names_agent(agent))
    }

    fn names_agent(&self, agent: &str) -> bool {
        if self.agents.is_empty() && self.patterns.is_empty() {
            return false;
        }
        let agent = match agent.char_indices().find(|(at, _)| *at >= AGENT_MAX) {
            Some((at, _)) => agent.get(..at).unwrap_or(agent),
            None => agent,
        };
        let lower: Cow<'_, str> = if agent.bytes().any(|byte| byte.is_ascii_uppercase()) {
            agent.to_ascii_lowercase().into()
        } else {
            agent.into()
        };
        self.agents.contains(&*lower) || self.patterns.iter().any(|it| it.matches(&lower))
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.addresses.is_empty()
            && self.agents.is_empty()
            && self.patterns.is_empty()
    }
}
