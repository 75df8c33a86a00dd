//! Numbers for people.

use std::time::Duration;

use sangam_engine::clock::{Clock as _, SystemClock};

/// Bytes, in the unit that leaves few digits.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1000.0;
    let mut unit = "kB";
    for next in UNITS.iter().skip(1) {
        if size < 999.5 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    format!("{} {unit}", short(size))
}

/// A number of things, of three significant digits.
pub(super) fn about(count: f64) -> String {
    if count >= 999_500.0 {
        format!("{} M", short(count / 1e6))
    } else if count >= 9_995.0 {
        format!("{} k", short(count / 1e3))
    } else {
        format!("{count:.0}")
    }
}

/// A time in milliseconds.
pub(super) fn milliseconds(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 0.0995 {
        format!("{ms:.3} ms")
    } else {
        format!("{} ms", short(ms))
    }
}

/// Three significant digits.
fn short(number: f64) -> String {
    if number < 9.995 {
        format!("{number:.2}")
    } else if number < 99.95 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

/// A number and what it counts: `1 key`, `2 keys`.
pub(super) fn counted(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> u64 {
    SystemClock::default().now_micros() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_digits_and_the_right_unit() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.00 kB");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(bytes(67_108_864), "67.1 MB");
        assert_eq!(about(812.4), "812");
        assert_eq!(about(9_990.0), "9990");
        assert_eq!(about(110_400.0), "110 k");
        assert_eq!(about(1_260_000.0), "1.26 M");
        assert_eq!(milliseconds(Duration::from_micros(47)), "0.047 ms");
        assert_eq!(milliseconds(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(milliseconds(Duration::from_millis(250)), "250 ms");
        assert_eq!(counted(1, "key"), "1 key");
        assert_eq!(counted(0, "key"), "0 keys");
    }
}
