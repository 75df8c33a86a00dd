//! The arithmetic of each algorithm, once in Rust; `check.lua` and `adjust.lua`
//! hold the same in Lua, and a test runs both on random states.
//!
//! Three of the six are *counters*: a few integers in one string, of which the last
//! grows by what a hit costs. A store can read them and add to the last one in a
//! single command, which is what makes a check cost two billed commands. The
//! sliding log and the table of permits are lists, read and written whole.
//!
//! A counter's value is a byte for its form, the moment until which the identifier
//! is blocked, and two or three numbers; all big-endian 64-bit integers, as
//! `BITFIELD` reads them.

mod bucket;
mod fixed;
mod list;
mod sliding;

use sangam_engine::CommandError;
use sangam_engine::command::{Ttl, Tx};
use smallvec::SmallVec;

use super::rule::{Algorithm, Rule};

pub(crate) use bucket::Bucket;
pub(crate) use fixed::FixedWindow;
pub(crate) use list::{List, number};
pub(crate) use sliding::SlidingWindow;

/// The largest number that is computed with, half of what Lua holds exactly.
pub(crate) const NUMBER_MAX: i64 = sangam_store::op::INTEGER_MAX / 2;

/// A moment in microseconds since the epoch, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Now(pub(crate) i64);

impl Now {
    pub(crate) const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// What is kept in a key beyond the time that it counts for, in milliseconds: the
/// store's clock and ours may differ by this.
pub(crate) const SLACK_MS: i64 = 1000;

/// What it took to bring numbers to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Nothing but time.
    No,
    /// What is over was dropped.
    Rolled,
    /// A clock that was ahead had written them: they were brought back, and what was
    /// counted stays. A refused hit keeps this too, or else each would begin anew to
    /// wait.
    Clamped,
}

impl Moved {
    pub(crate) const fn rolled(rolled: bool) -> Self {
        if rolled { Moved::Rolled } else { Moved::No }
    }
}

/// A counter's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// Milliseconds since the epoch; 0 for not blocked.
    pub(crate) blocked_until: i64,
    /// What the algorithm keeps; the last one that it uses grows.
    pub(crate) fields: [i64; 3],
}

/// What a rule has room for, as of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// Hits of cost 1 that would be admitted now.
    pub(crate) remaining: u64,
    /// Microseconds until a hit of the asked cost is admitted if nobody else comes;
    /// 0 for now, `None` for never.
    pub(crate) retry_us: Option<i64>,
    /// Microseconds until all of the limit is there again if nobody comes.
    pub(crate) reset_us: i64,
}

/// An algorithm that counts in [`Numbers`].
pub(crate) trait Counter {
    /// The byte that begins its value.
    const FORM: u8;
    /// How many of [`Numbers::fields`] it keeps.
    const FIELDS: usize;
    /// Whether numbers that were brought to now need another time to live.
    const ROLL_RENEWS: bool = true;

    /// Whether these are numbers that this rule can compute with; others are taken
    /// for none.
    fn holds(numbers: &Numbers, rule: &Rule) -> bool;

    /// Brings numbers to `now`. `fresh` says that there were none.
    ///
    /// What lies further ahead than a right clock puts it, and [`SLACK_MS`] more, is
    /// brought back, so that a clock that was ahead refuses nobody for as long as it
    /// was.
    fn roll(numbers: &mut Numbers, rule: &Rule, now: Now, fresh: bool) -> Moved;

    /// What a cost adds to the last field.
    fn weight(rule: &Rule, cost: i64) -> i64;

    /// Whether a hit of this cost is admitted; the numbers are rolled.
    fn fits(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> bool;

    /// After a hit was added: whether the key has to live longer than it does.
    fn outlives(_numbers: &mut Numbers, _rule: &Rule, _now: Now) -> bool {
        false
    }

    /// Milliseconds that a key written now has to live.
    fn ttl_ms(numbers: &Numbers, rule: &Rule, now: Now) -> i64;

    /// What there is room for; the numbers are rolled and without the hit.
    fn room(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> Room;

    /// Counts hits without asking, at most until the limit is used up twice.
    fn charge(numbers: &mut Numbers, rule: &Rule, _now: Now, hits: i64) {
        if let Some(last) = numbers.fields.get_mut(Self::FIELDS - 1) {
            *last = (*last + hits).min(2 * rule.limit() as i64).max(*last);
        }
    }

    /// Gives back what a hit cost.
    fn give(numbers: &mut Numbers, rule: &Rule, now: Now, cost: i64);
}

/// The bytes of a counter's value; longer ones are not on the stack.
pub(crate) type Value = SmallVec<[u8; 40]>;

impl Numbers {
    /// Bytes of a value with so many fields.
    pub(crate) const fn length(fields: usize) -> usize {
        9 + 8 * fields
    }

    /// Reads a value; `None` where it is none of this form. What is missing at the
    /// end is zero.
    pub(crate) fn decode(value: &[u8], form: u8, fields: usize) -> Option<Self> {
        let (first, rest) = value.split_first()?;
        if *first != form {
            return None;
        }
        let mut padded = [0_u8; 32];
        for (to, from) in padded.iter_mut().zip(rest) {
            *to = *from;
        }
        let mut words = padded
            .chunks_exact(8)
            .map(|word| word.try_into().map_or(0, i64::from_be_bytes));
        let mut numbers = Numbers {
            blocked_until: words.next()?,
            fields: [0; 3],
        };
        for (to, from) in numbers.fields.iter_mut().zip(words).take(fields) {
            *to = from;
        }
        Some(numbers)
    }

    pub(crate) fn encode(&self, form: u8, fields: usize) -> Value {
        let mut value = Value::new();
        value.push(form);
        value.extend_from_slice(&self.blocked_until.to_be_bytes());
        for field in self.fields.iter().take(fields) {
            value.extend_from_slice(&field.to_be_bytes());
        }
        value
    }

    /// Writes them with a time to live of their own.
    pub(crate) fn put<C: Counter>(
        &mut self,
        tx: &mut Tx<'_>,
        key: &[u8],
        rule: &Rule,
        now: Now,
    ) -> Result<(), CommandError> {
        C::outlives(self, rule, now);
        let blocked = self.blocked_until - now.millis() + SLACK_MS;
        let ttl = C::ttl_ms(self, rule, now).max(blocked);
        let value = self.encode(C::FORM, C::FIELDS);
        tx.put(key, &value, Ttl::Millis(ttl as u64))
    }

    /// Whether the moment of a block is one that can be computed with.
    pub(crate) fn is_sane(&self) -> bool {
        (0..=NUMBER_MAX).contains(&self.blocked_until)
    }

    /// Whether the identifier is blocked.
    pub(crate) const fn is_blocked(&self, now: Now) -> bool {
        self.blocked_until > now.millis()
    }
}

/// The letter that names an algorithm to the scripts and in keys.
pub(crate) const fn letter(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::FixedWindow => "f",
        Algorithm::SlidingWindow => "s",
        Algorithm::SlidingLog => "l",
        // One arithmetic, two names.
        Algorithm::TokenBucket | Algorithm::Gcra => "b",
        Algorithm::Concurrency => "c",
    }
}

/// The two numbers of a rule that the scripts compute with.
pub(crate) const fn parameters(rule: &Rule) -> (u64, u64) {
    match rule.algorithm() {
        Algorithm::TokenBucket | Algorithm::Gcra => (rule.interval_us(), rule.burst()),
        _ => (rule.limit(), rule.window_ms()),
    }
}
