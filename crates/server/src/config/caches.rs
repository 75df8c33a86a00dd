//! `[caches]`: how caches behave, those of a name in a table of their own.
//!
//! ```toml
//! [caches]
//! others-max = 64
//! [caches.default]
//! ttl = "10m"
//! [caches.users]
//! memory = "64mb"
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sangam::cache::{CacheError, Coherence, Compression, Method, Policy, Settings, Shared};
use sangam_engine::config::parse_memory;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Reader};

/// Caches that the file does not name, of which each may fill its memory.
const OTHERS_MAX: usize = 256;
/// Memory of each of them.
const OTHERS_MEMORY: u64 = 4 << 20;
/// Longest time within which a word that was lost is noticed.
const HEARTBEAT_MAX: Duration = Duration::from_hours(1);

/// The settings of caches.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheSettings {
    /// Caches by their names.
    pub named: BTreeMap<String, Settings>,
    /// All others.
    pub others: Settings,
    /// How many others there may be at a time.
    pub others_max: usize,
    /// How instances hear of each other.
    pub coherence: Coherence,
    /// Within which time a word that was lost is noticed.
    pub heartbeat: Option<Duration>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            named: BTreeMap::new(),
            others: Settings {
                memory: OTHERS_MEMORY,
                ..Settings::default()
            },
            others_max: OTHERS_MAX,
            coherence: Coherence::Push,
            heartbeat: None,
        }
    }
}

/// The table as it is written.
#[derive(Debug, Default)]
pub(super) struct Entries {
    others_max: Option<usize>,
    coherence: Option<Told>,
    heartbeat: Option<Spanned<Time>>,
    default: Option<Spanned<Entry>>,
    named: BTreeMap<String, Spanned<Entry>>,
}

/// What the settings of one cache are, where they are said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    default,
    expecting = "a cache's table, such as [caches.users]; beside tables [caches] has `others-max`, \
                 `coherence` and `heartbeat`"
)]
struct Entry {
    ttl: Option<Time>,
    jitter: Option<f64>,
    memory: Option<Size>,
    memory_ttl: Option<Time>,
    negative_ttl: Option<Time>,
    stale: Option<Time>,
    fail_safe: Option<Time>,
    throttle: Option<Time>,
    eager: Option<f64>,
    soft_timeout: Option<Time>,
    hard_timeout: Option<Time>,
    store_soft_timeout: Option<Time>,
    store_timeout: Option<Time>,
    policy: Option<Away>,
    degraded_ttl: Option<Time>,
    compression: Option<Packed>,
    compress_from: Option<Size>,
    schema: Option<u32>,
    max_value: Option<Size>,
    shared_prefix: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Push,
    Poll,
    Off,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Away {
    Open,
    Closed,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Packed {
    Zstd,
    Gzip,
    None,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, [caches]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "others-max" => entries.others_max = Some(map.next_value()?),
                        "coherence" => entries.coherence = Some(map.next_value()?),
                        "heartbeat" => entries.heartbeat = Some(map.next_value()?),
                        "default" => entries.default = Some(map.next_value()?),
                        _ => {
                            entries.named.insert(name, map.next_value()?);
                        }
                    }
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Reading)
    }
}

/// A time such as `15m`, as limits have it.
#[derive(Debug, Clone, Copy)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).unwrap_or((&text, ""));
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        let number = number.parse::<u64>().ok().filter(|_| millis > 0);
        let millis = number.and_then(|number| number.checked_mul(millis));
        let what = "a time such as \"250ms\", \"10s\", \"15m\", \"1h\" or \"1d\" is expected";
        let millis = millis.ok_or_else(|| D::Error::custom(what))?;
        Ok(Time(Duration::from_millis(millis)))
    }
}

/// Bytes, as a number or with a unit.
#[derive(Debug, Clone, Copy)]
struct Size(usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        const WHAT: &str = "bytes are expected, or a unit as in \"100mb\" or \"32MiB\"";

        impl Visitor<'_> for Reading {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes, or a unit as in \"100mb\" or \"32MiB\"")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                let bytes = usize::try_from(bytes).map_err(|_| E::custom(WHAT))?;
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                let text = text.trim().to_ascii_lowercase();
                let short = text.strip_suffix("ib").map(|it| format!("{it}b"));
                let text = short.unwrap_or(text);
                let bytes = Some(text).filter(|it| it.starts_with(|c: char| c.is_ascii_digit()));
                let bytes = bytes.and_then(|it| parse_memory(&it));
                bytes.map(Size).ok_or_else(|| E::custom(WHAT))
            }
        }

        deserializer.deserialize_any(Reading)
    }
}

