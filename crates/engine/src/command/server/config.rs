//! CONFIG over the table of [`crate::config`].

use std::sync::atomic::Ordering;

use super::super::Ctx;
use super::super::object::help;
use super::super::spec::{CommandSpec, Flags, Outcome};
use crate::config::{PARAMETERS, Parameter};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::glob;
use crate::keyspace::DbStats;
use crate::reply::Reply;
use crate::session::Session;

const OPERATOR: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(super::ANY_TIME);

pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("get", -3, get)
        .flags(OPERATOR)
        .since("2.0.0")
        .free(),
    CommandSpec::unlocked("help", 2, config_help)
        .flags(super::ANY_TIME)
        .since("5.0.0")
        .free()
        .not_upstash(),
    CommandSpec::new("resetstat", 2, resetstat)
        .flags(OPERATOR)
        .since("2.0.0")
        .free()
        .not_upstash(),
    CommandSpec::unlocked("rewrite", 2, rewrite)
        .flags(OPERATOR)
        .since("2.8.0")
        .free()
        .not_upstash(),
    CommandSpec::unlocked("set", -4, set)
        .flags(OPERATOR)
        .since("2.0.0")
        .free(),
];

/// What there is in the session's dialect.
fn parameters(session: &Session) -> impl Iterator<Item = &'static Parameter> + use<> {
    let strict = session.dialect.is_strict();
    PARAMETERS
        .iter()
        .filter(move |parameter| parameter.upstash || !strict)
}

fn find(session: &Session, name: &[u8]) -> Option<&'static Parameter> {
    parameters(session).find(|parameter| parameter.name.as_bytes().eq_ignore_ascii_case(name))
}

/// The refusal of a name that CONFIG SET does not know.
pub(in crate::command) fn unknown_setting(name: &[u8]) -> CommandError {
    let text = b"ERR Unknown option or number of arguments for CONFIG SET - '";
    CommandError::Bytes([&text[..], name, b"'"].concat())
}

/// A plain name comes back as it was written, a pattern's finds by their names.
fn get(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let settings = engine.settings();
    let mut found: Vec<(&[u8], &Parameter)> = Vec::new();
    let mut add = |name, parameter| {
        if !found.iter().any(|(other, _)| *other == name) {
            found.push((name, parameter));
        }
    };
    for &pattern in argv.iter().skip(2) {
        if pattern.iter().any(|byte| b"[*?".contains(byte)) {
            for parameter in parameters(session) {
                let name = parameter.name.as_bytes();
                if glob::matches_ignore_case(pattern, name) {
                    add(name, parameter);
                }
            }
        } else if let Some(parameter) = find(session, pattern) {
            add(pattern, parameter);
        }
    }
    let entry = |(name, parameter): (&[u8], &Parameter)| {
        (Reply::bulk(name), Reply::bulk((parameter.get)(&settings)))
    };
    Ok(Reply::Map(found.into_iter().map(entry).collect()))
}

/// All or nothing: names are checked first, and the first value that does not
/// fit leaves every setting as it was.
fn set(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let pairs = argv.get(2..).unwrap_or_default();
    if pairs.len() % 2 != 0 {
        return Err(CommandError::Syntax);
    }
    let mut changes: Vec<(&Parameter, String)> = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        let [name, value] = *pair else {
            return Err(CommandError::Syntax);
        };
        let Some(parameter) = find(session, name) else {
            return Err(unknown_setting(name));
        };
        if changes
            .iter()
            .any(|(other, _)| other.name == parameter.name)
        {
            let text = b"ERR CONFIG SET failed (possibly related to argument '";
            let why = b"') - duplicate parameter";
            return Err(CommandError::Bytes([&text[..], name, why].concat()));
        }
        changes.push((parameter, String::from_utf8_lossy(value).into_owned()));
    }
    engine.update_settings(|settings| {
        changes
            .iter()
            .try_for_each(|(parameter, value)| settings.set(parameter.name, value))
    })?;
    Ok(Reply::OK)
}

/// What the plan bills is no statistic: that count stays.
fn resetstat(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    ctx.db.stats = DbStats {
        billed: super::billed(ctx),
        ..DbStats::default()
    };
    ctx.db.commands.reset();
    ctx.keyspace.unlocked.lock().reset();
    ctx.keyspace.users.denials.clear();
    ctx.engine.0.connections.store(0, Ordering::Relaxed);
    Ok(Reply::OK)
}

fn rewrite(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Err(CommandError::text(
        "ERR The server is running without a config file",
    ))
}

fn config_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "CONFIG",
        &[
            "GET <pattern> [<pattern> ...]",
            "    Settings whose names match, with their values.",
            "RESETSTAT",
            "    Set the counts that INFO shows to zero.",
            "REWRITE",
            "    Refused: settings are given on the command line.",
            "SET <name> <value> [<name> <value> ...]",
            "    Change settings, all of them or none.",
        ],
    ))
}
