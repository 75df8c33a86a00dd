//! The fields of an answer: `RateLimit-Policy` and `RateLimit` as
//! draft-ietf-httpapi-ratelimit-headers-11 has them, `Retry-After`, the elder
//! `X-RateLimit-*`, and who ruled where that was not the rules.
//!
//! Both are Lists of Structured Fields (RFC 9651), an item for each tier that refuses
//! (a shadow is not told), named `<class>.<tier>`:
//!
//! ```text
//! RateLimit-Policy: "auth.user";q=5;w=900;pk=:dXNlciAxIHNh:, "auth.address";q=20;w=900;pk=:…:
//! RateLimit: "auth.user";r=3;t=120;pk=:dXNlciAxIHNh:, "auth.address";r=18;t=120;pk=:…:
//! ```
//!
//! - `q`, `w`: the rule. A window is told in whole seconds, rounded up, so that the
//!   rate that a client infers is never above the rule's. What runs at one time has no
//!   window and the unit `concurrent-requests`; the unit `requests` is the default and
//!   left out. A bucket that holds another number than it gets in a window says so in
//!   `sangam-burst`.
//! - `r`, `t`: no more than `r` requests of cost 1 pass within `t` seconds: until a
//!   request of this cost fits, where it does not, else until all of the limit is there
//!   again. Rounded up.
//! - `pk`: the first 9 bytes of the SHA-256 of the item's name, a zero byte and the id
//!   that the tier counts (`u:<user>` or `a:<address>`), so that a client can tell whose
//!   count it is and an id cannot be read in it. What counts all together has none.
//!
//! `Retry-After` is in whole seconds, rounded up and at least 1: a retry after it
//! passes, if nobody else takes the room.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::limit::class::{By, Tier};
use crate::limit::decision::Outcome;
use crate::limit::guard::{Counted, Verdict};
use crate::limit::rule::Algorithm;

/// `RateLimit-Policy`.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// `Sangam-Ruled`: `local`, `open` or `closed` where the store could not be asked and
/// the class's policy decided.
pub const RULED: HeaderName = HeaderName::from_static("sangam-ruled");

const LEGACY_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const LEGACY_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const LEGACY_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The fields as people spell them.
const SPELLED: [&str; 7] = [
    "RateLimit-Policy",
    "RateLimit",
    "Retry-After",
    "Sangam-Ruled",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
];

/// The largest Integer of Structured Fields.
const INTEGER_MAX: u64 = 999_999_999_999_999;
/// Bytes of a partition key: 12 characters of base64 without padding.
const PARTITION_BYTES: usize = 9;

/// The fields that tell a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(SmallVec<[(HeaderName, HeaderValue); 4]>);

