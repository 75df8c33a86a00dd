//! A bucket that gets all of an interval's tokens at its end.
//!
//! The package takes rates that are no whole numbers, so tokens are doubles, written
//! with 17 digits as Lua's numbers are.

use sangam_engine::command::{Ttl, Tx};
use sangam_engine::value::float::format_g17;
use sangam_engine::{CommandError, Reply};
use sangam_store::op::{Args, AtomicOp, INTEGER_MAX, Keys};
use sangam_store::{Error, Script};
use smallvec::smallvec;

use super::standing::{Standing, parts, wrong};
use crate::limit::rule::Rule;

static CHECK: Script = Script::new("limit-upstash-bucket", include_str!("bucket.lua"));

/// A hit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket<'a> {
    pub(super) key: &'a [u8],
    pub(super) rule: Rule,
    /// From 1 to the burst.
    pub(super) cost: u64,
    pub(super) now_ms: i64,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    /// When it was refilled last, in milliseconds since the epoch.
    refilled: f64,
    tokens: f64,
}

impl Level {
    /// Reads the fields; without the first it is full, and as of now.
    pub(super) fn of_fields(
        refilled: Option<&[u8]>,
        tokens: Option<&[u8]>,
        rule: &Rule,
        now_ms: i64,
    ) -> Result<Self, CommandError> {
        let Some(refilled) = refilled else {
            return Ok(Level {
                refilled: now_ms as f64,
                tokens: rule.burst() as f64,
            });
        };
        let bad = CommandError::text("ERR hash value is not a float");
        match (number(refilled), tokens.and_then(number)) {
            (Some(refilled), Some(tokens)) => Ok(Level { refilled, tokens }),
            _ => Err(bad),
        }
    }

    /// Reads an answer of `HMGET` for both fields.
    pub(super) fn of_values(reply: Reply, rule: &Rule, now_ms: i64) -> Result<Self, CommandError> {
        let bad = CommandError::text("ERR hash value is not a float");
        let text = |value: &Reply| match value {
            Reply::Bulk(text) => Some(text.clone()),
            _ => None,
        };
        match reply.unpacked() {
            Reply::Array(values) => match values.as_slice() {
                [refilled, tokens] => {
                    let (refilled, tokens) = (text(refilled), text(tokens));
                    Level::of_fields(refilled.as_deref(), tokens.as_deref(), rule, now_ms)
                }
                _ => Err(bad),
            },
            _ => Err(bad),
        }
    }

    /// The same with the refills until now.
    pub(super) fn refilled(mut self, rule: &Rule, now_ms: i64) -> Self {
        let (now, interval) = (now_ms as f64, rule.window_ms() as f64);
        if now >= self.refilled + interval {
            let refills = ((now - self.refilled) / interval).floor();
            let tokens = self.tokens + refills * rule.limit() as f64;
            self.tokens = tokens.min(rule.burst() as f64);
            self.refilled += refills * interval;
        }
        self
    }

    /// Where an identifier stands; the level is refilled.
    pub(super) fn standing(&self, rule: &Rule, now_ms: i64, cost: u64) -> Standing {
        let after = |refills: f64| {
            let moment = self.refilled + refills * rule.window_ms() as f64;
            moment.ceil() as i64
        };
        let holds_at = |tokens: f64| {
            let missing = tokens - self.tokens;
            if missing <= 0.0 {
                return now_ms;
            }
            after((missing / rule.limit() as f64).ceil())
        };
        Standing {
            remaining: self.tokens.max(0.0) as u64,
            reset: after(1.0),
            retry: holds_at(cost as f64),
            next: holds_at(1.0),
            full: holds_at(rule.burst() as f64),
        }
    }

    /// Milliseconds until it is full, at least an interval.
    fn ttl_ms(&self, rule: &Rule, now_ms: i64) -> u64 {
        let missing = rule.burst() as f64 - self.tokens;
        let turns = (missing / rule.limit() as f64).ceil().max(1.0);
        let ahead = (self.refilled - now_ms as f64).max(0.0);
        (turns * rule.window_ms() as f64 + ahead).ceil() as u64
    }
}

/// A decimal as Lua writes numbers, within what it holds exactly.
fn number(text: &[u8]) -> Option<f64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = |byte: &u8| byte.is_ascii_digit() || b".e+-".contains(byte);
    if !digits.first()?.is_ascii_digit() || !digits.iter().all(plain) {
        return None;
    }
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.abs() <= INTEGER_MAX as f64).then_some(number)
}

fn spelled(number: f64) -> Vec<u8> {
    let mut text = Vec::with_capacity(24);
    format_g17(number, &mut text);
    text
}

impl AtomicOp for Bucket<'_> {
    /// Whether it fits, and what is left.
    type Output = (bool, Level);

    fn script(&self) -> &'static Script {
        &CHECK
    }

    fn keys(&self) -> Keys<'_> {
        smallvec![self.key]
    }

    fn args(&self) -> Args {
        smallvec![
            self.rule.burst().to_string().into_bytes(),
            self.rule.window_ms().to_string().into_bytes(),
            self.rule.limit().to_string().into_bytes(),
            self.now_ms.to_string().into_bytes(),
            self.cost.to_string().into_bytes(),
        ]
    }

    fn read(&self, reply: Reply) -> Result<(bool, Level), Error> {
        let (fits, refilled, tokens) = parts(reply)?;
        let read = |reply: &Reply| match reply {
            Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse::<f64>().ok(),
            _ => None,
        };
        let refilled = read(&refilled).ok_or_else(wrong)?;
        let tokens = read(&tokens).ok_or_else(wrong)?;
        Ok((fits, Level { refilled, tokens }))
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<(bool, Level), CommandError> {
        let refilled = tx.hash_get(self.key, b"refilledAt")?.map(<[u8]>::to_vec);
        let tokens = tx.hash_get(self.key, b"tokens")?;
        let level = Level::of_fields(refilled.as_deref(), tokens, &self.rule, self.now_ms)?;
        let mut level = level.refilled(&self.rule, self.now_ms);
        let cost = self.cost as f64;
        let fits = level.tokens >= cost;
        if fits {
            level.tokens -= cost;
            tx.hash_put(self.key, b"refilledAt", &spelled(level.refilled))?;
            tx.hash_put(self.key, b"tokens", &spelled(level.tokens))?;
            let ttl = level.ttl_ms(&self.rule, self.now_ms);
            tx.set_ttl(self.key, Ttl::Millis(ttl))?;
        }
        Ok((fits, level))
    }
}
