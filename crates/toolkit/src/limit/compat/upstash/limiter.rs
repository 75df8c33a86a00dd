//! The limiter over the package's keys: keys, memory, and what becomes of errors.

use std::time::Duration;

use sangam_engine::{CommandError, Reply};
use sangam_store::{Error, Store};
use smallvec::{SmallVec, smallvec};

use super::bucket::{Bucket, Level};
use super::fixed::{self, Fixed};
use super::sliding::{Counts, Sliding};
use super::standing::{Standing, wrong};
use crate::limit::decision::{Decision, Outcome, Ruled};
use crate::limit::limiter::LimitError;
use crate::limit::local::has_failed;
use crate::limit::memory::{Memory, Refusal};
use crate::limit::rule::{Algorithm, Rule};
use crate::limit::terms::Policy;

/// What is refused of other algorithms, in the error's words.
const SHARING: &str = "a count shared with @upstash/ratelimit";
/// Longest key of which this process remembers something.
const REMEMBERED_MAX: usize = 256;

/// The answer to a check of a shared limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedDecision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Who decided.
    pub ruled: Ruled,
    /// The rule's limit; of a bucket, what it holds.
    pub limit: u64,
    /// Hits of cost 1 that fit now; 0 where the store was not asked.
    pub remaining: u64,
    /// What the package calls `reset`, in milliseconds since the epoch: the end of
    /// the window, or a bucket's next refill.
    pub reset_ms: u64,
    /// When to ask again; zero where it is allowed, `None` where nobody knows.
    pub retry_after: Option<Duration>,
    outcome: Option<Outcome>,
}

impl SharedDecision {
    /// The same in the form of other limits.
    pub fn decision(&self) -> Decision {
        Decision {
            allowed: self.allowed,
            ruled: self.ruled,
            outcomes: self.outcome.into_iter().collect(),
            retry_after: self.retry_after,
        }
    }
}

/// Checks requests against counts that npm `@upstash/ratelimit` 2.2 shares; see
/// [`compat`](crate::limit::compat).
#[derive(Debug)]
pub struct UpstashLimiter {
    store: Store,
    prefix: String,
    policy: Policy,
    memory: Memory,
}

/// What is asked.
struct Ask<'a> {
    rule: &'a Rule,
    cost: u64,
    now_ms: i64,
    /// One key, or those of this window and the one before.
    keys: SmallVec<[Vec<u8>; 2]>,
}

impl UpstashLimiter {
    /// A limiter over the counts whose keys begin with `prefix`: that of the package's
    /// limiters, which is `@upstash/ratelimit` where the app names none. It refuses
    /// when the store cannot be asked. On a cluster it is an error.
    pub fn new(store: Store, prefix: &str) -> Result<Self, LimitError> {
        if store.is_cluster() {
            return Err(LimitError::Cluster(SHARING));
        }
        Ok(UpstashLimiter {
            store,
            prefix: prefix.to_owned(),
            policy: Policy::Closed,
            memory: Memory::default(),
        })
    }

    /// The same with another answer where the store cannot be asked; `local` is
    /// `closed`.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Takes `cost` from the shared count of `id`, or nothing. The rule's algorithm is
    /// a fixed window, a sliding window or a token bucket, whose limit, window and burst
    /// are the package's `refillRate`, `interval` and `maxTokens`.
    pub async fn check(
        &self,
        rule: &Rule,
        id: &[u8],
        cost: u64,
    ) -> Result<SharedDecision, LimitError> {
        self.check_with(self.policy, rule, id, cost).await
    }

    /// [`check`](Self::check) with another policy than the limiter's own.
    pub async fn check_with(
        &self,
        policy: Policy,
        rule: &Rule,
        id: &[u8],
        cost: u64,
    ) -> Result<SharedDecision, LimitError> {
        let ask = self.ask(rule, id, cost)?;
        let now_us = ask.now_ms as u64 * 1000;
        let memory_key = ask.memory_key();
        if cost > 0
            && let Some(key) = &memory_key
            && let Some(left) = self.memory.refuses(key, rule, cost, now_us)
        {
            return Ok(ask.unasked(false, Ruled::Remembered, Some(left)));
        }
        let asked = self.memory.asks();
        let taken = if cost == 0 {
            self.look(&ask).await.map(|standing| {
                let fits = standing.retry <= ask.now_ms;
                (fits, standing)
            })
        } else {
            self.take(&ask, memory_key.as_deref()).await
        };
        let (fits, standing) = match taken {
            Ok(taken) => taken,
            Err(error) if has_failed(&error) => {
                let allowed = policy == Policy::Open;
                let ruled = if allowed { Ruled::Open } else { Ruled::Closed };
                return Ok(ask.unasked(allowed, ruled, allowed.then_some(Duration::ZERO)));
            }
            Err(error) => return Err(of_store(error)),
        };
        if !fits
            && standing.next > ask.now_ms
            && let Some(key) = &memory_key
        {
            let refusal = Refusal {
                rule: *rule,
                cost,
                fits: ask.until(standing.retry),
                next: ask.until(standing.next),
            };
            self.memory.remember(key, now_us, refusal, asked);
        }
        Ok(ask.decided(fits, &standing))
    }