impl Fields {
    /// What an answer to the request says besides its own fields.
    pub fn of(verdict: &Verdict) -> Self {
        let mut fields = Fields::default();
        fields.push_text(RATELIMIT_POLICY, policies(verdict));
        fields.push_text(RATELIMIT, limits(verdict));
        if let Some(seconds) = retry_seconds(verdict) {
            fields.0.push((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if verdict.ruled.is_degraded() {
            let ruled = HeaderValue::from_static(verdict.ruled.as_str());
            fields.0.push((RULED, ruled));
        }
        fields
    }

    /// The same with `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the tier that
    /// has the least left; the last is the second since the epoch at which all of it
    /// is there again. `now` is the store's: microseconds since the epoch.
    #[must_use]
    pub fn with_legacy(mut self, verdict: &Verdict, now: u64) -> Self {
        let tightest = answers(verdict)
            .min_by_key(|(_, it)| (it.remaining, std::cmp::Reverse(it.reset_after)));
        if let Some((_, outcome)) = tightest {
            let now = Duration::from_micros(now);
            let reset = seconds_up(now.saturating_add(outcome.reset_after));
            let limit = outcome.rule.burst();
            self.0.push((LEGACY_LIMIT, HeaderValue::from(limit)));
            let remaining = HeaderValue::from(outcome.remaining);
            self.0.push((LEGACY_REMAINING, remaining));
            self.0.push((LEGACY_RESET, HeaderValue::from(reset)));
        }
        self
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Each of them as text, its name spelled as people do: `RateLimit-Policy`.
    pub fn spelled(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().filter_map(|(name, value)| {
            let spelled = SPELLED
                .iter()
                .find(|it| it.eq_ignore_ascii_case(name.as_str()))?;
            Some((*spelled, value.to_str().ok()?))
        })
    }

    /// Adds them to an answer's. Those of an inner limit stay: `RateLimit` and
    /// `RateLimit-Policy` are lists, and of others the inner one counts.
    pub fn add_to(self, headers: &mut HeaderMap) {
        for (name, value) in self.0 {
            if name == RATELIMIT || name == RATELIMIT_POLICY {
                headers.append(name, value);
            } else {
                headers.entry(name).or_insert(value);
            }
        }
    }

    fn push_text(&mut self, name: HeaderName, text: String) {
        if !text.is_empty()
            && let Ok(value) = HeaderValue::try_from(text)
        {
            self.0.push((name, value));
        }
    }
}

/// Whole seconds after which a refused request passes, where that is known.
pub(super) fn retry_seconds(verdict: &Verdict) -> Option<u64> {
    let wait = verdict.retry_after.filter(|_| !verdict.allowed)?;
    Some(seconds_up(wait).max(1))
}

/// What a tier is called in fields and problems.
pub(super) fn policy_name(verdict: &Verdict, tier: &Tier) -> String {
    format!("{}.{}", verdict.class.name, tier.name)
}

/// The tiers that may refuse, with whom they count.
fn counted(verdict: &Verdict) -> impl Iterator<Item = (&Tier, &Counted)> {
    let told = verdict.counted.iter().filter(|_| !verdict.class.shadow);
    told.filter_map(|it| Some((verdict.class.tiers.get(it.tier)?, it)))
        .filter(|(tier, _)| !tier.shadow)
}

/// The tiers that may refuse and answered.
pub(super) fn answers(verdict: &Verdict) -> impl Iterator<Item = (&Tier, &Outcome)> {
    let told = verdict.answers().filter(|_| !verdict.class.shadow);
    told.filter(|(tier, _)| !tier.shadow)
}

/// The value of `RateLimit-Policy`; empty for none.
fn policies(verdict: &Verdict) -> String {
    let mut text = String::new();
    for (tier, counted) in counted(verdict) {
        let rule = &counted.rule;
        let name = item(&mut text, verdict, tier);
        integer(&mut text, "q", rule.limit());
        if rule.algorithm() == Algorithm::Concurrency {
            text.push_str(";qu=\"concurrent-requests\"");
        } else {
            integer(&mut text, "w", seconds_up(rule.window()));
        }
        if rule.burst() != rule.limit() {
            integer(&mut text, "sangam-burst", rule.burst());
        }
        partition(&mut text, &name, tier, &counted.id);
    }
    text
}

/// The value of `RateLimit`; empty for none.
fn limits(verdict: &Verdict) -> String {
    let mut text = String::new();
    for judged in &verdict.tiers {
        let outcome = &judged.outcome;
        let Some((tier, counted)) = counted(verdict).find(|(_, it)| it.tier == judged.tier) else {
            continue;
        };
        let name = item(&mut text, verdict, tier);
        integer(&mut text, "r", outcome.remaining);
        if outcome.rule.algorithm() != Algorithm::Concurrency {
            let window = if outcome.fits {
                outcome.reset_after
            } else {
                outcome.retry_after
            };
            integer(&mut text, "t", seconds_up(window));
        }
        partition(&mut text, &name, tier, &counted.id);
    }
    text
}

/// Begins an item of a list with a tier's name as a String; returns the name.
fn item(text: &mut String, verdict: &Verdict, tier: &Tier) -> String {
    if !text.is_empty() {
        text.push_str(", ");
    }
    let name = policy_name(verdict, tier);
    text.push('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            _ => text.push('?'),
        }
    }
    text.push('"');
    name
}

fn integer(text: &mut String, key: &str, value: u64) {
    let _ = write!(text, ";{key}={}", value.min(INTEGER_MAX));
}

fn partition(text: &mut String, name: &str, tier: &Tier, id: &str) {
    if tier.by == By::All {
        return;
    }
    let hash = Sha256::new_with_prefix(name)
        .chain_update([0])
        .chain_update(id)
        .finalize();
    text.push_str(";pk=:");
    let part = hash.get(..PARTITION_BYTES).unwrap_or_default();
    base64_simd::STANDARD.encode_append(part, text);
    text.push(':');
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}
