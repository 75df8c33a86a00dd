//! The x87's 80-bit format: a mantissa of 64 bits, exponents to ±16383.
//!
//! Redis reads both operands of `INCRBYFLOAT` with `strtold`, adds them, and
//! prints the sum with 17 decimals, trimmed. All three steps are exact here up
//! to their one correct rounding, on machines that have no such format too.
//!
//! Short decimals (19 digits, a small exponent) take a few integer operations;
//! the rest goes through big integers of at most some 35,000 bits, for the
//! texts and the range are bounded.

use num_bigint::BigUint;

use super::grammar::{self, Number};

/// Bits of a mantissa.
const BITS: u32 = 64;
/// The weight of the last bit in the smallest numbers: 2^-16445.
const LOWEST: i64 = -16445;
/// The weight of the last bit in the largest numbers: 2^16320.
const HIGHEST: i64 = 16320;
/// Texts of this length are no numbers to Redis, which copies them to a buffer.
const TEXT_LIMIT: usize = 5 * 1024;
/// A decimal of more digits before the point than this overflows.
const MOST_WHOLE_DIGITS: i64 = 4933;
/// A decimal with more zeros after the point than this rounds to zero.
const MOST_LEADING_ZEROS: i64 = 4952;
/// Digits after the point in a printed number.
const DECIMALS: usize = 17;
/// 10 to that.
const SCALE: u128 = 100_000_000_000_000_000;

/// Why two texts could not be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtendedError {
    /// One of them is not a number, or not one within range.
    #[error("value is not a valid float")]
    NotAFloat,
    /// The sum is not finite.
    #[error("increment would produce NaN or Infinity")]
    NanOrInfinity,
}

/// The sum of two texts as `INCRBYFLOAT` computes and prints it.
pub fn extended_add(a: &[u8], b: &[u8]) -> Result<Vec<u8>, ExtendedError> {
    let a = Extended::parse(a).ok_or(ExtendedError::NotAFloat)?;
    let b = Extended::parse(b).ok_or(ExtendedError::NotAFloat)?;
    let sum = a.checked_add(b).ok_or(ExtendedError::NanOrInfinity)?;
    Ok(sum.to_text())
}

/// An 80-bit number; never NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magnitude {
    /// `mantissa * 2^exponent`, the mantissa as long as the range allows.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
}

impl From<i64> for Extended {
    fn from(value: i64) -> Extended {
        Extended {
            negative: value < 0,
            magnitude: Magnitude::rounded(u128::from(value.unsigned_abs()), 0),
        }
    }
}

