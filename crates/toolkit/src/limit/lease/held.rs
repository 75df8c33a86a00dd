//! What this process holds of one count, and what it knows of it.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::Semaphore;

use super::grant::Grant;
use super::op::{Leased, left};
use super::size::Size;
use crate::limit::algorithm::{Bucket, Counter, FixedWindow, Now, Numbers, Room, SlidingWindow};
use crate::limit::check::by_algorithm;
use crate::limit::decision::Outcome;
use crate::limit::rule::{Algorithm, Rule};

/// Longest time that a refusal is trusted: others may give back.
const LONGEST_US: i64 = 60_000_000;

/// Grants that are taken back from whoever held them.
pub(super) type Grants = SmallVec<[Grant; 2]>;

/// What this process holds of one count.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rule: Rule,
    /// When it was last checked, in microseconds.
    pub(super) seen: i64,
    grants: Grants,
    /// The count after the last ask.
    numbers: Numbers,
    /// Fewer tokens than these were not there at the last ask, until that moment.
    refused: Option<(u64, i64)>,
    flow: Flow,
    /// Grows when what was asked for before is not wanted any more.
    pub(super) generation: u32,
    /// Who asks holds its permit.
    pub(super) gate: Arc<Semaphore>,
}

/// How fast tokens go.
#[derive(Debug, Default)]
struct Flow {
    /// The window of the last grant; buckets have none.
    window: Option<i64>,
    /// Granted and used in this window, or since the last grant.
    granted: u64,
    used: u64,
    /// Used in the window before.
    before: u64,
}

