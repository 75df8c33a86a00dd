//! Lua 5.1 patterns, matched in steps that are counted.
//!
//! The matcher of Lua's own library backtracks for as long as the pattern makes
//! it, and nothing can stop it. This one gives the same answers and the same
//! errors, asks every [`QUANTUM`] steps whether to go on, and keeps its choices
//! on the heap, so that no pattern ends the thread's stack.
//!
//! A pattern is compiled into [`Item`]s first. What is malformed is an error only
//! when matching comes to it, as in Lua; so the fault is an item, the last one.
//! Like Lua, a pattern ends at its first NUL; a subject does not.
//!
//! Cost: some 100 ns to compile a short pattern, then 2 to 5 ns a step, and 40
//! bytes for each choice left open, of which there are at most [`MOST_CHOICES`].

mod item;

pub(crate) use item::{is_plain, worst_case};

use item::{Item, Repeat, Source, Test, visible};
use memchr::memmem;

/// Steps between two questions whether to go on.
pub(crate) const QUANTUM: usize = 8192;
/// `LUA_MAXCAPTURES`.
const MOST_CAPTURES: usize = 32;
/// Choices open at once. Lua keeps them on the C stack, which holds fewer.
const MOST_CHOICES: usize = 200_000;
/// Items of a pattern; more would take more memory than scripts may have.
const MOST_ITEMS: usize = 1 << 20;

/// Why a match ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    EndsInEscape,
    MissingBracket,
    MissingFrontierSet,
    Unbalanced,
    TooManyCaptures,
    CaptureIndex,
    CaptureToClose,
    UnfinishedCapture,
    TooComplex,
    /// The question whether to go on was answered with no.
    Stopped,
}

impl Fault {
    /// Lua's text.
    pub(crate) fn text(self) -> &'static std::ffi::CStr {
        match self {
            Fault::EndsInEscape => c"malformed pattern (ends with '%')",
            Fault::MissingBracket => c"malformed pattern (missing ']')",
            Fault::MissingFrontierSet => c"missing '[' after '%f' in pattern",
            Fault::Unbalanced => c"unbalanced pattern",
            Fault::TooManyCaptures => c"too many captures",
            Fault::CaptureIndex => c"invalid capture index",
            Fault::CaptureToClose => c"invalid pattern capture",
            Fault::UnfinishedCapture => c"unfinished capture",
            Fault::TooComplex => c"pattern too complex",
            Fault::Stopped => c"stopped",
        }
    }
}

/// Counts steps and asks whether to go on.
pub(crate) struct Meter<'a> {
    /// Steps until the next question.
    pub(crate) left: usize,
    /// Whether to go on.
    pub(crate) ask: &'a mut dyn FnMut() -> bool,
}

impl Meter<'_> {
    #[inline]
    fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.pause(),
        }
    }

    #[cold]
    fn pause(&mut self) -> Result<(), Fault> {
        self.left = QUANTUM;
        if (self.ask)() {
            Ok(())
        } else {
            Err(Fault::Stopped)
        }
    }
}

/// The pattern that was compiled last, without its anchor, and room for choices:
/// a loop over matches compiles once.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pattern: Vec<u8>,
    items: Vec<Item>,
    choices: Vec<Choice>,
}

/// Items or choices for which a scratch keeps room.
const KEPT: usize = 1024;

impl Scratch {
    fn compile(&mut self, pattern: &[u8], meter: &mut Meter<'_>) -> Result<(), Fault> {
        let source = Source(visible(pattern));
        if !self.items.is_empty() && self.pattern == source.0 {
            return Ok(());
        }
        self.pattern.clear();
        self.pattern.extend_from_slice(source.0);
        self.items.clear();
        let compiled = self.compile_all(&source, meter);
        if compiled.is_err() {
            self.items.clear();
        }
        compiled
    }

