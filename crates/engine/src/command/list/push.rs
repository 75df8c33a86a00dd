//! LPUSH, RPUSH and their forms for lists that exist.

use super::super::spec::Outcome;
use super::Ctx;
use crate::notify::Event;
use crate::value::{Collection, End, List, ListLimits};

pub(super) fn lpush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    push(ctx, argv, End::Head)
}

pub(super) fn rpush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    push(ctx, argv, End::Tail)
}

fn push(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    let limits = ctx.db.settings.list;
    let length = ctx.db.edit_or_create(argv[1], |list: &mut List| {
        push_all(list, end, &argv[2..], limits)
    })?;
    ctx.db.notify(Event::List, event(end), argv[1]);
    Ok(length.into())
}

pub(super) fn lpushx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    push_existing(ctx, argv, End::Head)
}

pub(super) fn rpushx(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    push_existing(ctx, argv, End::Tail)
}

fn push_existing(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    let limits = ctx.db.settings.list;
    let length = ctx.db.edit(argv[1], |list: &mut List| {
        push_all(list, end, &argv[2..], limits)
    })?;
    if length.is_some() {
        ctx.db.notify(Event::List, event(end), argv[1]);
    }
    Ok(length.unwrap_or(0).into())
}

/// The event of a push.
pub(super) const fn event(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

fn push_all(list: &mut List, end: End, texts: &[&[u8]], limits: ListLimits) -> usize {
    for text in texts {
        list.push(end, text, limits);
    }
    list.len()
}
