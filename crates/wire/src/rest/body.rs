//! Commands in a JSON body: `["SET","k","v"]`, and arrays of those.
//!
//! A body is read to its end before anything of it may run, since one that is
//! malformed is refused whole. To keep that cheap, an argument is eight bytes
//! that say where in the body it lies; slices are made one command at a time.
//!
//! Cost: about 20 ns an argument. Memory: 8 bytes an argument and 4 a command,
//! hence at most 4 times the body; and the body's length for strings with
//! escapes.

use smallvec::SmallVec;

use super::RestError;
use super::token::{Scanner, Span};
use crate::Argv;
use crate::resp::limits::ELEMENTS_MAX;

/// Bytes of a body; offsets have to fit 31 bits. A gateway's own limit is far
/// below (10 MB on most plans).
const BODY_MAX: usize = (1 << 31) - 1;

/// The body form: one command as a JSON array.
#[derive(Debug)]
pub struct Command<'a> {
    body: &'a [u8],
    scratch: Vec<u8>,
    spans: SmallVec<[Span; 8]>,
}

impl<'a> Command<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, RestError> {
        let mut scanner = open(body)?;
        let mut command = Self {
            body,
            scratch: Vec::new(),
            spans: SmallVec::new(),
        };
        arguments(&mut scanner, &mut command.scratch, |span| {
            command.spans.push(span);
        })?;
        scanner.end()?;
        Ok(command)
    }

    /// The arguments, the command's name first; never empty.
    #[inline]
    pub fn argv(&self) -> Argv<'_> {
        resolve(&self.spans, self.body, &self.scratch)
    }
}

/// The body of `/pipeline` and `/multi-exec`: an array of commands.
#[derive(Debug)]
pub struct Batch<'a> {
    body: &'a [u8],
    scratch: Vec<u8>,
    spans: Vec<Span>,
    /// Where each command's spans end.
    ends: Vec<u32>,
}

impl<'a> Batch<'a> {
    /// Reads a whole body. One bad command refuses all; an array without any
    /// command is a batch of none.
    pub fn parse(body: &'a [u8]) -> Result<Self, RestError> {
        let mut scanner = open(body)?;
        let mut batch = Self {
            body,
            scratch: Vec::new(),
            spans: Vec::new(),
            ends: Vec::new(),
        };
        if scanner.peek() == Some(b']') {
            scanner.bump();
        } else {
            loop {
                scanner.open_array()?;
                arguments(&mut scanner, &mut batch.scratch, |span| {
                    batch.spans.push(span);
                })?;
                batch.ends.push(batch.spans.len() as u32);
                if !scanner.another()? {
                    break;
                }
            }
        }
        scanner.end()?;
        Ok(batch)
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The arguments of the command at `index`, its name first; never empty.
    #[inline]
    pub fn argv(&self, index: usize) -> Option<Argv<'_>> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)? as usize,
        };
        let spans = self.spans.get(start..end)?;
        Some(resolve(spans, self.body, &self.scratch))
    }

    /// The commands in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Argv<'_>> {
        (0..self.len()).map(|index| self.argv(index).unwrap_or_default())
    }
}

/// A scanner behind the outer `[`.
fn open(body: &[u8]) -> Result<Scanner<'_>, RestError> {
    if body.len() > BODY_MAX {
        return Err(RestError::RequestSize {
            limit: BODY_MAX as u64,
            actual: body.len() as u64,
        });
    }
    let mut scanner = Scanner::new(body);
    if scanner.peek().is_none() {
        return Err(RestError::EmptyBody);
    }
    scanner.open_array()?;
    Ok(scanner)
}

/// Reads one command's arguments and the `]` behind them.
#[inline]
fn arguments(
    scanner: &mut Scanner<'_>,
    scratch: &mut Vec<u8>,
    mut push: impl FnMut(Span),
) -> Result<(), RestError> {
    if scanner.peek() == Some(b']') {
        return Err(RestError::EmptyCommand);
    }
    for _ in 0..ELEMENTS_MAX {
        push(scanner.argument(scratch)?);
        if !scanner.another()? {
            return Ok(());
        }
    }
    Err(RestError::TooManyArguments {
        limit: ELEMENTS_MAX,
    })
}

#[inline]
fn resolve<'s>(spans: &[Span], body: &'s [u8], scratch: &'s [u8]) -> Argv<'s> {
    spans.iter().map(|span| span.bytes(body, scratch)).collect()
}

#[cfg(test)]
mod tests;
