//! A grant: a run of places in a count that belongs to this process, and what of it
//! can be used at a moment.
//!
//! The store hands out each place once. Whoever uses the token of a place no earlier
//! than the place allows, and no later than it ends, never passes the limit, however
//! many hold places and however late they use them:
//!
//! - Fixed window: places `from..to` of the limit, until the window ends.
//! - Sliding window: place `q` may be used while the former window's weight leaves
//!   more than `q` of the limit. At any moment the places that may be used are the
//!   first so many, as many as the estimate leaves; so no more than those were used.
//!   They end with the aligned window, and count as used in the next.
//! - Bucket: a stretch of time between two arrivals. A token takes one interval of
//!   it, which begins no earlier than the moment of use and ends within a burst from
//!   then. All intervals ever used are apart, so what is still to flow out of the
//!   bucket is at most what lies between now and a burst from now: the burst. Time
//!   passes over the stretch, and takes with it what was not used.

use crate::limit::algorithm::{Bucket, Counter, FixedWindow, Moved, Now, Numbers, SlidingWindow};
use crate::limit::check::by_algorithm;
use crate::limit::rule::{Algorithm, Rule};

/// Places of one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    /// The counter before it.
    numbers: Numbers,
    /// The first place: hits, or microseconds of a bucket.
    from: i64,
    /// The place after the last one.
    to: i64,
}

impl Grant {
    /// What was granted after this state of a counter.
    pub(super) fn new(rule: &Rule, before: Numbers, granted: u64) -> Self {
        let [_, second, third] = before.fields;
        let (from, each) = match rule.algorithm() {
            Algorithm::FixedWindow => (second, 1),
            Algorithm::SlidingWindow => (third, 1),
            _ => (second, rule.interval_us() as i64),
        };
        Grant {
            numbers: before,
            from,
            to: from + granted as i64 * each,
        }
    }

    /// Where it ends, as a return names it: with its window, in milliseconds, or the
    /// place after a bucket's last token.
    pub(super) fn end(&self, rule: &Rule) -> i64 {
        let [first, ..] = self.numbers.fields;
        let span = rule.window_ms() as i64;
        match rule.algorithm() {
            Algorithm::FixedWindow => first + span,
            Algorithm::SlidingWindow => (first + 1) * span,
            _ => self.to,
        }
    }

    /// Hits of the window before, where the rule counts these.
    pub(super) fn former(&self, rule: &Rule) -> i64 {
        let [_, previous, _] = self.numbers.fields;
        match rule.algorithm() {
            Algorithm::SlidingWindow => previous,
            _ => 0,
        }
    }

    /// The window that it is of; buckets have none.
    pub(super) fn window(&self, rule: &Rule) -> Option<i64> {
        is_window(rule).then(|| self.end(rule))
    }

    /// Whether a clock that was ahead asked for it: its places are given up, as no
    /// time that is near uses them.
    fn is_ahead(&self, rule: &Rule, now: Now) -> bool {
        let mut last = self.numbers;
        if !is_window(rule) {
            last.fields = [0, self.to, 0];
        }
        by_algorithm!(rule, C => C::roll(&mut last, rule, now, false) == Moved::Clamped, false)
    }

    /// The first place that is not over, and the place after the last one that may
    /// be used now.
    fn open(&self, rule: &Rule, now: Now) -> (i64, i64) {
        if self.is_ahead(rule, now) {
            return (self.to, self.to);
        }
        if !is_window(rule) {
            let depth = (rule.interval_us() * rule.burst()) as i64;
            return (self.from.max(now.0), self.to.min(now.0 + depth));
        }
        if now.millis() >= self.end(rule) {
            return (self.to, self.to);
        }
        let open = if rule.algorithm() == Algorithm::SlidingWindow {
            let [index, previous, _] = self.numbers.fields;
            let span = rule.window_ms() as i64;
            let left = span - (now.millis() - index * span).max(0);
            (rule.limit() as i64 * span - previous * left).div_euclid(span)
        } else {
            self.to
        };
        (self.from, self.to.min(open))
    }

    /// Tokens that are not used and not over.
    pub(super) fn rest(&self, rule: &Rule, now: Now) -> u64 {
        let (from, _) = self.open(rule, now);
        count(rule, from, self.to)
    }

    /// Tokens of it that may be used now.
    pub(super) fn usable(&self, rule: &Rule, now: Now) -> u64 {
        let (from, to) = self.open(rule, now);
        count(rule, from, to)
    }

    /// Uses tokens; at most those that may be.
    pub(super) fn take(&mut self, rule: &Rule, now: Now, tokens: u64) {
        let (from, _) = self.open(rule, now);
        self.from = from + tokens as i64 * each(rule);
    }

    /// Microseconds until so many of its tokens may be used, of those that are left.
    pub(super) fn ready_us(&self, rule: &Rule, now: Now, tokens: u64) -> i64 {
        let (from, _) = self.open(rule, now);
        let last = from + tokens as i64 * each(rule);
        match rule.algorithm() {
            Algorithm::FixedWindow => 0,
            Algorithm::SlidingWindow => {
                let [index, previous, _] = self.numbers.fields;
                let span = rule.window_ms() as i64;
                let room = (rule.limit() as i64 - last).max(0);
                let left = if previous == 0 {
                    span
                } else {
                    (room * span / previous).min(span)
                };
                (((index + 1) * span - left) * 1000 - now.0).max(0)
            }
            _ => {
                let depth = (rule.interval_us() * rule.burst()) as i64;
                (last - depth - now.0).max(0)
            }
        }
    }

    /// Takes over what follows right on it; whether it does.
    pub(super) fn joins(&mut self, rule: &Rule, next: &Grant) -> bool {
        // An older weight of the former window is no less than a newer one.
        let same = self.to == next.from && self.window(rule) == next.window(rule);
        if same {
            self.to = next.to;
        }
        same
    }
}

/// Places that a token takes.
fn each(rule: &Rule) -> i64 {
    if is_window(rule) {
        1
    } else {
        rule.interval_us() as i64
    }
}

fn count(rule: &Rule, from: i64, to: i64) -> u64 {
    ((to - from).max(0) / each(rule)) as u64
}

fn is_window(rule: &Rule) -> bool {
    matches!(
        rule.algorithm(),
        Algorithm::FixedWindow | Algorithm::SlidingWindow
    )
}
