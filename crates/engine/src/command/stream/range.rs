//! XLEN, XRANGE, XREVRANGE.

use super::super::spec::Outcome;
use super::{Ctx, announce, args, entry_reply, ids};
use crate::error::CommandError;
use crate::reply::Reply;
use crate::value::{Collection, Stream};

pub(super) fn xlen(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let length = ctx.db.get::<Stream>(argv[1])?.map_or(0, Collection::len);
    Ok(length.into())
}

pub(super) fn xrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, (argv[2], argv[3]), false)
}

pub(super) fn xrevrange(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    range(ctx, argv, (argv[3], argv[2]), true)
}

fn range(
    ctx: &mut Ctx<'_>,
    argv: &[&[u8]],
    (start, end): (&[u8], &[u8]),
    reverse: bool,
) -> Outcome {
    let (start, end) = (ids::start(start)?, ids::end(end)?);
    let mut count = None;
    let mut options = argv[4..].iter();
    while let Some(option) = options.next() {
        let given = options.next().filter(|_| args::is(option, "COUNT"));
        count = Some(args::int(given.ok_or(CommandError::Syntax)?)?.max(0) as usize);
    }
    let Some(length) = ctx.db.get::<Stream>(argv[1])?.map(Collection::len) else {
        return Ok(Reply::Array(Vec::new()));
    };
    if count == Some(0) {
        return Ok(Reply::NullArray);
    }
    let count = count.unwrap_or(usize::MAX);
    announce(ctx, count.min(length));
    let entries = ctx
        .db
        .view::<Stream>(argv[1])
        .map_or_else(Vec::new, |stream| {
            let entries = stream.range(start, end, reverse).take(count);
            entries.map(|entry| entry_reply(&entry)).collect()
        });
    Ok(Reply::Array(entries))
}
