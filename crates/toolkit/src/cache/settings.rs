//! What a cache may do: how long values live, what happens while they are loaded,
//! and when the source or the store fails.

use std::time::Duration;

use super::error::CacheError;

/// Times to live that have a name.
pub mod ttl {
    use std::time::Duration;

    /// 5 minutes.
    pub const SHORT: Duration = Duration::from_mins(5);
    /// 30 minutes.
    pub const MEDIUM: Duration = Duration::from_mins(30);
    /// An hour.
    pub const LONG: Duration = Duration::from_hours(1);
    /// 24 hours.
    pub const DAY: Duration = Duration::from_hours(24);
    /// 7 days.
    pub const WEEK: Duration = Duration::from_hours(7 * 24);
    /// The longest there is, 366 days.
    pub const LONGEST: Duration = Duration::from_hours(366 * 24);
}

/// Prefixes of keys that apps share, for [`Shared`](super::Shared).
pub mod prefix {
    /// Users.
    pub const USER: &str = "user:";
    /// Sessions.
    pub const SESSION: &str = "session:";
    /// Tokens.
    pub const TOKEN: &str = "token:";
    /// Creators' profiles and lists.
    pub const CREATOR: &str = "creator:";
    /// Live streams.
    pub const STREAM: &str = "stream:";
    /// Rate limits.
    pub const RATE: &str = "rate:";
    /// Verification of e-mail addresses.
    pub const EMAIL: &str = "email:";
    /// One-time codes.
    pub const OTP: &str = "otp:";
    /// What may go at any time.
    pub const TEMP: &str = "temp:";
}

/// How a cache of one name behaves. Values as they are by default stand beside each.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long a value is fresh: 5 minutes. At most [`ttl::LONGEST`].
    pub ttl: Duration,
    /// The share of it that chance may take off, so that values that were made
    /// together do not end together: 0.1. From 0 to 1.
    pub jitter: f64,
    /// How long a value may be served out of this process' memory before the store is
    /// asked again: as long as it is fresh.
    pub memory_ttl: Option<Duration>,
    /// How many bytes of values this process may hold: 32 MiB. With 0 it holds none.
    pub memory: u64,
    /// How long it is remembered that there is nothing: 30 s. With 0 it is not.
    pub negative_ttl: Duration,
    /// How long after its end a value is still served at once while it is loaded anew
    /// in the background (stale-while-revalidate): not at all.
    pub stale: Duration,
    /// How long after its end a value is still served where loading fails: not at all.
    pub fail_safe: Duration,
    /// How long a load that failed is not tried again where a stale value is served
    /// instead: 30 s. It is memory that knows: without any, each call tries.
    pub throttle: Duration,
    /// The share of a value's time after which a read starts loading it anew in the
    /// background: never. From 0 to 1, such as 0.9.
    pub eager: Option<f64>,
    /// How long a load may take before a stale value is served instead, where there is
    /// one; it goes on in the background: as long as it may.
    pub soft_timeout: Option<Duration>,
    /// How long a load may take: 30 s. At most an hour.
    pub hard_timeout: Duration,
    /// How long the store may take before a stale value in memory is served instead:
    /// as long as it may.
    pub store_soft_timeout: Option<Duration>,
    /// How long the store may take before it counts as away: 2 s.
    pub store_timeout: Duration,
    /// Whether instances agree on who loads, so that a value is loaded once for all of
    /// them: no. See [the module](super) for what it costs. Batches are loaded by each
    /// instance for itself.
    pub across: bool,
    /// How long after an instance died in a load another one takes over: 5 s. The one
    /// that loads extends its claim while it does.
    pub lease: Duration,
    /// What happens while the store is away.
    pub policy: Policy,
    /// How long a value may be served out of memory that could not be compared with
    /// the store: 30 s.
    pub degraded_ttl: Duration,
    /// How values are made smaller.
    pub compression: Compression,
    /// How values are written.
    pub encoding: Encoding,
    /// The form of the app's own type: values of another one are loaded anew. 0.
    pub schema: u32,
    /// The largest value, in bytes as it is written, before compression: 32 MiB.
    pub max_value: usize,
    /// Keys and values in the form of other apps, which share them.
    pub shared: Option<Shared>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ttl: ttl::SHORT,
            jitter: 0.1,
            memory_ttl: None,
            memory: 32 << 20,
            negative_ttl: Duration::from_secs(30),
            stale: Duration::ZERO,
            fail_safe: Duration::ZERO,
            throttle: Duration::from_secs(30),
            eager: None,
            soft_timeout: None,
            hard_timeout: Duration::from_secs(30),
            store_soft_timeout: None,
            store_timeout: Duration::from_secs(2),
            across: false,
            lease: Duration::from_secs(5),
            policy: Policy::Open,
            degraded_ttl: Duration::from_secs(30),
            compression: Compression::default(),
            encoding: Encoding::Json,
            schema: 0,
            max_value: 32 << 20,
            shared: None,
        }
    }
}

