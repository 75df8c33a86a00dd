//! Scripts that say `allow-key-locking`, which only Upstash knows.
//!
//! A Redis refuses the flag, so it is taken out of the text, whose SHA-1 is then
//! another. The client goes on with the one that it computed; this remembers which
//! text it means, so that EVALSHA stays one command, and the text itself, in case
//! the server has lost it. The least recently used go first.
//!
//! What the flag promises, that a script touches its declared keys only, is not
//! checked: a Redis runs one script at a time anyway.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;
use sha1::{Digest as _, Sha1};

/// Scripts that are remembered.
const SCRIPTS_MAX: usize = 10_000;
/// Bytes of their texts.
const BYTES_MAX: usize = 16 << 20;

type Sha = [u8; 20];

/// A script as the store knows it.
#[derive(Debug)]
pub(super) struct Known {
    /// Its text without the flag.
    pub(super) text: Vec<u8>,
    /// That text's SHA-1, in hexadecimal digits.
    pub(super) sha1: String,
}

/// Scripts by the SHA-1 of the client's text.
#[derive(Debug, Default)]
pub(super) struct Scripts(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    known: HashMap<Sha, (Arc<Known>, u64)>,
    /// The same by when they were used last.
    order: BTreeMap<u64, Sha>,
    uses: u64,
    bytes: usize,
}

impl Scripts {
    /// The script of a text with the flag, which is remembered; `None` where it
    /// does not have the flag.
    pub(super) fn learn(&self, text: &[u8]) -> Option<Arc<Known>> {
        let stripped = without_flag(text)?;
        let sha = Sha1::digest(text).into();
        let mut recent = self.0.lock();
        if let Some(known) = recent.touch(sha) {
            return Some(known);
        }
        let known = Arc::new(Known {
            sha1: hex_sha1(&stripped),
            text: stripped,
        });
        recent.insert(sha, known.clone());
        Some(known)
    }

    /// The script that a client names so.
    pub(super) fn find(&self, sha1: &[u8]) -> Option<Arc<Known>> {
        let sha = parse(sha1)?;
        self.0.lock().touch(sha)
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        *self.0.lock() = Recent::default();
    }
}

impl Recent {
    fn touch(&mut self, sha: Sha) -> Option<Arc<Known>> {
        let (known, used) = self.known.get_mut(&sha)?;
        self.uses += 1;
        self.order.remove(used);
        *used = self.uses;
        let known = known.clone();
        self.order.insert(self.uses, sha);
        Some(known)
    }

    fn insert(&mut self, sha: Sha, known: Arc<Known>) {
        self.uses += 1;
        self.bytes += known.text.len();
        self.order.insert(self.uses, sha);
        self.known.insert(sha, (known, self.uses));
        // One that is larger than all the room there is stays until the next.
        while self.known.len() > SCRIPTS_MAX || (self.bytes > BYTES_MAX && self.known.len() > 1) {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            if let Some((gone, _)) = self.known.remove(&oldest) {
                self.bytes -= gone.text.len();
            }
        }
    }
}

/// SHA-1 in hexadecimal digits.
pub(super) fn hex_sha1(text: &[u8]) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn parse(hex: &[u8]) -> Option<Sha> {
    let (pairs, []) = hex.as_chunks::<2>() else {
        return None;
    };
    let mut sha = Sha::default();
    if pairs.len() != sha.len() || !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in sha.iter_mut().zip(pairs) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(sha)
}

/// The text without the flag; where no other is left, without what the first line
/// says, so that lines keep their numbers.
fn without_flag(text: &[u8]) -> Option<Vec<u8>> {
    const FLAG: &str = "allow-key-locking";
    let end = text.iter().position(|byte| *byte == b'\n')?;
    let (line, code) = text.split_at_checked(end)?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    if words.next() != Some("#!lua") {
        return None;
    }
    let (mut kept, mut found) = (String::from("#!lua"), false);
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            let _ = write!(kept, " {word}");
            continue;
        };
        let others: Vec<&str> = flags.split(',').filter(|flag| *flag != FLAG).collect();
        found |= others.len() < flags.split(',').count();
        if !others.is_empty() {
            let _ = write!(kept, " flags={}", others.join(","));
        }
    }
    if !found {
        return None;
    }
    let first: &[u8] = match kept.as_str() {
        "#!lua" => b"",
        kept => kept.as_bytes(),
    };
    Some([first, code].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(text: &str) -> Option<String> {
        without_flag(text.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn the_flag_goes_and_the_rest_stays() {
        let alone = stripped("#!lua flags=allow-key-locking\nreturn 1");
        assert_eq!(alone.as_deref(), Some("\nreturn 1"));
        let beside = stripped("#!lua flags=no-writes,allow-key-locking\r\nreturn 1");
        assert_eq!(beside.as_deref(), Some("#!lua flags=no-writes\nreturn 1"));
        for other in [
            "return 1 -- allow-key-locking",
            "#!lua flags=no-writes\nreturn 1",
            "#!lua flags=allow-key-locking",
            "#!js flags=allow-key-locking\nreturn 1",
            "#!lua flags=allow-key-locking-2\nreturn 1",
        ] {
            assert_eq!(stripped(other), None, "{other}");
        }
    }

    #[test]
    fn a_script_is_found_by_the_clients_name_until_others_push_it_out() {
        let scripts = Scripts::default();
        let text = |number: usize| format!("#!lua flags=allow-key-locking\nreturn {number}");
        let first = text(0);
        let known = scripts.learn(first.as_bytes()).unwrap();
        assert_eq!(known.sha1, hex_sha1(b"\nreturn 0"));
        let name = hex_sha1(first.as_bytes()).to_ascii_uppercase();
        for number in 1..SCRIPTS_MAX {
            scripts.learn(text(number).as_bytes()).unwrap();
        }
        assert!(scripts.find(name.as_bytes()).is_some(), "it is used");
        scripts.learn(text(SCRIPTS_MAX).as_bytes()).unwrap();
        assert!(scripts.find(name.as_bytes()).is_some(), "another goes");
        assert!(
            scripts
                .find(hex_sha1(text(1).as_bytes()).as_bytes())
                .is_none()
        );
        let large = format!("{first}{}", " ".repeat(BYTES_MAX));
        scripts.learn(large.as_bytes()).unwrap();
        assert!(scripts.find(name.as_bytes()).is_none(), "no room for both");
        assert_eq!(scripts.0.lock().known.len(), 1);
        assert!(scripts.find(b"ab").is_none() && scripts.find(&[b'z'; 40]).is_none());
        scripts.clear();
        assert!(scripts.0.lock().known.is_empty());
    }
}
