//! Whether the session's user may run a request, and what a refusal says.
//!
//! Asked where a request comes in (queued ones among them), again for each that
//! EXEC runs, and for each that a script calls; a refusal is counted and noted
//! in ACL LOG. Callers with full rights pay one comparison.

use std::sync::atomic::Ordering;

use super::spec::{Acl, Command, find};
use super::{client, upstash};
use crate::acl::{Context, Denial, Denied, Reason};
use crate::engine::Engine;
use crate::reply::Reply;
use crate::session::{Dialect, Role, Session};

/// The refusal of a request as it comes in, if its user may not run it.
#[inline]
pub(super) fn refuse(
    engine: &Engine,
    session: &Session,
    command: &Command,
    argv: &[&[u8]],
) -> Option<Reply> {
    if has_every_right(session) {
        return None;
    }
    let denied = check(session, command, argv).err()?;
    let context = if session.in_transaction() {
        Context::Multi
    } else {
        Context::TopLevel
    };
    let last = &session.client().last_command;
    last.store(command.id + 1, Ordering::Relaxed);
    note(engine, session, command, argv, denied, context);
    Some(match denied {
        Denied::Command => not_this_command(session.dialect, command),
        Denied::Key(_) => Reply::error(
            "NOPERM this user has no permissions to access one of the keys used as arguments",
        ),
        Denied::Channel(_) => Reply::error(
            "NOPERM this user has no permissions to access one of the channels used as arguments",
        ),
    })
}

/// The same for a request that was queued and is run now.
#[inline]
pub(super) fn refuse_in_exec(
    engine: &Engine,
    session: &Session,
    command: &Command,
    argv: &[&[u8]],
) -> Option<Reply> {
    if has_every_right(session) {
        return None;
    }
    let denied = check(session, command, argv).err()?;
    note(engine, session, command, argv, denied, Context::Multi);
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    Some(Reply::error(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the \
         EXEC call. This command is no longer allowed for the following reason: {reason}"
    )))
}

/// The same for a request of a script.
#[inline]
pub(super) fn refuse_in_script(
    engine: &Engine,
    session: &Session,
    command: &Command,
    argv: &[&[u8]],
) -> Option<Reply> {
    if has_every_right(session) {
        return None;
    }
    let denied = check(session, command, argv).err()?;
    note(engine, session, command, argv, denied, Context::Lua);
    let is_user = session.role().is_some_and(|role| role.account().is_some());
    if !is_user {
        return Some(not_this_command(session.dialect, command));
    }
    Some(Reply::error(match denied {
        Denied::Command => "ERR The user executing the script can't run this command or subcommand",
        Denied::Key(_) => {
            "ERR The user executing the script can't access at least one of the keys mentioned in \
             the command arguments"
        }
        Denied::Channel(_) => {
            "ERR The user executing the script can't publish to the channel mentioned in the \
             command"
        }
    }))
}

/// Whether the session may run the request.
pub(super) fn allows(session: &Session, command: &Command, argv: &[&[u8]]) -> bool {
    has_every_right(session) || check(session, command, argv).is_ok()
}

/// Whether the session may run the request whichever keys it reads: those that
/// patterns such as SORT's BY and GET name stand in no argument.
pub(super) fn reads_every_key(session: &Session, argv: &[&[u8]]) -> bool {
    let Some(Role::User(account)) = session.role() else {
        return true;
    };
    let command = argv.first().and_then(|name| find(name));
    command.is_some_and(|command| account.user().reads_every_key(command, argv))
}

#[inline]
fn has_every_right(session: &Session) -> bool {
    matches!(session.role(), Some(Role::Full) | None)
}

fn check(session: &Session, command: &Command, argv: &[&[u8]]) -> Result<(), Denied> {
    match session.role() {
        None | Some(Role::Full) => Ok(()),
        Some(Role::ReadOnly) if may_read(command) => Ok(()),
        Some(Role::ReadOnly) => Err(Denied::Command),
        Some(Role::User(account)) => account.user().check(command, argv),
    }
}

/// Whether a reading token may run it.
pub(super) fn may_read(command: &Command) -> bool {
    let acl = command.spec.categories();
    let listed = acl.has(Acl::READ) || acl.has(Acl::CONNECTION) || acl.has(Acl::TRANSACTION);
    let listening = acl.has(Acl::PUBSUB) && command.spec.name != "publish";
    (listed || listening) && !acl.has(Acl::DANGEROUS) && command.spec.name != "scan"
}

/// The refusal of a command that the user may not run.
pub(super) fn not_this_command(dialect: Dialect, command: &Command) -> Reply {
    if dialect.is_strict() {
        return upstash::no_permission(command);
    }
    Reply::error(format!(
        "NOPERM this user has no permissions to run the '{}' command",
        command.full_name
    ))
}

fn note(
    engine: &Engine,
    session: &Session,
    command: &Command,
    argv: &[&[u8]],
    denied: Denied,
    context: Context,
) {
    let argument = |at: usize| argv.get(at).map_or(Vec::new(), |arg| arg.to_vec());
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, command.full_name.clone().into_bytes()),
        Denied::Key(at) => (Reason::Key, argument(at)),
        Denied::Channel(at) => (Reason::Channel, argument(at)),
    };
    let denial = Denial {
        reason,
        context,
        object,
        username: session
            .role()
            .map_or(Vec::new(), |role| role.user_name().to_vec()),
    };
    log(engine, session, denial);
}

/// Notes a login that failed, with the name that was given.
pub(super) fn note_login(engine: &Engine, session: &Session, command: &[u8], user: &[u8]) {
    let context = if session.in_transaction() {
        Context::Multi
    } else {
        Context::TopLevel
    };
    let denial = Denial {
        reason: Reason::Auth,
        context,
        object: command.to_vec(),
        username: user.to_vec(),
    };
    log(engine, session, denial);
}

/// Into the log of the session's keyspace; of the first, where it has none yet.
fn log(engine: &Engine, session: &Session, denial: Denial) {
    let now_us = engine.now_micros();
    let mut client = String::new();
    client::describe(session.client(), now_us, &mut client);
    let client = client.trim_end().to_owned();
    let limit = engine.settings().acllog_max_len;
    let first = || engine.keyspaces().into_iter().next();
    if let Some(keyspace) = session.keyspace().cloned().or_else(first) {
        keyspace.users.note(denial, client, now_us / 1000, limit);
    }
}
