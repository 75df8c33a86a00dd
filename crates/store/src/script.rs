//! A Lua script and its name.
//!
//! It is sent by its SHA-1; where the store does not know it, a single call sends
//! the text once. A transaction sends the text at once, since the store would
//! refuse the whole of it; an item of a pipeline is sent again alone, after
//! the items behind it.
//!
//! Rules for the texts: integers are written by `string.format('%.0f', n)`, time
//! comes as an argument, and every key is declared.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::OnceLock;

use sha1::{Digest as _, Sha1};

/// What Upstash wants to see first, so that a script locks its keys only.
const KEY_LOCKING: &str = "#!lua flags=allow-key-locking\n";

/// A script, usually a `static`.
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    text: &'static str,
    plain: OnceLock<String>,
    locking: OnceLock<(String, String)>,
}

impl Script {
    /// A script with a name for people, without a first line `#!`.
    pub const fn new(name: &'static str, text: &'static str) -> Self {
        Script {
            name,
            text,
            plain: OnceLock::new(),
            locking: OnceLock::new(),
        }
    }

    /// The name for people.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The text, and its SHA-1 in hexadecimal digits; with the flag for Upstash if
    /// the store wants that.
    pub(crate) fn sent(&self, locks_keys: bool) -> (&str, &str) {
        if locks_keys {
            let (text, sha1) = self.locking.get_or_init(|| {
                let text = format!("{KEY_LOCKING}{}", self.text);
                let sha1 = hex_sha1(text.as_bytes());
                (text, sha1)
            });
            return (text, sha1);
        }
        let sha1 = self.plain.get_or_init(|| hex_sha1(self.text.as_bytes()));
        (self.text, sha1)
    }
}

fn hex_sha1(text: &[u8]) -> String {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The text of an error that a command of a script raised, without the place in
/// the script that Redis adds.
pub(crate) fn without_place(text: &[u8]) -> &[u8] {
    const MARK: &[u8] = b" script: ";
    let is_place = |at: &usize| {
        let rest = text.get(*at..).unwrap_or_default();
        let rest = rest.strip_prefix(MARK).unwrap_or_default();
        let sha1 = rest.iter().take_while(|byte| byte.is_ascii_hexdigit());
        sha1.count() == 40
            && rest
                .get(40..)
                .is_some_and(|rest| rest.starts_with(b", on @user_script"))
    };
    let at = (0..text.len()).rev().find(is_place);
    text.get(..at.unwrap_or(text.len())).unwrap_or_default()
}

/// `EVALSHA`'s arguments, or `EVAL`'s.
pub(crate) fn argv<'a>(
    command: &'static str,
    what: &'a str,
    count: &'a str,
    keys: &[&'a [u8]],
    args: &[&'a [u8]],
) -> crate::commands::Argv<'a> {
    let head: [&[u8]; 3] = [command.as_bytes(), what.as_bytes(), count.as_bytes()];
    let mut argv = crate::commands::Argv::from_slice(&head);
    argv.extend_from_slice(keys);
    argv.extend_from_slice(args);
    argv
}

/// The number of keys as an argument.
pub(crate) fn count(keys: usize) -> Cow<'static, str> {
    const FEW: [&str; 5] = ["0", "1", "2", "3", "4"];
    FEW.get(keys)
        .map_or_else(|| keys.to_string().into(), |few| (*few).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_lose_the_place_in_the_script() {
        let sha1 = "a".repeat(40);
        let text = format!("WRONGTYPE no script: {sha1}, on @user_script:3.");
        assert_eq!(without_place(text.as_bytes()), b"WRONGTYPE no");
        for whole in ["ERR a script: abc", "", "ERR script: , on @user_script:1."] {
            assert_eq!(without_place(whole.as_bytes()), whole.as_bytes());
        }
    }

    #[test]
    fn each_text_has_its_name() {
        static SCRIPT: Script = Script::new("one", "return 1");
        let (text, sha1) = SCRIPT.sent(false);
        assert_eq!(text, "return 1");
        assert_eq!(sha1, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let (text, other) = SCRIPT.sent(true);
        assert_eq!(text, "#!lua flags=allow-key-locking\nreturn 1");
        assert_ne!(sha1, other);
    }
}
