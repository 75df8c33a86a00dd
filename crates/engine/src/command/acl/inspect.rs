//! ACL CAT, DRYRUN, GETUSER, LIST, LOG, USERS and WHOAMI.

use std::sync::Arc;

use super::super::args::{at, int, is};
use super::super::spec::{Command, Outcome, command_by_id, command_count, find};
use super::{too_many, users};
use crate::acl::selector::Selector;
use crate::acl::users::DEFAULT;
use crate::acl::{Account, CATEGORIES, Denied, Entry, catalog};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::{Reply, Room};
use crate::session::Session;

/// Entries of the log that are shown unless more are asked for.
const SHOWN: i64 = 10;

/// Categories, or the commands that we have of one.
pub(super) fn cat(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let name = match argv {
        [_, _] => {
            let names = CATEGORIES.iter().map(|(name, _)| Reply::bulk(name));
            return Ok(Reply::Array(names.collect()));
        }
        [_, _, name] => *name,
        _ => return Err(too_many(argv)),
    };
    let Some(category) = catalog::category(name) else {
        let shown = name.get(..128).unwrap_or(name);
        let text = [b"ERR Unknown category '", shown, b"'"].concat();
        return Err(CommandError::Bytes(text));
    };
    let all = (0..command_count()).filter_map(command_by_id);
    let wanted = all.filter(|command| command.spec.categories().has(category));
    Ok(Reply::Array(
        wanted
            .map(|command| Reply::bulk(&command.full_name))
            .collect(),
    ))
}

pub(super) fn dryrun(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let name = at(argv, 2)?;
    let Some(account) = users(session)?.find(name) else {
        let text = [b"ERR User '", name, b"' not found"].concat();
        return Err(CommandError::Bytes(text));
    };
    let request = argv.get(3..).unwrap_or_default();
    let Some(command) = request_command(request) else {
        let text = [b"ERR Command '", at(request, 0)?, b"' not found"].concat();
        return Err(CommandError::Bytes(text));
    };
    if !command.spec.accepts(request.len()) {
        return Err(CommandError::wrong_arity(&command.full_name));
    }
    let argument = |at: usize| request.get(at).copied().unwrap_or_default();
    let Err(denied) = account.user().check(command, request) else {
        return Ok(Reply::OK);
    };
    let head: &[u8] = b"This user has no permissions to ";
    Ok(Reply::Bulk(match denied {
        Denied::Command => {
            let name = command.full_name.as_bytes();
            [head, b"run the '", name, b"' command"].concat()
        }
        Denied::Key(at) => [head, b"access the '", argument(at), b"' key"].concat(),
        Denied::Channel(at) => [head, b"access the '", argument(at), b"' channel"].concat(),
    }))
}

fn request_command(request: &[&[u8]]) -> Option<&'static Command> {
    let command = find(request.first()?)?;
    match request.get(1) {
        Some(sub) if !command.subcommands.is_empty() => command.subcommand(sub),
        _ => Some(command),
    }
}

pub(super) fn getuser(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let Some(account) = users(session)?.find(at(argv, 2)?) else {
        return Ok(Reply::Null);
    };
    let user = account.user();
    let flags = user.flags(is_guarded(engine, &account));
    let flags = flags.into_iter().map(Reply::bulk).collect();
    let passwords = user.passwords().map(Reply::bulk).collect();
    let mut entries = vec![
        (Reply::bulk("flags"), Reply::Set(flags)),
        (Reply::bulk("passwords"), Reply::Array(passwords)),
    ];
    entries.extend(describe(user.root()));
    let more = user.more().iter();
    let more = more.map(|selector| Reply::Map(describe(selector).into()));
    entries.push((Reply::bulk("selectors"), Reply::Array(more.collect())));
    Ok(Reply::Map(entries))
}

fn describe(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        ("commands", selector.commands.describe()),
        ("keys", selector.describe_keys()),
        ("channels", selector.describe_channels()),
    ]
    .map(|(name, text)| (Reply::bulk(name), Reply::Bulk(text)))
}

/// Whether the user's `nopass` lets nobody in, since there are tokens.
fn is_guarded(engine: &Engine, account: &Account) -> bool {
    account.name() == DEFAULT && engine.requires_token()
}

pub(super) fn list(engine: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let mut room = Room::new();
    let line = |account: &Arc<Account>| {
        let rules = account.user().describe(is_guarded(engine, account));
        room.hold(Reply::Bulk(
            [b"user ", account.name(), b" ", &rules].concat(),
        ))
    };
    let lines: Result<_, CommandError> = users(session)?.all().iter().map(line).collect();
    Ok(Reply::Array(lines?))
}

pub(super) fn names(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let all = users(session)?.all();
    let names = all.iter().map(|account| Reply::bulk(account.name()));
    Ok(Reply::Array(names.collect()))
}

pub(super) fn whoami(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let role = session.role();
    Ok(role.map_or(Reply::Null, |role| Reply::bulk(role.user_name())))
}

pub(super) fn log(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let log = users(session)?.log();
    let count = match argv {
        [_, _] => SHOWN,
        [_, _, word] if is(word, "RESET") => {
            log.lock().clear();
            return Ok(Reply::OK);
        }
        [_, _, count] => int(count)?,
        _ => return Err(too_many(argv)),
    };
    let entries = log.lock().newest(usize::try_from(count).unwrap_or(0));
    let now_ms = engine.now_micros() / 1000;
    let shown = entries.iter().map(|entry| show(entry, now_ms));
    Ok(Reply::Array(shown.collect()))
}

fn show(entry: &Entry, now_ms: u64) -> Reply {
    let Entry { denial, .. } = entry;
    let age_ms = now_ms.saturating_sub(entry.last_ms);
    let fields = [
        ("count", Reply::Int(entry.count as i64)),
        ("reason", Reply::bulk(denial.reason.name())),
        ("context", Reply::bulk(denial.context.name())),
        ("object", Reply::bulk(&denial.object)),
        ("username", Reply::bulk(&denial.username)),
        ("age-seconds", Reply::Double(age_ms as f64 / 1000.0)),
        ("client-info", Reply::bulk(&entry.client)),
    ];
    let fields = fields.map(|(name, value)| (Reply::bulk(name), value));
    Reply::Map(fields.into())
}
