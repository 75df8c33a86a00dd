//! Bearer tokens of users: what ACL RESTTOKEN and ACL GENTOKEN answer.
//!
//! A token carries the keyspace, the user and one of the user's passwords, and a
//! checksum that tells it from any other text. Nothing is stored: it opens what
//! the password opens, for as long as it does, so a user who is switched off,
//! deleted or given another password takes all tokens along. Whoever reads a
//! token can read the password; it is the same secret in another dress.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

const VERSION: u8 = 1;
/// Bytes of the checksum.
const CHECK: usize = 4;
/// Longest token: what the gateway looks up.
pub(crate) const TOKEN_MAX: usize = 4096;

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) keyspace: u32,
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl Token {
    /// Its text, in base64 for URLs; `None` where it would be too long.
    pub(crate) fn to_text(&self) -> Option<String> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.keyspace.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(self.user.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&self.user);
        bytes.extend_from_slice(&self.password);
        let check: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend(check.iter().take(CHECK));
        let text = encode(&bytes);
        (text.len() <= TOKEN_MAX).then_some(text)
    }

    /// The token that a text is, if it is one.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TOKEN_MAX {
            return None;
        }
        let bytes = decode(text)?;
        let (said, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
        let right: [u8; 32] = Sha256::digest(said).into();
        if !right.starts_with(check) {
            return None;
        }
        let (version, rest) = said.split_first()?;
        let (keyspace, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (user, password) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        (*version == VERSION).then(|| Token {
            keyspace: u32::from_le_bytes(*keyspace),
            user: user.to_vec(),
            password: password.to_vec(),
        })
    }
}

/// The password in a token of this user; what is no such token is a password.
pub(crate) fn password_in<'a>(user: &[u8], text: &'a [u8]) -> Cow<'a, [u8]> {
    match Token::parse(text) {
        Some(token) if token.user == user => token.password.into(),
        _ => text.into(),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        for (place, byte) in group.iter_mut().skip(1).zip(chunk) {
            *place = *byte;
        }
        let group = u32::from_be_bytes(group);
        for at in 0..=chunk.len() {
            let digit = (group >> (18 - 6 * at) & 63) as usize;
            text.push(char::from(*ALPHABET.get(digit).unwrap_or(&b'A')));
        }
    }
    text
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut group = 0u32;
        for at in 0..4 {
            let digit = match chunk.get(at) {
                Some(letter) => ALPHABET.iter().position(|known| known == letter)?,
                None => 0,
            };
            group = group << 6 | digit as u32;
        }
        let [_, decoded @ ..] = group.to_be_bytes();
        let whole = match chunk.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        // The bits that say nothing are zero: a token has one text.
        let (decoded, rest) = decoded.split_at(whole);
        if rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(decoded);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_was_put_in() {
        for (user, password) in [("a", ""), ("", "p"), ("alice", "secret"), ("é", "\u{0}x")] {
            let token = Token {
                keyspace: 7,
                user: user.into(),
                password: password.into(),
            };
            let text = token.to_text().unwrap();
            assert!(text.bytes().all(|byte| ALPHABET.contains(&byte)));
            assert_eq!(Token::parse(text.as_bytes()), Some(token));
            assert_eq!(
                password_in(user.as_bytes(), text.as_bytes()),
                password.as_bytes()
            );
            assert_eq!(password_in(b"other", text.as_bytes()), text.as_bytes());
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(Token::parse(&bytes), None, "at {at}");
                assert_eq!(Token::parse(&text.as_bytes()[..at]), None);
            }
        }
        let long = Token {
            keyspace: 0,
            user: vec![b'u'; 10],
            password: vec![b'p'; TOKEN_MAX],
        };
        assert_eq!(long.to_text(), None);
    }
}
