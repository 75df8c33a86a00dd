//! The journal and its snapshots as Redis' commands see them.
//!
//! BGSAVE, SAVE and BGREWRITEAOF all make a snapshot, after which the log before
//! it goes: there is one form of both here.

use super::args;
use super::blocked::milliseconds;
use super::spec::{Acl, CommandSpec, Flags, Outcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::persist::SaveError;
use crate::reply::Reply;
use crate::session::{Blocked, Session, Until};

const OPERATOR: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("bgrewriteaof", 1, |engine, _, _| {
        in_background(engine, "Background append only file rewriting started")
    })
    .flags(OPERATOR.and(Flags::NO_ASYNC_LOADING))
    .acl(Acl::ADMIN.and(Acl::DANGEROUS))
    .not_upstash(),
    CommandSpec::unlocked("bgsave", -1, bgsave)
        .flags(OPERATOR.and(Flags::NO_ASYNC_LOADING))
        .acl(Acl::ADMIN.and(Acl::DANGEROUS))
        .not_upstash(),
    CommandSpec::unlocked("lastsave", 1, lastsave)
        .flags(Flags::LOADING.and(Flags::STALE))
        .fast()
        .acl(Acl::ADMIN.and(Acl::DANGEROUS))
        .not_upstash(),
    CommandSpec::unlocked("save", 1, save)
        .flags(OPERATOR.and(Flags::NO_ASYNC_LOADING).and(Flags::NO_MULTI))
        .acl(Acl::ADMIN.and(Acl::DANGEROUS))
        .not_upstash(),
    CommandSpec::unlocked("wait", 3, wait)
        .flags(Flags::NOSCRIPT)
        .acl(Acl::CONNECTION)
        .since("3.0.0"),
    CommandSpec::unlocked("waitaof", 4, waitaof)
        .flags(Flags::NOSCRIPT.and(Flags::BLOCKING))
        .acl(Acl::CONNECTION)
        .since("7.2.0"),
];

fn bgsave(engine: &Engine, _: &mut Session, argv: &[&[u8]]) -> Outcome {
    match argv.get(1..).unwrap_or_default() {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"schedule") => {}
        _ => return Err(CommandError::Syntax),
    }
    in_background(engine, "Background saving started")
}

fn in_background(engine: &Engine, started: &'static str) -> Outcome {
    engine.save_in_background().map_err(refusal)?;
    Ok(Reply::Status(started.into()))
}

/// Made on a thread of its own: the caller waits, nobody else does, and the lock
/// that the command may run under is free for the snapshot.
fn save(engine: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    let ticket = engine.save_in_background().map_err(refusal)?;
    session.blocked = Some(Blocked {
        until: Until::Saved(ticket),
        patience: None,
    });
    Ok(Reply::OK)
}

pub(crate) fn refusal(error: SaveError) -> CommandError {
    match error {
        SaveError::Running => CommandError::text("ERR Background save already in progress"),
        other => format!("ERR {other}").into(),
    }
}

fn lastsave(engine: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(Reply::Int(
        (engine.saves().last_good_us() / 1_000_000) as i64,
    ))
}

/// Waits for replicas, of which there are none: who wants some waits in vain.
fn wait(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let replicas = args::int(argv[1])?;
    let patience = milliseconds(argv[2])?;
    if replicas > 0 && !session.in_transaction() {
        session.blocked = Some(Blocked {
            until: Until::Replicas,
            patience,
        });
    }
    Ok(Reply::Int(0))
}

/// Waits until what this keyspace was told before is durable here, whatever
/// `appendfsync` says. There are no replicas to wait for.
fn waitaof(engine: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let here = args::int(argv[1])?;
    let replicas = args::int(argv[2])?;
    let patience = milliseconds(argv[3])?;
    if !(0..=1).contains(&here) || replicas < 0 {
        return Err(CommandError::text(
            "ERR value is out of range, must be between 0 and 1",
        ));
    }
    let Some(journal) = engine.journal() else {
        if here > 0 {
            return Err(CommandError::text(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            ));
        }
        return Ok(durable_here(false));
    };
    let seq = session.keyspace().map(|keyspace| keyspace.last_seq());
    let seq = seq.unwrap_or_default();
    let durable = journal.durable() >= seq;
    let satisfied = i64::from(durable) >= here && replicas == 0;
    if !satisfied && !session.in_transaction() {
        journal.request_sync();
        session.blocked = Some(Blocked {
            until: if replicas > 0 {
                Until::Never(seq)
            } else {
                Until::Durable(seq)
            },
            patience,
        });
    }
    Ok(durable_here(durable))
}

/// What WAITAOF answers: copies here, copies elsewhere.
pub(crate) fn durable_here(durable: bool) -> Reply {
    Reply::Array(vec![Reply::Int(i64::from(durable)), Reply::Int(0)])
}
