//! COMMAND: the table of commands, as clients read it.
//!
//! Key specifications are derived from where a command's keys stand and how it
//! uses them (`command/reference`).

mod differences;
mod docs;
mod markdown;

pub use markdown::markdown as commands_page;

use super::args::is;
use super::object::help;
use super::spec::{
    Access, Acl, Command, CommandSpec, Flags, Keys, Outcome, Run, command_by_id, command_count,
    commands, find,
};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::glob;
use crate::reply::{Reply, Room};
use crate::session::Session;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

type Handler = fn(&Engine, &mut Session, &[&[u8]]) -> Outcome;

const fn entry(name: &'static str, arity: i32, handler: Handler) -> CommandSpec {
    CommandSpec::unlocked(name, arity, handler)
        .flags(ANY_TIME)
        .acl(Acl::CONNECTION)
        .free()
}

const SUBCOMMANDS: &[CommandSpec] = &[
    entry("count", 2, count).since("2.8.13").not_upstash(),
    entry("docs", -2, docs_of).since("7.0.0").not_upstash(),
    entry("getkeys", -4, getkeys).since("2.8.13").not_upstash(),
    entry("getkeysandflags", -4, getkeysandflags)
        .since("7.0.0")
        .not_upstash(),
    entry("help", 2, command_help).since("5.0.0").not_upstash(),
    entry("info", -2, info).since("2.8.13").not_upstash(),
    entry("list", -2, list).since("7.0.0").not_upstash(),
];

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    subcommands: SUBCOMMANDS,
    ..entry("command", -1, all).since("2.8.13")
}];

fn all(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    // Upstash shows clients nothing of its table.
    if session.dialect.is_strict() {
        return Ok(Reply::Array(Vec::new()));
    }
    Ok(Reply::Array(
        commands().iter().map(|command| describe(command)).collect(),
    ))
}

fn count(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(commands().len().into())
}

/// A command, or a subcommand by `command|subcommand`.
fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    let Some(bar) = memchr::memchr(b'|', name) else {
        return find(name);
    };
    let (container, rest) = name.split_at(bar);
    find(container)?.subcommand(rest.get(1..)?)
}

fn info(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let names = argv.get(2..).unwrap_or_default();
    if names.is_empty() {
        return all(engine, session, argv);
    }
    let mut room = Room::new();
    let entry = |name: &&[u8]| room.hold(by_full_name(name).map_or(Reply::Null, describe));
    Ok(Reply::Array(
        names.iter().map(entry).collect::<Result<_, _>>()?,
    ))
}

/// The flags in the order in which Redis shows them; what is not among them is
/// our own.
const SHOWN_FLAGS: [Flags; 17] = [
    Flags::WRITE,
    Flags::READONLY,
    Flags::DENYOOM,
    Flags::ADMIN,
    Flags::PUBSUB,
    Flags::NOSCRIPT,
    Flags::BLOCKING,
    Flags::LOADING,
    Flags::STALE,
    Flags::SKIP_MONITOR,
    Flags::SKIP_SLOWLOG,
    Flags::FAST,
    Flags::NO_AUTH,
    Flags::NO_ASYNC_LOADING,
    Flags::NO_MULTI,
    Flags::MOVABLEKEYS,
    Flags::ALLOW_BUSY,
];

fn describe(command: &Command) -> Reply {
    let spec = &command.spec;
    let flags = SHOWN_FLAGS.iter().filter(|flag| spec.flags.has(**flag));
    let flags = flags.flat_map(|flag| flag.names());
    let keyless = may_have_no_keys(spec).then_some("no_mandatory_keys");
    let flags = flags.chain(keyless).map(Reply::status).collect();
    let categories = spec.categories().names();
    let categories = categories
        .map(|name| Reply::Status(format!("@{name}").into()))
        .collect();
    let (first, last, step) = spec.keys.legacy();
    Reply::Array(vec![
        Reply::bulk(&command.full_name),
        Reply::Int(i64::from(spec.arity)),
        Reply::Set(flags),
        Reply::Int(first),
        Reply::Int(last),
        Reply::Int(step),
        Reply::Set(categories),
        Reply::Set(Vec::new()),
        Reply::Set(key_specifications(command)),
        Reply::Set(
            command
                .subcommands
                .iter()
                .map(|sub| describe(sub))
                .collect(),
        ),
    ])
}

