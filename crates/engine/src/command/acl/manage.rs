//! ACL SETUSER, DELUSER, LOAD and SAVE.

use std::sync::Arc;

use super::super::Ctx;
use super::super::args::at;
use super::super::spec::Outcome;
use crate::acl::rules::{has_blanks, merge};
use crate::acl::users::{DEFAULT, READER};
use crate::acl::{Account, RuleError};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::mailbox::Mailbox;
use crate::reply::Reply;
use crate::session::Session;

/// All rules or none. Connections that listen to what the user may no longer
/// listen to, end.
pub(super) fn setuser(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    ctx.engine.admit().map_err(CommandError::from)?;
    let name = at(argv, 2)?;
    if has_blanks(name) {
        return Err(CommandError::text(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    if name == READER {
        return Err(CommandError::text(
            "ERR The 'default_ro' user is the read-only token's and cannot be changed",
        ));
    }
    let rules = argv.get(3..).unwrap_or_default();
    let merged = merge(rules).map_err(|at| {
        let begun = rules.get(at).copied().unwrap_or_default();
        let head: &[u8] = b"ERR Unmatched parenthesis in acl selector starting at '";
        CommandError::Bytes([head, begun, b"'."].concat())
    })?;
    let account = ctx.db.users.find(name);
    let before = account.as_ref().map(|account| account.user());
    let begin = before.as_deref().cloned().unwrap_or_default();
    let user = begin
        .with_rules(name, &merged)
        .map_err(|(rule, error)| refused(rule, error))?;
    let narrowed = before.is_some_and(|before| !user.keeps_channels_of(&before));
    ctx.db.put_user(name, user).map_err(|error| {
        let last = rules.last().copied().unwrap_or(name);
        refused(last, error)
    })?;
    if let Some(account) = account.filter(|_| narrowed) {
        end_listening(ctx, &account);
    }
    Ok(Reply::OK)
}

fn refused(rule: &[u8], error: RuleError) -> CommandError {
    /// Bytes of a rule that an error repeats, of those that only we refuse.
    const SHOWN: usize = 128;
    let shown = match error {
        RuleError::TooMany => rule.get(..SHOWN).unwrap_or(rule),
        _ => rule,
    };
    let head: &[u8] = b"ERR Error in ACL SETUSER modifier '";
    let why = format!("': {error}");
    CommandError::Bytes([head, shown, why.as_bytes()].concat())
}

/// Ends the connections of the users that go.
pub(super) fn deluser(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    ctx.engine.admit().map_err(CommandError::from)?;
    let names = argv.get(2..).unwrap_or_default();
    if names.contains(&DEFAULT) {
        return Err(CommandError::text(
            "ERR The 'default' user cannot be removed",
        ));
    }
    let mut removed = 0;
    for name in names {
        if let Some(account) = ctx.db.remove_user(name) {
            removed += 1;
            end_connections(ctx, &account);
            end_listening(ctx, &account);
            for mailbox in ctx.keyspace.monitors.of(&account) {
                end(ctx.session, &mailbox);
            }
        }
    }
    Ok(Reply::Int(removed))
}

fn end_connections(ctx: &mut Ctx<'_>, account: &Arc<Account>) {
    for client in ctx.engine.clients() {
        let role = client.scope().map(|(_, role)| role);
        let is_theirs = role.is_some_and(|role| {
            role.account()
                .is_some_and(|other| Arc::ptr_eq(other, account))
        });
        if is_theirs {
            end(ctx.session, &client.mailbox);
        }
    }
}

/// Streams over HTTP are no listed clients: they are found by what they listen
/// to.
fn end_listening(ctx: &mut Ctx<'_>, account: &Arc<Account>) {
    for mailbox in ctx.keyspace.hub.forbidden(account) {
        end(ctx.session, &mailbox);
    }
}

/// Ends a connection; the caller's own after this reply.
fn end(session: &mut Session, mailbox: &Arc<Mailbox>) {
    if Arc::ptr_eq(&session.client().mailbox, mailbox) {
        session.closing = true;
    } else {
        mailbox.close();
    }
}

/// There is no file: users are kept as data is. Upstash takes that for done.
pub(super) fn load(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    if session.dialect.is_upstash() {
        return Ok(Reply::OK);
    }
    Err(CommandError::text(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify \
         users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a \
         Redis configuration file set) in order to store users in the Redis configuration.",
    ))
}
