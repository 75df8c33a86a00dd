//! LPOP, RPOP, LMPOP, and the forms of them that wait.

use super::super::blocked;
use super::super::spec::Outcome;
use super::read::gather;
use super::{Ctx, announce, args, end};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::{Bulks, Reply};
use crate::session::Wait;
use crate::value::{Collection, End, List};

pub(super) fn lpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    pop(ctx, argv, End::Head)
}

pub(super) fn rpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    pop(ctx, argv, End::Tail)
}

/// The reply's shape depends on whether a count was given.
fn pop(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    match argv.get(2..) {
        None | Some([]) => Ok(pop_one(ctx, argv[1], end)?.into()),
        Some([count]) => {
            let count = args::positive(count)? as usize;
            let popped = pop_many(ctx, argv[1], end, count)?;
            Ok(popped.map_or(Reply::NullArray, Reply::Bulks))
        }
        Some(_) => Err(CommandError::wrong_arity(match end {
            End::Head => "lpop",
            End::Tail => "rpop",
        })),
    }
}

pub(super) fn blpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, argv, End::Head)
}

pub(super) fn brpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    blocking_pop(ctx, argv, End::Tail)
}

fn blocking_pop(ctx: &mut Ctx<'_>, argv: &[&[u8]], end: End) -> Outcome {
    let [_, keys @ .., timeout] = argv else {
        return Err(CommandError::Syntax);
    };
    let patience = blocked::seconds(timeout)?;
    for key in ctx.candidates(keys) {
        if let Some(popped) = pop_one(ctx, key, end)? {
            say(ctx, key, end, 1);
            return Ok(Reply::Array(vec![Reply::bulk(key), Reply::Bulk(popped)]));
        }
    }
    Ok(ctx.wait(argv, Wait::for_keys(keys, patience)))
}

pub(super) fn lmpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let wanted = Wanted::parse(&argv[1..])?;
    let popped = wanted.pop(ctx, wanted.keys)?;
    Ok(popped.unwrap_or(Reply::NullArray))
}

pub(super) fn blmpop(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let wanted = Wanted::parse(&argv[2..])?;
    let patience = blocked::seconds(argv[1])?;
    match wanted.pop(ctx, ctx.candidates(wanted.keys))? {
        Some(reply) => Ok(reply),
        None => Ok(ctx.wait(argv, Wait::for_keys(wanted.keys, patience))),
    }
}

/// What LMPOP asks for, from its number of keys on.
struct Wanted<'a> {
    keys: &'a [&'a [u8]],
    end: End,
    count: usize,
}

impl<'a> Wanted<'a> {
    fn parse(argv: &'a [&'a [u8]]) -> Result<Self, CommandError> {
        let [count, rest @ ..] = argv else {
            return Err(CommandError::Syntax);
        };
        let bad_keys = "ERR numkeys should be greater than 0";
        let keys = args::int_or(count, bad_keys)?;
        if keys < 1 {
            return Err(CommandError::text(bad_keys));
        }
        let Some((keys, [side, options @ ..])) = rest.split_at_checked(keys as usize) else {
            return Err(CommandError::Syntax);
        };
        let end = end(side)?;
        let count = match options {
            [] => 1,
            [name, count, rest @ ..] if args::is(name, "COUNT") => {
                let bad_count = "ERR count should be greater than 0";
                let count = args::int_or(count, bad_count)?;
                if count < 1 {
                    return Err(CommandError::text(bad_count));
                }
                if !rest.is_empty() {
                    return Err(CommandError::Syntax);
                }
                count as usize
            }
            _ => return Err(CommandError::Syntax),
        };
        Ok(Wanted { keys, end, count })
    }

    /// Pops from the first of `keys` that is there.
    fn pop(&self, ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Result<Option<Reply>, CommandError> {
        for key in keys {
            if let Some(popped) = pop_many(ctx, key, self.end, self.count)? {
                say(ctx, key, self.end, popped.len());
                let reply = vec![Reply::bulk(key), Reply::Bulks(popped)];
                return Ok(Some(Reply::Array(reply)));
            }
        }
        Ok(None)
    }
}

/// Says that `count` elements were popped, for a command that does not say
/// itself which key it popped from.
fn say(ctx: &mut Ctx<'_>, key: &[u8], end: End, count: usize) {
    let name: &[u8] = match end {
        End::Head => b"LPOP",
        End::Tail => b"RPOP",
    };
    if count == 1 {
        ctx.db.effect(&[name, key]);
    } else {
        let mut digits = itoa::Buffer::new();
        ctx.db.effect(&[name, key, digits.format(count).as_bytes()]);
    }
}

/// Takes the outermost element out; `None` where there is no key.
fn pop_one(ctx: &mut Ctx<'_>, key: &[u8], end: End) -> Result<Option<Vec<u8>>, CommandError> {
    let popped = ctx.db.edit(key, |list: &mut List| list.pop(end))?;
    if popped.is_some() {
        ctx.db.notify_taken(Event::List, event(end), key);
    }
    Ok(popped.flatten())
}

/// Takes up to `count` elements out, the outermost first; `None` where there is
/// no key.
fn pop_many(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Bulks>, CommandError> {
    let engine = ctx.engine;
    let popped = ctx.db.edit(key, |list: &mut List| {
        let length = list.len();
        let count = count.min(length);
        announce(engine, count);
        let (outermost, from) = match end {
            End::Head => (0, 0),
            End::Tail => (length - 1, length - count),
        };
        let popped = gather(list, outermost, count, end.other());
        list.remove_range(from, count);
        popped
    })?;
    if popped.as_ref().is_some_and(|popped| !popped.is_empty()) {
        ctx.db.notify_taken(Event::List, event(end), key);
    }
    Ok(popped)
}

/// The event of a pop.
pub(super) const fn event(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}