    fn compile_all(&mut self, source: &Source<'_>, meter: &mut Meter<'_>) -> Result<(), Fault> {
        let mut at = 0;
        loop {
            let (item, next) = source
                .item(at)
                .unwrap_or_else(|fault| (Item::Fault(fault), at));
            if self.items.len() >= MOST_ITEMS {
                return Err(Fault::TooComplex);
            }
            self.items.push(item);
            if let Item::Done | Item::Fault(_) = item {
                return Ok(());
            }
            meter.spend(next - at)?;
            at = next;
        }
    }

    /// Whether it is small enough to be kept.
    pub(crate) fn is_small(&self) -> bool {
        self.pattern.capacity() <= KEPT
            && self.items.capacity() <= KEPT
            && self.choices.capacity() <= KEPT
    }
}

/// How much of the subject a capture holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Open,
    Position,
    Bytes(usize),
}

/// What a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Captured<'a> {
    Text(&'a [u8]),
    /// Counted from 1.
    Position(usize),
}

/// A match: where it is, in bytes from 0, and its captures.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// How many captures there are.
    pub(crate) level: usize,
    captures: [(usize, Extent); MOST_CAPTURES],
}

impl Match {
    /// Where a search may put what it finds.
    pub(crate) fn none() -> Self {
        Match {
            start: 0,
            end: 0,
            level: 0,
            captures: [(0, Extent::Open); MOST_CAPTURES],
        }
    }

    /// Capture `index`, from 0; the whole match is the first one of a pattern
    /// without any.
    pub(crate) fn capture<'a>(
        &self,
        subject: &'a [u8],
        index: usize,
    ) -> Result<Captured<'a>, Fault> {
        let text =
            |start: usize, end: usize| Captured::Text(subject.get(start..end).unwrap_or_default());
        if index >= self.level {
            return match index {
                0 => Ok(text(self.start, self.end)),
                _ => Err(Fault::CaptureIndex),
            };
        }
        match self.captures.get(index) {
            Some((start, Extent::Bytes(length))) => Ok(text(*start, start + length)),
            Some((start, Extent::Position)) => Ok(Captured::Position(start + 1)),
            Some((_, Extent::Open)) => Err(Fault::UnfinishedCapture),
            None => Err(Fault::CaptureIndex),
        }
    }
}

/// What to do when what comes next does not match.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// Forget the newest capture.
    Unopen,
    /// Open this capture again.
    Reopen(usize),
    /// Go on from here.
    Skip { subject: usize, item: usize },
    /// Go on from one byte less, down to `least`.
    Fewer {
        least: usize,
        subject: usize,
        item: usize,
    },
    /// Go on from one byte more if it passes the test of item `single`.
    More { subject: usize, single: usize },
}

struct Matcher<'a, 'f> {
    items: &'a [Item],
    choices: &'a mut Vec<Choice>,
    subject: &'a [u8],
    found: &'a mut Match,
    meter: &'a mut Meter<'f>,
}

impl Matcher<'_, '_> {
    fn item(&self, at: usize) -> Item {
        self.items.get(at).copied().unwrap_or(Item::Done)
    }

    /// The first place from `start` on where the first item may match.
    fn candidate(&mut self, start: usize) -> Result<Option<usize>, Fault> {
        let rest = self.subject.get(start..).unwrap_or_default();
        let Some(Item::Single(test, Repeat::Once | Repeat::MostFromOne)) = self.items.first()
        else {
            return Ok(Some(start));
        };
        for (block, bytes) in rest.chunks(1024).enumerate() {
            let found = match test {
                Test::Any => Some(0),
                Test::Byte(wanted) => memchr::memchr(*wanted, bytes),
                Test::In(set) => bytes.iter().position(|byte| set.has(*byte)),
            };
            self.meter.spend(found.unwrap_or(bytes.len()) / 4)?;
            if let Some(found) = found {
                return Ok(Some(start + block * 1024 + found));
            }
        }
        Ok(None)
    }

