//! FUNCTION and its subcommands, FCALL.
//!
//! Libraries change like data: under the lock, undone with their unit, journaled
//! as the commands that changed them. What runs them is `script/functions`.
//! STATS and KILL take no lock, for they are asked while a function holds it.

mod list;
mod payload;

use std::sync::Arc;

use super::spec::{Acl, CommandSpec, Flags, Keys, Outcome};
use super::{Ctx, args, busy, script};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::Running;
use crate::reply::Reply;
use crate::script::functions::{Libraries, Metadata};
use crate::script::{Request, Scripts};
use crate::session::Session;

const fn call_form(
    name: &'static str,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, -3, handler)
        .flags(
            Flags::NOSCRIPT
                .and(Flags::STALE)
                .and(Flags::SKIP_MONITOR)
                .and(Flags::NO_MANDATORY_KEYS)
                .and(Flags::MOVABLEKEYS),
        )
        .keys(Keys::Counted { at: 2 })
        .acl(Acl::SCRIPTING)
        .since("7.0.0")
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    call_form("fcall", |ctx, argv| fcall(ctx, argv, false)).flags(Flags::YIELDS),
    call_form("fcall_ro", |ctx, argv| fcall(ctx, argv, true)).flags(Flags::READONLY),
    CommandSpec::container("function", SUBCOMMANDS).since("7.0.0"),
];

const fn subcommand(
    name: &'static str,
    arity: i32,
    handler: fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome,
) -> CommandSpec {
    CommandSpec::new(name, arity, handler)
        .flags(Flags::NOSCRIPT)
        .acl(Acl::SCRIPTING)
        .since("7.0.0")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    subcommand("delete", 3, delete).flags(Flags::WRITE),
    subcommand("dump", 2, payload::dump).not_upstash(),
    subcommand("flush", -2, flush).flags(Flags::WRITE),
    CommandSpec::unlocked("help", 2, help)
        .flags(Flags::LOADING.and(Flags::STALE))
        .acl(Acl::SCRIPTING)
        .since("7.0.0")
        .not_upstash(),
    CommandSpec::unlocked("kill", 2, |_, session, _| {
        script::kill_running(session, Running::Function)
    })
    .flags(Flags::NOSCRIPT.and(Flags::ALLOW_BUSY))
    .acl(Acl::SCRIPTING)
    .since("7.0.0"),
    subcommand("list", -2, list::list),
    subcommand("load", -3, load)
        .flags(Flags::WRITE.and(Flags::YIELDS))
        .denyoom(),
    subcommand("restore", -3, payload::restore)
        .flags(Flags::WRITE)
        .denyoom()
        .not_upstash(),
    CommandSpec::unlocked("stats", 2, stats)
        .flags(Flags::NOSCRIPT.and(Flags::ALLOW_BUSY))
        .acl(Acl::SCRIPTING)
        .since("7.0.0"),
];

