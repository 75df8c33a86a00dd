//! The grammar of C's `strtod`, apart from what is done with the number.
//!
//! Only whole texts are numbers here: no white space, nothing after them. The
//! NaN spellings are left out, for no command takes them.

/// A number as written.
pub(super) struct Literal<'a> {
    /// Whether a minus stands before it.
    pub(super) negative: bool,
    /// The rest.
    pub(super) number: Number<'a>,
}

/// The magnitude of a literal.
pub(super) enum Number<'a> {
    /// `inf` or `infinity` in any case.
    Infinity,
    /// `whole.fraction * 10^exponent`; the slices hold digits only.
    Decimal {
        whole: &'a [u8],
        fraction: &'a [u8],
        exponent: i64,
    },
    /// `mantissa * 2^exponent`; bit 0 also stands for any bit that did not fit.
    Hex { mantissa: u128, exponent: i64 },
}

/// Exponents stop growing here: far past every format's range, and past what
/// any run of zeros in a text could bring back.
const EXPONENT_CAP: i64 = 1 << 50;

/// Reads `text` if all of it is one number.
pub(super) fn read(text: &[u8]) -> Option<Literal<'_>> {
    let (negative, rest) = split_sign(text);
    let number = if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
        Number::Infinity
    } else if let [b'0', b'x' | b'X', hex @ ..] = rest {
        read_hex(hex)?
    } else {
        read_decimal(rest)?
    };
    Some(Literal { negative, number })
}

fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

/// The longest prefix of `text` whose bytes are all `wanted`, and what follows.
fn split_run(text: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !wanted(byte));
    text.split_at(end.unwrap_or(text.len()))
}

/// `digits[.digits]` or `.digits`, and what follows.
fn split_mantissa(text: &[u8], digit: fn(&u8) -> bool) -> Option<(&[u8], &[u8], &[u8])> {
    let (whole, rest) = split_run(text, digit);
    let (fraction, rest) = match rest {
        [b'.', after @ ..] => split_run(after, digit),
        _ => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    Some((whole, fraction, rest))
}

/// What follows a mantissa: nothing, or `mark` and a decimal exponent.
fn read_exponent(text: &[u8], mark: u8) -> Option<i64> {
    let Some((&first, rest)) = text.split_first() else {
        return Some(0);
    };
    if !first.eq_ignore_ascii_case(&mark) {
        return None;
    }
    let (negative, digits) = split_sign(rest);
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        exponent = (exponent * 10 + i64::from(byte - b'0')).min(EXPONENT_CAP);
    }
    Some(if negative { -exponent } else { exponent })
}

fn read_decimal(text: &[u8]) -> Option<Number<'_>> {
    let (whole, fraction, rest) = split_mantissa(text, u8::is_ascii_digit)?;
    Some(Number::Decimal {
        whole,
        fraction,
        exponent: read_exponent(rest, b'e')?,
    })
}

fn read_hex(text: &[u8]) -> Option<Number<'static>> {
    let (whole, fraction, rest) = split_mantissa(text, u8::is_ascii_hexdigit)?;
    let mut exponent = read_exponent(rest, b'p')?;
    let (mut mantissa, mut lost) = (0_u128, false);
    let digits = whole.iter().map(|byte| (byte, 0));
    for (&byte, step) in digits.chain(fraction.iter().map(|byte| (byte, 4))) {
        let digit = u128::from((byte as char).to_digit(16)?);
        if mantissa >> 120 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= step;
        } else {
            lost |= digit != 0;
            exponent += 4 - step;
        }
    }
    Some(Number::Hex {
        mantissa: mantissa | u128::from(lost),
        exponent,
    })
}
