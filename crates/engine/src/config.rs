//! What CONFIG GET and SET know.
//!
//! One table, [`PARAMETERS`], names each setting with its reader and writer;
//! nothing is listed that has no effect, but `list-compress-depth`. Each keyspace holds an `Arc` of the
//! settings and renews it when the version moves, so reading one is free.

use std::ops::RangeInclusive;

use crate::error::CommandError;
use crate::journal::Fsync;
use crate::notify::Events;
use crate::value::{HashLimits, ListLimits, SetLimits, StreamLimits, ZSetLimits};

/// Settings that may change while the engine runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes a keyspace may use; 0 is no limit.
    pub maxmemory: usize,
    /// What happens at the limit.
    pub policy: EvictionPolicy,
    /// Keys drawn to find one to evict.
    pub maxmemory_samples: usize,
    /// How much less each further use of a key counts, under an LFU policy.
    pub lfu_log_factor: u32,
    /// Minutes after which a key counts one use less; 0 for never.
    pub lfu_decay_time: u32,
    /// When a hash leaves its compact encoding.
    pub hash: HashLimits,
    /// How large a node of a list may be.
    pub list: ListLimits,
    /// Nodes at each end of a list that are not compressed; none is, so this has
    /// no effect.
    pub list_compress_depth: u32,
    /// When a set of integers leaves its compact encoding.
    pub set: SetLimits,
    /// When a sorted set leaves its compact encoding.
    pub zset: ZSetLimits,
    /// Bytes up to which a HyperLogLog keeps its sparse encoding.
    pub hll_sparse_max_bytes: usize,
    /// When a block of a stream is full.
    pub stream: StreamLimits,
    /// Commands slower than this many microseconds are logged; -1 for none.
    pub slowlog_log_slower_than: i64,
    /// Entries that the slow log keeps.
    pub slowlog_max_len: usize,
    /// Entries that the log of refusals keeps.
    pub acllog_max_len: usize,
    /// Milliseconds after which others get BUSY while a script runs.
    pub busy_reply_threshold: u64,
    /// Bytes that one keyspace's scripts may hold.
    pub script_memory: usize,
    /// Bytes of one string.
    pub proto_max_bulk_len: usize,
    /// RESP connections that may be open.
    pub maxclients: usize,
    /// Seconds of silence after which a RESP connection is closed; 0 for never.
    /// One that subscribes, or waits for a reply, is let be.
    pub timeout: u64,
    /// The port of RESP, 0 for none; not to be chosen here.
    pub port: u16,
    /// Whether DEBUG answers; not to be chosen here.
    pub debug_command: bool,
    /// Whether there is a journal; not to be chosen here.
    pub appendonly: bool,
    /// When the journal is synced.
    pub fsync: Fsync,
    /// Growth of the log, in per cent of the last snapshot, after which the next
    /// is made; 0 for only when asked.
    pub rewrite_percentage: u64,
    /// Bytes of the log below which no snapshot is made unasked.
    pub rewrite_min_size: u64,
    /// Which events of keys are published.
    pub notify: Events,
    /// Keys of a keyspace that clients may have cached, told of when they change;
    /// 0 is no limit.
    pub tracking_table_max_keys: usize,
}

/// What happens when `maxmemory` is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionPolicy {
    /// The least recently used keys with a deadline go.
    VolatileLru,
    /// The least often used keys with a deadline go.
    VolatileLfu,
    /// Any keys with a deadline go.
    VolatileRandom,
    /// The keys that expire first go.
    VolatileTtl,
    /// The least recently used keys go.
    AllKeysLru,
    /// The least often used keys go.
    AllKeysLfu,
    /// Any keys go.
    AllKeysRandom,
    /// Writes that need memory are refused.
    NoEviction,
}

/// Which keys go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionOrder {
    /// The longest unused.
    Recency,
    /// The least used.
    Frequency,
    /// Any.
    Random,
    /// Those that expire soonest.
    Deadline,
}