    /// Whether the pattern matches at `start`; then `found` says how.
    fn matches_at(&mut self, start: usize) -> Result<bool, Fault> {
        self.found.level = 0;
        self.choices.clear();
        let (mut at, mut item) = (start, 0);
        loop {
            self.meter.spend(1)?;
            match self.step(at, item)? {
                Step::To(next) => (at, item) = (next, item + 1),
                Step::Found => {
                    (self.found.start, self.found.end) = (start, at);
                    return Ok(true);
                }
                Step::Failed => match self.retry()? {
                    Some(next) => (at, item) = next,
                    None => return Ok(false),
                },
            }
        }
    }

    fn step(&mut self, at: usize, item: usize) -> Result<Step, Fault> {
        let passed = |yes: bool, next: usize| if yes { Step::To(next) } else { Step::Failed };
        Ok(match self.item(item) {
            Item::Single(test, repeat) => return self.single(at, item, test, repeat),
            Item::Open => self.open(at, Extent::Open)?,
            Item::Position => self.open(at, Extent::Position)?,
            Item::Close => self.close(at)?,
            Item::Balance(open, close) => match self.balanced(at, open, close)? {
                Some(next) => Step::To(next),
                None => Step::Failed,
            },
            Item::Frontier(set) => {
                let byte = |at: Option<usize>| at.and_then(|at| self.subject.get(at)).copied();
                let before = byte(at.checked_sub(1)).unwrap_or(0);
                let here = byte(Some(at)).unwrap_or(0);
                passed(!set.has(before) && set.has(here), at)
            }
            Item::Back(digit) => {
                let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
                if index >= self.found.level {
                    return Err(Fault::CaptureIndex);
                }
                let (start, length) = match self.found.captures.get(index) {
                    Some((start, Extent::Bytes(length))) => (*start, *length),
                    // No text is as long as Lua takes this one for.
                    Some((_, Extent::Position)) => return Ok(Step::Failed),
                    _ => return Err(Fault::CaptureIndex),
                };
                self.meter.spend(length / 16)?;
                let text = self.subject.get(start..start + length);
                passed(text == self.subject.get(at..at + length), at + length)
            }
            Item::End => passed(at == self.subject.len(), at),
            Item::Done => Step::Found,
            Item::Fault(fault) => return Err(fault),
        })
    }

    #[inline]
    fn single(
        &mut self,
        at: usize,
        item: usize,
        test: Test,
        repeat: Repeat,
    ) -> Result<Step, Fault> {
        let holds = self.subject.get(at).is_some_and(|byte| test.holds(*byte));
        match repeat {
            Repeat::Once if holds => Ok(Step::To(at + 1)),
            Repeat::Once => Ok(Step::Failed),
            Repeat::Optional if holds => {
                let item = item + 1;
                self.push(Choice::Skip { subject: at, item })?;
                Ok(Step::To(at + 1))
            }
            Repeat::Optional => Ok(Step::To(at)),
            Repeat::Fewest => {
                let (subject, single) = (at, item);
                self.push(Choice::More { subject, single })?;
                Ok(Step::To(at))
            }
            Repeat::MostFromOne if !holds => Ok(Step::Failed),
            Repeat::Most | Repeat::MostFromOne => {
                let least = at + usize::from(repeat == Repeat::MostFromOne);
                let subject = self.run_end(least, test)?;
                let item = item + 1;
                if subject > least {
                    self.push(Choice::Fewer {
                        least,
                        subject,
                        item,
                    })?;
                }
                Ok(Step::To(subject))
            }
        }
    }

    /// Where the bytes from `at` on stop to pass the test.
    fn run_end(&mut self, at: usize, test: Test) -> Result<usize, Fault> {
        let mut end = at;
        for block in self.subject.get(at..).unwrap_or_default().chunks(1024) {
            let run = test.run(block);
            self.meter.spend(run / 4)?;
            end += run;
            if run < block.len() {
                break;
            }
        }
        Ok(end)
    }

    fn open(&mut self, at: usize, extent: Extent) -> Result<Step, Fault> {
        let level = self.found.level;
        let capture = self.found.captures.get_mut(level);
        *capture.ok_or(Fault::TooManyCaptures)? = (at, extent);
        self.found.level = level + 1;
        self.push(Choice::Unopen)?;
        Ok(Step::To(at))
    }

