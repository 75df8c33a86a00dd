//! Reading arguments: numbers as strict as Redis', options in any case.

use crate::error::CommandError;
use crate::value::float;

/// A signed integer in canonical decimal: no sign but `-`, no leading zero, no
/// blanks (what Redis' `string2ll` takes).
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// An integer argument.
pub fn int(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotInteger)
}

/// An integer argument with its own error text.
pub fn int_or(text: &[u8], error: &'static str) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::text(error))
}

/// An integer of at least 0; anything else has one error text, as in Redis.
pub fn positive(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text)
        .filter(|number| *number >= 0)
        .ok_or(CommandError::text(
            "ERR value is out of range, must be positive",
        ))
}

/// A number argument.
pub fn float(text: &[u8]) -> Result<f64, CommandError> {
    float::parse_f64(text).ok_or(CommandError::NotFloat)
}

/// Whether `text` is the option `name` (given in upper case), in any case.
pub fn is(text: &[u8], name: &str) -> bool {
    text.eq_ignore_ascii_case(name.as_bytes())
}

/// The argument at `at`; a syntax error where there is none.
pub fn at<'a>(argv: &[&'a [u8]], at: usize) -> Result<&'a [u8], CommandError> {
    argv.get(at).copied().ok_or(CommandError::Syntax)
}

/// `index` of a list of `len` elements as Redis counts it: negative from the
/// end. `None` before the start.
pub fn index(index: i64, len: usize) -> i64 {
    if index < 0 {
        index.saturating_add(len as i64)
    } else {
        index
    }
}

/// `start..stop`, inclusive and possibly negative, as a half-open range of a
/// list of `len` elements; empty where nothing is in it.
pub fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let start = index(start, len).max(0) as usize;
    let stop = index(stop, len);
    if stop < 0 || start as i64 > stop || start >= len {
        return 0..0;
    }
    start..(stop as usize + 1).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical() {
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        for bad in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            " 1",
            "1 ",
            "9223372036854775808",
            "1e3",
            "0x1",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-3, -2, 5), 2..4);
        assert_eq!(range(3, 1, 5), 0..0);
        assert_eq!(range(-100, 100, 5), 0..5);
        assert_eq!(range(5, 10, 5), 0..0);
        assert_eq!(range(0, -1, 0), 0..0);
    }
}
