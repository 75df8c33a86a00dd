//! LMOVE, RPOPLPUSH, and the forms of them that wait.

use std::time::Duration;

use super::super::blocked;
use super::super::spec::Outcome;
use super::{Ctx, end, pop, push};
use crate::error::CommandError;
use crate::notify::Event;
use crate::reply::Reply;
use crate::session::Wait;
use crate::value::{Collection, End, List};

pub(super) fn lmove(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(Route::parse(argv)?.move_one(ctx)?.into())
}

pub(super) fn rpoplpush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    Ok(Route::rpoplpush(argv).move_one(ctx)?.into())
}

pub(super) fn blmove(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let route = Route::parse(argv)?;
    let patience = blocked::seconds(argv[5])?;
    route.move_or_wait(ctx, argv, patience)
}

pub(super) fn brpoplpush(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let patience = blocked::seconds(argv[3])?;
    Route::rpoplpush(argv).move_or_wait(ctx, argv, patience)
}

/// From where to where an element goes.
struct Route<'a> {
    from: &'a [u8],
    to: &'a [u8],
    out_at: End,
    in_at: End,
}

impl<'a> Route<'a> {
    fn parse(argv: &[&'a [u8]]) -> Result<Self, CommandError> {
        Ok(Route {
            from: argv[1],
            to: argv[2],
            out_at: end(argv[3])?,
            in_at: end(argv[4])?,
        })
    }

    fn rpoplpush(argv: &[&'a [u8]]) -> Self {
        Route {
            from: argv[1],
            to: argv[2],
            out_at: End::Tail,
            in_at: End::Head,
        }
    }

    /// Moves an element and answers it; `None` where there is none to move,
    /// whatever the destination is.
    fn move_one(&self, ctx: &mut Ctx<'_>) -> Result<Option<Vec<u8>>, CommandError> {
        let limits = ctx.db.settings.list;
        if self.from == self.to {
            let moved = ctx.db.edit(self.from, |list: &mut List| {
                let moved = list.pop(self.out_at)?;
                list.push(self.in_at, &moved, limits);
                Some(moved)
            })?;
            if moved.is_some() {
                self.notify(ctx);
            }
            return Ok(moved.flatten());
        }
        if !takes_elements(ctx, self.to) {
            return if ctx.db.exists(self.from) {
                Err(CommandError::WrongType)
            } else {
                Ok(None)
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
        self.notify(ctx);
        Ok(Some(moved))
    }

    /// The push is heard before the pop.
    fn notify(&self, ctx: &mut Ctx<'_>) {
        ctx.db.notify(Event::List, push::event(self.in_at), self.to);
        ctx.db
            .notify_taken(Event::List, pop::event(self.out_at), self.from);
    }

    /// The same; where there is none to move, the caller waits.
    fn move_or_wait(
        &self,
        ctx: &mut Ctx<'_>,
        argv: &[&[u8]],
        patience: Option<Duration>,
    ) -> Outcome {
        match self.move_one(ctx) {
            Ok(Some(moved)) => {
                let name = |end| match end {
                    End::Head => b"LEFT".as_slice(),
                    End::Tail => b"RIGHT",
                };
                let (out_at, in_at) = (name(self.out_at), name(self.in_at));
                ctx.db
                    .effect(&[b"LMOVE", self.from, self.to, out_at, in_at]);
                Ok(moved.into())
            }
            // A wrong destination ends the wait; a wrong source may become right.
            Err(CommandError::WrongType) if takes_elements(ctx, self.from) => {
                Ok(CommandError::WrongType.into())
            }
            Err(error) => Err(error),
            Ok(None) => {
                let reply = ctx.wait(argv, Wait::for_keys(&[self.from], patience));
                // Where it may not wait it answers what LMOVE does, and only when
                // its time is over what BLPOP does.
                Ok(if reply == Reply::NullArray {
                    Reply::Null
                } else {
                    reply
                })
            }
        }
    }
}

/// Whether there is a list at `key`, or nothing yet.
fn takes_elements(ctx: &mut Ctx<'_>, key: &[u8]) -> bool {
    ctx.db
        .peek(key)
        .is_none_or(|record| List::of(&record.value).is_some())
}
