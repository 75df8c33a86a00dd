//! Keyspace events: what happens to keys, told to subscribers of
//! `__keyspace@0__:<key>` and `__keyevent@0__:<event>`.
//!
//! A handler raises an event with [`Db::notify`](crate::keyspace::Db::notify).
//! Nothing is published then: events wait with the unit that raised them, in
//! order, together with what the unit publishes itself, and go out when its
//! effects are logged. A unit that is undone has told nobody anything, unless it
//! had more to tell than [`WAITING_MAX`] bytes: such a unit tells as it goes.
//!
//! Off by default, as in Redis: an event costs one test of a mask then.

use crate::keyspace::Key;
use crate::pubsub::Hub;

/// What kind of change an event tells of; each is chosen by its letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// `g`: DEL, EXPIRE, RENAME and others that fit any type.
    Generic,
    /// `$`: strings.
    String,
    /// `l`: lists.
    List,
    /// `s`: sets.
    Set,
    /// `h`: hashes.
    Hash,
    /// `z`: sorted sets.
    ZSet,
    /// `x`: a key's time has come.
    Expired,
    /// `e`: a key went to make room.
    Evicted,
    /// `t`: streams.
    Stream,
    /// `d`: modules' types.
    Module,
    /// `n`: a key is new; not among those that `A` stands for.
    New,
    /// `m`: a key that was read is not there; not among those either.
    Miss,
}

/// The letters in the order in which CONFIG shows them.
const LETTERS: [(u8, u16); 14] = [
    (b'g', Event::Generic.bit()),
    (b'$', Event::String.bit()),
    (b'l', Event::List.bit()),
    (b's', Event::Set.bit()),
    (b'h', Event::Hash.bit()),
    (b'z', Event::ZSet.bit()),
    (b'x', Event::Expired.bit()),
    (b'e', Event::Evicted.bit()),
    (b't', Event::Stream.bit()),
    (b'd', Event::Module.bit()),
    (b'n', Event::New.bit()),
    (b'K', BY_KEY),
    (b'E', BY_EVENT),
    (b'm', Event::Miss.bit()),
];

/// `A`: the first ten.
const ALL: u16 = (1 << 10) - 1;
/// `K`: channels named after keys.
const BY_KEY: u16 = 1 << 14;
/// `E`: channels named after events.
const BY_EVENT: u16 = 1 << 15;

