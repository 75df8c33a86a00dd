//! A window that begins with its first hit: `[start in ms, count]`.

use super::{Counter, Moved, NUMBER_MAX, Now, Numbers, Room, SLACK_MS};
use crate::limit::rule::Rule;

pub(crate) struct FixedWindow;

impl Counter for FixedWindow {
    const FORM: u8 = b'f';
    const FIELDS: usize = 2;

    fn holds(numbers: &Numbers, _: &Rule) -> bool {
        let [start, count, _] = numbers.fields;
        (0..=NUMBER_MAX).contains(&start) && (0..=NUMBER_MAX).contains(&count)
    }

    fn roll(numbers: &mut Numbers, rule: &Rule, now: Now, fresh: bool) -> Moved {
        let [start, count, _] = numbers.fields;
        if !fresh && start > now.millis() + SLACK_MS {
            numbers.fields = [now.millis(), count, 0];
            return Moved::Clamped;
        }
        let over = fresh || now.millis() >= start + rule.window_ms() as i64;
        if over {
            numbers.fields = [now.millis(), 0, 0];
        }
        Moved::rolled(over)
    }

    fn weight(_: &Rule, cost: i64) -> i64 {
        cost
    }

    fn fits(numbers: &Numbers, rule: &Rule, _: Now, cost: i64) -> bool {
        let [_, count, _] = numbers.fields;
        count + cost <= rule.limit() as i64
    }

    fn ttl_ms(numbers: &Numbers, rule: &Rule, now: Now) -> i64 {
        let [start, ..] = numbers.fields;
        start + rule.window_ms() as i64 - now.millis() + SLACK_MS
    }

    fn room(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> Room {
        let [start, count, _] = numbers.fields;
        let limit = rule.limit() as i64;
        let rest = (start + rule.window_ms() as i64) * 1000 - now.0;
        Room {
            remaining: (limit - count).max(0) as u64,
            retry_us: match () {
                () if cost > limit => None,
                () if count + cost <= limit => Some(0),
                () => Some(rest),
            },
            reset_us: if count > 0 { rest } else { 0 },
        }
    }

    fn give(numbers: &mut Numbers, _: &Rule, _: Now, cost: i64) {
        let [_, count, _] = &mut numbers.fields;
        *count = (*count - cost).max(0);
    }
}
