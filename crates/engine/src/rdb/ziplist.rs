//! Ziplists and zipmaps: how Redis before 7.0 kept small collections. They are
//! read, never written.

use super::read::Reader;
use super::text::Text;
use super::{Malformed, little_endian};

/// Bytes before the entries of a ziplist: the size of all, where the last one
/// begins, and their number.
const HEADER: usize = 10;

/// The byte behind the entries of both.
const END: u8 = 0xff;
/// Marks a size of four more bytes.
const LONG: u8 = 0xfe;
/// The number of a ziplist's entries that stands for "count them".
const UNCOUNTED: usize = 0xffff;

/// The entries of a ziplist that was seen to be whole: each is the size of the
/// one before it, an encoding, and a text or an integer.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Entries<'a> {
    /// Walks the ziplist that is all of `bytes`.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut header = Reader::new(bytes, 0);
        let size = u32::from_le_bytes(header.array()?) as usize;
        let said_last = u32::from_le_bytes(header.array()?) as usize;
        let said = usize::from(u16::from_le_bytes(header.array()?));
        let (&END, all) = header.rest().split_last().ok_or(Malformed)? else {
            return Err(Malformed);
        };
        if size != bytes.len() {
            return Err(Malformed);
        }
        let (mut rest, mut count, mut before, mut last) = (all, 0, 0, HEADER);
        while !rest.is_empty() {
            let (size_before, _, behind) = split_entry(rest).ok_or(Malformed)?;
            if size_before != before {
                return Err(Malformed);
            }
            last = HEADER + all.len() - rest.len();
            before = rest.len() - behind.len();
            rest = behind;
            count += 1;
        }
        if said_last != last || (said != UNCOUNTED && said != count) {
            return Err(Malformed);
        }
        Ok(Entries {
            rest: all,
            left: count,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        let (_, text, rest) = split_entry(self.rest)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some(text)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The entry at the start of `bytes`: the size that it tells of the one before
/// it, its content, and what follows; `None` where it is not whole.
fn split_entry(bytes: &[u8]) -> Option<(usize, Text<'_>, &[u8])> {
    let (before, rest) = match bytes {
        [END, ..] => return None,
        [LONG, rest @ ..] => {
            let (size, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*size) as usize, rest)
        }
        [size, rest @ ..] => (usize::from(*size), rest),
        [] => return None,
    };
    let (encoding, rest) = rest.split_first()?;
    let (text, rest) = match *encoding {
        short @ 0..0x40 => split_text(rest, usize::from(short))?,
        high @ 0x40..0x80 => {
            let (low, rest) = rest.split_first()?;
            split_text(rest, usize::from(u16::from_be_bytes([high & 0x3f, *low])))?
        }
        0x80 => {
            let (length, rest) = rest.split_first_chunk()?;
            split_text(rest, u32::from_be_bytes(*length) as usize)?
        }
        0xc0 => split_integer::<2>(rest)?,
        0xd0 => split_integer::<4>(rest)?,
        0xe0 => split_integer::<8>(rest)?,
        0xf0 => split_integer::<3>(rest)?,
        0xfe => split_integer::<1>(rest)?,
        small @ 0xf1..=0xfd => (i64::from(small - 0xf1).into(), rest),
        _ => return None,
    };
    Some((before, text, rest))
}

fn split_text(bytes: &[u8], length: usize) -> Option<(Text<'_>, &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    Some((text.into(), rest))
}

/// An integer of `N` bytes, the lowest first.
fn split_integer<const N: usize>(bytes: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (integer, rest) = bytes.split_first_chunk::<N>()?;
    Some((little_endian(integer).into(), rest))
}

/// The fields and values of a zipmap, all of `bytes`.
pub(super) fn zipmap(bytes: &[u8]) -> Result<Vec<(Text<'_>, Text<'_>)>, Malformed> {
    let mut pairs = Vec::new();
    let (said, mut rest) = bytes.split_first().ok_or(Malformed)?;
    loop {
        if let [END] = rest {
            break;
        }
        let (field, behind) = split_sized(rest).ok_or(Malformed)?;
        let (value, behind) = split_value(behind).ok_or(Malformed)?;
        pairs.push((field.into(), value.into()));
        rest = behind;
    }
    if *said < LONG && usize::from(*said) != pairs.len() {
        return Err(Malformed);
    }
    Ok(pairs)
}

/// A size of a zipmap, and what follows it.
fn split_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [LONG, rest @ ..] => {
            let (size, rest) = rest.split_first_chunk()?;
            Some((u32::from_le_bytes(*size) as usize, rest))
        }
        [END, ..] | [] => None,
        [size, rest @ ..] => Some((usize::from(*size), rest)),
    }
}

fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = split_size(bytes)?;
    rest.split_at_checked(size)
}

/// A value, which has a number of unused bytes before it and these behind it.
fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = split_size(bytes)?;
    let (unused, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(size)?;
    Some((value, rest.get(usize::from(*unused)..)?))
}
