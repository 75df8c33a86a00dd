//! Two aligned windows: `[number of the window, hits of the one before, hits]`.
//!
//! The estimate is what is left of the former window's hits, as if they had come
//! evenly, and the hits of this one.

use super::{Counter, Moved, NUMBER_MAX, Now, Numbers, Room, SLACK_MS};
use crate::limit::rule::Rule;

pub(crate) struct SlidingWindow;

impl SlidingWindow {
    /// Milliseconds of the former window that still count.
    fn left(numbers: &Numbers, rule: &Rule, now: Now) -> i64 {
        let [index, ..] = numbers.fields;
        let span = rule.window_ms() as i64;
        // A clock that was set back stands at the window's beginning.
        span - (now.millis() - index * span).max(0)
    }
}

impl Counter for SlidingWindow {
    const FORM: u8 = b's';
    const FIELDS: usize = 3;

    fn holds(numbers: &Numbers, rule: &Rule) -> bool {
        let [index, previous, current] = numbers.fields;
        let span = rule.window_ms() as i64;
        [index, previous, current]
            .iter()
            .all(|number| (0..=NUMBER_MAX / span).contains(number))
    }

    fn roll(numbers: &mut Numbers, rule: &Rule, now: Now, fresh: bool) -> Moved {
        let span = rule.window_ms() as i64;
        let window = now.millis().div_euclid(span);
        let [index, previous, current] = numbers.fields;
        if !fresh && index * span > now.millis() + SLACK_MS {
            // All of it may have come just now.
            let count = (previous + current).min(NUMBER_MAX / span);
            numbers.fields = [window, 0, count];
            return Moved::Clamped;
        }
        if fresh || window > index + 1 {
            numbers.fields = [window, 0, 0];
        } else if window == index + 1 {
            numbers.fields = [window, current, 0];
        } else {
            return Moved::No;
        }
        Moved::Rolled
    }

    fn weight(_: &Rule, cost: i64) -> i64 {
        cost
    }

    fn fits(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> bool {
        let [_, previous, current] = numbers.fields;
        let span = rule.window_ms() as i64;
        let left = SlidingWindow::left(numbers, rule, now);
        previous * left <= (rule.limit() as i64 - current - cost) * span
    }

    fn ttl_ms(_: &Numbers, rule: &Rule, _: Now) -> i64 {
        2 * rule.window_ms() as i64 + SLACK_MS
    }

    fn room(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> Room {
        let [index, previous, current] = numbers.fields;
        let (limit, span) = (rule.limit() as i64, rule.window_ms() as i64);
        let left = SlidingWindow::left(numbers, rule, now);
        let used = previous * left;
        let remaining = (limit * span - current * span - used).max(0) / span;
        // The first millisecond of a window at which `weighted` leaves room.
        let until = |weighted: i64, room: i64| match weighted {
            0 => 0,
            _ => span - room * span / weighted,
        };
        let begin = index * span;
        let moment = if cost > limit {
            None
        } else if SlidingWindow::fits(numbers, rule, now, cost) {
            Some(now.millis())
        } else if current + cost <= limit {
            Some(begin + until(previous, limit - current - cost))
        } else {
            Some(begin + span + until(current, limit - cost).max(0))
        };
        let empty = match (previous, current) {
            (0, 0) => now.millis(),
            (_, 0) => begin + span,
            _ => begin + 2 * span,
        };
        let from_now = |moment: i64| (moment * 1000 - now.0).max(0);
        Room {
            remaining: remaining as u64,
            retry_us: moment.map(from_now),
            reset_us: from_now(empty),
        }
    }

    fn give(numbers: &mut Numbers, _: &Rule, _: Now, cost: i64) {
        let [_, previous, current] = &mut numbers.fields;
        let rest = (cost - *current).max(0);
        *current = (*current - cost).max(0);
        *previous = (*previous - rest).max(0);
    }
}