impl EvictionPolicy {
    /// All of them with their names, in the order in which CONFIG lists these.
    pub const NAMES: [(EvictionPolicy, &'static str); 8] = [
        (EvictionPolicy::VolatileLru, "volatile-lru"),
        (EvictionPolicy::VolatileLfu, "volatile-lfu"),
        (EvictionPolicy::VolatileRandom, "volatile-random"),
        (EvictionPolicy::VolatileTtl, "volatile-ttl"),
        (EvictionPolicy::AllKeysLru, "allkeys-lru"),
        (EvictionPolicy::AllKeysLfu, "allkeys-lfu"),
        (EvictionPolicy::AllKeysRandom, "allkeys-random"),
        (EvictionPolicy::NoEviction, "noeviction"),
    ];

    /// Which keys go first, and whether only those with a deadline do; `None`
    /// where none go.
    pub const fn choice(self) -> Option<(EvictionOrder, bool)> {
        Some(match self {
            EvictionPolicy::VolatileLru => (EvictionOrder::Recency, true),
            EvictionPolicy::VolatileLfu => (EvictionOrder::Frequency, true),
            EvictionPolicy::VolatileRandom => (EvictionOrder::Random, true),
            EvictionPolicy::VolatileTtl => (EvictionOrder::Deadline, true),
            EvictionPolicy::AllKeysLru => (EvictionOrder::Recency, false),
            EvictionPolicy::AllKeysLfu => (EvictionOrder::Frequency, false),
            EvictionPolicy::AllKeysRandom => (EvictionOrder::Random, false),
            EvictionPolicy::NoEviction => return None,
        })
    }

    /// Whether records count how often they are used, instead of when.
    #[inline]
    pub const fn counts_uses(self) -> bool {
        matches!(
            self,
            EvictionPolicy::VolatileLfu | EvictionPolicy::AllKeysLfu
        )
    }

    /// Whether each value needs an age of its own, so that none is shared.
    pub const fn needs_ages(self) -> bool {
        matches!(
            self.choice(),
            Some((EvictionOrder::Recency | EvictionOrder::Frequency, _))
        )
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let named = EvictionPolicy::NAMES
            .iter()
            .find(|(policy, _)| *policy == self);
        named.map_or("", |(_, name)| name)
    }

    /// The policy of this name, in any case.
    pub fn of(name: &str) -> Option<Self> {
        let mut names = EvictionPolicy::NAMES.iter();
        names
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(policy, _)| *policy)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            maxmemory: 0,
            policy: EvictionPolicy::NoEviction,
            maxmemory_samples: 5,
            lfu_log_factor: 10,
            lfu_decay_time: 1,
            hash: HashLimits::default(),
            list: ListLimits::default(),
            list_compress_depth: 0,
            set: SetLimits::default(),
            zset: ZSetLimits::default(),
            hll_sparse_max_bytes: 3000,
            stream: StreamLimits::default(),
            slowlog_log_slower_than: 10_000,
            slowlog_max_len: 128,
            acllog_max_len: 128,
            busy_reply_threshold: 5_000,
            script_memory: 256 * 1024 * 1024,
            proto_max_bulk_len: 512 * 1024 * 1024,
            maxclients: 10_000,
            timeout: 0,
            port: 0,
            debug_command: false,
            appendonly: false,
            fsync: Fsync::default(),
            rewrite_percentage: 100,
            rewrite_min_size: 64 << 20,
            notify: Events::default(),
            tracking_table_max_keys: 1_000_000,
        }
    }
}

