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

use memchr::memmem;

/// Steps between two questions whether to go on.
pub(crate) const QUANTUM: usize = 8192;
/// `LUA_MAXCAPTURES`.
const MOST_CAPTURES: usize = 32;
/// Choices open at once. Lua keeps them on the C stack, which holds fewer.
const MOST_CHOICES: usize = 200_000;
/// Items of a pattern; more would take more memory than scripts may have.
const MOST_ITEMS: usize = 1 << 20;
/// Quantifiers of a pattern that Lua's own matcher may see: it recurses for each.
const MOST_QUANTIFIERS: usize = 16;

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

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    const EMPTY: Set = Set([0; 4]);

    const fn has(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }

    const fn with(mut self, byte: u8) -> Set {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
        self
    }

    fn and(&self, other: &Set) -> Set {
        let mut all = *self;
        for (mine, other) in all.0.iter_mut().zip(other.0) {
            *mine |= other;
        }
        all
    }

    fn other(&self) -> Set {
        Set(self.0.map(|bits| !bits))
    }

    /// The bytes of a class by its lower-case letter, in the C locale.
    const fn of_class(letter: u8) -> Set {
        let mut set = Set::EMPTY;
        let mut byte = 0_u8;
        loop {
            let inside = match letter {
                b'a' => byte.is_ascii_alphabetic(),
                b'c' => byte.is_ascii_control(),
                b'd' => byte.is_ascii_digit(),
                b'l' => byte.is_ascii_lowercase(),
                b'p' => byte.is_ascii_punctuation(),
                b's' => matches!(byte, b' ' | 9..=13),
                b'u' => byte.is_ascii_uppercase(),
                b'w' => byte.is_ascii_alphanumeric(),
                b'x' => byte.is_ascii_hexdigit(),
                _ => byte == 0,
            };
            if inside {
                set = set.with(byte);
            }
            if byte == u8::MAX {
                return set;
            }
            byte += 1;
        }
    }

    /// What `%` and this byte stand for inside of a set or alone.
    fn escaped(byte: u8) -> Set {
        static CLASSES: [(u8, Set); 10] = {
            let letters = *b"acdlpsuwxz";
            let mut classes = [(0, Set::EMPTY); 10];
            let mut at = 0;
            while at < letters.len() {
                classes[at] = (letters[at], Set::of_class(letters[at]));
                at += 1;
            }
            classes
        };
        let letter = byte.to_ascii_lowercase();
        match CLASSES.iter().find(|(name, _)| *name == letter) {
            Some((_, class)) if byte == letter => *class,
            Some((_, class)) => class.other(),
            None => Set::EMPTY.with(byte),
        }
    }
}

/// What one byte is tested for.
#[derive(Debug, Clone, Copy)]
enum Test {
    Any,
    Byte(u8),
    In(Set),
}

impl Test {
    #[inline]
    fn holds(&self, byte: u8) -> bool {
        match self {
            Test::Any => true,
            Test::Byte(wanted) => *wanted == byte,
            Test::In(set) => set.has(byte),
        }
    }

    /// How many bytes from the first on it holds for.
    fn run(&self, bytes: &[u8]) -> usize {
        let end = match self {
            Test::Any => None,
            Test::Byte(wanted) => bytes.iter().position(|byte| byte != wanted),
            Test::In(set) => bytes.iter().position(|byte| !set.has(*byte)),
        };
        end.unwrap_or(bytes.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    Optional,
    Most,
    MostFromOne,
    Fewest,
}

#[derive(Debug, Clone, Copy)]
enum Item {
    Open,
    Position,
    Close,
    Balance(u8, u8),
    Frontier(Set),
    /// The text of a capture, by its digit.
    Back(u8),
    /// The end of the subject.
    End,
    Single(Test, Repeat),
    /// The end of the pattern.
    Done,
    Fault(Fault),
}

/// A compiled pattern, without its anchor.
#[derive(Debug)]
struct Program(Vec<Item>);

/// The pattern's bytes; what is behind its end is NUL.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// The end of the set that begins at `at`, behind its bracket.
    fn set_end(&self, at: usize) -> Result<usize, Fault> {
        let mut at = at + 1;
        if self.byte(at) == b'^' {
            at += 1;
        }
        loop {
            let byte = self.byte(at);
            if byte == 0 {
                return Err(Fault::MissingBracket);
            }
            at += 1;
            if byte == b'%' && self.byte(at) != 0 {
                at += 1;
            }
            if self.byte(at) == b']' {
                return Ok(at + 1);
            }
        }
    }

    /// The set between the brackets at `at` and before `end`.
    fn set(&self, mut at: usize, end: usize) -> Set {
        let bracket = end - 1;
        let negated = self.byte(at + 1) == b'^';
        at += usize::from(negated) + 1;
        let mut set = Set::EMPTY;
        while at < bracket {
            if self.byte(at) == b'%' {
                at += 1;
                set = set.and(&Set::escaped(self.byte(at)));
            } else if self.byte(at + 1) == b'-' && at + 2 < bracket {
                for byte in self.byte(at)..=self.byte(at + 2) {
                    set = set.with(byte);
                }
                at += 2;
            } else {
                set = set.with(self.byte(at));
            }
            at += 1;
        }
        if negated { set.other() } else { set }
    }

    /// The test that begins at `at`, and where it ends.
    fn test(&self, at: usize) -> Result<(Test, usize), Fault> {
        match self.byte(at) {
            b'%' if self.byte(at + 1) == 0 => Err(Fault::EndsInEscape),
            b'%' => Ok((Test::In(Set::escaped(self.byte(at + 1))), at + 2)),
            b'[' => {
                let end = self.set_end(at)?;
                Ok((Test::In(self.set(at, end)), end))
            }
            b'.' => Ok((Test::Any, at + 1)),
            byte => Ok((Test::Byte(byte), at + 1)),
        }
    }

    /// The item that begins at `at`, and where the next begins.
    fn item(&self, at: usize) -> Result<(Item, usize), Fault> {
        let item = match (self.byte(at), self.byte(at + 1)) {
            (0, _) => (Item::Done, at),
            (b'(', b')') => (Item::Position, at + 2),
            (b'(', _) => (Item::Open, at + 1),
            (b')', _) => (Item::Close, at + 1),
            (b'%', b'b') => match (self.byte(at + 2), self.byte(at + 3)) {
                (0, _) | (_, 0) => return Err(Fault::Unbalanced),
                (open, close) => (Item::Balance(open, close), at + 4),
            },
            (b'%', b'f') => {
                if self.byte(at + 2) != b'[' {
                    return Err(Fault::MissingFrontierSet);
                }
                let end = self.set_end(at + 2)?;
                (Item::Frontier(self.set(at + 2, end)), end)
            }
            (b'%', digit @ b'0'..=b'9') => (Item::Back(digit), at + 2),
            (b'$', 0) => (Item::End, at + 1),
            _ => {
                let (test, end) = self.test(at)?;
                let (repeat, end) = match self.byte(end) {
                    b'?' => (Repeat::Optional, end + 1),
                    b'*' => (Repeat::Most, end + 1),
                    b'+' => (Repeat::MostFromOne, end + 1),
                    b'-' => (Repeat::Fewest, end + 1),
                    _ => (Repeat::Once, end),
                };
                (Item::Single(test, repeat), end)
            }
        };
        Ok(item)
    }
}

/// Where a pattern ends: at its first NUL.
fn visible(pattern: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or(pattern)
}

impl Program {
    fn new(pattern: &[u8], meter: &mut Meter<'_>) -> Result<Self, Fault> {
        let source = Source(visible(pattern));
        let mut items = Vec::with_capacity(source.0.len().min(32) + 1);
        let mut at = 0;
        loop {
            let (item, next) = source
                .item(at)
                .unwrap_or_else(|fault| (Item::Fault(fault), at));
            if items.len() >= MOST_ITEMS {
                return Err(Fault::TooComplex);
            }
            items.push(item);
            if let Item::Done | Item::Fault(_) = item {
                return Ok(Program(items));
            }
            meter.spend(next - at)?;
            at = next;
        }
    }

