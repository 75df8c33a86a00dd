//! `printf`'s `%.{n}g`, in which Lua, cjson and `redis.call` write numbers.

/// Writes `value` as C's `%.{precision}g` does, with C's names for what is not
/// finite.
pub(crate) fn format_g(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() { "nan" } else { "inf" };
        let sign = if value.is_sign_negative() { "-" } else { "" };
        return format!("{sign}{name}");
    }
    let precision = precision.max(1);
    // The exponent after rounding decides between the two notations.
    let scientific = format!("{value:.*e}", precision - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!(
            "{}e{sign}{:02}",
            trim_zeros(mantissa),
            exponent.unsigned_abs()
        )
    } else {
        let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
        trim_zeros(&format!("{value:.decimals$}")).to_owned()
    }
}

/// `%g` drops the zeros that end a fraction, and the point if nothing is left.
fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::format_g;

    #[test]
    fn as_printf() {
        for (value, precision, expected) in [
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (0.1, 17, "0.10000000000000001"),
            (0.1, 14, "0.1"),
            (1e15, 17, "1000000000000000"),
            (1e15, 14, "1e+15"),
            (1e17, 17, "1e+17"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (9.9999, 3, "10"),
            (99_999.0, 4, "1e+05"),
            (1e100, 17, "1e+100"),
            (f64::INFINITY, 17, "inf"),
            (f64::NEG_INFINITY, 17, "-inf"),
            (-f64::NAN, 17, "-nan"),
            (-1.5, 1, "-2"),
        ] {
            assert_eq!(
                format_g(value, precision),
                expected,
                "{value} at {precision}"
            );
        }
    }
}
