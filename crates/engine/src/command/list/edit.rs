//! LSET, LINSERT, LREM, LTRIM.

use super::super::spec::Outcome;
use super::{Ctx, announce, args};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::value::{Collection, End, List};

pub(super) fn lset(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let limits = ctx.db.settings.list;
    let index = args::int(argv[2]);
    let set = ctx.db.edit(argv[1], |list: &mut List| {
        let index = args::index(index?, list.len());
        let done = usize::try_from(index).is_ok_and(|index| list.set(index, argv[3], limits));
        if done {
            Ok(Reply::OK)
        } else {
            Err(CommandError::IndexOutOfRange)
        }
    })?;
    let reply = set.unwrap_or(Err(CommandError::NoSuchKey))?;
    ctx.db.notify(Event::List, "lset", argv[1]);
    Ok(reply)
}

pub(super) fn linsert(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let behind = if args::is(argv[2], "AFTER") {
        1
    } else if args::is(argv[2], "BEFORE") {
        0
    } else {
        return Err(CommandError::Syntax);
    };
    let limits = ctx.db.settings.list;
    let engine = ctx.engine;
    let length = ctx.db.edit(argv[1], |list: &mut List| {
        announce(engine, list.len());
        let mut pivot = None;
        list.find(argv[3], End::Head, usize::MAX, |index| {
            pivot = Some(index);
            false
        });
        list.insert(pivot? + behind, argv[4], limits);
        Some(list.len())
    })?;
    Ok(match length {
        None => Reply::Int(0),
        Some(None) => Reply::Int(-1),
        Some(Some(length)) => {
            ctx.db.notify(Event::List, "linsert", argv[1]);
            length.into()
        }
    })
}

pub(super) fn lrem(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let count = args::int(argv[2])?;
    let end = if count < 0 { End::Tail } else { End::Head };
    let most = match count.unsigned_abs() as usize {
        0 => usize::MAX,
        most => most,
    };
    let engine = ctx.engine;
    let removed = ctx.db.edit(argv[1], |list: &mut List| {
        announce(engine, list.len());
        list.remove(argv[3], end, most)
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        ctx.db.notify_taken(Event::List, "lrem", argv[1]);
    }
    Ok(removed.into())
}

pub(super) fn ltrim(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (start, stop) = (args::int(argv[2])?, args::int(argv[3])?);
    let engine = ctx.engine;
    let trimmed = ctx.db.edit(argv[1], |list: &mut List| {
        let length = list.len();
        let kept = args::range(start, stop, length);
        announce(engine, length - kept.len());
        list.remove_range(kept.end, length - kept.end);
        list.remove_range(0, kept.start);
    })?;
    if trimmed.is_some() {
        // Also when all elements stay.
        ctx.db.notify_taken(Event::List, "ltrim", argv[1]);
    }
    Ok(Reply::OK)
}
