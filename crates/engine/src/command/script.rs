//! EVAL and its forms, SCRIPT.

use std::sync::Arc;

use super::spec::{Acl, CommandSpec, Flags, Keys, Outcome};
use super::{Ctx, args, busy};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::Running;
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
    eval_form("eval", |ctx, argv| run(ctx, argv, By::Text, false)).flags(Flags::YIELDS),
    eval_form("evalsha", |ctx, argv| run(ctx, argv, By::Sha, false)).flags(Flags::YIELDS),
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
    CommandSpec::new("flush", -2, flush)
        .flags(Flags::NOSCRIPT)
        .acl(Acl::SCRIPTING)
        .since("2.6.0"),
    CommandSpec::unlocked("kill", 2, kill)
        .flags(Flags::NOSCRIPT.and(Flags::ALLOW_BUSY))
        .acl(Acl::SCRIPTING)
        .since("2.6.0"),
    CommandSpec::unlocked("help", 2, help)
        .flags(Flags::LOADING.and(Flags::STALE))
        .acl(Acl::SCRIPTING)
        .since("5.0.0")
        .not_upstash(),
];

/// A command that changes its key and fails half-way.
#[cfg(test)]
pub(super) const PANICKING: &[CommandSpec] = &[CommandSpec::new("test.panic", 2, |ctx, argv| {
    let set = super::spec::find(b"set").ok_or(CommandError::Syntax)?;
    super::call(ctx, set, &[b"SET", argv[1], b"half"]);
    panic!("asked for")
})
.flags(Flags::WRITE)
.keys(super::spec::ONE_KEY)];

#[derive(Clone, Copy)]
enum By {
    Text,
    Sha,
}

fn run(ctx: &mut Ctx<'_>, argv: &[&[u8]], by: By, read_only: bool) -> Outcome {
    if matches!(by, By::Sha) && argv[1].len() != 40 {
        return Ok(no_script());
    }
    let count = args::int(argv[2])?;
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
    let mut scripts = Scripts::take(ctx.db)?;
    let reply = match find(&mut scripts, argv[1], by) {
        Ok(script) => {
            let request = Request {
                argv,
                keys,
                args,
                read_only,
            };
            let reply = scripts.run(ctx, &script, &request);
            scripts.ran(script);
            reply
        }
        Err(reply) => reply,
    };
    ctx.db.scripts = Some(scripts);
    Ok(reply)
}

fn find(scripts: &mut Scripts, name: &[u8], by: By) -> Result<Arc<Script>, Reply> {
    match by {
        By::Text => scripts.load(name),
        By::Sha => scripts.take_script(name).ok_or_else(no_script),
    }
}

fn no_script() -> Reply {
    Reply::error("NOSCRIPT No matching script. Please use EVAL.")
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
        .map(|sha| scripts.is_some_and(|scripts| scripts.exists(sha)).into());
    Ok(Reply::Array(found.collect()))
}

fn flush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    match argv[2..] {
        [] => {}
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        _ => {
            return Err(CommandError::text(
                "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
            ));
        }
    }
    // The VM goes too: scripts change the settings of its libraries.
    ctx.db.scripts = None;
    Ok(Reply::OK)
}

fn kill(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    kill_running(session, Running::Script)
}

/// SCRIPT KILL and FUNCTION KILL. Of the other kind, only one that runs past its
/// limit is seen: Redis would have let a shorter one end.
pub(super) fn kill_running(session: &Session, what: Running) -> Outcome {
    let none = CommandError::text("NOTBUSY No scripts in execution right now.");
    let keyspace = session.keyspace().ok_or(none.clone())?;
    if keyspace.script.request_kill(what) {
        Ok(Reply::OK)
    } else if keyspace.is_busy() {
        Ok(busy(keyspace))
    } else {
        Err(none)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(engine: &Engine, argv: &[&str]) -> String {
        let argv: Vec<&[u8]> = argv.iter().map(|text| text.as_bytes()).collect();
        let (reply, _) = engine.call(&mut engine.session(), &argv);
        match reply {
            Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_flush_forgets_what_scripts_set() {
        let engine = Engine::default();
        let nested = "return cjson.encode({{{1}}})";
        ask(&engine, &["EVAL", "cjson.encode_max_depth(2)", "0"]);
        let reply = ask(&engine, &["EVAL", nested, "0"]);
        assert!(reply.contains("excessive nesting"), "{reply}");
        ask(&engine, &["SCRIPT", "FLUSH"]);
        assert!(ask(&engine, &["EVAL", nested, "0"]).contains("Bulk"));
    }

    #[test]
    fn a_name_that_is_no_sha1_is_missing_before_the_keys_are_counted() {
        let engine = Engine::default();
        for command in ["EVALSHA", "EVALSHA_RO"] {
            assert!(ask(&engine, &[command, "abc", "x"]).starts_with("NOSCRIPT "));
            let reply = ask(&engine, &[command, &"a".repeat(40), "x"]);
            assert_eq!(reply, "ERR value is not an integer or out of range");
        }
    }

    #[test]
    fn what_redis_replicates_counts_as_a_write() {
        let engine = Engine::default();
        let body = "return redis.call('PUBLISH','a','b')";
        let refusal = "ERR Write commands are not allowed from read-only scripts. script: ";
        assert!(ask(&engine, &["EVAL_RO", body, "0"]).starts_with(refusal));
        assert_eq!(ask(&engine, &["EVAL", body, "0"]), "Int(0)");
        let reply = ask(
            &engine,
            &["EVAL_RO", "return redis.call('PUBLISH','a')", "0"],
        );
        assert!(reply.starts_with("ERR Wrong number of args calling Redis command"));
    }

    #[test]
    fn rawset_fails_where_it_is_called() {
        let engine = Engine::default();
        for (body, error) in [
            ("rawset(_G,'x',1)", "ERR Attempt to modify a readonly table"),
            (
                "return rawset(_G,'x',1)",
                "ERR Attempt to modify a readonly table",
            ),
            ("return rawset({},nil,1)", "ERR table index is nil"),
            (
                "return rawset(5,1,1)",
                "ERR user_script:1: bad argument #1 to 'rawset' (table expected, got number)",
            ),
            (
                "return rawset({})",
                "ERR user_script:1: bad argument #2 to 'rawset' (value expected)",
            ),
        ] {
            let reply = ask(&engine, &["EVAL", body, "0"]);
            assert!(
                reply.starts_with(error) && reply.ends_with(", on @user_script:1."),
                "{reply}"
            );
        }
        assert_eq!(
            ask(&engine, &["EVAL", "return rawset({},1,7)[1]", "0"]),
            "Int(7)"
        );
    }
}
