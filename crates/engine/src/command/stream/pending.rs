//! XPENDING.

use super::super::spec::Outcome;
use super::{Ctx, args, id_reply, ids, no_group};
use crate::error::CommandError;
use crate::reply::Reply;
use crate::value::{Group, Stream, StreamId};

/// Which of the pending entries are asked for.
struct Filter<'a> {
    ids: (StreamId, StreamId),
    count: usize,
    min_idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

fn filter<'a>(words: &[&'a [u8]]) -> Result<Option<Filter<'a>>, CommandError> {
    let (min_idle_ms, rest) = match words {
        [] => return Ok(None),
        [_, _] | [_] => return Err(CommandError::Syntax),
        [_, _, _, _, _, _, _, ..] => return Err(CommandError::Syntax),
        [word, idle, rest @ ..] if args::is(word, "IDLE") => (args::int(idle)?, rest),
        rest => (0, rest),
    };
    let [start, end, count, rest @ ..] = rest else {
        return Err(CommandError::Syntax);
    };
    let count = args::int(count)?.max(0) as usize;
    Ok(Some(Filter {
        ids: (ids::start(start)?, ids::end(end)?),
        count,
        min_idle_ms,
        consumer: rest.first().copied(),
    }))
}

pub(super) fn xpending(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let filter = filter(&argv[3..])?;
    let now_ms = ctx.now_ms();
    let (key, name) = (argv[1], argv[2]);
    let group = ctx
        .db
        .get::<Stream>(key)?
        .and_then(|stream| stream.group(name))
        .ok_or_else(|| no_group(key, name))?;
    Ok(match filter {
        None => summary(group),
        Some(filter) => listed(group, &filter, now_ms),
    })
}

/// How many are pending, from which id to which, and how many each consumer has.
fn summary(group: &Group) -> Reply {
    let pending = group.pending();
    let edge = |id: Option<(&StreamId, _)>| id.map_or(Reply::Null, |(id, _)| id_reply(*id));
    let consumers = group
        .consumers()
        .filter(|(_, consumer)| !consumer.pending().is_empty())
        .map(|(_, consumer)| {
            let count = consumer.pending().len();
            let count = itoa::Buffer::new().format(count).as_bytes().to_vec();
            Reply::Array(vec![Reply::bulk(consumer.name()), Reply::Bulk(count)])
        });
    Reply::Array(vec![
        pending.len().into(),
        edge(pending.first_key_value()),
        edge(pending.last_key_value()),
        if pending.is_empty() {
            Reply::NullArray
        } else {
            Reply::Array(consumers.collect())
        },
    ])
}

fn listed(group: &Group, filter: &Filter<'_>, now_ms: u64) -> Reply {
    let consumer = match filter.consumer.map(|name| group.find(name)) {
        Some(None) => return Reply::Array(Vec::new()),
        found => found.flatten(),
    };
    let (start, end) = filter.ids;
    let idle = |delivered_ms: u64| (now_ms as i64).wrapping_sub(delivered_ms as i64);
    let pending = group
        .pending_in(start..=end, consumer)
        .filter(|(_, pending)| {
            filter.min_idle_ms == 0 || idle(pending.delivered_ms) >= filter.min_idle_ms
        })
        .take(filter.count);
    let rows = pending.map(|(id, pending)| {
        Reply::Array(vec![
            id_reply(id),
            Reply::bulk(group.name_of(pending.consumer)),
            Reply::Int(idle(pending.delivered_ms).max(0)),
            Reply::Int(pending.deliveries as i64),
        ])
    });
    Reply::Array(rows.collect())
}