    /// What a check of this cost would answer; takes nothing. A bucket's tokens are
    /// those of now, where the package's `getRemaining` answers with those of its last
    /// change.
    pub async fn peek(
        &self,
        rule: &Rule,
        id: &[u8],
        cost: u64,
    ) -> Result<SharedDecision, LimitError> {
        let ask = self.ask(rule, id, cost)?;
        let standing = self.look(&ask).await.map_err(of_store)?;
        Ok(ask.decided(standing.retry <= ask.now_ms, &standing))
    }

    /// Forgets what `id` has used of this rule; whether there was anything. Windows
    /// before and after this one go too: another host's clock may be there.
    pub async fn reset(&self, rule: &Rule, id: &[u8]) -> Result<bool, LimitError> {
        let ask = self.ask(rule, id, 0)?;
        let window = ask.now_ms.div_euclid(rule.window_ms() as i64);
        let keys: SmallVec<[Vec<u8>; 3]> = match rule.algorithm() {
            Algorithm::TokenBucket => smallvec![self.key(id, None)],
            _ => (window - 1..=window + 1)
                .map(|window| self.key(id, Some(window)))
                .collect(),
        };
        let keys: SmallVec<[&[u8]; 3]> = keys.iter().map(Vec::as_slice).collect();
        let removed = self.store.delete(&keys).await.map_err(of_store)?;
        if let Some(key) = ask.memory_key() {
            self.memory.forget(&key);
        }
        Ok(removed > 0)
    }

    fn ask<'a>(&self, rule: &'a Rule, id: &[u8], cost: u64) -> Result<Ask<'a>, LimitError> {
        let most = rule.burst();
        if cost > most {
            return Err(LimitError::Cost { cost, most });
        }
        let now_ms = (self.store.now() / 1000) as i64;
        let window = now_ms.div_euclid(rule.window_ms() as i64);
        let keys = match rule.algorithm() {
            Algorithm::FixedWindow => smallvec![self.key(id, Some(window))],
            Algorithm::SlidingWindow => {
                smallvec![self.key(id, Some(window)), self.key(id, Some(window - 1))]
            }
            Algorithm::TokenBucket => smallvec![self.key(id, None)],
            algorithm => {
                let what = SHARING;
                return Err(LimitError::Algorithm { what, algorithm });
            }
        };
        Ok(Ask {
            rule,
            cost,
            now_ms,
            keys,
        })
    }

    /// `<prefix>:<id>`, and for a window its number.
    fn key(&self, id: &[u8], window: Option<i64>) -> Vec<u8> {
        let mut key = [self.prefix.as_bytes(), b":", id].concat();
        if let Some(window) = window {
            key.extend_from_slice(format!(":{window}").as_bytes());
        }
        key
    }

    async fn take(
        &self,
        ask: &Ask<'_>,
        memory_key: Option<&[u8]>,
    ) -> Result<(bool, Standing), Error> {
        let &Ask {
            rule, cost, now_ms, ..
        } = ask;
        match (rule.algorithm(), ask.keys.as_slice()) {
            (Algorithm::SlidingWindow, [current, previous]) => {
                let hit = Sliding {
                    current,
                    previous,
                    rule: *rule,
                    cost,
                    now_ms,
                };
                let (fits, counts) = self.store.atomic(&hit).await?;
                Ok((fits, counts.standing(rule, now_ms, cost)))
            }
            (Algorithm::TokenBucket, [key]) => {
                let hit = Bucket {
                    key,
                    rule: *rule,
                    cost,
                    now_ms,
                };
                let (fits, level) = self.store.atomic(&hit).await?;
                Ok((fits, level.standing(rule, now_ms, cost)))
            }
            (_, [key, ..]) => {
                let now_us = now_ms as u64 * 1000;
                // Where this process has met the key in this window, it will not die
                // of age before the window does.
                let met = memory_key.is_some_and(|key| !self.memory.is_full(key, now_us));
                let hit = Fixed {
                    key,
                    rule: *rule,
                    cost,
                    mend: !met,
                };
                let (fits, used) = self.store.atomic(&hit).await?;
                let standing = fixed::standing(used, rule, now_ms, cost);
                if let Some(key) = memory_key
                    && !met
                {
                    let left = ask.until(standing.reset);
                    self.memory.fills(key, now_us, left);
                }
                Ok((fits, standing))
            }
            _ => Err(wrong()),
        }
    }

    /// Where an identifier stands, in one command that changes nothing.
    async fn look(&self, ask: &Ask<'_>) -> Result<Standing, Error> {
        let &Ask {
            rule, cost, now_ms, ..
        } = ask;
        match (rule.algorithm(), ask.keys.as_slice()) {
            (Algorithm::SlidingWindow, [current, previous]) => {
                let values = self.store.call(&[b"MGET", current, previous]).await?;
                let counts = Counts::of_values(values).map_err(unreadable)?;
                Ok(counts.standing(rule, now_ms, cost))
            }
            (Algorithm::TokenBucket, [key]) => {
                let argv: &[&[u8]] = &[b"HMGET", key, b"refilledAt", b"tokens"];
                let values = self.store.call(argv).await?;
                let level = Level::of_values(values, rule, now_ms).map_err(unreadable)?;
                Ok(level.refilled(rule, now_ms).standing(rule, now_ms, cost))
            }
            (_, [key, ..]) => {
                let value = self.store.get(key).await?;
                let used = fixed::count(value.as_deref()).map_err(unreadable)?;
                Ok(fixed::standing(used, rule, now_ms, cost))
            }
            _ => Err(wrong()),
        }
    }
}