impl Entry {
    /// What it says, over what holds unless it does.
    fn over(&self, base: &Settings) -> Settings {
        let time = |it: Option<Time>, base: Duration| it.map_or(base, |Time(it)| it);
        let may_be = |it: Option<Time>, base: Option<Duration>| it.map(|Time(it)| it).or(base);
        Settings {
            ttl: time(self.ttl, base.ttl),
            jitter: self.jitter.unwrap_or(base.jitter),
            memory: self.memory.map_or(base.memory, |Size(it)| it as u64),
            memory_ttl: may_be(self.memory_ttl, base.memory_ttl),
            negative_ttl: time(self.negative_ttl, base.negative_ttl),
            stale: time(self.stale, base.stale),
            fail_safe: time(self.fail_safe, base.fail_safe),
            throttle: time(self.throttle, base.throttle),
            eager: self.eager.or(base.eager),
            soft_timeout: may_be(self.soft_timeout, base.soft_timeout),
            hard_timeout: time(self.hard_timeout, base.hard_timeout),
            store_soft_timeout: may_be(self.store_soft_timeout, base.store_soft_timeout),
            store_timeout: time(self.store_timeout, base.store_timeout),
            policy: self.policy.map_or(base.policy, |it| match it {
                Away::Open => Policy::Open,
                Away::Closed => Policy::Closed,
            }),
            degraded_ttl: time(self.degraded_ttl, base.degraded_ttl),
            compression: Compression {
                method: self
                    .compression
                    .map_or(base.compression.method, |it| match it {
                        Packed::Zstd => Some(Method::Zstd),
                        Packed::Gzip => Some(Method::Gzip),
                        Packed::None => None,
                    }),
                from: self.compress_from.map_or(base.compression.from, |it| it.0),
            },
            schema: self.schema.unwrap_or(base.schema),
            max_value: self.max_value.map_or(base.max_value, |it| it.0),
            shared: match &self.shared_prefix {
                Some(prefix) => Some(Shared {
                    prefix: prefix.clone(),
                }),
                None => base.shared.clone(),
            },
            ..base.clone()
        }
    }
}

pub(super) fn read(
    reader: &Reader<'_>,
    entries: &Entries,
    max_request_size: usize,
) -> Result<CacheSettings, ConfigError> {
    let usual = CacheSettings::default();
    let refused = |name: &str, entry: &Spanned<Entry>, (field, reason): Wrong| {
        let place = field.and_then(|field| place_of(reader.text, name, &field));
        ConfigError::Value {
            name: "caches",
            origin: reader.origin(place.unwrap_or(entry.span().start)),
            reason: format!("{name:?}: {reason}"),
        }
    };
    let checked = |name: &str, entry: &Spanned<Entry>, base: &Settings| {
        let settings = entry.get_ref().over(base);
        check(name, entry.get_ref(), &settings, max_request_size)
            .map_err(|wrong| refused(name, entry, wrong))?;
        Ok(settings)
    };
    let heartbeat = entries.heartbeat.as_ref().map(|heartbeat| {
        let Time(time) = *heartbeat.get_ref();
        if time.is_zero() || time > HEARTBEAT_MAX {
            return Err(ConfigError::Value {
                name: "caches",
                origin: reader.origin(heartbeat.span().start),
                reason: "`heartbeat` is more than 0 and at most an hour".to_owned(),
            });
        }
        Ok(time)
    });
    let (base, others) = match &entries.default {
        None => (Settings::default(), usual.others),
        Some(entry) => (
            checked("default", entry, &Settings::default())?,
            checked("default", entry, &usual.others)?,
        ),
    };
    let mut prefixes = BTreeMap::new();
    let named = entries.named.iter().map(|(name, entry)| {
        let settings = checked(name, entry, &base)?;
        if let Some(prefix) = &entry.get_ref().shared_prefix
            && let Some(other) = prefixes.insert(prefix, name)
        {
            let reason = format!(
                "`shared-prefix` is the one of {other:?} too: they would have each other's values"
            );
            return Err(refused(
                name,
                entry,
                (Some("shared-prefix".to_owned()), reason),
            ));
        }
        Ok((name.clone(), settings))
    });
    Ok(CacheSettings {
        named: named.collect::<Result<_, _>>()?,
        others,
        others_max: entries.others_max.unwrap_or(usual.others_max),
        coherence: entries.coherence.map_or(usual.coherence, |it| match it {
            Told::Push => Coherence::Push,
            Told::Poll => Coherence::Poll,
            Told::Off => Coherence::Off,
        }),
        heartbeat: heartbeat.transpose()?,
    })
}

/// The field that is wrong, if it is one, and why.
type Wrong = (Option<String>, String);

/// Whether a cache may have this name and be so.
fn check(
    name: &str,
    entry: &Entry,
    settings: &Settings,
    max_request_size: usize,
) -> Result<(), Wrong> {
    sangam::cache::check_name(name).map_err(|error| (None, error.to_string()))?;
    let wrong = |field: &str, reason: &str| Err((Some(field.to_owned()), reason.to_owned()));
    match &entry.shared_prefix {
        Some(_) if name == "default" => {
            let reason = "`shared-prefix` is for one cache: all would have each other's values";
            return wrong("shared-prefix", reason);
        }
        Some(prefix) if prefix.is_empty() => {
            let reason = "`shared-prefix` is what keys begin with, and not empty";
            return wrong("shared-prefix", reason);
        }
        _ => {}
    }
    if settings.max_value == 0 {
        return wrong("max-value", "`max-value` is more than 0");
    }
    if entry.max_value.is_some_and(|it| it.0 > max_request_size) {
        let reason = format!(
            "`max-value` is at most what a request may have, {max_request_size} bytes (setting \
             `max-request-size`)"
        );
        return wrong("max-value", &reason);
    }
    if let Err(error) = settings.check() {
        let reason = match error {
            CacheError::Setting(reason) => reason.replace('_', "-"),
            error => error.to_string(),
        };
        let field = reason.split('`').nth(1).map(str::to_owned);
        return Err((field, reason));
    }
    Ok(())
}

/// Where a field of a cache stands in the text.
fn place_of(text: &str, name: &str, field: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let DeValue::Table(caches) = document.get_ref().get("caches")?.get_ref() else {
        return None;
    };
    let DeValue::Table(cache) = caches.get(name)?.get_ref() else {
        return None;
    };
    Some(cache.get(field)?.span().start)
}
