//! A connection: who it acts for, what it speaks, whether it is alive.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::args::{at, is, parse_i64};
use super::authorize;
use super::generic::database;
use super::spec::{Acl, CommandSpec, Flags, Outcome};
use crate::acl;
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::{Muted, Protocol, Session};

/// The Redis version that clients are told: they choose what they use by it, and
/// what 7.4 brought is here (redis-py caches for nothing older). Scripts are told
/// 7.0.15, whose API they have.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

/// Commands that open a connection: before authentication and under a busy
/// script too.
const OPENING: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::NO_AUTH)
    .and(Flags::ALLOW_BUSY);

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("auth", -2, auth)
        .flags(OPENING)
        .fast()
        .acl(Acl::CONNECTION)
        .free()
        .not_rest(),
    CommandSpec::unlocked("echo", 2, echo)
        .flags(Flags::LOADING.and(Flags::STALE))
        .fast()
        .acl(Acl::CONNECTION),
    CommandSpec::unlocked("hello", -1, hello)
        .flags(OPENING)
        .fast()
        .acl(Acl::CONNECTION)
        .since("6.0.0")
        .free()
        .not_rest(),
    CommandSpec::unlocked("ping", -1, ping)
        .fast()
        .acl(Acl::CONNECTION)
        .free(),
    CommandSpec::unlocked("quit", -1, quit)
        .flags(OPENING)
        .fast()
        .acl(Acl::CONNECTION)
        .free()
        .not_rest(),
    CommandSpec::unlocked("reset", 1, reset)
        .flags(OPENING)
        .fast()
        .acl(Acl::CONNECTION)
        .since("6.2.0")
        .free()
        .not_rest(),
    CommandSpec::unlocked("select", 2, select)
        .flags(Flags::LOADING.and(Flags::STALE))
        .fast()
        .acl(Acl::CONNECTION)
        .free()
        .not_rest(),
];

/// Acts for whom the password names. A change of keyspace ends what was tied
/// to the old one: subscriptions and watched keys.
fn log_in(
    engine: &Engine,
    session: &mut Session,
    command: &[u8],
    user: Option<&[u8]>,
    password: &[u8],
) -> Result<(), CommandError> {
    let Some(principal) = engine.log_in(session.keyspace(), user, password) else {
        let user = user.unwrap_or(acl::users::DEFAULT);
        authorize::note_login(engine, session, command, user);
        return Err(CommandError::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    };
    if session
        .keyspace()
        .is_some_and(|keyspace| !Arc::ptr_eq(keyspace, &principal.keyspace))
    {
        session.stop_listening();
        session.watching = None;
    }
    session.set_principal(Some(principal));
    Ok(())
}

fn auth(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    match argv {
        [_, _] if engine.is_open() => {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            ));
        }
        [name, password] => log_in(engine, session, name, None, password)?,
        [name, user, password] => log_in(engine, session, name, Some(user), password)?,
        _ => return Err(CommandError::Syntax),
    }
    Ok(Reply::OK)
}

fn hello(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let protocol = match argv.get(1).map(|text| parse_i64(text)) {
        None => None,
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        Some(Some(_)) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        Some(None) => {
            return Err(CommandError::text(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
    };
    // Each option takes effect as it is read, as in Redis, whatever follows.
    let mut rest = argv.get(2..).unwrap_or_default();
    while let [option, more @ ..] = rest {
        rest = match more {
            [user, password, more @ ..] if is(option, "AUTH") => {
                log_in(engine, session, at(argv, 0)?, Some(user), password)?;
                more
            }
            [name, more @ ..] if is(option, "SETNAME") => {
                *session.client.name.lock() = client_name(name)?;
                more
            }
            _ => {
                let text = [b"ERR Syntax error in HELLO option '", *option, b"'"].concat();
                return Err(CommandError::Bytes(text));
            }
        };
    }
    if session.principal().is_none() {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(protocol) = protocol {
        session.set_protocol(protocol);
    }
    let version = if session.protocol == Protocol::Resp3 {
        3
    } else {
        2
    };
    Ok(Reply::Map(vec![
        (Reply::bulk("server"), Reply::bulk("redis")),
        (Reply::bulk("version"), Reply::bulk(REDIS_VERSION)),
        (Reply::bulk("proto"), Reply::Int(version)),
        (Reply::bulk("id"), Reply::Int(session.client.id as i64)),
        (Reply::bulk("mode"), Reply::bulk("standalone")),
        (Reply::bulk("role"), Reply::bulk("master")),
        (Reply::bulk("modules"), Reply::Array(Vec::new())),
    ]))
}

/// Whether it is printable ASCII without blanks, so that CLIENT LIST can show it.
pub(super) fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// A name that CLIENT LIST can show.
pub(super) fn client_name(text: &[u8]) -> Result<String, CommandError> {
    if !is_plain(text) {
        return Err(CommandError::text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn ping(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    if argv.len() > 2 {
        return Err(CommandError::wrong_arity("ping"));
    }
    let text = argv.get(1);
    if session.protocol == Protocol::Resp2 && session.subscriptions() > 0 {
        let text = text.copied().unwrap_or_default();
        return Ok(Reply::Array(vec![Reply::bulk("pong"), Reply::bulk(text)]));
    }
    Ok(text.map_or(Reply::status("PONG"), Reply::bulk))
}

fn echo(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    Ok(Reply::bulk(at(argv, 1)?))
}

fn select(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    database(at(argv, 1)?)?;
    Ok(Reply::OK)
}

fn quit(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    session.closing = true;
    Ok(Reply::OK)
}

/// Back to how a connection starts. In-process sessions keep their principal,
/// since they have no token to give.
fn reset(engine: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    session.discard();
    session.stop_listening();
    session.set_protocol(Protocol::Resp2);
    if session.muted != Muted::This {
        session.muted = Muted::No;
    }
    session.client.name.lock().clear();
    if session.client.id != 0 {
        if session.principal().is_some() {
            let now = engine.now_micros();
            session.client.unknown_us.store(now, Ordering::Relaxed);
        }
        session.set_principal(engine.stranger());
    }
    Ok(Reply::status("RESET"))
}
