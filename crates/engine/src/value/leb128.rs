//! Numbers and texts as encodings have them: LEB128, and a length with its bytes.

/// Bytes of a number.
pub(crate) fn number_bytes(number: u64) -> usize {
    let bits = (u64::BITS - number.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

pub(crate) fn text_bytes(text: &[u8]) -> usize {
    number_bytes(text.len() as u64) + text.len()
}

#[inline]
pub(crate) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
pub(crate) fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    push_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

/// A number whose first byte is its last.
pub(crate) fn push_back(bytes: &mut Vec<u8>, number: u64) {
    let at = bytes.len();
    push_number(bytes, number);
    if let Some(pushed) = bytes.get_mut(at..) {
        pushed.reverse();
    }
}

#[inline]
pub(crate) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    if *first < 0x80 {
        return Some(u64::from(*first));
    }
    take_long_number(bytes, u64::from(*first & 0x7f))
}

fn take_long_number(bytes: &mut &[u8], mut number: u64) -> Option<u64> {
    for shift in (7..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(*byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[inline]
pub(crate) fn take_text<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number(bytes)?;
    let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(text)
}

/// The same for a number from outside: it must be as short as it can be.
pub(crate) fn take_number_exact(bytes: &mut &[u8]) -> Option<u64> {
    let before = *bytes;
    let number = take_number(bytes)?;
    (before.len() - bytes.len() == number_bytes(number)).then_some(number)
}

pub(crate) fn take_text_exact<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_number_exact(bytes)?;
    let (text, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(text)
}

/// The number whose first byte is the last of `bytes`, and how many it has.
#[inline]
pub(crate) fn take_back(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().rev().take(10).enumerate() {
        number |= u64::from(*byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Some((number, at + 1));
        }
    }
    None
}
