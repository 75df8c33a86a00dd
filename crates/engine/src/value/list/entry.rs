//! An element as bytes in a node.
//!
//! An entry is a head, the text if it is one, and a trailer with the length of
//! both, from which a walk from the end finds its start. The decimal text of an
//! integer is kept as the integer. The same element always gives the same
//! bytes, so to search a list is to compare bytes.
//!
//! | head | element |
//! |---|---|
//! | `00..=3f` | a text of so many bytes |
//! | `40..=bf` | the integer 0 to 127 |
//! | `c0..=df` and a byte | an integer of 13 bits, -4096 to 4095 |
//! | `e2..=e8` and 2 to 8 bytes | an integer of so many bytes, little-endian |
//! | `ef` and 8 bytes | a text of that length, little-endian |
//! | `f0..=ff` and a byte | a text of up to 4095 bytes |
//!
//! The trailer has seven bits a byte, the lowest ones last, where reading it
//! from the end begins; bit 7 says that there are more before.

use crate::value::Member;

const TEXT: u8 = 0x00;
const SMALL: u8 = 0x40;
const SHORT: u8 = 0xc0;
const WIDE: u8 = 0xe0;
const HUGE: u8 = 0xef;
const LONG: u8 = 0xf0;

/// Longest text with a head of one byte.
const TEXT_MAX: usize = 0x3f;
/// Longest text with a head of two.
const LONG_MAX: usize = 0xfff;
/// Largest integer with a head of one byte.
const SMALL_MAX: i64 = 0x7f;
/// What is added to an integer of 13 bits.
const SHORT_BIAS: i64 = 0x1000;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// Bytes that are no integer's text.
    Text(&'a [u8]),
    /// An integer, in place of its decimal text.
    Integer(i64),
}

impl<'a> From<Element<'a>> for Member<'a> {
    fn from(element: Element<'a>) -> Self {
        match element {
            Element::Text(text) => Member::from(text),
            Element::Integer(integer) => Member::from(integer),
        }
    }
}

impl Element<'_> {
    /// A copy of its bytes.
    pub fn to_vec(self) -> Vec<u8> {
        match self {
            Element::Text(text) => text.to_vec(),
            Element::Integer(integer) => itoa::Buffer::new().format(integer).as_bytes().to_vec(),
        }
    }
}

/// An entry before it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    head: [u8; 9],
    head_length: u8,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    #[inline]
    pub(super) fn of(text: &'a [u8]) -> Self {
        let mut head = [0; 9];
        if let Some(integer) = integer(text) {
            let head_length = integer_head(integer, &mut head);
            return Entry {
                head,
                head_length,
                text: b"",
            };
        }
        let length = text.len();
        let head_length = if length <= TEXT_MAX {
            head[0] = TEXT | length as u8;
            1
        } else if length <= LONG_MAX {
            head[0] = LONG | (length >> 8) as u8;
            head[1] = length as u8;
            2
        } else {
            head[0] = HUGE;
            head[1..].copy_from_slice(&(length as u64).to_le_bytes());
            9
        };
        Entry {
            head,
            head_length,
            text,
        }
    }

    fn head(&self) -> &[u8] {
        self.head
            .get(..usize::from(self.head_length))
            .unwrap_or_default()
    }

    /// Length of head and text.
    fn content(&self) -> usize {
        usize::from(self.head_length) + self.text.len()
    }

    /// Bytes that it takes in a node.
    #[inline]
    pub(super) fn size(&self) -> usize {
        let content = self.content();
        content + trailer_length(content)
    }

    /// Appends it.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        if self.head_length == 1 {
            out.push(self.head[0]);
        } else {
            out.extend_from_slice(self.head());
        }
        out.extend_from_slice(self.text);
        let content = self.content();
        if content < 0x80 {
            out.push(content as u8);
        } else {
            let mut buffer = [0; 10];
            out.extend_from_slice(trailer(content, &mut buffer));
        }
    }

    /// Writes it over `out`, which is as long as it.
    #[inline]
    pub(super) fn write(&self, out: &mut [u8]) {
        let Some((head, rest)) = out.split_at_mut_checked(usize::from(self.head_length)) else {
            return;
        };
        head.copy_from_slice(self.head());
        let Some((text, end)) = rest.split_at_mut_checked(self.text.len()) else {
            return;
        };
        text.copy_from_slice(self.text);
        let mut buffer = [0; 10];
        let trailer = trailer(self.content(), &mut buffer);
        if end.len() == trailer.len() {
            end.copy_from_slice(trailer);
        }
    }

    /// Whether `bytes` begin with this entry.
    #[inline]
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        // A head says where the text ends: no longer entry begins the same.
        bytes
            .strip_prefix(self.head())
            .is_some_and(|rest| rest.starts_with(self.text))
    }
}

