//! A selector: commands with the keys and channels that they may touch.

use super::catalog::{catalog, category};
use super::commands::Commands;
use super::rules::{RuleError, has_blanks, quote, word};
use crate::command::args::is;
use crate::command::spec::{Access, Command, Flags};
use crate::glob;

/// What a key pattern allows.
const READ: u8 = 1;
const WRITE: u8 = 2;

/// Keys that may be read, written, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    allows: u8,
}

impl KeyPattern {
    fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.allows {
            READ => b"%R~",
            WRITE => b"%W~",
            _ => b"~",
        });
        out.extend_from_slice(&self.pattern);
    }
}

/// What a selector, or all of a user's, refuses a request for. The later a
/// variant, the more it says of what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied {
    /// The command.
    Command,
    /// The key at this position.
    Key(usize),
    /// The channel at this position.
    Channel(usize),
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) commands: Commands,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
}

/// The keys of a request, found once for all selectors.
#[derive(Debug, Default)]
pub(crate) struct KeysUsed(Option<Vec<(usize, Access)>>);

impl Selector {
    /// Applies one rule.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let text = word(rule);
        if is(text, "ALLKEYS") || text == b"~*" {
            self.all_keys = true;
            self.keys.clear();
        } else if is(text, "RESETKEYS") {
            self.all_keys = false;
            self.keys.clear();
        } else if is(text, "ALLCHANNELS") || text == b"&*" {
            self.all_channels = true;
            self.channels.clear();
        } else if is(text, "RESETCHANNELS") {
            self.all_channels = false;
            self.channels.clear();
        } else if is(text, "ALLCOMMANDS") || is(text, "+@ALL") {
            self.commands.set_all();
        } else if is(text, "NOCOMMANDS") || is(text, "-@ALL") {
            self.commands.clear();
        } else {
            match rule.split_first() {
                Some((b'~' | b'%', _)) => self.add_keys(rule)?,
                Some((b'&', channel)) => self.add_channel(channel)?,
                Some((sign @ (b'+' | b'-'), _)) => {
                    let named = text.get(1..).unwrap_or_default();
                    self.change_commands(*sign == b'+', named)?;
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (allows, pattern) = match rule {
            [b'%', rest @ ..] => {
                let end = memchr::memchr(b'~', rest).unwrap_or(rest.len());
                let (letters, pattern) = rest.split_at(end);
                let allows = match letters.to_ascii_uppercase().as_slice() {
                    b"R" => READ,
                    b"W" => WRITE,
                    b"RW" | b"WR" => READ | WRITE,
                    _ => return Err(RuleError::Syntax),
                };
                (allows, pattern.get(1..).unwrap_or_default())
            }
            _ => (READ | WRITE, rule.get(1..).unwrap_or_default()),
        };
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => known.allows |= allows,
            None => self.keys.push(KeyPattern {
                pattern: pattern.to_vec(),
                allows,
            }),
        }
        Ok(())
    }

    fn add_channel(&mut self, channel: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_blanks(channel) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == channel) {
            self.channels.push(channel.to_vec());
        }
        Ok(())
    }

