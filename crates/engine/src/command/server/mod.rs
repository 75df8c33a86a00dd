//! The server as an operator sees it: INFO, CONFIG, SLOWLOG, TIME, ROLE.

mod config;
mod info;
mod slowlog;

pub(super) use self::config::unknown_setting;
use super::Ctx;
use super::spec::{Acl, CommandSpec, Flags, Outcome, command_by_id};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::reply::Reply;
use crate::session::Session;

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::container("config", config::SUBCOMMANDS)
        .since("2.0.0")
        .free(),
    CommandSpec::new("info", -1, info::info)
        .flags(ANY_TIME)
        .acl(Acl::DANGEROUS)
        .free(),
    CommandSpec::new("monitor", 1, monitor)
        .flags(Flags::ADMIN.and(ANY_TIME).and(Flags::NOSCRIPT))
        .not_rest(),
    CommandSpec::unlocked("role", 1, role)
        .flags(ANY_TIME.and(Flags::NOSCRIPT))
        .fast()
        .acl(Acl::ADMIN.and(Acl::DANGEROUS))
        .since("2.8.12")
        .not_upstash(),
    CommandSpec::container("slowlog", slowlog::SUBCOMMANDS)
        .since("2.2.12")
        .not_upstash(),
    CommandSpec::unlocked("time", 1, time)
        .flags(ANY_TIME)
        .fast()
        .since("2.6.0"),
];

/// Commands that the plan bills, with those that ran without the lock.
fn billed(ctx: &Ctx<'_>) -> u64 {
    let unlocked = ctx.keyspace.unlocked.lock();
    let is_billed = |id| command_by_id(id).is_some_and(|command| command.spec.billed);
    let beside = unlocked
        .iter()
        .filter(|(id, _)| is_billed(*id))
        .map(|(_, stat)| stat.calls);
    ctx.db.stats.billed + beside.sum::<u64>()
}

fn time(engine: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    let now = engine.now_micros();
    let text = |number: u64| Reply::bulk(itoa::Buffer::new().format(number));
    Ok(Reply::Array(vec![
        text(now / 1_000_000),
        text(now % 1_000_000),
    ]))
}

fn monitor(ctx: &mut Ctx<'_>, _: &[&[u8]]) -> Outcome {
    if ctx.db.is_recording() {
        return Err(CommandError::text(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    if ctx.session.is_monitoring() {
        return Ok(Reply::Many(Vec::new()));
    }
    ctx.session.monitor()?;
    Ok(Reply::OK)
}

/// A master without replicas: there is no replication.
fn role(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(Reply::Array(vec![
        Reply::bulk("master"),
        Reply::Int(0),
        Reply::Array(Vec::new()),
    ]))
}