    fn close(&mut self, at: usize) -> Result<Step, Fault> {
        let captures = self.found.captures.iter_mut().take(self.found.level);
        let (index, (start, extent)) = captures
            .enumerate()
            .rfind(|(_, (_, extent))| *extent == Extent::Open)
            .ok_or(Fault::CaptureToClose)?;
        *extent = Extent::Bytes(at - *start);
        self.push(Choice::Reopen(index))?;
        Ok(Step::To(at))
    }

    fn balanced(&mut self, at: usize, open: u8, close: u8) -> Result<Option<usize>, Fault> {
        if self.subject.get(at) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (past, byte) in self.subject.iter().enumerate().skip(at + 1) {
            self.meter.spend(1)?;
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(past + 1));
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn push(&mut self, choice: Choice) -> Result<(), Fault> {
        if self.choices.len() >= MOST_CHOICES {
            return Err(Fault::TooComplex);
        }
        self.choices.push(choice);
        Ok(())
    }

    /// The next way that is left, as a place in the subject and an item.
    fn retry(&mut self) -> Result<Option<(usize, usize)>, Fault> {
        loop {
            self.meter.spend(1)?;
            let Some(choice) = self.choices.last_mut() else {
                return Ok(None);
            };
            match choice {
                Choice::Unopen => self.found.level -= 1,
                Choice::Reopen(index) => {
                    if let Some((_, extent)) = self.found.captures.get_mut(*index) {
                        *extent = Extent::Open;
                    }
                }
                Choice::Skip { subject, item } => {
                    let next = (*subject, *item);
                    self.choices.pop();
                    return Ok(Some(next));
                }
                Choice::Fewer {
                    least,
                    subject,
                    item,
                } => {
                    *subject -= 1;
                    let next = (*subject, *item);
                    if *subject <= *least {
                        self.choices.pop();
                    }
                    return Ok(Some(next));
                }
                Choice::More { subject, single } => {
                    if let Some(Item::Single(test, _)) = self.items.get(*single)
                        && self.subject.get(*subject).is_some_and(|b| test.holds(*b))
                    {
                        *subject += 1;
                        return Ok(Some((*subject, *single + 1)));
                    }
                }
            }
            self.choices.pop();
        }
    }
}

enum Step {
    /// The item matched; the next one goes on from here.
    To(usize),
    Failed,
    Found,
}

/// Whether there is a match at `from` or later, only there if `anchored`; `found`
/// is the first.
pub(crate) fn search(
    scratch: &mut Scratch,
    subject: &[u8],
    pattern: &[u8],
    (from, anchored): (usize, bool),
    found: &mut Match,
    meter: &mut Meter<'_>,
) -> Result<bool, Fault> {
    scratch.compile(pattern, meter)?;
    let mut matcher = Matcher {
        items: &scratch.items,
        choices: &mut scratch.choices,
        subject,
        found,
        meter,
    };
    let mut start = from;
    while start <= subject.len() {
        if !anchored {
            match matcher.candidate(start)? {
                Some(candidate) => start = candidate,
                None => return Ok(false),
            }
        }
        if matcher.matches_at(start)? {
            return Ok(true);
        }
        if anchored {
            break;
        }
        start += 1;
    }
    Ok(false)
}

/// Where `wanted` first is in `subject`, from `from` on, in linear time.
pub(crate) fn find_plain(
    subject: &[u8],
    wanted: &[u8],
    from: usize,
    meter: &mut Meter<'_>,
) -> Result<Option<usize>, Fault> {
    let finder = memmem::Finder::new(wanted);
    // A window has four times the bytes that it shares with the next.
    let window = (1 << 20) + wanted.len().saturating_mul(4);
    let mut at = from;
    while let Some(rest) = subject.get(at..) {
        meter.spend(QUANTUM)?;
        let part = rest.get(..window).unwrap_or(rest);
        if let Some(found) = finder.find(part) {
            return Ok(Some(at + found));
        }
        if part.len() == rest.len() {
            break;
        }
        at += window - wanted.len();
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