fn fcall(ctx: &mut Ctx<'_>, argv: &[&[u8]], read_only: bool) -> Outcome {
    let function = ctx.db.libraries().function(argv[1]).map(Arc::clone);
    let function = function.ok_or(CommandError::text("ERR Function not found"))?;
    let count = args::int_or(argv[2], "ERR Bad number of keys provided")?;
    let rest = &argv[3..];
    if count > rest.len() as i64 {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    if count < 0 {
        return Err(CommandError::text("ERR Number of keys can't be negative"));
    }
    let (keys, args) = rest.split_at(count as usize);
    let request = Request {
        argv,
        keys,
        args,
        read_only,
    };
    let mut functions = Scripts::take_functions(ctx.db)?;
    let reply = functions.call(ctx, &function, &request);
    ctx.db.functions = Some(functions);
    Ok(reply)
}

fn load(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let [_, _, options @ .., text] = argv else {
        return Err(CommandError::Syntax);
    };
    for option in options {
        if !args::is(option, "REPLACE") {
            let mut text = b"ERR Unknown option given: ".to_vec();
            text.extend_from_slice(option);
            return Err(CommandError::Bytes(text));
        }
    }
    let replace = !options.is_empty();
    let metadata = Metadata::parse(text)?;
    if !replace && ctx.db.libraries().has(&metadata.name) {
        return Err(exists(&metadata.name));
    }
    let mut functions = Scripts::take_functions(ctx.db)?;
    let library = functions.load_library(ctx, text, &metadata);
    ctx.db.functions = Some(functions);
    let library = library?;
    ctx.db
        .libraries()
        .admit(&library)
        .map_err(|name| collision("Function", name))?;
    ctx.db
        .edit_libraries(|libraries| libraries.insert(Arc::new(library)));
    Ok(Reply::Bulk(metadata.name))
}

fn exists(library: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(library);
    CommandError::Text(format!("ERR Library '{name}' already exists").into())
}

/// The same as of several libraries at once, or of a function.
fn collision(what: &str, name: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(name);
    CommandError::Text(format!("ERR {what} {name} already exists").into())
}

fn delete(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    if !ctx.db.libraries().has(argv[2]) {
        return Err(CommandError::text("ERR Library not found"));
    }
    ctx.db.edit_libraries(|libraries| libraries.remove(argv[2]));
    collect(ctx);
    Ok(Reply::OK)
}

fn flush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    match argv[2..] {
        [] => {}
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        [_] => {
            return Err(CommandError::text(
                "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
            ));
        }
        _ => return Err(unknown_form(argv[1])),
    }
    ctx.db
        .edit_libraries(|libraries| *libraries = Libraries::default());
    collect(ctx);
    Ok(Reply::OK)
}

/// The answer to a subcommand with too many arguments.
fn unknown_form(subcommand: &[u8]) -> CommandError {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.extend_from_slice(subcommand);
    text.extend_from_slice(b"'. Try FUNCTION HELP.");
    CommandError::Bytes(text)
}

/// Gives the memory of libraries that are gone back, unless a unit may return
/// them.
fn collect(ctx: &Ctx<'_>) {
    if let Some(functions) = &ctx.db.functions
        && !ctx.db.is_recording()
    {
        functions.collect();
    }
}

fn stats(engine: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let no_auth = || CommandError::text("NOAUTH Authentication required.");
    let keyspace = session.keyspace().ok_or_else(no_auth)?;
    let running = keyspace
        .is_busy()
        .then(|| keyspace.script.running())
        .flatten();
    let report = match running {
        Some(Running::Script) => return Ok(busy(keyspace)),
        Some(Running::Function) => keyspace.script.report(),
        None => None,
    };
    let entry = |name: &str, value: Reply| (Reply::bulk(name), value);
    let running = report.map_or(Reply::Null, |report| {
        let took_us = engine.now_micros().saturating_sub(report.began_us);
        let command = report.argv.into_iter().map(Reply::Bulk).collect();
        Reply::Map(vec![
            entry("name", Reply::Bulk(report.name)),
            entry("command", Reply::Array(command)),
            entry("duration_ms", Reply::Int((took_us / 1000) as i64)),
        ])
    });
    let (libraries, functions) = keyspace.libraries.get();
    let lua = Reply::Map(vec![
        entry("libraries_count", libraries.into()),
        entry("functions_count", functions.into()),
    ]);
    Ok(Reply::Map(vec![
        entry("running_script", running),
        entry("engines", Reply::Map(vec![entry("LUA", lua)])),
    ]))
}

fn help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(super::object::help(
        "FUNCTION",
        &[
            "DELETE <library>",
            "    Remove a library and its functions.",
            "DUMP",
            "    All libraries as a payload for RESTORE.",
            "FLUSH [ASYNC|SYNC]",
            "    Remove all libraries.",
            "KILL",
            "    Stop the running function and take its writes back.",
            "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
            "    The libraries, with their functions.",
            "LOAD [REPLACE] <code>",
            "    Make a library of code that begins with #!lua name=<library>.",
            "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
            "    Make the libraries of a payload, beside or in place of those there are.",
            "STATS",
            "    The function that runs past its limit, and how many there are.",
        ],
    ))
}