/// The integer whose decimal text is exactly `text`.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 19 {
        return None;
    }
    let mut magnitude = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Nineteen digits fit.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

fn integer_head(integer: i64, head: &mut [u8; 9]) -> u8 {
    if (0..=SMALL_MAX).contains(&integer) {
        head[0] = SMALL + integer as u8;
        return 1;
    }
    if (-SHORT_BIAS..SHORT_BIAS).contains(&integer) {
        let biased = (integer + SHORT_BIAS) as u16;
        head[0] = SHORT | (biased >> 8) as u8;
        head[1] = biased as u8;
        return 2;
    }
    let used = if integer < 0 { !integer } else { integer };
    let bytes = (u64::BITS - used.leading_zeros()) / 8 + 1;
    head[0] = WIDE + bytes as u8;
    head[1..].copy_from_slice(&integer.to_le_bytes());
    bytes as u8 + 1
}

/// The element at the start of `bytes`, and the bytes that its entry takes.
#[inline]
pub(super) fn first(bytes: &[u8]) -> Option<(Element<'_>, usize)> {
    let (head, rest) = bytes.split_first()?;
    let (element, content) = match *head {
        head @ ..SMALL => {
            let length = usize::from(head);
            (Element::Text(rest.get(..length)?), 1 + length)
        }
        head @ SMALL..SHORT => (Element::Integer(i64::from(head - SMALL)), 1),
        head @ SHORT..WIDE => {
            let biased = i64::from(head & 0x1f) << 8 | i64::from(*rest.first()?);
            (Element::Integer(biased - SHORT_BIAS), 2)
        }
        head @ LONG.. => {
            let length = usize::from(head & 0x0f) << 8 | usize::from(*rest.first()?);
            (Element::Text(rest.get(1..1 + length)?), 2 + length)
        }
        HUGE => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = u64::from_le_bytes(*length) as usize;
            (Element::Text(rest.get(..length)?), 9 + length)
        }
        head => {
            let length = usize::from(head - WIDE);
            let mut wide = [0; 8];
            let (low, sign) = wide.split_at_mut_checked(length)?;
            low.copy_from_slice(rest.get(..length)?);
            if low.last().is_some_and(|top| *top >= 0x80) {
                sign.fill(0xff);
            }
            (Element::Integer(i64::from_le_bytes(wide)), 1 + length)
        }
    };
    Some((element, content + trailer_length(content)))
}