/// One setting as CONFIG sees it.
pub struct Parameter {
    /// Its name, lower-case.
    pub name: &'static str,
    /// Whether Upstash has it.
    pub upstash: bool,
    /// Its value as text.
    pub get: fn(&Settings) -> String,
    /// Sets it; the error says what it takes.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

/// Whether Upstash has a parameter of this name, in any case.
pub fn is_upstash(name: &[u8]) -> bool {
    let is = |it: &Parameter| it.name.as_bytes().eq_ignore_ascii_case(name);
    PARAMETERS
        .iter()
        .any(|parameter| parameter.upstash && is(parameter))
}

macro_rules! number {
    ($name:literal, $($field:ident).+, $type:ty, $range:expr) => {
        Parameter {
            name: $name,
            upstash: false,
            get: |settings| settings.$($field).+.to_string(),
            set: |settings, text| {
                let number = text
                    .parse::<i64>()
                    .map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
                settings.$($field).+ = within(number, &$range)? as $type;
                Ok(())
            },
        }
    };
}

macro_rules! memory {
    ($name:literal, $($field:ident).+, $range:expr) => {
        Parameter {
            name: $name,
            upstash: false,
            get: |settings| settings.$($field).+.to_string(),
            set: |settings, text| {
                settings.$($field).+ = memory_within(text, &$range)? as _;
                Ok(())
            },
        }
    };
}

macro_rules! fixed {
    ($name:literal, $value:literal) => {
        Parameter {
            name: $name,
            upstash: false,
            get: |_| $value.to_owned(),
            set: |_, _| Err("can't set immutable config".to_owned()),
        }
    };
}

const ANY: RangeInclusive<i64> = 0..=i64::MAX;

fn within(number: i64, range: &RangeInclusive<i64>) -> Result<i64, String> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(beyond(range))
}

fn beyond(range: &RangeInclusive<i64>) -> String {
    format!(
        "argument must be between {} and {} inclusive",
        range.start(),
        range.end()
    )
}

fn memory_within(text: &str, range: &RangeInclusive<i64>) -> Result<i64, String> {
    // Nothing at all is 0, as in Redis.
    let bytes = parse_memory(if text.is_empty() { "0" } else { text });
    match bytes.and_then(|bytes| i64::try_from(bytes).ok()) {
        Some(bytes) => within(bytes, range),
        // A number with a unit that is too large, or no such thing.
        None if parse_memory(text.trim_start_matches(|c: char| c.is_ascii_digit())).is_some() => {
            Err(beyond(range))
        }
        None => Err("argument must be a memory value".to_owned()),
    }
}