impl Settings {
    /// Whether a cache may be so; the error names the setting that may not.
    pub fn check(&self) -> Result<(), CacheError> {
        let wrong = |text: &str| Err(CacheError::Setting(text.to_owned()));
        if self.ttl.is_zero() || self.ttl > ttl::LONGEST {
            return wrong("`ttl` is more than 0 and at most 366 days");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return wrong("`jitter` is from 0 to 1");
        }
        if self.eager.is_some_and(|it| !(0.0..=1.0).contains(&it)) {
            return wrong("`eager` is from 0 to 1");
        }
        if self.negative_ttl > ttl::LONGEST {
            return wrong("`negative_ttl` is at most 366 days");
        }
        if self.stale.max(self.fail_safe) > ttl::LONGEST {
            return wrong("`stale` and `fail_safe` are at most 366 days");
        }
        let hour = Duration::from_hours(1);
        if self.hard_timeout.is_zero() || self.hard_timeout > hour {
            return wrong("`hard_timeout` is more than 0 and at most an hour");
        }
        if self.store_timeout.is_zero() || self.store_timeout > hour {
            return wrong("`store_timeout` is more than 0 and at most an hour");
        }
        let shortest = Duration::from_millis(100);
        if self.lease < shortest || self.lease > hour {
            return wrong("`lease` is from 100 ms to an hour");
        }
        if self.max_value > 512 << 20 {
            return wrong("`max_value` is at most 512 MiB, as a store's values are");
        }
        if self.shared.is_some() && self.encoding != Encoding::Json {
            return wrong("`encoding` of a shared cache is JSON");
        }
        if self.shared.as_ref().is_some_and(|it| it.prefix.is_empty()) {
            return wrong("`prefix` of a shared cache is not empty: all keys would be its own");
        }
        Ok(())
    }

    /// How much longer than it is fresh a value is kept.
    pub(super) fn grace(&self) -> Duration {
        self.stale.max(self.fail_safe)
    }

    /// The longest that a load may take from reading the store to having a value.
    pub(super) fn longest_loading(&self) -> Duration {
        2 * self.hard_timeout + self.store_timeout + Duration::from_secs(5)
    }

    /// The same to having it written: after it is loaded its tags are kept, the bus is
    /// asked, and it is put in its place.
    pub(super) fn longest_load(&self) -> Duration {
        self.longest_loading() + 3 * self.store_timeout
    }
}

/// What happens while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The cache goes on with what it has in memory and with what it loads; what it is
    /// told is sent when the store is back. Answers say that they are degraded.
    #[default]
    Open,
    /// Calls fail.
    Closed,
}

/// How values are made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// How; nothing is compressed where none is named.
    pub method: Option<Method>,
    /// From how many bytes on: 1,024. A value that compression would not make smaller
    /// by a tenth is left as it is.
    pub from: usize,
}

impl Default for Compression {
    fn default() -> Self {
        Compression {
            method: Some(Method::Zstd),
            from: 1024,
        }
    }
}

/// A way to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Zstandard, level 1.
    Zstd,
    /// gzip, which other apps read.
    Gzip,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, which the HTTP API reads too.
    Json,
    /// MessagePack with names of fields, for types that JSON cannot hold, such as maps
    /// whose keys are no strings.
    MessagePack,
}

/// Keys and values as other apps have them: the key is `prefix` and the caller's key,
/// the value plain JSON, or gzip of it in base64 (`H4sI…`). Nothing about a value is
/// known but its time to live, and nothing tells when another app changes it: so a
/// process holds it for 10 s at most, or [`Settings::memory_ttl`] if that is less. A
/// tag is the key of a set of keys, which is read when the tag is invalidated: those of
/// them that begin with the prefix are deleted, others stay.
///
/// There are no marks of deletions: what a load writes while another process deletes its
/// key, or invalidates its tag, is removed once this one has heard of it, within a round
/// trip, and may be read elsewhere until then. Of other apps' deletions nobody hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// What the keys begin with, such as [`prefix::CREATOR`].
    pub prefix: String,
}
