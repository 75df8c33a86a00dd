//! The algorithms that keep entries: the sliding log, `time:cost,` for each hit,
//! and the table of permits, `id:end:weight,` for each permit.
//!
//! A value is the algorithm's letter, the moment until which the identifier is
//! blocked, `;` and the entries, oldest first, all numbers in decimal: text that
//! Lua reads without a library. Entries that are over are dropped when the value is
//! written next.

use super::{NUMBER_MAX, Now, Room, SLACK_MS};
use crate::limit::rule::Rule;

/// Bytes of a hit of cost 1.
const ENTRY_BYTES: usize = 19;

/// One hit, or one permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The permit's id; empty for a hit.
    pub(crate) id: Vec<u8>,
    /// Microseconds since the epoch at which it counts no longer.
    pub(crate) end: i64,
    pub(crate) cost: i64,
}

/// A value's entries that still count, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct List {
    /// Milliseconds since the epoch; 0 for not blocked.
    pub(crate) blocked_until: i64,
    pub(crate) entries: Vec<Entry>,
    /// A clock that was ahead had written some of them: they count from now on.
    pub(crate) clamped: bool,
}

impl List {
    /// Reads a value as of `now`; one of another form is empty.
    pub(crate) fn decode(value: &[u8], permits: bool, rule: &Rule, now: Now) -> Self {
        List::parse(value, permits, rule, now).unwrap_or_default()
    }

    fn parse(value: &[u8], permits: bool, rule: &Rule, now: Now) -> Option<Self> {
        let mut rest = value.strip_prefix(if permits { b"c" } else { b"l" })?;
        let mut list = List {
            blocked_until: number(&mut rest, b';')?,
            entries: Vec::with_capacity(rest.len() / ENTRY_BYTES + 2),
            clamped: false,
        };
        let span = rule.window_ms() as i64 * 1000;
        let latest = now.0 + span;
        while !rest.is_empty() {
            let id = if permits { word(&mut rest)? } else { b"" };
            let moment = number(&mut rest, b':')?;
            let cost = number(&mut rest, b',')?;
            let mut end = if permits { moment } else { moment + span };
            if end > latest + SLACK_MS * 1000 {
                (end, list.clamped) = (latest, true);
            }
            if end > now.0 {
                list.entries.push(Entry {
                    id: id.to_vec(),
                    end,
                    cost,
                });
            }
        }
        Some(list)
    }

    pub(crate) fn encode(&self, permits: bool, rule: &Rule) -> Vec<u8> {
        let span = rule.window_ms() as i64 * 1000;
        let mut digits = itoa::Buffer::new();
        let mut value = Vec::with_capacity(ENTRY_BYTES * (self.entries.len() + 1));
        value.push(if permits { b'c' } else { b'l' });
        value.extend_from_slice(digits.format(self.blocked_until).as_bytes());
        value.push(b';');
        for entry in &self.entries {
            let moment = if permits {
                value.extend_from_slice(&entry.id);
                value.push(b':');
                entry.end
            } else {
                entry.end - span
            };
            value.extend_from_slice(digits.format(moment).as_bytes());
            value.push(b':');
            value.extend_from_slice(digits.format(entry.cost).as_bytes());
            value.push(b',');
        }
        value
    }

    pub(crate) const fn is_blocked(&self, now: Now) -> bool {
        self.blocked_until > now.millis()
    }

    fn used(&self) -> i64 {
        self.entries.iter().map(|entry| entry.cost).sum()
    }

    /// Whether a hit of this cost is admitted. A permit that is held already is
    /// not counted twice.
    pub(crate) fn fits(&self, rule: &Rule, cost: i64, id: &[u8]) -> bool {
        let held: i64 = self
            .entries
            .iter()
            .filter(|entry| !id.is_empty() && entry.id == id)
            .map(|entry| entry.cost)
            .sum();
        self.used() - held + cost <= rule.limit() as i64
    }

    /// Adds a hit, or a permit in the place of the one with its id.
    pub(crate) fn add(&mut self, rule: &Rule, now: Now, cost: i64, id: &[u8]) {
        self.release(id);
        self.entries.push(Entry {
            id: id.to_vec(),
            end: now.0 + rule.window_ms() as i64 * 1000,
            cost,
        });
    }

    /// Takes a permit out; whether it was held.
    pub(crate) fn release(&mut self, id: &[u8]) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| id.is_empty() || entry.id != id);
        self.entries.len() != before
    }

    /// Counts hits without asking, at most until the limit is used up twice.
    pub(crate) fn charge(&mut self, rule: &Rule, now: Now, hits: i64) {
        let cost = hits.min((2 * rule.limit() as i64 - self.used()).max(0));
        if cost > 0 {
            self.entries.push(Entry {
                id: Vec::new(),
                end: now.0 + rule.window_ms() as i64 * 1000,
                cost,
            });
        }
    }

    /// Gives back what hits cost, the newest first.
    pub(crate) fn give(&mut self, mut cost: i64) {
        while cost > 0
            && let Some(last) = self.entries.last_mut()
        {
            let part = cost.min(last.cost);
            last.cost -= part;
            cost -= part;
            if last.cost == 0 {
                self.entries.pop();
            }
        }
    }

    /// Milliseconds that a value written now has to live.
    pub(crate) fn ttl_ms(&self, now: Now) -> i64 {
        let last = self.entries.iter().map(|entry| entry.end).max();
        let left = last.map_or(0, |end| (end - now.0).max(0).div_euclid(1000) + 1);
        left.max(self.blocked_until - now.millis()) + SLACK_MS
    }

    /// When so much of what is counted is over.
    fn until_free(&self, mut over: i64) -> Option<i64> {
        let mut ends: Vec<(i64, i64)> = self.entries.iter().map(|it| (it.end, it.cost)).collect();
        ends.sort_unstable();
        let mut last = None;
        for (end, cost) in ends {
            if over <= 0 {
                break;
            }
            over -= cost;
            last = Some(end);
        }
        last
    }

    /// What there is room for, without the hit.
    pub(crate) fn room(&self, rule: &Rule, now: Now, cost: i64) -> Room {
        let limit = rule.limit() as i64;
        let used = self.used();
        let over = used + cost - limit;
        let retry_us = match over {
            _ if cost > limit => None,
            ..=0 => Some(0),
            _ => Some(self.until_free(over).map_or(0, |end| end - now.0)),
        };
        let last = self.entries.iter().map(|entry| entry.end).max();
        Room {
            remaining: (limit - used).max(0) as u64,
            retry_us,
            reset_us: last.map_or(0, |end| end - now.0),
        }
    }
}

/// Takes a decimal and the byte that ends it.
pub(crate) fn number(rest: &mut &[u8], end: u8) -> Option<i64> {
    let mut number = 0;
    for (digits, byte) in rest.iter().enumerate() {
        if *byte == end && digits > 0 {
            *rest = rest.get(digits + 1..)?;
            return Some(number);
        }
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
        if number > NUMBER_MAX {
            return None;
        }
    }
    None
}

/// Takes a permit's id and the colon that ends it.
fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| matches!(byte, b':' | b','))?;
    let (word, tail) = rest.split_at(at);
    *rest = tail.strip_prefix(b":")?;
    Some(word)
}
