//! Publish and subscribe within a keyspace.
//!
//! A message is one allocation however many receive it; it waits for each of them
//! in its [`Mailbox`].

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::acl::Account;
use crate::glob;
use crate::mailbox::{Mailbox, Post};
use crate::reply::Reply;

/// A published message on its way to one subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The pattern that matched, for a pattern subscription.
    pub pattern: Option<Arc<[u8]>>,
    /// Where it was published.
    pub channel: Arc<[u8]>,
    /// What was published.
    pub payload: Arc<[u8]>,
}

impl Message {
    /// The push that a RESP client reads.
    pub fn to_reply(&self) -> Reply {
        let mut parts = Vec::with_capacity(4);
        if let Some(pattern) = &self.pattern {
            parts.push(Reply::bulk("pmessage"));
            parts.push(Reply::bulk(pattern));
        } else {
            parts.push(Reply::bulk("message"));
        }
        parts.push(Reply::bulk(&self.channel));
        parts.push(Reply::bulk(&self.payload));
        Reply::Push(parts)
    }
}

/// Bytes that many hold.
type Name = Arc<[u8]>;

/// Who listens to what.
#[derive(Debug, Default)]
pub struct Hub(Mutex<Listeners>);

#[derive(Debug, Default)]
struct Listeners {
    channels: AHashMap<Arc<[u8]>, Vec<Arc<Mailbox>>>,
    patterns: AHashMap<Arc<[u8]>, Vec<Arc<Mailbox>>>,
}

/// A channel by name, or all that match a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// One channel.
    Channel,
    /// A glob pattern.
    Pattern,
}

impl Topic {
    /// Whether a user may listen to it.
    pub(crate) fn is_allowed(self, account: &Account, name: &[u8]) -> bool {
        let literally = self == Topic::Pattern;
        !account.is_gone() && account.user().may_listen(name, literally)
    }
}

impl Listeners {
    fn of(&mut self, topic: Topic) -> &mut AHashMap<Arc<[u8]>, Vec<Arc<Mailbox>>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
        }
    }
}

impl Hub {
    /// Adds a listener.
    pub fn subscribe(&self, topic: Topic, name: &Arc<[u8]>, mailbox: &Arc<Mailbox>) {
        self.0
            .lock()
            .of(topic)
            .entry(name.clone())
            .or_default()
            .push(mailbox.clone());
    }

    /// Removes a listener.
    pub fn unsubscribe(&self, topic: Topic, name: &[u8], mailbox: &Arc<Mailbox>) {
        let mut listeners = self.0.lock();
        let topics = listeners.of(topic);
        if let Some(mailboxes) = topics.get_mut(name) {
            mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
            if mailboxes.is_empty() {
                topics.remove(name);
            }
        }
    }

    /// The mailboxes of a user that listen to what it may not, or to anything
    /// once the user is gone.
    pub(crate) fn forbidden(&self, account: &Arc<Account>) -> Vec<Arc<Mailbox>> {
        let mut found: Vec<Arc<Mailbox>> = Vec::new();
        let listeners = self.0.lock();
        let channels = listeners.channels.iter().map(|it| (Topic::Channel, it));
        let patterns = listeners.patterns.iter().map(|it| (Topic::Pattern, it));
        for (topic, (name, mailboxes)) in channels.chain(patterns) {
            let owned = mailboxes.iter().filter(|mailbox| {
                let owner = mailbox.owner();
                owner.is_some_and(|owner| Arc::ptr_eq(&owner, account))
            });
            let mut owned = owned.peekable();
            if owned.peek().is_some() && !topic.is_allowed(account, name) {
                found.extend(owned.cloned());
            }
        }
        found
    }

    /// Delivers to all listeners; answers how many there were.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let listeners = self.0.lock();
        let mut parts = None::<(Name, Name)>;
        let mut receivers = 0;
        let mut send = |pattern: Option<&Arc<[u8]>>, mailboxes: &[Arc<Mailbox>]| {
            let (channel, payload) = parts.get_or_insert_with(|| (channel.into(), payload.into()));
            for mailbox in mailboxes {
                receivers += usize::from(mailbox.deliver(Post::Message(Message {
                    pattern: pattern.cloned(),
                    channel: channel.clone(),
                    payload: payload.clone(),
                })));
            }
        };
        if let Some(mailboxes) = listeners.channels.get(channel) {
            send(None, mailboxes);
        }
        for (pattern, mailboxes) in &listeners.patterns {
            if glob::matches(pattern, channel) {
                send(Some(pattern), mailboxes);
            }
        }
        receivers
    }

    /// How many listeners [`Hub::publish`] would deliver to.
    pub fn receivers(&self, channel: &[u8]) -> usize {
        let listeners = self.0.lock();
        let open = |mailboxes: &[Arc<Mailbox>]| {
            let open = mailboxes.iter().filter(|mailbox| !mailbox.is_closed());
            open.count()
        };
        let by_name = listeners.channels.get(channel).map_or(0, |all| open(all));
        let by_pattern = listeners.patterns.iter();
        let by_pattern = by_pattern.filter(|(pattern, _)| glob::matches(pattern, channel));
        by_name + by_pattern.map(|(_, all)| open(all)).sum::<usize>()
    }

    /// Channels with listeners, that match `pattern` if one is given.
    pub fn channels(&self, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let listeners = self.0.lock();
        let wanted = |name: &&Arc<[u8]>| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        listeners.channels.keys().filter(wanted).cloned().collect()
    }

    /// Number of listeners to one channel by name.
    pub fn count(&self, channel: &[u8]) -> usize {
        self.0.lock().channels.get(channel).map_or(0, Vec::len)
    }

    /// Number of distinct patterns.
    pub fn patterns(&self) -> usize {
        self.0.lock().patterns.len()
    }
}
