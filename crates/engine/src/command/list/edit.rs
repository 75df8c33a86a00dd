//! LSET, LINSERT, LREM, LTRIM.

use super::super::spec::Outcome;
use super::{Ctx, announce, args};
use crate::error::CommandError;
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
    set.unwrap_or(Err(CommandError::NoSuchKey))
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
        let Some(pivot) = pivot else {
            return Reply::Int(-1);
        };
        list.insert(pivot + behind, argv[4], limits);
        list.len().into()
    })?;
    Ok(length.unwrap_or(Reply::Int(0)))
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
    Ok(removed.unwrap_or(0).into())
}

pub(super) fn ltrim(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let (start, stop) = (args::int(argv[2])?, args::int(argv[3])?);
    let engine = ctx.engine;
    ctx.db.edit(argv[1], |list: &mut List| {
        let length = list.len();
        let kept = args::range(start, stop, length);
        announce(engine, length - kept.len());
        list.remove_range(kept.end, length - kept.end);
        list.remove_range(0, kept.start);
    })?;
    Ok(Reply::OK)
}
