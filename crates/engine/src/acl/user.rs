//! A user: selectors, passwords, and whether it may log in.

use sha2::{Digest as _, Sha256};

use super::rules::{self, RuleError, word};
use super::selector::{Denied, KeysUsed, Selector};
use super::token;
use crate::command::args::is;
use crate::command::spec::Command;

/// Patterns, passwords and first arguments that a user may have; a selector
/// counts for some of them.
pub(crate) const RULES_MAX: usize = 16_384;
/// Bytes of their texts.
pub(crate) const BYTES_MAX: usize = 1 << 20;
/// As many texts a selector counts for.
const SELECTOR: usize = 64;
/// What a text takes beyond its bytes.
const OVERHEAD: usize = 64;
/// A rule of more bytes is counted at once.
const LONG: usize = 4096;

/// SHA-256 of a password.
pub(crate) type Hash = [u8; 32];

/// See the module. A user without a name, which is where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    on: bool,
    nopass: bool,
    /// Said, and without effect: values that come in are always checked.
    sanitize: bool,
    skip_sanitize: bool,
    passwords: Vec<Hash>,
    root: Selector,
    more: Vec<Selector>,
}

impl User {
    /// The user that every keyspace has: everything, without a password.
    pub(crate) fn unlimited() -> Self {
        let mut user = User {
            on: true,
            nopass: true,
            ..User::default()
        };
        for rule in [&b"~*"[..], b"&*", b"+@all"] {
            let applied = user.root.apply(rule);
            debug_assert!(applied.is_ok());
        }
        user
    }

    /// Whether it may log in.
    pub(crate) const fn is_on(&self) -> bool {
        self.on
    }

    /// Whether it logs in with any password.
    pub(crate) const fn needs_no_password(&self) -> bool {
        self.nopass
    }

    /// Whether `password` is one of its passwords. Hashes are compared: how long
    /// that takes says nothing of a password.
    pub(crate) fn has_password(&self, password: &[u8]) -> bool {
        let hash: Hash = Sha256::digest(password).into();
        self.passwords.contains(&hash)
    }