/// Every setting, in the order of their names.
pub const PARAMETERS: &[Parameter] = &[
    number!("acllog-max-len", acllog_max_len, usize, ANY),
    Parameter {
        name: "appendfsync",
        upstash: false,
        get: |settings| settings.fsync.name().to_owned(),
        set: |settings, text| {
            settings.fsync = Fsync::of(text).ok_or(
                "argument(s) must be one of the following: everysec, always, no".to_owned(),
            )?;
            Ok(())
        },
    },
    Parameter {
        name: "appendonly",
        upstash: false,
        get: |settings| if settings.appendonly { "yes" } else { "no" }.to_owned(),
        set: |_, _| Err("can't set immutable config".to_owned()),
    },
    memory!("auto-aof-rewrite-min-size", rewrite_min_size, ANY),
    number!(
        "auto-aof-rewrite-percentage",
        rewrite_percentage,
        u64,
        0..=i64::from(i32::MAX)
    ),
    number!("busy-reply-threshold", busy_reply_threshold, u64, ANY),
    fixed!("databases", "1"),
    Parameter {
        name: "enable-debug-command",
        upstash: false,
        get: |settings| if settings.debug_command { "yes" } else { "no" }.to_owned(),
        set: |_, _| Err("can't set immutable config".to_owned()),
    },
    number!("hash-max-listpack-entries", hash.max_entries, usize, ANY),
    memory!("hash-max-listpack-value", hash.max_value, ANY),
    number!("hash-max-ziplist-entries", hash.max_entries, usize, ANY),
    memory!("hash-max-ziplist-value", hash.max_value, ANY),
    memory!("hll-sparse-max-bytes", hll_sparse_max_bytes, ANY),
    number!(
        "lfu-decay-time",
        lfu_decay_time,
        u32,
        0..=i64::from(i32::MAX)
    ),
    number!(
        "lfu-log-factor",
        lfu_log_factor,
        u32,
        0..=i64::from(i32::MAX)
    ),
    number!(
        "list-compress-depth",
        list_compress_depth,
        u32,
        0..=i64::from(i32::MAX)
    ),
    number!(
        "list-max-listpack-size",
        list.node_size,
        i32,
        i64::from(i32::MIN)..=i64::from(i32::MAX)
    ),
    number!(
        "list-max-ziplist-size",
        list.node_size,
        i32,
        i64::from(i32::MIN)..=i64::from(i32::MAX)
    ),
    number!("lua-time-limit", busy_reply_threshold, u64, ANY),
    number!("maxclients", maxclients, usize, 1..=i64::from(u32::MAX)),
    memory!("maxmemory", maxmemory, ANY),
    Parameter {
        name: "maxmemory-policy",
        upstash: false,
        get: |settings| settings.policy.name().to_owned(),
        set: |settings, text| {
            settings.policy = EvictionPolicy::of(text).ok_or_else(|| {
                let names = EvictionPolicy::NAMES.map(|(_, name)| name);
                format!(
                    "argument(s) must be one of the following: {}",
                    names.join(", ")
                )
            })?;
            Ok(())
        },
    },
    number!(
        "maxmemory-samples",
        maxmemory_samples,
        usize,
        1..=i64::from(i32::MAX)
    ),
    Parameter {
        name: "notify-keyspace-events",
        upstash: true,
        get: |settings| settings.notify.text(),
        set: |settings, text| {
            settings.notify = Events::parse(text)
                .ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            Ok(())
        },
    },
    Parameter {
        name: "port",
        upstash: false,
        get: |settings| settings.port.to_string(),
        set: |_, _| Err("can't set immutable config".to_owned()),
    },
    memory!("proto-max-bulk-len", proto_max_bulk_len, 1 << 20..=i64::MAX),
    fixed!("save", ""),
    memory!("script-max-memory", script_memory, ANY),
    number!("set-max-intset-entries", set.max_intset_entries, usize, ANY),
    number!(
        "slowlog-log-slower-than",
        slowlog_log_slower_than,
        i64,
        -1..=i64::MAX
    ),
    number!("slowlog-max-len", slowlog_max_len, usize, ANY),
    memory!("stream-node-max-bytes", stream.max_bytes, ANY),
    number!("stream-node-max-entries", stream.max_entries, usize, ANY),
    number!("timeout", timeout, u64, 0..=i64::from(i32::MAX)),
    number!(
        "tracking-table-max-keys",
        tracking_table_max_keys,
        usize,
        ANY
    ),
    number!("zset-max-listpack-entries", zset.max_entries, usize, ANY),
    memory!("zset-max-listpack-value", zset.max_value, ANY),
    number!("zset-max-ziplist-entries", zset.max_entries, usize, ANY),
    memory!("zset-max-ziplist-value", zset.max_value, ANY),
];

impl Settings {
    /// Sets one parameter by name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), CommandError> {
        let parameter = PARAMETERS
            .iter()
            .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                CommandError::from(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                ))
            })?;
        (parameter.set)(self, value).map_err(|reason| {
            CommandError::from(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
            ))
        })
    }
}

/// Bytes from text such as `100mb` or `1g` (`k` is 1000, `kb` 1024).
pub fn parse_memory(text: &str) -> Option<usize> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    // Without digits it is nothing, as in Redis.
    let number = if number.is_empty() { "0" } else { number };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_reads_what_it_wrote() {
        let mut settings = Settings::default();
        for parameter in PARAMETERS {
            let before = (parameter.get)(&settings);
            let immutable = matches!(
                parameter.name,
                "appendonly" | "databases" | "enable-debug-command" | "port" | "save"
            );
            assert_eq!((parameter.set)(&mut settings, &before).is_err(), immutable);
            assert_eq!((parameter.get)(&settings), before, "{}", parameter.name);
        }
        settings.set("MaxMemory", "100mb").unwrap();
        assert_eq!(settings.maxmemory, 100 << 20);
        assert!(settings.set("maxmemory", "a lot").is_err());
        assert!(settings.set("nope", "1").is_err());
    }
}
