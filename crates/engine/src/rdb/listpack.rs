//! Listpacks: small collections as one string, each entry behind its encoding
//! and before its size, which leads whoever reads from the end.
//!
//! A listpack is walked whole when it is opened; after that its entries are
//! known to be there.

use super::Malformed;
use super::read::Reader;
use super::text::Text;
use crate::value::parse_integer;

/// Bytes before the entries: the size of all, and their number.
const HEADER: usize = 6;
/// The byte behind the entries.
const END: u8 = 0xff;
/// The number of entries that stands for "count them".
const UNCOUNTED: usize = 0xffff;
/// A listpack in the making.
pub(super) struct Builder {
    bytes: Vec<u8>,
    count: usize,
}

impl Builder {
    /// Without entries.
    pub(super) fn new() -> Self {
        Builder {
            bytes: vec![0; HEADER],
            count: 0,
        }
    }

    /// Bytes that it takes now.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    /// Number of entries.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Adds an entry; the text of an integer becomes that.
    pub(super) fn push(&mut self, text: &[u8]) {
        if let Some(integer) = parse_integer(text) {
            self.push_integer(integer);
            return;
        }
        let start = self.bytes.len();
        match text.len() {
            length @ 0..0x40 => self.bytes.push(0x80 | length as u8),
            length @ 0x40..0x1000 => {
                self.raw(&(0xe000 | length as u16).to_be_bytes());
            }
            length => {
                self.bytes.push(0xf0);
                self.raw(&(length as u32).to_le_bytes());
            }
        }
        self.raw(text);
        self.end_entry(start);
    }

    /// Adds an integer in as few bytes as it needs.
    pub(super) fn push_integer(&mut self, integer: i64) {
        let start = self.bytes.len();
        let [low, second, third, ..] = integer.to_le_bytes();
        match integer {
            0..=0x7f => self.bytes.push(low),
            -0x1000..0x1000 => self.raw(&[0xc0 | second & 0x1f, low]),
            -0x8000..0x8000 => self.raw(&[0xf1, low, second]),
            -0x80_0000..0x80_0000 => self.raw(&[0xf2, low, second, third]),
            _ => {
                if let Ok(integer) = i32::try_from(integer) {
                    self.bytes.push(0xf3);
                    self.raw(&integer.to_le_bytes());
                } else {
                    self.bytes.push(0xf4);
                    self.raw(&integer.to_le_bytes());
                }
            }
        }
        self.end_entry(start);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the size of the entry that began at `start` behind it.
    fn end_entry(&mut self, start: usize) {
        let size = self.bytes.len() - start;
        let groups = size_width(size);
        for group in (0..groups).rev() {
            let bits = (size >> (7 * group)) as u8 & 0x7f;
            // Read from the end: the bit says that a byte before belongs to it.
            let more = if group + 1 < groups { 0x80 } else { 0 };
            self.bytes.push(bits | more);
        }
        self.count += 1;
    }

    /// The whole listpack.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let size = (self.bytes.len() as u32).to_le_bytes();
        let count = (self.count.min(UNCOUNTED) as u16).to_le_bytes();
        for (to, from) in self.bytes.iter_mut().zip(size.into_iter().chain(count)) {
            *to = from;
        }
        self.bytes
    }
}

/// Bytes that an entry's size takes behind it. The largest that would fit into
/// two, three or four has one more, as the format has it.
const fn size_width(size: usize) -> usize {
    match size {
        0..=0x7f => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0x0fff_ffff => 4,
        _ => 5,
    }
}

