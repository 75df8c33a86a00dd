//! LMOVE, RPOPLPUSH.

use super::super::spec::Outcome;
use super::{Ctx, end};
use crate::error::CommandError;
use crate::value::{Collection, End, List};

pub(super) fn lmove(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let route = Route {
        from: argv[1],
        to: argv[2],
        out_at: end(argv[3])?,
        in_at: end(argv[4])?,
    };
    Ok(route.move_one(ctx)?.into())
}

pub(super) fn rpoplpush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(Route::rpoplpush(argv[1], argv[2]).move_one(ctx)?.into())
}

/// From where to where an element goes.
pub(super) struct Route<'a> {
    pub(super) from: &'a [u8],
    pub(super) to: &'a [u8],
    pub(super) out_at: End,
    pub(super) in_at: End,
}

impl<'a> Route<'a> {
    pub(super) const fn rpoplpush(from: &'a [u8], to: &'a [u8]) -> Self {
        Route {
            from,
            to,
            out_at: End::Tail,
            in_at: End::Head,
        }
    }

    /// Moves an element and answers it; `None` where there is none to move,
    /// whatever the destination is.
    pub(super) fn move_one(&self, ctx: &mut Ctx<'_>) -> Result<Option<Vec<u8>>, CommandError> {
        let limits = ctx.db.settings.list;
        if self.from == self.to {
            let moved = ctx.db.edit(self.from, |list: &mut List| {
                let moved = list.pop(self.out_at)?;
                list.push(self.in_at, &moved, limits);
                Some(moved)
            })?;
            return Ok(moved.flatten());
        }
        let takes = ctx
            .db
            .peek(self.to)
            .is_none_or(|record| List::of(&record.value).is_some());
        if !takes {
            let nothing = !ctx.db.exists(self.from);
            return if nothing {
                Ok(None)
            } else {
                Err(CommandError::WrongType)
            };
        }
        let popped = ctx
            .db
            .edit(self.from, |list: &mut List| list.pop(self.out_at))?;
        let Some(moved) = popped.flatten() else {
            return Ok(None);
        };
        ctx.db.edit_or_create(self.to, |list: &mut List| {
            list.push(self.in_at, &moved, limits);
        })?;
        Ok(Some(moved))
    }
}