/// The bytes that the entry at the start of `bytes` takes.
#[inline]
pub(super) fn first_size(bytes: &[u8]) -> Option<usize> {
    let content = match *bytes.first()? {
        head @ ..SMALL => 1 + usize::from(head),
        SMALL..SHORT => 1,
        SHORT..WIDE => 2,
        head @ LONG.. => 2 + (usize::from(head & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        HUGE => {
            let length = bytes.get(1..9)?.first_chunk::<8>()?;
            9 + u64::from_le_bytes(*length) as usize
        }
        head => 1 + usize::from(head - WIDE),
    };
    Some(content + trailer_length(content))
}

/// The bytes that the entry at the end of `bytes` takes.
#[inline]
pub(super) fn last_size(bytes: &[u8]) -> Option<usize> {
    let last = *bytes.last()?;
    if last < 0x80 {
        return Some(usize::from(last) + 1);
    }
    let (mut content, mut length) = (0, 0);
    for byte in bytes.iter().rev().take(10) {
        content |= usize::from(byte & 0x7f) << (7 * length);
        length += 1;
        if *byte < 0x80 {
            return Some(content + length);
        }
    }
    None
}

const fn trailer_length(content: usize) -> usize {
    if content < 0x80 {
        1
    } else {
        (usize::BITS - content.leading_zeros()).div_ceil(7) as usize
    }
}

fn trailer(content: usize, buffer: &mut [u8; 10]) -> &[u8] {
    let length = trailer_length(content);
    let mut left = content;
    for (at, byte) in buffer.iter_mut().take(length).rev().enumerate() {
        let more = if at + 1 < length { 0x80 } else { 0 };
        *byte = (left & 0x7f) as u8 | more;
        left >>= 7;
    }
    buffer.get(..length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], size: usize) {
        let entry = Entry::of(text);
        let mut bytes = b"\x85before".to_vec();
        let start = bytes.len();
        entry.append(&mut bytes);
        assert_eq!(bytes.len() - start, size, "{}", text.escape_ascii());
        assert_eq!(entry.size(), size);
        assert_eq!(last_size(&bytes), Some(size));
        let mut written = vec![0; size];
        entry.write(&mut written);
        assert_eq!(written, &bytes[start..]);
        bytes.extend_from_slice(b"behind");
        assert!(entry.begins(&bytes[start..]));
        assert_eq!(first_size(&bytes[start..]), Some(size));
        let (element, found) = first(&bytes[start..]).unwrap();
        assert_eq!((element.to_vec().as_slice(), found), (text, size));
        assert_eq!(&*Member::from(element), text);
        let content = size - trailer_length(entry.content());
        assert!(first(&bytes[start..start + content - 1]).is_none());
    }

    #[test]
    fn texts_on_both_sides_of_every_length() {
        for (length, size) in [
            (0, 2),
            (1, 3),
            (63, 65),
            (64, 67),
            (125, 128),
            (126, 130),
            (4095, 4099),
            (4096, 4107),
            (16_374, 16_385),
            (16_375, 16_387),
            (2_097_152, 2_097_165),
        ] {
            check(&vec![b'x'; length], size);
        }
        check(b"00", 4);
        check(b"-0", 4);
        check(b"+1", 4);
        check(b"-", 3);
        check(b"9223372036854775808", 21);
        check(b"-9223372036854775809", 22);
        check(b"10000000000000000000", 22);
        check(b"1x", 4);
    }

    #[test]
    fn integers_of_every_width() {
        for (integer, size) in [
            (0, 2),
            (127, 2),
            (128, 3),
            (-1, 3),
            (4095, 3),
            (-4096, 3),
            (4096, 4),
            (-4097, 4),
            (32_767, 4),
            (-32_768, 4),
            (32_768, 5),
            (-32_769, 5),
            (8_388_607, 5),
            (-8_388_609, 6),
            (i64::from(i32::MAX), 6),
            (i64::from(i32::MAX) + 1, 7),
            (1 << 39, 8),
            (1 << 47, 9),
            ((1 << 55) - 1, 9),
            (1 << 55, 10),
            (i64::MAX, 10),
            (i64::MIN, 10),
        ] {
            check(integer.to_string().as_bytes(), size);
        }
    }

    #[test]
    fn another_element_does_not_begin_the_same() {
        let texts: [&[u8]; 9] = [
            b"", b"a", b"ab", b"1", b"12", b"300", b"301", b"70000", b"01",
        ];
        for one in texts {
            let mut bytes = Vec::new();
            Entry::of(one).append(&mut bytes);
            for other in texts {
                assert_eq!(Entry::of(other).begins(&bytes), one == other);
            }
        }
    }
}