    /// The user of name `name` after these rules; what fails changes nothing.
    /// The error stands beside the rule that it is about.
    pub(crate) fn with_rules<'r>(
        &self,
        name: &[u8],
        rules: &'r [std::borrow::Cow<'_, [u8]>],
    ) -> Result<Self, (&'r [u8], RuleError)> {
        let mut user = self.clone();
        for (at, rule) in rules.iter().enumerate() {
            let mut applied = user.apply(name, rule);
            // Counting takes as long as there are texts, so it is not done each time.
            if rule.len() > LONG || at % 64 == 63 || at + 1 == rules.len() {
                applied = applied.and_then(|()| user.check_size());
            }
            applied.map_err(|error| (&**rule, error))?;
        }
        Ok(user)
    }

    fn check_size(&self) -> Result<(), RuleError> {
        let (bytes, count) = self.size();
        if count > RULES_MAX || bytes > BYTES_MAX {
            return Err(RuleError::TooMany);
        }
        Ok(())
    }

    /// Bytes and number of its texts, passwords and selectors.
    fn size(&self) -> (usize, usize) {
        let selectors = std::iter::once(&self.root).chain(&self.more);
        selectors.map(Selector::size).fold(
            (
                32 * self.passwords.len(),
                self.passwords.len() + SELECTOR * self.more.len(),
            ),
            |sum, size| (sum.0 + size.0, sum.1 + size.1),
        )
    }

    /// Roughly the memory that it takes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let (bytes, count) = self.size();
        bytes + OVERHEAD * (count + SELECTOR)
    }

    fn apply(&mut self, name: &[u8], rule: &[u8]) -> Result<(), RuleError> {
        let text = word(rule);
        match rule {
            [] => {}
            _ if is(text, "ON") => self.on = true,
            _ if is(text, "OFF") => self.on = false,
            _ if is(text, "SKIP-SANITIZE-PAYLOAD") => {
                (self.skip_sanitize, self.sanitize) = (true, false);
            }
            _ if is(text, "SANITIZE-PAYLOAD") => {
                (self.skip_sanitize, self.sanitize) = (false, true);
            }
            _ if is(text, "NOPASS") => {
                self.nopass = true;
                self.passwords.clear();
            }
            _ if is(text, "RESETPASS") => {
                self.nopass = false;
                self.passwords.clear();
            }
            [b'>', password @ ..] => self.add_password(hash_of(name, password)),
            [b'#', hash @ ..] => self.add_password(parse_hash(hash)?),
            [b'<', password @ ..] => self.remove_password(hash_of(name, password))?,
            [b'!', hash @ ..] => self.remove_password(parse_hash(hash)?)?,
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::default();
                for rule in rules::split(inner) {
                    selector.apply(&rule)?;
                }
                self.more.push(selector);
            }
            _ if is(text, "CLEARSELECTORS") => self.more.clear(),
            _ if is(text, "RESET") => {
                *self = User {
                    sanitize: true,
                    ..User::default()
                }
            }
            _ => self.root.apply(rule)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: Hash) -> Result<(), RuleError> {
        let known = self.passwords.iter().position(|known| *known == hash);
        self.passwords
            .remove(known.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Whether one of its selectors allows the request; if none, what the one
    /// refused that came furthest.
    pub(crate) fn check(&self, command: &Command, argv: &[&[u8]]) -> Result<(), Denied> {
        let mut used = KeysUsed::default();
        let mut furthest = Denied::Command;
        for selector in self.selectors() {
            match selector.check(command, argv, &mut used) {
                Ok(()) => return Ok(()),
                Err(denied) => furthest = furthest.max(denied),
            }
        }
        Err(furthest)
    }

    /// Whether one of its selectors allows the request and reading every key.
    pub(crate) fn reads_every_key(&self, command: &Command, argv: &[&[u8]]) -> bool {
        let mut used = KeysUsed::default();
        self.selectors().any(|selector| {
            selector.reads_every_key() && selector.check(command, argv, &mut used).is_ok()
        })
    }

    /// Whether it may listen to the channel, or `literally` to the pattern.
    pub(crate) fn may_listen(&self, channel: &[u8], literally: bool) -> bool {
        self.selectors()
            .any(|selector| selector.has_channel(channel, literally))
    }

    /// Whether it may listen to all that `before` could listen to, by the words of
    /// their rules.
    pub(crate) fn keeps_channels_of(&self, before: &User) -> bool {
        self.selectors().any(Selector::has_every_channel)
            || before.selectors().all(|selector| {
                !selector.has_every_channel()
                    && selector
                        .channels()
                        .all(|channel| self.may_listen(channel, true))
            })
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.more)
    }

    /// The selector outside of parentheses.
    pub(crate) const fn root(&self) -> &Selector {
        &self.root
    }

    /// Those in parentheses.
    pub(crate) fn more(&self) -> &[Selector] {
        &self.more
    }

    /// Its flags as rules. `guarded` users are not shown as without a password.
    pub(crate) fn flags(&self, guarded: bool) -> Vec<&'static str> {
        let flags = [
            (self.on, "on"),
            (!self.on, "off"),
            (self.nopass && !guarded, "nopass"),
            (self.skip_sanitize, "skip-sanitize-payload"),
            (self.sanitize, "sanitize-payload"),
        ];
        let said = flags.into_iter().filter(|(said, _)| *said);
        said.map(|(_, name)| name).collect()
    }

    /// Its passwords' hashes in hexadecimal.
    pub(crate) fn passwords(&self) -> impl Iterator<Item = String> {
        self.passwords.iter().map(hexadecimal)
    }

    /// It as ACL LIST shows it behind its name.
    pub(crate) fn describe(&self, guarded: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for flag in self.flags(guarded) {
            out.extend_from_slice(flag.as_bytes());
            out.push(b' ');
        }
        for hash in self.passwords() {
            out.extend_from_slice(format!("#{hash} ").as_bytes());
        }
        self.root.describe(&mut out);
        for selector in &self.more {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }

    /// Rules that make it of any earlier state of the same user, and of a new
    /// one: what the journal keeps.
    pub(crate) fn to_rules(&self) -> Vec<Vec<u8>> {
        let begin = [
            "off",
            "resetpass",
            "resetkeys",
            "resetchannels",
            "-@all",
            "clearselectors",
        ];
        let flags = self.flags(false).into_iter();
        let words = begin.into_iter().chain(flags);
        let mut rules: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
        rules.extend(self.passwords().map(|hash| format!("#{hash}").into_bytes()));
        rules.extend(self.root.rules());
        rules.extend(self.more.iter().map(Selector::parenthesised));
        rules
    }
}

/// The hash that is kept of a password; of a token of this user, that of the
/// password in it.
fn hash_of(name: &[u8], password: &[u8]) -> Hash {
    Sha256::digest(token::password_in(name, password)).into()
}

fn parse_hash(text: &[u8]) -> Result<Hash, RuleError> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(RuleError::BadHash),
    };
    let digits: &[u8; 64] = text.try_into().map_err(|_| RuleError::BadHash)?;
    let (pairs, _) = digits.as_chunks::<2>();
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Ok(hash)
}

fn hexadecimal(hash: &Hash) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}
