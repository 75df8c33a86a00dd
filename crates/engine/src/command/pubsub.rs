//! Publish and subscribe: the commands over [`crate::pubsub`].
//!
//! Publishing runs under the keyspace lock, so messages of a transaction or a
//! script keep their place among its writes, and go when these are logged;
//! subscribing needs no lock.

use super::Ctx;
use super::args::at;
use super::object::help;
use super::spec::{CommandSpec, Flags, Outcome};
use crate::engine::Engine;
use crate::error::CommandError;
use crate::pubsub::Topic;
use crate::reply::Reply;
use crate::session::Session;

const LISTENING: Flags = Flags::PUBSUB
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);
const LOOKING: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("channels", -2, channels)
        .flags(LOOKING)
        .since("2.8.0"),
    CommandSpec::unlocked("help", 2, pubsub_help)
        .flags(Flags::LOADING.and(Flags::STALE))
        .since("6.2.0")
        .not_upstash(),
    CommandSpec::unlocked("numpat", 2, numpat)
        .flags(LOOKING)
        .since("2.8.0"),
    CommandSpec::unlocked("numsub", -2, numsub)
        .flags(LOOKING)
        .since("2.8.0"),
];

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::unlocked("psubscribe", -2, psubscribe)
        .flags(LISTENING)
        .since("2.0.0")
        .not_rest(),
    CommandSpec::new("publish", 3, publish)
        .flags(LOOKING.and(Flags::MAY_REPLICATE))
        .fast()
        .since("2.0.0"),
    CommandSpec::container("pubsub", SUBCOMMANDS).since("2.8.0"),
    CommandSpec::unlocked("punsubscribe", -1, punsubscribe)
        .flags(LISTENING)
        .since("2.0.0")
        .not_rest(),
    CommandSpec::unlocked("subscribe", -2, subscribe)
        .flags(LISTENING)
        .since("2.0.0")
        .not_rest(),
    CommandSpec::unlocked("unsubscribe", -1, unsubscribe)
        .flags(LISTENING)
        .since("2.0.0")
        .not_rest(),
];

fn publish(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (channel, payload) = (at(argv, 1)?, at(argv, 2)?);
    let hub = &ctx.keyspace.hub;
    if ctx.db.outbox.is_empty() && !ctx.db.is_recording() {
        return Ok(hub.publish(channel, payload).into());
    }
    // It goes with the unit, behind the events that this has raised.
    let receivers = hub.receivers(channel);
    if receivers > 0 {
        ctx.db.outbox.message(channel, payload);
    }
    Ok(receivers.into())
}

/// The notice that a subscription changed; `count` is what is left of them.
fn notice(verb: &str, name: Option<&[u8]>, count: usize) -> Reply {
    Reply::Push(vec![
        Reply::bulk(verb),
        name.map_or(Reply::Null, Reply::bulk),
        count.into(),
    ])
}

fn subscribe(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    listen(session, "subscribe", Topic::Channel, argv)
}

fn psubscribe(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    listen(session, "psubscribe", Topic::Pattern, argv)
}

fn listen(session: &mut Session, verb: &str, topic: Topic, argv: &[&[u8]]) -> Outcome {
    let names = argv.iter().skip(1);
    Ok(Reply::Many(
        names
            .map(|name| notice(verb, Some(name), session.subscribe(topic, name)))
            .collect(),
    ))
}

fn unsubscribe(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    leave(session, "unsubscribe", Topic::Channel, argv)
}

fn punsubscribe(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    leave(session, "punsubscribe", Topic::Pattern, argv)
}

/// Without names, leaves all; there is always at least one notice.
fn leave(session: &mut Session, verb: &str, topic: Topic, argv: &[&[u8]]) -> Outcome {
    let notices: Vec<Reply> = if argv.len() > 1 {
        let names = argv.iter().skip(1);
        names
            .map(|name| notice(verb, Some(name), session.unsubscribe(topic, name)))
            .collect()
    } else {
        let names = session.subscribed(topic);
        names
            .iter()
            .map(|name| notice(verb, Some(name), session.unsubscribe(topic, name)))
            .collect()
    };
    if notices.is_empty() {
        return Ok(Reply::Many(vec![notice(
            verb,
            None,
            session.subscriptions(),
        )]));
    }
    Ok(Reply::Many(notices))
}

fn channels(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    if argv.len() > 3 {
        return Err(CommandError::from(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
            String::from_utf8_lossy(at(argv, 1)?)
        )));
    }
    let Some(keyspace) = session.keyspace() else {
        return Ok(Reply::Array(Vec::new()));
    };
    let names = keyspace.hub.channels(argv.get(2).copied());
    Ok(Reply::Array(names.iter().map(Reply::bulk).collect()))
}

fn numsub(_: &Engine, session: &mut Session, argv: &[&[u8]]) -> Outcome {
    let hub = session.keyspace().map(|keyspace| &keyspace.hub);
    let count = |name: &[u8]| hub.map_or(0, |hub| hub.count(name));
    let names = argv.iter().skip(2);
    Ok(Reply::Array(
        names
            .flat_map(|name| [Reply::bulk(name), count(name).into()])
            .collect(),
    ))
}

fn numpat(_: &Engine, session: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(session
        .keyspace()
        .map_or(0, |keyspace| keyspace.hub.patterns())
        .into())
}

fn pubsub_help(_: &Engine, _: &mut Session, _: &[&[u8]]) -> Outcome {
    Ok(help(
        "PUBSUB",
        &[
            "CHANNELS [<pattern>]",
            "    Channels with subscribers, those that match the pattern if there is one.",
            "NUMPAT",
            "    Number of patterns subscribed to.",
            "NUMSUB [<channel> ...]",
            "    Number of subscribers of each channel, without those by pattern.",
        ],
    ))
}