/// The entries of a listpack that was seen to be whole.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Entries<'a> {
    /// Walks the listpack that is all of `bytes`.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = Reader::new(bytes, 0);
        let size = u32::from_le_bytes(header.array()?) as usize;
        let said = usize::from(u16::from_le_bytes(header.array()?));
        let (&END, all) = header.rest().split_last().ok_or(Malformed)? else {
            return Err(Malformed);
        };
        if size != bytes.len() {
            return Err(Malformed);
        }
        let mut rest = all;
        let mut count = 0;
        while !rest.is_empty() {
            rest = split_entry(rest).ok_or(Malformed)?.1;
            count += 1;
        }
        if said != UNCOUNTED && said != count {
            return Err(Malformed);
        }
        Ok(Entries {
            rest: all,
            left: count,
        })
    }

    /// The next entry as an integer.
    pub(super) fn integer(&mut self) -> Result<i64, Malformed> {
        let (content, rest) = split_entry(self.rest).ok_or(Malformed)?;
        self.rest = rest;
        self.left -= 1;
        match content {
            Content::Integer(integer) => Ok(integer),
            Content::Bytes(_) => Err(Malformed),
        }
    }

    /// The next entry.
    pub(super) fn text(&mut self) -> Result<Text<'a>, Malformed> {
        self.next().ok_or(Malformed)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        let (content, rest) = split_entry(self.rest)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some(match content {
            Content::Bytes(bytes) => bytes.into(),
            Content::Integer(integer) => integer.into(),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

enum Content<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

/// The entry at the start of `bytes` and what follows it; `None` where it is not
/// whole, or its size behind it is wrong.
fn split_entry(bytes: &[u8]) -> Option<(Content<'_>, &[u8])> {
    let (first, behind) = bytes.split_first()?;
    let (content, rest) = match *first {
        small @ 0..0x80 => (Content::Integer(i64::from(small)), behind),
        short @ 0x80..0xc0 => split_bytes(behind, usize::from(short & 0x3f))?,
        high @ 0xc0..0xe0 => {
            let (low, rest) = behind.split_first()?;
            // Thirteen bits with a sign: pushed to the top and back.
            let bits = u16::from_be_bytes([high << 3 | low >> 5, low << 3]);
            (Content::Integer(i64::from(bits.cast_signed() >> 3)), rest)
        }
        high @ 0xe0..0xf0 => {
            let (low, rest) = behind.split_first()?;
            let length = u16::from_be_bytes([high & 0x0f, *low]);
            split_bytes(rest, usize::from(length))?
        }
        0xf0 => {
            let (length, rest) = behind.split_first_chunk()?;
            split_bytes(rest, u32::from_le_bytes(*length) as usize)?
        }
        0xf1 => split_integer::<2>(behind)?,
        0xf2 => split_integer::<3>(behind)?,
        0xf3 => split_integer::<4>(behind)?,
        0xf4 => split_integer::<8>(behind)?,
        0xf5.. => return None,
    };
    let size = bytes.len() - rest.len();
    let mut said = 0;
    let width = size_width(size);
    // Valkey writes the largest sizes of a width in that width.
    let narrow = width > 1 && size >> (7 * (width - 1)) == 0 && rest.first() == Some(&0x7f);
    let (behind, rest) = rest.split_at_checked(width - usize::from(narrow))?;
    for (at, byte) in behind.iter().enumerate() {
        if (byte & 0x80 != 0) != (at > 0) {
            return None;
        }
        said = said << 7 | usize::from(byte & 0x7f);
    }
    (said == size).then_some((content, rest))
}

fn split_bytes(bytes: &[u8], length: usize) -> Option<(Content<'_>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((Content::Bytes(text), rest))
}

/// An integer of `N` bytes, the lowest first.
fn split_integer<const N: usize>(bytes: &[u8]) -> Option<(Content<'_>, &[u8])> {
    let (integer, rest) = bytes.split_first_chunk::<N>()?;
    Some((Content::Integer(super::little_endian(integer)), rest))
}

#[cfg(test)]
mod tests {
    use super::{Builder, Entries, HEADER};

    #[test]
    fn sizes_at_the_limits_of_their_widths() {
        for (length, behind) in [
            (16_377, &[0x7f, 0xfe][..]),
            (16_378, &[0x00, 0xff, 0xff]),
            (16_379, &[0x01, 0x80, 0x80]),
            (2_097_146, &[0x00, 0xff, 0xff, 0xff]),
        ] {
            let text = vec![b'x'; length];
            let mut builder = Builder::new();
            builder.push(&text);
            let mut bytes = builder.finish();
            let end = HEADER + 5 + length;
            assert_eq!(bytes[end..], [behind, &[0xff]].concat(), "{length}");
            let read = |bytes: &[u8]| {
                let text = Entries::open(bytes).map(|mut entries| entries.next());
                text.map(|text| text.unwrap().to_vec())
            };
            assert_eq!(read(&bytes), Ok(text.clone()));
            // As Valkey writes it, a byte shorter.
            if behind.starts_with(&[0x00]) {
                bytes.splice(end..end + 2, [0x7f]);
                let size = bytes.len() as u32;
                bytes[..4].copy_from_slice(&size.to_le_bytes());
                assert_eq!(read(&bytes), Ok(text.clone()));
                bytes[end] = 0x7e;
                assert!(read(&bytes).is_err());
            }
        }
    }
}
