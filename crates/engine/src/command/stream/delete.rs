//! XDEL, XACK, and their forms that ask the groups: XDELEX, XACKDEL.

use super::super::spec::Outcome;
use super::trim::references;
use super::{Ctx, args, ids, look_up};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{References, Stream, StreamId};

/// Without a stream, ids are not looked at.
pub(super) fn xdel(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let deleted = ctx.db.edit(argv[1], |stream: &mut Stream| {
        let ids = ids::all(&argv[2..])?;
        let deleted = ids.iter().filter(|id| stream.delete(**id)).count();
        Ok::<_, CommandError>(deleted)
    })?;
    let deleted = deleted.transpose()?.unwrap_or(0);
    if deleted > 0 {
        ctx.db.notify(Event::Stream, "xdel", argv[1]);
    }
    Ok(deleted.into())
}

/// Without the group, ids are not looked at.
pub(super) fn xack(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    look_up(ctx, argv[1]);
    let acknowledged = ctx.db.edit(argv[1], |stream: &mut Stream| {
        if stream.group(argv[2]).is_none() {
            return Ok(None);
        }
        let ids = ids::all(&argv[3..])?;
        let acknowledged = stream.edit_group(argv[2], |group| {
            let ids = ids.iter();
            ids.filter(|id| group.set(**id, None).is_some()).count()
        });
        Ok::<_, CommandError>(acknowledged)
    })?;
    Ok(acknowledged.transpose()?.flatten().unwrap_or(0).into())
}

/// `[KEEPREF | DELREF | ACKED] IDS <count> <id>...`, in either order.
fn what_and_which(words: &[&[u8]]) -> Result<(References, Vec<StreamId>), CommandError> {
    let (mut kept, mut ids) = (None, None);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let following = words.get(at + 1..).unwrap_or_default();
        if let (Some(references), None) = (references(word), kept) {
            kept = Some(references);
            at += 1;
        } else if let ([count, rest @ ..], None) = (following, &ids)
            && args::is(word, "IDS")
        {
            let count =
                args::parse_i64(count)
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::text(
                        "ERR Number of IDs must be a positive integer",
                    ))?;
            let given = rest.get(..count as usize).ok_or(CommandError::text(
                "ERR The `numids` parameter must match the number of arguments",
            ))?;
            ids = Some(given);
            at += 2 + given.len();
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let ids = ids.ok_or(CommandError::text("ERR IDS option is required"))?;
    Ok((kept.unwrap_or_default(), self::ids::all(ids)?))
}

/// What became of an entry.
#[derive(Debug, Clone, Copy)]
#[repr(i64)]
enum Fate {
    Missing = -1,
    Deleted = 1,
    /// A group still waits for it.
    Stayed = 2,
}

fn delete(stream: &mut Stream, id: StreamId, references: References) -> Fate {
    if references == References::Forget {
        stream.forget_references(id);
    }
    if references == References::Respect && stream.get(id).is_some() && stream.is_referenced(id) {
        return Fate::Stayed;
    }
    if stream.delete(id) {
        Fate::Deleted
    } else {
        Fate::Missing
    }
}

fn fates(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    ids: &[StreamId],
    mut of: impl FnMut(&mut Stream, StreamId) -> Fate,
) -> Outcome {
    let fates = ctx.db.edit(key, |stream: &mut Stream| {
        ids.iter().map(|id| of(stream, *id)).collect::<Vec<_>>()
    })?;
    if fates
        .iter()
        .flatten()
        .any(|fate| matches!(fate, Fate::Deleted))
    {
        ctx.db.notify(Event::Stream, "xdel", key);
    }
    let fates = fates.unwrap_or_else(|| vec![Fate::Missing; ids.len()]);
    Ok(Reply::Array(
        fates
            .into_iter()
            .map(|fate| Reply::Int(fate as i64))
            .collect(),
    ))
}

pub(super) fn xdelex(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (references, ids) = what_and_which(&argv[2..])?;
    fates(ctx, argv[1], &ids, |stream, id| {
        delete(stream, id, references)
    })
}

/// Acknowledges what is pending in the group, and then deletes it.
pub(super) fn xackdel(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (references, ids) = what_and_which(&argv[3..])?;
    fates(ctx, argv[1], &ids, |stream, id| {
        let acknowledged = stream
            .edit_group(argv[2], |group| group.set(id, None))
            .flatten();
        if acknowledged.is_none() {
            return Fate::Missing;
        }
        match delete(stream, id, references) {
            // It was pending: that it is gone already is as good.
            Fate::Missing => Fate::Deleted,
            fate => fate,
        }
    })
}
