//! A pattern as items, and what can be said of it without matching.

use super::Fault;

/// Quantifiers of a pattern that Lua's own matcher may see: it recurses for each.
const MOST_QUANTIFIERS: usize = 16;

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    const EMPTY: Set = Set([0; 4]);

    pub(super) const fn has(&self, byte: u8) -> bool {
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
pub(super) enum Test {
    Any,
    Byte(u8),
    In(Set),
}

impl Test {
    #[inline]
    pub(super) fn holds(&self, byte: u8) -> bool {
        match self {
            Test::Any => true,
            Test::Byte(wanted) => *wanted == byte,
            Test::In(set) => set.has(byte),
        }
    }

    /// How many bytes from the first on it holds for.
    pub(super) fn run(&self, bytes: &[u8]) -> usize {
        let end = match self {
            Test::Any => None,
            Test::Byte(wanted) => bytes.iter().position(|byte| byte != wanted),
            Test::In(set) => bytes.iter().position(|byte| !set.has(*byte)),
        };
        end.unwrap_or(bytes.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    Optional,
    Most,
    MostFromOne,
    Fewest,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
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

/// The pattern's bytes; what is behind its end is NUL.
pub(super) struct Source<'a>(pub(super) &'a [u8]);

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
    pub(super) fn item(&self, at: usize) -> Result<(Item, usize), Fault> {
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
pub(super) fn visible(pattern: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or(pattern)
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