    fn item(&self, at: usize) -> Item {
        self.0.get(at).copied().unwrap_or(Item::Done)
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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// How many captures there are.
    pub(crate) level: usize,
    captures: [(usize, Extent); MOST_CAPTURES],
}

impl Match {
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

struct Matcher<'a, 'm, 'f> {
    program: &'a Program,
    subject: &'a [u8],
    found: Match,
    choices: Vec<Choice>,
    meter: &'m mut Meter<'f>,
}

impl Matcher<'_, '_, '_> {
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
        Ok(match self.program.item(item) {
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
                    if let Item::Single(test, _) = self.program.item(*single)
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

/// The first match at `from` or later; only there, if `anchored`.
pub(crate) fn search(
    subject: &[u8],
    pattern: &[u8],
    from: usize,
    anchored: bool,
    meter: &mut Meter<'_>,
) -> Result<Option<Match>, Fault> {
    let program = &Program::new(pattern, meter)?;
    let mut matcher = Matcher {
        program,
        subject,
        found: Match {
            start: 0,
            end: 0,
            level: 0,
            captures: [(0, Extent::Open); MOST_CAPTURES],
        },
        choices: Vec::new(),
        meter,
    };
    let last = if anchored { from } else { subject.len() };
    for start in from..=last {
        if matcher.matches_at(start)? {
            return Ok(Some(matcher.found));
        }
    }
    Ok(None)
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

/// Whether Lua's `find` would search for this pattern as it stands.
pub(crate) fn is_plain(pattern: &[u8]) -> bool {
    !visible(pattern)
        .iter()
        .any(|byte| b"^$*+?.([%-".contains(byte))
}

/// The steps that Lua's own matcher takes at the most to look for `pattern` at
/// every place of a subject of `length` bytes; `usize::MAX` where it would
/// recurse deeply.
///
/// An unbounded quantifier tries every length; so do `%b` and a back-reference,
/// in comparing. An optional item tries two ways.
pub(crate) fn worst_case(length: usize, pattern: &[u8]) -> usize {
    let source = Source(visible(pattern));
    let (mut powers, mut doublings, mut set) = (1, 0, false);
    let mut at = 0;
    loop {
        match source.byte(at) {
            0 => break,
            b'*' | b'+' | b'-' => powers += 1,
            b'?' => doublings += 1,
            b'%' => {
                powers += usize::from(matches!(source.byte(at + 1), b'b' | b'0'..=b'9'));
                at += 1;
            }
            b'[' => match source.set_end(at) {
                Ok(end) => (set, at) = (true, end - 1),
                Err(_) => break,
            },
            _ => {}
        }
        at += 1;
    }
    if powers + doublings > MOST_QUANTIFIERS {
        return usize::MAX;
    }
    // A set is walked for each byte that it is asked for.
    let items = source.0.len() + 1;
    let test = if set { items.div_ceil(16) } else { 1 };
    (length + 1)
        .saturating_pow(powers as u32)
        .saturating_mul(1 << doublings)
        .saturating_mul(items)
        .saturating_mul(test)
}

#[cfg(test)]
mod tests;