    fn change_commands(&mut self, allow: bool, named: &[u8]) -> Result<(), RuleError> {
        if let Some((b'@', name)) = named.split_first() {
            let category = category(name).ok_or(RuleError::Unknown)?;
            self.commands.change_category(category, allow);
            return Ok(());
        }
        let bar = memchr::memrchr(b'|', named).filter(|_| allow);
        let Some(bar) = bar else {
            let number = catalog().find(named).ok_or(RuleError::Unknown)?;
            self.commands.change(number, allow);
            return Ok(());
        };
        let (command, first) = named.split_at(bar);
        let first = first.get(1..).unwrap_or_default();
        let number = catalog().find(command).ok_or(RuleError::Unknown)?;
        let item = catalog().get(number).ok_or(RuleError::Unknown)?;
        if item.is_subcommand {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if first.is_empty() {
            return Err(RuleError::Syntax);
        }
        if item.subcommands.is_empty() {
            self.commands.allow_first_arg(number, first);
        } else {
            let number = catalog().find(named).ok_or(RuleError::Unknown)?;
            self.commands.change(number, true);
        }
        Ok(())
    }

    /// Bytes of its texts, and how many there are.
    pub(crate) fn size(&self) -> (usize, usize) {
        let keys = self.keys.iter().map(|key| key.pattern.len());
        let texts = keys.chain(self.channels.iter().map(Vec::len));
        let (bytes, count) = self.commands.first_args();
        texts.fold((bytes, count), |(bytes, count), length| {
            (bytes + length, count + 1)
        })
    }

    /// Whether it allows the request.
    pub(crate) fn check(
        &self,
        command: &Command,
        argv: &[&[u8]],
        used: &mut KeysUsed,
    ) -> Result<(), Denied> {
        if !command.spec.flags.has(Flags::NO_AUTH) {
            let behind = if command.full_name.contains('|') {
                2
            } else {
                1
            };
            let first = argv.get(behind).copied();
            if !self.commands.allow(command.id, first) {
                return Err(Denied::Command);
            }
        }
        if !self.all_keys {
            let used = used.0.get_or_insert_with(|| command.keys_used(argv));
            for (at, access) in used.iter() {
                let key = argv.get(*at).copied().unwrap_or_default();
                if !self.has_key(key, *access) {
                    return Err(Denied::Key(*at));
                }
            }
        }
        let (channels, literally) = match command.spec.name {
            "publish" | "spublish" => (1..2, false),
            "subscribe" | "ssubscribe" => (1..argv.len(), false),
            "psubscribe" => (1..argv.len(), true),
            _ => return Ok(()),
        };
        if self.all_channels {
            return Ok(());
        }
        for at in channels {
            let channel = argv.get(at).copied().unwrap_or_default();
            if !self.has_channel(channel, literally) {
                return Err(Denied::Channel(at));
            }
        }
        Ok(())
    }

    /// Whether the key may be used in this way.
    fn has_key(&self, key: &[u8], access: Access) -> bool {
        let read = if access.is_read() { READ } else { 0 };
        let needs = read | if access.is_write() { WRITE } else { 0 };
        self.keys
            .iter()
            .any(|known| known.allows & needs == needs && glob::matches(&known.pattern, key))
    }

    /// Whether the channel may be used; `literally` for patterns, which have to be
    /// among its own.
    pub(crate) fn has_channel(&self, channel: &[u8], literally: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|known| {
                if literally {
                    known == channel
                } else {
                    glob::matches(known, channel)
                }
            })
    }

    /// Whether it allows every channel.
    pub(crate) const fn has_every_channel(&self) -> bool {
        self.all_channels
    }

    /// Its patterns of channels.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &[u8]> {
        self.channels.iter().map(Vec::as_slice)
    }

    /// Whether it allows reading every key, by a pattern that says so.
    pub(crate) fn reads_every_key(&self) -> bool {
        let every = |known: &KeyPattern| known.allows & READ != 0 && known.pattern == b"*";
        self.all_keys || self.keys.iter().any(every)
    }

    /// Its key patterns as rules.
    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let each = self.keys.iter().map(|key| {
            let mut text = Vec::new();
            key.describe(&mut text);
            text
        });
        each.collect::<Vec<_>>().join(&b' ')
    }

    /// Its channels as rules.
    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let each = self
            .channels
            .iter()
            .map(|channel| [b"&", &channel[..]].concat());
        each.collect::<Vec<_>>().join(&b' ')
    }

    /// Adds it as ACL LIST shows it.
    pub(crate) fn describe(&self, out: &mut Vec<u8>) {
        let keys = self.describe_keys();
        out.extend_from_slice(&keys);
        if !keys.is_empty() {
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend_from_slice(b"resetchannels ");
        }
        let channels = self.describe_channels();
        out.extend_from_slice(&channels);
        if !channels.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&self.commands.describe());
    }

    /// The rules that make it of an empty one, each for itself.
    pub(crate) fn rules(&self) -> Vec<Vec<u8>> {
        let mut rules = Vec::new();
        if self.all_keys {
            rules.push(b"~*".to_vec());
        }
        for key in &self.keys {
            let mut rule = Vec::new();
            // `%R~*` and `%W~*` together: as `~*`, which Redis shows, it would be
            // `allkeys`, and refuse the patterns behind it.
            if key.allows == READ | WRITE && key.pattern == b"*" {
                rule.extend_from_slice(b"%RW~*");
            } else {
                key.describe(&mut rule);
            }
            rules.push(rule);
        }
        if self.all_channels {
            rules.push(b"&*".to_vec());
        }
        for channel in &self.channels {
            rules.push([b"&", &channel[..]].concat());
        }
        rules.extend(self.commands.rules());
        rules
    }

    /// The same as one rule in parentheses, quoted where need be.
    pub(crate) fn parenthesised(&self) -> Vec<u8> {
        let mut rule = vec![b'('];
        for (at, part) in self.rules().iter().enumerate() {
            if at > 0 {
                rule.push(b' ');
            }
            quote(part, &mut rule);
        }
        rule.push(b')');
        rule
    }
}
