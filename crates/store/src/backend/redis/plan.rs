//! A pipeline as it is sent.
//!
//! Commands about the connection are not sent. A command that may wait would hold
//! up everybody on a shared connection: it runs in a MULTI of its own, where
//! nothing waits, and answers at once what it answers when its time is over, as
//! the engine does. Where MULTI is refused it is not sent, and answers that.

use sangam_engine::Reply;

use crate::backend::{Failure, of_connection};
use crate::commands::{Argv, Commands};
use crate::error::Error;
use crate::kind::Kind;

/// Replies of a command in a MULTI of its own.
const UNIT: usize = 3;

/// What a pipeline's outcomes are.
pub(super) type Outcomes = Vec<Result<Reply, Failure>>;

/// Commands on their way to one server.
#[derive(Default)]
pub(super) struct Plan<'a> {
    wire: Vec<Argv<'a>>,
    /// For each command: its place among all, and how many replies it has; none
    /// where it is not sent.
    items: Vec<(usize, usize)>,
    /// What answers a command that is not sent.
    refusal: Option<Reply>,
}

impl<'a> Plan<'a> {
    pub(super) fn push(&mut self, index: usize, argv: Argv<'a>) {
        if Kind::of(&argv) == Kind::Blocking {
            self.wire.push(Argv::from_slice(&[b"MULTI"]));
            self.wire.push(argv);
            self.wire.push(Argv::from_slice(&[b"EXEC"]));
            self.items.push((index, UNIT));
        } else {
            self.wire.push(argv);
            self.items.push((index, 1));
        }
    }

    /// Whether it needs MULTI.
    pub(super) fn has_units(&self) -> bool {
        self.items.iter().any(|(_, count)| *count == UNIT)
    }

    /// Leaves out what needs MULTI: this is its answer.
    pub(super) fn refuse_units(&mut self, refusal: Reply) {
        let mut wire = std::mem::take(&mut self.wire).into_iter();
        for (_, count) in &mut self.items {
            let own = wire.by_ref().take(*count);
            if *count == UNIT {
                own.for_each(drop);
                *count = 0;
            } else {
                self.wire.extend(own);
            }
        }
        self.refusal = Some(refusal);
    }

    /// What is sent.
    pub(super) fn wire(&self) -> &[Argv<'a>] {
        &self.wire
    }

    /// Puts replies, or the failure of all, to their places.
    pub(super) fn settle(&self, replies: Result<Vec<Reply>, Failure>, outcomes: &mut Outcomes) {
        let mut put = |index: usize, outcome| {
            if let Some(place) = outcomes.get_mut(index) {
                *place = outcome;
            }
        };
        match replies {
            Err(failure) => {
                for (index, _) in &self.items {
                    put(*index, Err(failure.clone()));
                }
            }
            Ok(replies) => {
                let mut replies = replies.into_iter();
                for (index, count) in &self.items {
                    let own: Vec<Reply> = replies.by_ref().take(*count).collect();
                    let reply = match &self.refusal {
                        Some(refusal) if *count == 0 => refusal.clone(),
                        _ => unwrapped(own),
                    };
                    put(*index, Ok(reply));
                }
            }
        }
    }
}

/// The reply of a command, out of a MULTI of its own if it was in one.
fn unwrapped(mut own: Vec<Reply>) -> Reply {
    let last = own.pop().unwrap_or(Reply::Null);
    match last {
        Reply::Array(mut replies) if own.len() == 2 => replies.pop().unwrap_or(Reply::Null),
        Reply::Error(text) if own.len() == 2 => {
            let first = own.into_iter().find(Reply::is_error);
            first.unwrap_or(Reply::Error(text))
        }
        last => last,
    }
}

/// Whether a store can run a command at all.
pub(super) fn admitted(argv: &[&[u8]]) -> Result<(), Failure> {
    let Some(name) = argv.first() else {
        return Err(Failure::Unsupported("a command has a name".to_owned()));
    };
    if Kind::of(argv) == Kind::Connection
        && let Error::Unsupported(text) = of_connection(name)
    {
        return Err(Failure::Unsupported(text));
    }
    Ok(())
}

/// Whether a store can run all of a unit.
pub(super) fn all_admitted(commands: &Commands) -> Result<(), Failure> {
    commands.iter().try_for_each(|argv| admitted(&argv))
}

/// Outcomes to be filled in; those of commands that are not sent are there.
pub(super) fn outcomes(commands: &Commands) -> Outcomes {
    let outcomes = commands
        .iter()
        .map(|argv| admitted(&argv).map(|()| Reply::Null));
    outcomes.collect()
}