impl Ask<'_> {
    /// Until a moment.
    fn until(&self, moment: i64) -> Duration {
        Duration::from_millis((moment - self.now_ms).max(0) as u64)
    }

    /// What this process remembers a key by: another rule on the same key, with another
    /// limit or algorithm, has a memory of its own. Nothing is remembered of long keys.
    fn memory_key(&self) -> Option<Vec<u8>> {
        let first = self.keys.first()?;
        if first.len() > REMEMBERED_MAX {
            return None;
        }
        let rule = self.rule;
        let mut key = first.clone();
        key.push(0);
        key.extend_from_slice(rule.algorithm().as_str().as_bytes());
        for number in [rule.limit(), rule.burst(), rule.window_ms()] {
            key.extend_from_slice(&number.to_be_bytes());
        }
        Some(key)
    }

    fn decided(&self, fits: bool, standing: &Standing) -> SharedDecision {
        let retry = self.until(standing.retry);
        SharedDecision {
            allowed: fits,
            ruled: Ruled::Store,
            limit: self.rule.burst(),
            remaining: standing.remaining,
            reset_ms: standing.reset.max(0) as u64,
            retry_after: Some(if fits { Duration::ZERO } else { retry }),
            outcome: Some(Outcome {
                place: 0,
                rule: *self.rule,
                fits,
                remaining: standing.remaining,
                retry_after: retry,
                reset_after: self.until(standing.full),
            }),
        }
    }

    /// A decision without the store, which `left` ends where somebody knows.
    fn unasked(&self, allowed: bool, ruled: Ruled, left: Option<Duration>) -> SharedDecision {
        let window = self.rule.window_ms() as i64;
        let reset = match (self.rule.algorithm(), left) {
            (Algorithm::TokenBucket, Some(left)) if !allowed => {
                self.now_ms + left.as_millis() as i64
            }
            (Algorithm::TokenBucket, _) => self.now_ms + window,
            _ => (self.now_ms.div_euclid(window) + 1) * window,
        };
        SharedDecision {
            allowed,
            ruled,
            limit: self.rule.burst(),
            remaining: 0,
            reset_ms: reset as u64,
            retry_after: left,
            outcome: left
                .filter(|_| ruled == Ruled::Remembered)
                .map(|left| Outcome {
                    place: 0,
                    rule: *self.rule,
                    fits: false,
                    remaining: 0,
                    retry_after: left,
                    reset_after: left,
                }),
        }
    }
}

/// A value that is not the package's, said as the store's scripts say it.
fn unreadable(error: CommandError) -> Error {
    match Reply::from(error) {
        Reply::Error(text) => Error::Command(text.into()),
        _ => wrong(),
    }
}

/// The error of a store; a gateway may stand in front of a cluster.
fn of_store(error: Error) -> LimitError {
    if error.code() == Some("CROSSSLOT") {
        return LimitError::Cluster(SHARING);
    }
    error.into()
}
