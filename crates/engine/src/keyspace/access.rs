//! When a key was used last, or how often: four bytes of its record.
//!
//! Under most policies they are the second of the last access. Under the LFU
//! policies they are Redis' 24 bits: the minute of the last access modulo 2^16,
//! and a counter of eight bits that grows with the logarithm of the accesses and
//! falls with time. Where the policy changes, what was written before is read as
//! the other until the key is used again, as in Redis.

use crate::config::Settings;
use crate::random::Random;

/// What a new key counts.
const INITIAL: u8 = 5;

/// A moment of use, ready to be noted in a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// The second.
    Time(u32),
    Frequency {
        minute: u16,
        /// Between 0 and 1: whether a counter grows.
        draw: f64,
        log_factor: u32,
        decay_minutes: u32,
    },
}

impl Access {
    #[inline]
    pub(super) fn new(now_ms: u64, settings: &Settings, random: &mut Random) -> Access {
        if !settings.policy.counts_uses() {
            return Access::Time((now_ms / 1000) as u32);
        }
        Access::Frequency {
            minute: minute(now_ms),
            draw: (random.next() >> 11) as f64 / (1_u64 << 53) as f64,
            log_factor: settings.lfu_log_factor,
            decay_minutes: settings.lfu_decay_time,
        }
    }

    /// The bytes of a record that is new.
    #[inline]
    pub(super) fn first(self) -> u32 {
        match self {
            Access::Time(second) => second,
            Access::Frequency { minute, .. } => pack(minute, INITIAL),
        }
    }

    /// Notes the use of a record with these bytes.
    #[inline]
    pub(super) fn note(self, accessed: &mut u32) {
        *accessed = match self {
            Access::Time(second) => second,
            Access::Frequency {
                minute,
                draw,
                log_factor,
                decay_minutes,
            } => {
                let counter = decayed(*accessed, minute, decay_minutes);
                let above = f64::from(counter.saturating_sub(INITIAL));
                let grows = draw < 1.0 / (above * f64::from(log_factor) + 1.0);
                pack(minute, counter.saturating_add(u8::from(grows)))
            }
        };
    }
}

fn minute(now_ms: u64) -> u16 {
    (now_ms / 60_000) as u16
}

fn pack(minute: u16, counter: u8) -> u32 {
    u32::from(minute) << 8 | u32::from(counter)
}

/// The counter less one for each period since the minute of the last access.
fn decayed(accessed: u32, now: u16, decay_minutes: u32) -> u8 {
    let [counter, low, high, _] = accessed.to_le_bytes();
    let last = u16::from_le_bytes([low, high]);
    let passed = if now >= last {
        now - last
    } else {
        u16::MAX - last + now
    };
    let periods = u32::from(passed).checked_div(decay_minutes).unwrap_or(0);
    counter.saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
}

/// How often a record with these bytes is used: 0 to 255, logarithmic.
pub(crate) fn frequency(accessed: u32, now_ms: u64, settings: &Settings) -> u8 {
    decayed(accessed, minute(now_ms), settings.lfu_decay_time)
}

/// The bytes of a record that is used so often.
pub(super) fn with_frequency(frequency: u8, now_ms: u64) -> u32 {
    pack(minute(now_ms), frequency)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EvictionPolicy;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn a_counter_grows_with_the_logarithm_of_its_uses() {
        let settings = Settings {
            policy: EvictionPolicy::AllKeysLfu,
            ..Settings::default()
        };
        let mut random = Random::new(1);
        let mut accessed = Access::new(NOW_MS, &settings, &mut random).first();
        assert_eq!(frequency(accessed, NOW_MS, &settings), 5);
        let mut seen = Vec::new();
        for uses in 1..=100_000 {
            Access::new(NOW_MS, &settings, &mut random).note(&mut accessed);
            if [1, 100, 1000, 100_000].contains(&uses) {
                seen.push(frequency(accessed, NOW_MS, &settings));
            }
        }
        // The first use always counts; Redis' documentation has 10, 18 and 142 for
        // the others, with this factor.
        assert_eq!(seen[0], 6);
        assert!((7..=13).contains(&seen[1]), "{seen:?}");
        assert!((13..=25).contains(&seen[2]), "{seen:?}");
        assert!((125..=160).contains(&seen[3]), "{seen:?}");
        let later = NOW_MS + 10 * 60_000;
        assert_eq!(frequency(accessed, later, &settings), seen[3] - 10);
    }

    #[test]
    fn a_counter_falls_by_one_each_period_and_not_below_zero() {
        let accessed = with_frequency(7, NOW_MS);
        let after =
            |minutes: u64, decay: u32| decayed(accessed, minute(NOW_MS + minutes * 60_000), decay);
        assert_eq!(after(3, 1), 4);
        assert_eq!(after(3, 2), 6);
        assert_eq!(after(3, 0), 7);
        assert_eq!(after(300, 1), 0);
        // The minute has 16 bits: a year later it may be a smaller number.
        assert_eq!(decayed(pack(65_535, 9), 2, 1), 7);
    }
}