/// Whether a count of zero keys is fine, as it is for scripts.
fn may_have_no_keys(spec: &CommandSpec) -> bool {
    spec.keys != Keys::None && spec.acl.has(Acl::SCRIPTING)
}

/// How a command uses a key, in Redis' words.
fn words(access: Access) -> Reply {
    Reply::Set(access.names().map(Reply::status).collect())
}

fn map(entries: impl IntoIterator<Item = (&'static str, Reply)>) -> Reply {
    Reply::Map(
        entries
            .into_iter()
            .map(|(name, value)| (Reply::bulk(name), value))
            .collect(),
    )
}

fn key_specifications(command: &Command) -> Vec<Reply> {
    let spec = &command.spec;
    let mut uses = command.access.iter().copied();
    let mut specification = |index: usize, kind: &str, details: [(&'static str, i64); 3]| {
        let details = details.map(|(name, value)| (name, Reply::Int(value)));
        map([
            ("flags", words(uses.next().unwrap_or_default())),
            (
                "begin_search",
                map([
                    ("type", Reply::bulk("index")),
                    ("spec", map([("index", Reply::Int(index as i64))])),
                ]),
            ),
            (
                "find_keys",
                map([("type", Reply::bulk(kind)), ("spec", map(details))]),
            ),
        ])
    };
    let range = |last: i64, step: i64| {
        (
            "range",
            [("lastkey", last), ("keystep", step), ("limit", 0)],
        )
    };
    let counted = (
        "keynum",
        [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)],
    );
    match spec.keys {
        Keys::None => Vec::new(),
        Keys::Range { first, last, step } => {
            let from = |first: usize| {
                if last < 0 {
                    i64::from(last)
                } else {
                    i64::from(last) - first as i64
                }
            };
            // Keys that are used differently have a specification each.
            if command.access.len() < 2 || last == first as i32 {
                let (kind, details) = range(from(first), step as i64);
                return vec![specification(first, kind, details)];
            }
            let (kind, details) = range(0, step as i64);
            let one = specification(first, kind, details);
            let (kind, details) = range(from(first + 1), step as i64);
            vec![one, specification(first + 1, kind, details)]
        }
        Keys::Counted { at } => vec![specification(at, counted.0, counted.1)],
        Keys::DestinationAndCounted => {
            let (kind, details) = range(0, 1);
            let destination = specification(1, kind, details);
            vec![destination, specification(2, counted.0, counted.1)]
        }
        Keys::OneAndStored { .. } | Keys::Sorted => {
            let (kind, details) = range(0, 1);
            vec![specification(1, kind, details)]
        }
        Keys::Streams { from } => vec![map([
            ("flags", words(uses.next().unwrap_or_default())),
            (
                "begin_search",
                map([
                    ("type", Reply::bulk("keyword")),
                    (
                        "spec",
                        map([
                            ("keyword", Reply::bulk("STREAMS")),
                            ("startfrom", Reply::Int(from as i64)),
                        ]),
                    ),
                ]),
            ),
            (
                "find_keys",
                map([
                    ("type", Reply::bulk("range")),
                    (
                        "spec",
                        map([
                            ("lastkey", Reply::Int(-1)),
                            ("keystep", Reply::Int(1)),
                            ("limit", Reply::Int(2)),
                        ]),
                    ),
                ]),
            ),
        ])],
    }
}

fn list(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let everything = (0..command_count()).filter_map(command_by_id);
    let named = |command: &Command| Reply::bulk(&command.full_name);
    let names: Vec<Reply> = match argv {
        [_, _] => everything.map(named).collect(),
        [_, _, filter, kind, value] if is(filter, "FILTERBY") => {
            if is(kind, "MODULE") {
                Vec::new()
            } else if is(kind, "ACLCAT") {
                let wanted = |command: &&Command| {
                    let mut names = command.spec.categories().names();
                    names.any(|name| value.eq_ignore_ascii_case(name.as_bytes()))
                };
                everything.filter(wanted).map(named).collect()
            } else if is(kind, "PATTERN") {
                let wanted = |command: &&Command| {
                    glob::matches_ignore_case(value, command.full_name.as_bytes())
                };
                everything.filter(wanted).map(named).collect()
            } else {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok(Reply::Array(names))
}

/// The keys of the command that stands after COMMAND GETKEYS.
fn keys_of<'a>(argv: &[&'a [u8]]) -> Result<Vec<(&'a [u8], Access)>, CommandError> {
    let argv = argv.get(2..).unwrap_or_default();
    let unknown = CommandError::text("ERR Invalid command specified");
    let mut command = argv
        .first()
        .and_then(|name| find(name))
        .ok_or(unknown.clone())?;
    if let (Some(sub), false) = (argv.get(1), command.subcommands.is_empty()) {
        command = command.subcommand(sub).ok_or(unknown)?;
    }
    let spec = &command.spec;
    if spec.keys == Keys::None {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !spec.accepts(argv.len()) {
        return Err(CommandError::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let used = command.keys_used(argv).into_iter();
    let keys: Vec<(&[u8], Access)> = used
        .filter_map(|(at, access)| Some((*argv.get(at)?, access)))
        .collect();
    if keys.is_empty() && !may_have_no_keys(spec) {
        return Err(CommandError::text(
            "ERR Invalid arguments specified for command",
        ));
    }
    Ok(keys)
}

fn getkeys(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let keys = keys_of(argv)?.into_iter();
    Ok(Reply::Array(
        keys.map(|(key, _)| Reply::bulk(key)).collect(),
    ))
}

fn getkeysandflags(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let entry = |(key, access)| Reply::Array(vec![Reply::bulk(key), words(access)]);
    Ok(Reply::Array(
        keys_of(argv)?.into_iter().map(entry).collect(),
    ))
}

fn docs_of(_: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    let names = argv.get(2..).unwrap_or_default();
    let found: Vec<&Command> = if names.is_empty() {
        commands().to_vec()
    } else {
        names.iter().filter_map(|name| by_full_name(name)).collect()
    };
    let mut room = Room::new();
    let entry = |command| {
        let (name, document) = document(command);
        Ok((name, room.hold(document)?))
    };
    let entries: Result<_, CommandError> = found.into_iter().map(entry).collect();
    Ok(Reply::Map(entries?))
}

fn document(command: &Command) -> (Reply, Reply) {
    let spec = &command.spec;
    let mut entries = Vec::with_capacity(5);
    if let Some((summary, complexity)) = docs::of(&command.full_name) {
        entries.push(("summary", Reply::bulk(summary)));
        entries.push(("since", Reply::bulk(spec.since)));
        entries.push(("group", Reply::bulk(docs::group(command))));
        entries.push(("complexity", Reply::bulk(complexity)));
    } else {
        let summary = match spec.run {
            Run::Container => "A container of subcommands",
            Run::Locked(_) | Run::Unlocked(_) if spec.name == "help" => "Says what there is",
            Run::Locked(_) | Run::Unlocked(_) => "Behaves as in Redis",
        };
        entries.push(("summary", Reply::bulk(summary)));
        entries.push(("since", Reply::bulk(spec.since)));
        entries.push(("group", Reply::bulk(docs::group(command))));
    }
    if !command.subcommands.is_empty() {
        let subcommands = command
            .subcommands
            .iter()
            .map(|sub| document(sub))
            .collect();
        entries.push(("subcommands", Reply::Map(subcommands)));
    }
    (Reply::bulk(&command.full_name), map(entries))
}

fn command_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "COMMAND",
        &[
            "(no subcommand)",
            "    Every command: name, arity, flags, keys, categories.",
            "COUNT",
            "    Number of commands.",
            "DOCS [<name> ...]",
            "    What commands are for, since when, and what they cost.",
            "GETKEYS <command> [<arg> ...]",
            "    The keys in a command.",
            "GETKEYSANDFLAGS <command> [<arg> ...]",
            "    The same, with how each is used.",
            "INFO [<name> ...]",
            "    The entries of these commands.",
            "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
            "    Names of commands and subcommands.",
        ],
    ))
}
