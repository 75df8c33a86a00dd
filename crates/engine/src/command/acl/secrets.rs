//! ACL GENPASS, GENTOKEN and RESTTOKEN. Chance is the system's here: the
//! engine's own can be guessed.

use super::super::args::{at, int};
use super::super::authorize;
use super::super::spec::Outcome;
use super::too_many;
use crate::acl::token::{Token, password_in};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::{Role, Session};

/// Bits of a password unless others are asked for.
const BITS: i64 = 256;
const BITS_MAX: i64 = 4096;
/// Bits that a password must have at least, by [`guessed_bits`].
const STRONG: f64 = 64.0;

fn random_hex(digits: usize) -> Result<Vec<u8>, CommandError> {
    let mut bytes = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut bytes)
        .map_err(|error| CommandError::from(format!("ERR no random bytes: {error}")))?;
    let mut text = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    text.truncate(digits);
    Ok(text)
}

pub(super) fn genpass(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let bits = match argv {
        [_, _] => BITS,
        [_, _, bits] => int(bits)?,
        _ => return Err(too_many(argv)),
    };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        ));
    }
    random_hex(bits.unsigned_abs().div_ceil(4) as usize).map(Reply::Bulk)
}

/// A token of a password, given or made, for a user that may not be there yet.
pub(super) fn gentoken(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let user = at(argv, 2)?;
    let password = match argv {
        [_, _, _] => random_hex(BITS as usize / 4)?,
        [_, _, _, password] if guessed_bits(password) < STRONG => {
            return Err(CommandError::text(
                "ERR the password is too weak: give a longer one, or none to have one made",
            ));
        }
        [_, _, _, password] => password.to_vec(),
        _ => return Err(too_many(argv)),
    };
    token(session, user, password)
}

/// How hard a password is to guess, if its bytes were drawn from those that it
/// has.
fn guessed_bits(password: &[u8]) -> f64 {
    let mut bytes = password.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    password.len() as f64 * (bytes.len() as f64).log2()
}

/// The token of a password that opens the user, or of the server's own tokens
/// themselves.
pub(super) fn resttoken(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let (user, password) = (at(argv, 2)?, at(argv, 3)?);
    let mine = session.keyspace().map(|keyspace| keyspace.id);
    let principal = engine
        .log_in(session.keyspace(), Some(user), password)
        .filter(|principal| Some(principal.keyspace.id) == mine);
    match principal.map(|principal| principal.role) {
        Some(Role::User(_)) => token(session, user, password_in(user, password).into_owned()),
        Some(Role::Full | Role::ReadOnly) => Ok(Reply::bulk(password)),
        None => {
            authorize::note_login(engine, session, at(argv, 0)?, user);
            Err(CommandError::text(
                "WRONGPASS invalid username-password pair or user is disabled.",
            ))
        }
    }
}

fn token(session: &Session, user: &[u8], password: Vec<u8>) -> Outcome {
    let token = Token {
        keyspace: session.keyspace().map_or(0, |keyspace| keyspace.id),
        user: user.to_vec(),
        password,
    };
    let text = token.to_text();
    text.map(Reply::bulk)
        .ok_or(CommandError::text("ERR the token would be too long"))
}
