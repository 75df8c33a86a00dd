//! Floating point as Redis 7.0 writes and reads it.
//!
//! Scores are doubles: read by `strtod`'s rules, written by `%.17g`. The
//! `INCRBYFLOAT` family computes in the 80-bit format of the x87 instead,
//! which [`Extended`] does exactly in software.
//!
//! Everything is rounded correctly, halves to even, whatever the length of the
//! text; the cost of a huge exponent is bounded by the format's range.

use std::io::Write as _;

mod extended;
mod grammar;

pub use extended::{Extended, ExtendedError, extended_add};
use grammar::Number;

/// Integers up to here are all doubles, and print as integers.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// The decimal exponents that `%.17g` writes without an `e`.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..17;

/// Appends `value` as C's `%.17g` prints it.
pub fn format_g17(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= EXACT_INTEGERS && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        format_digits(value, out);
    }
}

/// A finite `value` from its 17 significant digits, which `{:.16e}` rounds exactly.
fn format_digits(value: f64, out: &mut Vec<u8>) {
    // The longest is "-d.dddddddddddddddde-ddd": 24 bytes.
    let mut buffer = [0_u8; 32];
    let mut free = &mut buffer[..];
    let written = write!(free, "{:.16e}", value.abs());
    debug_assert!(written.is_ok());
    let left = free.len();
    let text = &buffer[..buffer.len() - left];

    let mark = memchr::memchr(b'e', text).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(mark);
    let exponent = std::str::from_utf8(exponent.get(1..).unwrap_or_default())
        .ok()
        .and_then(|digits| digits.parse::<i32>().ok())
        .unwrap_or_default();
    let mut digits = [b'0'; 17];
    for (slot, digit) in digits
        .iter_mut()
        .zip(mantissa.iter().filter(|byte| **byte != b'.'))
    {
        *slot = *digit;
    }
    let kept = digits
        .iter()
        .rposition(|digit| *digit != b'0')
        .map_or(1, |last| last + 1);
    let digits = &digits[..kept];

    if value.is_sign_negative() {
        out.push(b'-');
    }
    if !PLAIN_EXPONENTS.contains(&exponent) {
        push_pointed(digits, 1, out);
        let sign = if exponent < 0 { '-' } else { '+' };
        let written = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        debug_assert!(written.is_ok());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(
            b'0',
            exponent.unsigned_abs() as usize - 1,
        ));
        out.extend_from_slice(digits);
    } else {
        let before = exponent as usize + 1;
        push_pointed(digits, before, out);
        out.extend(std::iter::repeat_n(
            b'0',
            before.saturating_sub(digits.len()),
        ));
    }
}

/// `digits` with a point after the first `before` of them, if any are left then.
fn push_pointed(digits: &[u8], before: usize, out: &mut Vec<u8>) {
    let (whole, fraction) = digits.split_at(before.min(digits.len()));
    out.extend_from_slice(whole);
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// Reads a score: all of `text` is one number, in `strtod`'s grammar. Refused
/// are NaN, what overflows, and what is so small that it would become zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    read_f64(text).and_then(|(value, in_range)| in_range.then_some(value))
}

/// Reads the end of a score range as Redis does, which is more lenient than
/// [`parse_f64`]: white space may stand before it, nothing at all is zero, a
/// NUL ends the text, and what overflows is infinite.
pub fn parse_range_f64(text: &[u8]) -> Option<f64> {
    read_lenient(text).map(|(value, _)| value)
}

/// Reads the number that SORT sorts by: as [`parse_range_f64`], but what is out
/// of range, or only just in it, is refused.
pub fn parse_weight_f64(text: &[u8]) -> Option<f64> {
    read_lenient(text)
        .filter(|(value, in_range)| *in_range && !value.is_subnormal())
        .map(|(value, _)| value)
}

/// A double, and whether the range of doubles holds it.
fn read_lenient(text: &[u8]) -> Option<(f64, bool)> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let text = &text[..end];
    if text.is_empty() {
        return Some((0.0, true));
    }
    // C's isspace also knows the vertical tab.
    let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text
        .iter()
        .position(|byte| !space(byte))
        .unwrap_or(text.len());
    read_f64(&text[start..])
}

/// The double nearest to `text`, and whether the range of doubles holds it.
fn read_f64(text: &[u8]) -> Option<(f64, bool)> {
    let literal = grammar::read(text)?;
    let sign = if literal.negative { -1.0 } else { 1.0 };
    let (value, is_zero) = match literal.number {
        Number::Infinity => return Some((sign * f64::INFINITY, true)),
        Number::Decimal {
            whole, fraction, ..
        } => {
            let unsigned = text.strip_prefix(b"-").unwrap_or(text);
            let value = std::str::from_utf8(unsigned).ok()?.parse::<f64>().ok()?;
            let zero = value == 0.0 && whole.iter().chain(fraction).all(|digit| *digit == b'0');
            (value, zero)
        }
        Number::Hex { mantissa, exponent } => {
            let (mantissa, exponent) = round(mantissa, exponent, f64::MANTISSA_DIGITS, -1074);
            let value = if mantissa == 0 {
                0.0
            } else {
                mantissa as f64 * power_of_two(exponent)
            };
            (value, mantissa == 0 && is_hex_zero(text))
        }
    };
    let in_range = value.is_finite() && (value != 0.0 || is_zero);
    Some((sign * value, in_range))
}

/// Whether no digit of a hexadecimal literal counts.
fn is_hex_zero(text: &[u8]) -> bool {
    let mantissa = text.split(|byte| byte.eq_ignore_ascii_case(&b'p')).next();
    mantissa.is_some_and(|mantissa| {
        !mantissa
            .iter()
            .any(|byte| matches!(byte, b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F'))
    })
}

/// `2^exponent`, for an exponent of at least -1074.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << 52),
        _ => f64::from_bits(1 << (exponent + 1074).clamp(0, 51)),
    }
}

/// Rounds `mantissa * 2^exponent` to at most `bits` bits and an exponent of at
/// least `lowest`, halves to even. Where bit 0 stands for lost bits, the
/// mantissa must have at least two bits more than are wanted.
fn round(mantissa: u128, exponent: i64, bits: u32, lowest: i64) -> (u64, i64) {
    let width = u128::BITS - mantissa.leading_zeros();
    let drop = (i64::from(width) - i64::from(bits)).max(lowest - exponent);
    if mantissa == 0 || drop > i64::from(u128::BITS) {
        return (0, lowest);
    }
    if drop <= 0 {
        return (mantissa as u64, exponent);
    }
    let kept = mantissa.checked_shr(drop as u32).unwrap_or(0);
    let half = 1_u128 << (drop - 1);
    let rest = mantissa & (half | (half - 1));
    let up = rest > half || (rest == half && kept & 1 == 1);
    let kept = kept + u128::from(up);
    if kept >> bits == 0 {
        (kept as u64, exponent + drop)
    } else {
        ((kept >> 1) as u64, exponent + drop + 1)
    }
}

#[cfg(test)]
mod tests;