impl Held {
    pub(super) fn new(rule: Rule, now: Now) -> Self {
        Held {
            rule,
            seen: now.0,
            grants: Grants::new(),
            numbers: Numbers::default(),
            refused: None,
            flow: Flow::default(),
            generation: 0,
            gate: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether it was checked within the last window.
    pub(super) fn is_known(&self, now: Now) -> bool {
        now.0 - self.seen <= self.rule.window_ms() as i64 * 1000
    }

    /// Whether there is something that would be missed.
    pub(super) fn is_needed(&self, now: Now) -> bool {
        self.is_known(now) || self.rest(now) > 0 || Arc::strong_count(&self.gate) > 1
    }

    /// Tokens that are neither used nor over.
    pub(super) fn rest(&self, now: Now) -> u64 {
        self.grants.iter().map(|it| it.rest(&self.rule, now)).sum()
    }

    /// Tokens that may be used now.
    pub(super) fn usable(&self, now: Now) -> u64 {
        let usable = |it: &Grant| it.usable(&self.rule, now);
        self.grants.iter().map(usable).sum()
    }

    /// What has to be asked for so that `cost` is there: the least and the most.
    /// `None` where nothing has to, or nothing is there.
    pub(super) fn wants(&self, size: Size, cost: u64, now: Now) -> Option<(u64, u64)> {
        let rest = self.rest(now);
        let least = cost.checked_sub(rest).filter(|least| *least > 0)?;
        // What is further away was refused by a clock that was ahead.
        let holds = |until: i64| (1..=LONGEST_US).contains(&(until - now.0));
        let refused = |(tokens, until): (u64, i64)| least >= tokens && holds(until);
        if self.refused.is_some_and(refused) {
            return None;
        }
        let most = self.most(size, now).saturating_sub(rest);
        Some((least, most.max(least)))
    }

    /// The most to ask for, as the flow so far calls for it.
    fn most(&self, size: Size, now: Now) -> u64 {
        let Flow {
            window,
            granted,
            used,
            before,
        } = self.flow;
        match window {
            Some(end) if now.millis() >= end => size.for_window(used),
            Some(_) => {
                let most = if used <= before + before / 4 {
                    size.for_window(before)
                } else {
                    size.usual()
                };
                // Up to the share first: the rest is there for others.
                let share = size.share.saturating_sub(granted);
                if share > 0 { most.min(share) } else { most }
            }
            // The rest of the last one flowed out unused.
            None if used < granted => {
                let worth = size.worth + size.worth / 4;
                size.for_flow(worth.saturating_mul(granted) / used.max(1))
            }
            None => size.usual(),
        }
    }

    /// Keeps what an ask for at least so much came to.
    pub(super) fn keep(&mut self, leased: Leased, least: u64, now: Now) {
        let rule = self.rule;
        self.numbers = leased.before;
        by_algorithm!(rule, C => self.numbers.add::<C>(&rule, leased.granted), ());
        self.grants.retain(|grant| grant.rest(&rule, now) > 0);
        if leased.granted == 0 {
            let until = now.0 + self.retry_us(now, least).min(LONGEST_US);
            self.refused = Some((least, until));
            return;
        }
        let grant = Grant::new(&rule, leased.before, leased.granted);
        self.refused = match grant.window(&rule) {
            // It was all there was.
            Some(end) if left(&self.numbers, &rule, now) <= 0 => {
                Some((1, (end * 1000).min(now.0 + LONGEST_US)))
            }
            _ => None,
        };
        let flow = &mut self.flow;
        let window = grant.window(&rule);
        if window.is_none() || window != flow.window {
            *flow = Flow {
                window,
                before: flow.used,
                ..Flow::default()
            };
        }
        flow.granted += leased.granted;
        let joined = self
            .grants
            .last_mut()
            .is_some_and(|last| last.joins(&rule, &grant));
        if !joined {
            self.grants.push(grant);
        }
    }

    /// Uses tokens, of which there are as many.
    pub(super) fn take(&mut self, now: Now, mut tokens: u64) {
        self.flow.used += tokens;
        for grant in &mut self.grants {
            let part = grant.usable(&self.rule, now).min(tokens);
            if part > 0 {
                grant.take(&self.rule, now, part);
            }
            tokens -= part;
        }
    }

    /// Gives up what it holds and knows, and what is being asked for.
    pub(super) fn give_up(&mut self) -> Grants {
        self.generation = self.generation.wrapping_add(1);
        self.refused = None;
        std::mem::take(&mut self.grants)
    }

    fn room(&self, now: Now, cost: u64) -> Option<Room> {
        let mut numbers = self.numbers;
        by_algorithm!(
            self.rule,
            C => {
                C::roll(&mut numbers, &self.rule, now, false);
                Some(C::room(&numbers, &self.rule, now, cost as i64))
            },
            None
        )
    }

    /// Microseconds until the store has so many tokens, as of the last ask.
    fn retry_us(&self, now: Now, cost: u64) -> i64 {
        let blocked = self.numbers.blocked_until * 1000 - now.0;
        let retry = self.room(now, cost).and_then(|room| room.retry_us);
        retry.unwrap_or_default().max(blocked).max(0)
    }

    /// Microseconds until a request of this cost fits.
    fn wait_us(&self, now: Now, cost: u64) -> i64 {
        if self.rest(now) < cost {
            return self.retry_us(now, cost);
        }
        let (mut wait, mut need) = (0, cost);
        for grant in &self.grants {
            let part = grant.rest(&self.rule, now).min(need);
            if part > 0 {
                wait = wait.max(grant.ready_us(&self.rule, now, part));
            }
            need -= part;
        }
        wait
    }

    /// Its part of a decision, before anything is taken or after.
    pub(super) fn outcome(&self, now: Now, cost: u64, fits: bool) -> Outcome {
        let blocked = self.numbers.is_blocked(now);
        let room = self.room(now, cost.max(1)).filter(|_| !blocked);
        let wait = if fits { 0 } else { self.wait_us(now, cost) };
        let reset = self.room(now, 1).map_or(0, |room| room.reset_us);
        let micros = |micros: i64| Duration::from_micros(micros.max(0) as u64);
        Outcome {
            place: 0,
            rule: self.rule,
            fits,
            remaining: self.usable(now) + room.map_or(0, |room| room.remaining),
            retry_after: micros(wait),
            reset_after: micros(reset.max(wait)),
        }
    }
}
