//! EVAL and its forms, SCRIPT.

use std::sync::Arc;

use super::spec::{Acl, CommandSpec, Flags, Keys, Outcome};
use super::{Ctx, args};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::script::{Request, Script, Scripts};
use crate::session::Session;

const fn eval_form(
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
        .since("2.6.0")
}

pub(super) const COMMANDS: &[CommandSpec] = &[
    eval_form("eval", |ctx, argv| run(ctx, argv, By::Text, false)),
    eval_form("evalsha", |ctx, argv| run(ctx, argv, By::Sha, false)),
    eval_form("eval_ro", |ctx, argv| run(ctx, argv, By::Text, true))
        .flags(Flags::READONLY)
        .since("7.0.0"),
    eval_form("evalsha_ro", |ctx, argv| run(ctx, argv, By::Sha, true))
        .flags(Flags::READONLY)
        .since("7.0.0"),
    CommandSpec::container("script", SUBCOMMANDS).since("2.6.0"),
];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec::new("load", 3, load)
        .flags(Flags::NOSCRIPT.and(Flags::STALE))
        .acl(Acl::SCRIPTING)
        .since("2.6.0"),
    CommandSpec::new("exists", -3, exists)
        .flags(Flags::NOSCRIPT)
        .acl(Acl::SCRIPTING)
        .since("2.6.0"),
    CommandSpec::new("flush", -2, flush).flags(Flags::NOSCRIPT).acl(Acl::SCRIPTING).since("2.6.0"),
    CommandSpec::unlocked("kill", 2, kill)
        .flags(Flags::NOSCRIPT.and(Flags::ALLOW_BUSY))
        .acl(Acl::SCRIPTING)
        .since("2.6.0"),
    CommandSpec::unlocked("help", 2, help)
        .flags(Flags::LOADING.and(Flags::STALE))
        .acl(Acl::SCRIPTING)
        .since("5.0.0"),
];

#[derive(Clone, Copy)]
enum By {
    Text,
    Sha,
}

fn run(ctx: &mut Ctx<'_>, argv: &[&[u8]], by: By, read_only: bool) -> Outcome {
    let count = args::int(argv[2])?;
    let rest = &argv[3..];
    if count > rest.len() as i64 {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    if count < 0 {
        return Err(CommandError::text("ERR Number of keys can't be negative"));
    }
    let (keys, args) = rest.split_at(count as usize);
    let mut scripts = Scripts::take(ctx.db)?;
    let reply = match find(&mut scripts, argv[1], by) {
        Ok(script) => scripts.run(ctx, &script, &Request { keys, args, read_only }),
        Err(reply) => reply,
    };
    ctx.db.scripts = Some(scripts);
    Ok(reply)
}

fn find(scripts: &mut Scripts, name: &[u8], by: By) -> Result<Arc<Script>, Reply> {
    match by {
        By::Text => scripts.load(name),
        By::Sha => scripts
            .find(name)
            .ok_or_else(|| Reply::error("NOSCRIPT No matching script. Please use EVAL.")),
    }
}

fn load(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let mut scripts = Scripts::take(ctx.db)?;
    let loaded = scripts.load(argv[2]);
    ctx.db.scripts = Some(scripts);
    Ok(match loaded {
        Ok(script) => Reply::bulk(script.sha()),
        Err(reply) => reply,
    })
}

fn exists(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let scripts = ctx.db.scripts.as_ref();
    let found = argv[2..]
        .iter()
        .map(|sha| scripts.is_some_and(|scripts| scripts.find(sha).is_some()).into());
    Ok(Reply::Array(found.collect()))
}

fn flush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    match argv[2..] {
        [] => {}
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        _ => return Err(CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    if let Some(scripts) = &mut ctx.db.scripts {
        scripts.flush();
    }
    Ok(Reply::OK)
}

fn kill(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let running = session.keyspace().is_some_and(|keyspace| keyspace.script.request_kill());
    if running {
        Ok(Reply::OK)
    } else {
        Err(CommandError::text("NOTBUSY No scripts in execution right now."))
    }
}

fn help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    let lines = [
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "EXISTS <sha1> [<sha1> ...]",
        "    Whether each script is in the cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Empty the cache.",
        "KILL",
        "    Stop the running script and take its writes back.",
        "LOAD <script>",
        "    Put a script into the cache without running it; answers its SHA-1.",
        "HELP",
        "    Print this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(Reply::status).collect()))
}