impl Event {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Which events are published, and how: `notify-keyspace-events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(u16);

impl Events {
    /// From CONFIG's letters; `None` where one means nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in text.bytes() {
            bits |= match letter {
                b'A' => ALL,
                _ => LETTERS.iter().find(|(known, _)| *known == letter)?.1,
            };
        }
        Some(Events(bits))
    }

    /// As CONFIG shows them. Redis leaves `n` out beside `A`.
    pub fn text(self) -> String {
        let all = self.0 & ALL == ALL;
        let hidden = if all { ALL | Event::New.bit() } else { 0 };
        let mut text = String::from(if all { "A" } else { "" });
        for (letter, bit) in LETTERS {
            if self.0 & bit & !hidden != 0 {
                text.push(char::from(letter));
            }
        }
        text
    }

    /// None, where there is no kind of channel to publish them in.
    const fn heard(self) -> Self {
        if self.0 & (BY_KEY | BY_EVENT) == 0 {
            Events(0)
        } else {
            self
        }
    }
}

/// Bytes that may wait after a command: more than any subscriber takes.
const WAITING_MAX: usize = if cfg!(test) { 1 << 16 } else { 64 << 20 };

/// What a unit has to tell when it is done.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chosen: Events,
    waiting: Vec<Waiting>,
    bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    Event(&'static str, Key),
    /// Published by the unit itself.
    Message(Box<[u8]>, Box<[u8]>),
}

impl Waiting {
    fn bytes(&self) -> usize {
        let data = match self {
            Waiting::Event(_, key) => key.len(),
            Waiting::Message(channel, payload) => channel.len() + payload.len(),
        };
        data + size_of::<Self>()
    }
}

impl Outbox {
    pub(crate) fn choose(&mut self, events: Events) {
        self.chosen = events.heard();
    }

    /// Whether events of this kind are published.
    #[inline]
    pub(crate) const fn wants(&self, event: Event) -> bool {
        self.chosen.0 & event.bit() != 0
    }

    /// Whether any are.
    #[inline]
    pub(crate) const fn is_on(&self) -> bool {
        self.chosen.0 != 0
    }

    #[cold]
    pub(crate) fn event(&mut self, name: &'static str, key: &[u8]) {
        self.push(Waiting::Event(name, key.into()));
    }

    /// Keeps a message behind the events that came before it.
    pub(crate) fn message(&mut self, channel: &[u8], payload: &[u8]) {
        self.push(Waiting::Message(channel.into(), payload.into()));
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.waiting.push(waiting);
    }

    /// Whether it is too much to keep for the rest of the unit.
    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes > WAITING_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A place to return to with [`Outbox::truncate`].
    pub(crate) fn mark(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets what came after the mark.
    pub(crate) fn truncate(&mut self, mark: usize) {
        self.waiting.truncate(mark);
        self.bytes = self.waiting.iter().map(Waiting::bytes).sum();
    }

    pub(crate) fn clear(&mut self) {
        self.truncate(0);
        self.waiting.shrink_to(64);
    }

    /// Publishes what waits, in order.
    #[cold]
    pub(crate) fn publish(&mut self, hub: &Hub) {
        let mut channel = Vec::with_capacity(64);
        let name_channel = |channel: &mut Vec<u8>, kind: &str, name: &[u8]| {
            channel.clear();
            channel.extend_from_slice(kind.as_bytes());
            channel.extend_from_slice(b"@0__:");
            channel.extend_from_slice(name);
        };
        for waiting in &self.waiting {
            match waiting {
                Waiting::Message(channel, payload) => {
                    hub.publish(channel, payload);
                }
                Waiting::Event(event, key) => {
                    if self.chosen.0 & BY_KEY != 0 {
                        name_channel(&mut channel, "__keyspace", key);
                        hub.publish(&channel, event.as_bytes());
                    }
                    if self.chosen.0 & BY_EVENT != 0 {
                        name_channel(&mut channel, "__keyevent", event.as_bytes());
                        hub.publish(&channel, key);
                    }
                }
            }
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_as_redis_shows_them() {
        for (given, shown) in [
            ("KEA", "AKE"),
            ("g$lshzxetdKE", "AKE"),
            ("g$lshzxetdnmKE", "AKEm"),
            ("nmK", "nKm"),
            ("", ""),
            ("Kgn", "gnK"),
            ("EAmn", "AEm"),
            ("dtE", "tdE"),
            ("ndtexzhsl$", "$lshzxetdn"),
        ] {
            assert_eq!(
                Events::parse(given).map(Events::text).as_deref(),
                Some(shown)
            );
        }
        assert_eq!(Events::parse("Kq"), None);
        assert_eq!(Events::parse("k"), None);
    }

    #[test]
    fn nothing_is_collected_for_no_channel() {
        let mut outbox = Outbox::default();
        outbox.choose(Events::parse("A").unwrap());
        assert!(!outbox.is_on() && !outbox.wants(Event::Generic));
        outbox.choose(Events::parse("K$").unwrap());
        assert!(outbox.wants(Event::String) && !outbox.wants(Event::Generic));
    }

    #[test]
    fn what_is_taken_back_makes_room() {
        let mut outbox = Outbox::default();
        outbox.event("set", b"first");
        let mark = outbox.mark();
        while !outbox.is_full() {
            outbox.event("set", b"key");
        }
        outbox.truncate(mark);
        assert!(!outbox.is_full() && outbox.mark() == 1);
    }
}
