//! How many bytes Redis' listpack takes for what a block holds.
//!
//! Redis begins a new node by the size of its listpack, and trims by whole
//! nodes where it is asked to trim about. To keep and to remove the same
//! entries, blocks begin and end where its nodes do.

/// The header and the end mark of a listpack.
pub(super) const EMPTY: usize = 7;

/// Bytes of an element that is this number, with its length behind it.
pub(super) fn number(number: i64) -> usize {
    1 + match number {
        0..=127 => 1,
        -4096..=4095 => 2,
        -32_768..=32_767 => 3,
        -8_388_608..=8_388_607 => 4,
        -2_147_483_648..=2_147_483_647 => 5,
        _ => 9,
    }
}

/// Bytes of an element that is this text: integers are kept as numbers.
pub(super) fn text(text: &[u8]) -> usize {
    if let Some(integer) = integer(text) {
        return number(integer);
    }
    let encoded = text.len()
        + match text.len() {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    encoded
        + match encoded {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        }
}

/// The integer whose decimal text is exactly `text`.
fn integer(text: &[u8]) -> Option<i64> {
    let digits = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => digits,
        digits => digits,
    };
    match digits {
        [b'1'..=b'9', rest @ ..] if rest.len() < 19 && rest.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_as_wide_as_need_be() {
        for (given, expected) in [
            ("0", 2),
            ("127", 2),
            ("128", 3),
            ("-1", 3),
            ("4095", 3),
            ("4096", 4),
            ("-32768", 4),
            ("8388607", 5),
            ("-8388609", 6),
            ("2147483648", 10),
            ("9223372036854775807", 10),
            ("-9223372036854775808", 10),
        ] {
            assert_eq!(text(given.as_bytes()), expected, "{given}");
        }
    }

    #[test]
    fn all_else_is_text() {
        for given in ["", "-0", "01", "+1", "x", "1.5", "9223372036854775808"] {
            assert_eq!(text(given.as_bytes()), given.len() + 2, "{given}");
        }
        assert_eq!(text(&[b'x'; 63]), 65);
        assert_eq!(text(&[b'x'; 64]), 67);
        assert_eq!(text(&[b'x'; 125]), 128);
        assert_eq!(text(&[b'x'; 126]), 130);
        assert_eq!(text(&[b'x'; 4096]), 4096 + 5 + 2);
    }
}
