//! A bucket as its theoretical arrival time: `[kept until in ms, arrival in us]`.
//!
//! The arrival time is when the bucket will be full again; a hit moves it by its
//! interval and is admitted while that stays within `burst` intervals from now.
//! The token bucket and GCRA are this one arithmetic.

use super::{Counter, Moved, NUMBER_MAX, Now, Numbers, Room, SLACK_MS};
use crate::limit::rule::Rule;

pub(crate) struct Bucket;

impl Bucket {
    /// Microseconds that a full burst takes.
    fn depth(rule: &Rule) -> i64 {
        (rule.interval_us() * rule.burst()) as i64
    }
}

impl Counter for Bucket {
    const FORM: u8 = b'b';
    const FIELDS: usize = 2;
    const ROLL_RENEWS: bool = false;

    fn holds(numbers: &Numbers, _: &Rule) -> bool {
        let [kept, arrival, _] = numbers.fields;
        (0..=NUMBER_MAX).contains(&kept) && (0..=NUMBER_MAX).contains(&arrival)
    }

    fn roll(numbers: &mut Numbers, rule: &Rule, now: Now, fresh: bool) -> Moved {
        let [kept, arrival, _] = numbers.fields;
        // Penalties and leases go to twice the burst.
        let most = now.0 + 2 * Bucket::depth(rule);
        if !fresh && arrival > most + SLACK_MS * 1000 {
            numbers.fields = [0, most, 0];
            return Moved::Clamped;
        }
        if fresh || arrival < now.0 {
            // A key that lives long enough keeps its time.
            numbers.fields = [if fresh { 0 } else { kept }, now.0, 0];
            return Moved::Rolled;
        }
        Moved::No
    }

    fn weight(rule: &Rule, cost: i64) -> i64 {
        cost * rule.interval_us() as i64
    }

    fn fits(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> bool {
        let [_, arrival, _] = numbers.fields;
        cost <= rule.burst() as i64
            && arrival + Bucket::weight(rule, cost) <= now.0 + Bucket::depth(rule)
    }

    fn outlives(numbers: &mut Numbers, rule: &Rule, now: Now) -> bool {
        let [kept, arrival, _] = &mut numbers.fields;
        if *arrival <= *kept * 1000 {
            return false;
        }
        // Twice as long as a burst lasts, so that this is rare.
        let depth = Bucket::depth(rule).div_euclid(1000) + 1;
        *kept = (now.millis() + 2 * depth).max(arrival.div_euclid(1000) + 1);
        true
    }

    fn ttl_ms(numbers: &Numbers, _: &Rule, now: Now) -> i64 {
        let [kept, ..] = numbers.fields;
        (kept - now.millis()).max(0) + SLACK_MS
    }

    fn room(numbers: &Numbers, rule: &Rule, now: Now, cost: i64) -> Room {
        let [_, arrival, _] = numbers.fields;
        let edge = now.0 + Bucket::depth(rule);
        let retry = arrival + Bucket::weight(rule, cost.min(rule.burst() as i64)) - edge;
        Room {
            remaining: ((edge - arrival).max(0) / rule.interval_us() as i64) as u64,
            retry_us: (cost <= rule.burst() as i64).then_some(retry.max(0)),
            reset_us: (arrival - now.0).max(0),
        }
    }

    fn charge(numbers: &mut Numbers, rule: &Rule, now: Now, hits: i64) {
        let [_, arrival, _] = &mut numbers.fields;
        let most = now.0 + 2 * Bucket::depth(rule);
        *arrival = (*arrival + Bucket::weight(rule, hits))
            .min(most)
            .max(*arrival);
    }

    fn give(numbers: &mut Numbers, rule: &Rule, now: Now, cost: i64) {
        let [_, arrival, _] = &mut numbers.fields;
        *arrival = (*arrival - Bucket::weight(rule, cost)).max(now.0);
    }
}
