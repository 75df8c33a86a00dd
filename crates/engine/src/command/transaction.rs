//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Dispatch queues what comes after MULTI; EXEC runs the queue as one unit: one
//! entry in the log, undone whole if a script in it is killed. WATCH raises a
//! flag on change (`keyspace/watch`); EXEC asks for it, after looking at each
//! watched key so that one whose time has come counts as changed.

use std::sync::atomic::Ordering;

use super::spec::{ALL_KEYS, Acl, CommandSpec, Flags, Outcome};
use super::{Ctx, call_queued};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::reply::{REPLY_MAX, Reply};
use crate::session::{Session, Transaction};

const FREE_OF_STATE: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::ALLOW_BUSY);

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("multi", 1, multi)
        .flags(FREE_OF_STATE)
        .fast()
        .acl(Acl::TRANSACTION)
        .since("1.2.0")
        .not_rest(),
    CommandSpec::new("exec", 1, exec)
        .flags(
            Flags::NOSCRIPT
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::SKIP_SLOWLOG),
        )
        .acl(Acl::TRANSACTION)
        .since("1.2.0")
        .not_rest(),
    CommandSpec::unlocked("discard", 1, discard)
        .flags(FREE_OF_STATE)
        .fast()
        .acl(Acl::TRANSACTION)
        .since("2.0.0")
        .not_rest(),
    CommandSpec::new("watch", -2, watch)
        .flags(FREE_OF_STATE)
        .fast()
        .keys(ALL_KEYS)
        .acl(Acl::TRANSACTION)
        .since("2.2.0")
        .not_rest(),
    CommandSpec::unlocked("unwatch", 1, unwatch)
        .flags(FREE_OF_STATE)
        .fast()
        .acl(Acl::TRANSACTION)
        .since("2.2.0")
        .not_rest(),
];

fn multi(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    if session.in_transaction() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    session.transaction = Some(Transaction::default());
    session.client.in_multi.store(1, Ordering::Relaxed);
    Ok(Reply::OK)
}

fn discard(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    if !session.in_transaction() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    session.discard();
    Ok(Reply::OK)
}

fn unwatch(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    session.watching = None;
    Ok(Reply::OK)
}

fn watch(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    if ctx.session.in_transaction() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let (flag, keys) = ctx.session.watching.get_or_insert_default();
    for key in &argv[1..] {
        if keys.insert(key.to_vec()) {
            ctx.db.watch(key, flag);
        }
    }
    Ok(Reply::OK)
}

fn exec(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    let Some(transaction) = ctx.session.transaction.take() else {
        return Err(CommandError::text("ERR EXEC without MULTI"));
    };
    let watching = ctx.session.watching.take();
    ctx.session.discard();
    if transaction.aborted {
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if let Some((flag, keys)) = watching {
        for key in &keys {
            ctx.db.exists(key);
        }
        if flag.is_raised() {
            return Ok(Reply::NullArray);
        }
    }
    let mut needs = Flags::empty();
    for (command, _) in &transaction.queue {
        needs = needs.and(command.spec.flags);
    }
    if needs.has(Flags::WRITE)
        && let Err(text) = ctx.engine.admit()
    {
        return Err(format!("EXECABORT Transaction discarded because of: {text}").into());
    }
    if needs.has(Flags::DENYOOM) && crate::evict::is_full(ctx.db) {
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of: \
             OOM command not allowed when used memory > 'maxmemory'.",
        ));
    }
    let mark = ctx.db.effects.mark();
    ctx.db.begin_undo();
    let mut replies = Vec::with_capacity(transaction.queue.len());
    let mut weight = 0;
    for (command, argv) in &transaction.queue {
        let argv: smallvec::SmallVec<[&[u8]; 8]> = argv.iter().map(Vec::as_slice).collect();
        let reply = call_queued(ctx, command, &argv);
        weight += reply.weight();
        replies.push(reply);
        let killed = std::mem::take(&mut ctx.db.must_roll_back);
        if let Some(reason) = why_undone(ctx.db, killed, weight <= REPLY_MAX) {
            ctx.db.rollback();
            ctx.db.effects.truncate(mark);
            return Err(CommandError::text(reason));
        }
    }
    ctx.db.commit();
    Ok(Reply::Array(replies))
}

/// Why the unit that runs cannot be kept, if so.
pub(super) fn why_undone(db: &Db, killed: bool, replies_fit: bool) -> Option<&'static str> {
    if killed {
        Some("EXECABORT Transaction discarded because of: a script in it was killed")
    } else if !replies_fit {
        Some("EXECABORT Transaction discarded because of: its replies are too large")
    } else if db.effects.exceed_a_unit() {
        Some("EXECABORT Transaction discarded because of: it writes more than a unit may")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded() {
        let engine = Engine::default();
        let mut session = engine.session();
        let mut run = |argv: &[&str]| {
            let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
            engine.call(&mut session, &argv).0
        };
        let third = "x".repeat((1 << 20) / 3);
        for sets in [2, 3] {
            run(&["DEL", "k"]);
            run(&["MULTI"]);
            let replies: Vec<_> = (0..sets).map(|_| run(&["APPEND", "k", &third])).collect();
            let last = replies.last().map(Reply::is_error);
            assert_eq!(last, Some(sets == 3));
            assert_eq!(run(&["PING"]), Reply::status("QUEUED"));
            assert_eq!(run(&["EXEC"]).is_error(), sets == 3);
            let length = if sets == 3 { 0 } else { 2 * third.len() };
            assert_eq!(run(&["STRLEN", "k"]), Reply::from(length));
        }
    }

    #[test]
    fn many_keys_can_be_watched() {
        let engine = Engine::default();
        let (mut session, mut other) = (engine.session(), engine.session());
        let keys: Vec<String> = (0..200_000).map(|key| key.to_string()).collect();
        let mut argv = vec![&b"WATCH"[..]];
        argv.extend(keys.iter().map(String::as_bytes));
        // A walk over all for each would take minutes.
        for _ in 0..2 {
            assert_eq!(engine.call(&mut session, &argv).0, Reply::OK);
        }
        engine.call(&mut other, &[b"SET", b"199999", b"v"]);
        engine.call(&mut session, &[b"MULTI"]);
        assert_eq!(engine.call(&mut session, &[b"EXEC"]).0, Reply::NullArray);
    }

    #[test]
    fn an_exec_with_too_much_to_say_is_undone() {
        let engine = Engine::default();
        let mut session = engine.session();
        let mut run = |argv: &[&str]| {
            let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
            engine.call(&mut session, &argv).0
        };
        let third = "x".repeat(REPLY_MAX / 3);
        run(&["SET", "k", &third]);
        for gets in [2, 3] {
            run(&["MULTI"]);
            run(&["INCR", "n"]);
            for _ in 0..gets {
                run(&["GET", "k"]);
            }
            let reply = run(&["EXEC"]);
            assert_eq!(reply.is_error(), gets == 3, "{gets}");
        }
        assert_eq!(run(&["GET", "n"]), Reply::bulk("1"));
        assert_eq!(run(&["EXEC"]), Reply::error("ERR EXEC without MULTI"));
    }
}