impl Extended {
    /// Reads `text` by the rules of `strtold`, all of it; refused are NaN, what
    /// overflows, and what is so small that it would become zero.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() >= TEXT_LIMIT {
            return None;
        }
        let literal = grammar::read(text)?;
        let magnitude = match literal.number {
            Number::Infinity => Magnitude::Infinite,
            Number::Hex { mantissa: 0, .. } => Magnitude::ZERO,
            Number::Hex { mantissa, exponent } => {
                Magnitude::rounded(mantissa, exponent).in_range()?
            }
            Number::Decimal {
                whole,
                fraction,
                exponent,
            } => Magnitude::from_decimal(whole, fraction, exponent)?,
        };
        Some(Extended {
            negative: literal.negative,
            magnitude,
        })
    }

    /// Whether it is not an infinity.
    pub fn is_finite(self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    /// A double near it: infinite where none is as large, the least normal one
    /// where none is as small.
    pub fn to_f64(self) -> f64 {
        let magnitude = match self.magnitude.parts() {
            None => f64::INFINITY,
            Some((0, _)) => 0.0,
            Some((mantissa, exponent)) => {
                let scale = 2f64.powi(exponent.clamp(-20_000, 20_000) as i32);
                (mantissa as f64 * scale).max(f64::MIN_POSITIVE)
            }
        };
        if self.negative { -magnitude } else { magnitude }
    }

    /// The sum, unless that is infinite or NaN.
    pub fn checked_add(self, other: Extended) -> Option<Extended> {
        let (a, a_exponent) = self.magnitude.parts()?;
        let (b, b_exponent) = other.magnitude.parts()?;
        // The larger exponent first: its mantissa is full (or both are at the
        // bottom of the range), so that lost bits of the other only break ties.
        let (high, low) = if a_exponent >= b_exponent {
            (
                (self.negative, a, a_exponent),
                (other.negative, b, b_exponent),
            )
        } else {
            (
                (other.negative, b, b_exponent),
                (self.negative, a, a_exponent),
            )
        };
        let distance = high.2 - low.2;
        let lift = distance.min(62);
        let large = u128::from(high.1) << lift;
        let small = shift_right_sticky(u128::from(low.1), distance - lift);
        let exponent = high.2 - lift;
        let (negative, sum) = if high.0 == low.0 {
            (high.0, large + small)
        } else if large >= small {
            (high.0, large - small)
        } else {
            (low.0, small - large)
        };
        let magnitude = Magnitude::rounded(sum, exponent);
        (magnitude != Magnitude::Infinite).then_some(Extended {
            negative,
            magnitude,
        })
    }

    /// Its text with 17 decimals, without trailing zeros.
    pub fn to_text(self) -> Vec<u8> {
        let Some((mantissa, exponent)) = self.magnitude.parts() else {
            return if self.negative {
                b"-inf".to_vec()
            } else {
                b"inf".to_vec()
            };
        };
        let mut out = Vec::with_capacity(24);
        if exponent >= 0 {
            if self.negative && mantissa != 0 {
                out.push(b'-');
            }
            if exponent <= 64 {
                let whole = u128::from(mantissa) << exponent;
                out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
            } else {
                let whole = BigUint::from(mantissa) << exponent;
                out.extend_from_slice(whole.to_str_radix(10).as_bytes());
            }
            return out;
        }
        let scaled = round_shift(u128::from(mantissa) * SCALE, -exponent);
        if self.negative && scaled != 0 {
            out.push(b'-');
        }
        out.extend_from_slice(itoa::Buffer::new().format(scaled / SCALE).as_bytes());
        let mut fraction = scaled % SCALE;
        if fraction != 0 {
            out.push(b'.');
            let start = out.len();
            out.resize(start + DECIMALS, b'0');
            for slot in out[start..].iter_mut().rev() {
                *slot = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            let kept = out
                .iter()
                .rposition(|byte| *byte != b'0')
                .map_or(start, |last| last + 1);
            out.truncate(kept);
        }
        out
    }
}

impl Magnitude {
    const ZERO: Magnitude = Magnitude::Finite {
        mantissa: 0,
        exponent: LOWEST,
    };

    /// The nearest number; see [`super::round`] for what bit 0 may stand for.
    fn rounded(mantissa: u128, exponent: i64) -> Magnitude {
        let (mantissa, exponent) = super::round(mantissa, exponent, BITS, LOWEST);
        if mantissa == 0 {
            return Magnitude::ZERO;
        }
        let shift = i64::from(mantissa.leading_zeros()).min(exponent - LOWEST);
        let exponent = exponent - shift;
        if exponent > HIGHEST {
            Magnitude::Infinite
        } else {
            Magnitude::Finite {
                mantissa: mantissa << shift,
                exponent,
            }
        }
    }

    fn parts(self) -> Option<(u64, i64)> {
        match self {
            Magnitude::Finite { mantissa, exponent } => Some((mantissa, exponent)),
            Magnitude::Infinite => None,
        }
    }

    /// Itself, unless a number that is neither became infinite or zero.
    fn in_range(self) -> Option<Magnitude> {
        (self != Magnitude::Infinite && self != Magnitude::ZERO).then_some(self)
    }

    /// The number nearest to a decimal, if the range holds it.
    fn from_decimal(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Magnitude> {
        let mut digits = Vec::with_capacity(whole.len() + fraction.len());
        digits.extend(
            whole
                .iter()
                .chain(fraction)
                .skip_while(|digit| **digit == b'0'),
        );
        let mut exponent = exponent - fraction.len() as i64;
        while digits.last() == Some(&b'0') {
            digits.pop();
            exponent += 1;
        }
        if digits.is_empty() {
            return Some(Magnitude::ZERO);
        }
        let whole_digits = digits.len() as i64 + exponent;
        if !(-MOST_LEADING_ZEROS..=MOST_WHOLE_DIGITS).contains(&whole_digits) {
            return None;
        }
        if digits.len() <= 19 && (-18..=19).contains(&exponent) {
            let number = digits
                .iter()
                .fold(0_u64, |n, digit| n * 10 + u64::from(digit - b'0'));
            return Some(Magnitude::from_short(number, exponent as i32));
        }
        let number = BigUint::parse_bytes(&digits, 10)?;
        let power = BigUint::from(10_u8).pow(exponent.unsigned_abs() as u32);
        if exponent >= 0 {
            return Magnitude::from_big(&(number * power), 0, false).in_range();
        }
        // A quotient of at least 70 bits leaves the rest to break ties.
        let lift = (70 + power.bits()).saturating_sub(number.bits());
        let number = number << lift;
        let quotient = &number / &power;
        let inexact = &quotient * &power != number;
        Magnitude::from_big(&quotient, -(lift as i64), inexact).in_range()
    }

    /// `number * 10^exponent` for an exponent from -18 to 19, without big integers.
    fn from_short(number: u64, exponent: i32) -> Magnitude {
        let power = u128::from(10_u64.pow(exponent.unsigned_abs()));
        if exponent >= 0 {
            return Magnitude::rounded(u128::from(number) * power, 0);
        }
        let lift = u128::from(number).leading_zeros();
        let number = u128::from(number) << lift;
        let inexact = u128::from(number % power != 0);
        Magnitude::rounded((number / power) | inexact, -i64::from(lift))
    }

    fn from_big(number: &BigUint, exponent: i64, inexact: bool) -> Magnitude {
        let drop = number.bits().saturating_sub(126);
        let lost = inexact || number.trailing_zeros().is_some_and(|zeros| zeros < drop);
        let top = (number >> drop)
            .iter_u64_digits()
            .rev()
            .fold(0_u128, |n, digit| n << 64 | u128::from(digit));
        Magnitude::rounded(top | u128::from(lost), exponent + drop as i64)
    }
}

/// Shifts right; bit 0 stands for the bits lost.
fn shift_right_sticky(value: u128, by: i64) -> u128 {
    let Some(kept) = u32::try_from(by).ok().and_then(|by| value.checked_shr(by)) else {
        return u128::from(value != 0);
    };
    kept | u128::from(kept << by != value)
}

/// Shifts right, rounding halves to even.
fn round_shift(value: u128, by: i64) -> u128 {
    if by > i64::from(u128::BITS) - 1 {
        // The value has at most 121 bits: less than a half.
        return 0;
    }
    let kept = value >> by;
    let rest = value ^ (kept << by);
    let half = 1_u128 << (by - 1);
    kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
}
