//! Reading lengths, strings and numbers of a payload.
//!
//! Every length is held against the bytes that are left before anything is
//! allocated for it, and what strings decompress to is bounded in sum.

use super::text::Text;
use super::{Malformed, lzf};

/// How a length byte's high two bits say that a special string follows.
const SPECIAL: u8 = 0b11;

/// A payload's bytes that were not read yet.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes that strings may still decompress to.
    room: usize,
}

/// What stands where a length is expected.
enum Length {
    Plain(u64),
    Special(u8),
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, the strings of which may decompress to `room` bytes.
    pub(super) const fn new(bytes: &'a [u8], room: usize) -> Self {
        Reader { rest: bytes, room }
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    /// All that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn length_or_special(&mut self) -> Result<Length, Malformed> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match first >> 6 {
            0b00 => Length::Plain(u64::from(low)),
            0b01 => Length::Plain(u64::from(u16::from_be_bytes([low, self.byte()?]))),
            SPECIAL => Length::Special(low),
            _ if low == 0 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            _ if low == 1 => Length::Plain(u64::from_be_bytes(self.array()?)),
            _ => return Err(Malformed),
        })
    }

    /// A number as lengths are written.
    pub(super) fn length(&mut self) -> Result<u64, Malformed> {
        match self.length_or_special()? {
            Length::Plain(length) => Ok(length),
            Length::Special(_) => Err(Malformed),
        }
    }

    /// A number of elements, each of which takes `least` bytes or more of what
    /// follows; none is malformed.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        match self.count_or_none(least)? {
            0 => Err(Malformed),
            count => Ok(count),
        }
    }

    /// The same where there may be none.
    pub(super) fn count_or_none(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.length()?).map_err(|_| Malformed)?;
        if count > self.rest.len() / least.max(1) {
            return Err(Malformed);
        }
        Ok(count)
    }

    /// A string: verbatim, as an integer, or compressed.
    pub(super) fn string(&mut self) -> Result<Text<'a>, Malformed> {
        match self.length_or_special()? {
            Length::Plain(length) => {
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                Ok(Text::from(self.take(length)?))
            }
            Length::Special(0) => Ok(i64::from(i8::from_le_bytes(self.array()?)).into()),
            Length::Special(1) => Ok(i64::from(i16::from_le_bytes(self.array()?)).into()),
            Length::Special(2) => Ok(i64::from(i32::from_le_bytes(self.array()?)).into()),
            Length::Special(3) => {
                let compressed = usize::try_from(self.length()?).map_err(|_| Malformed)?;
                let length = usize::try_from(self.length()?).map_err(|_| Malformed)?;
                let stream = self.take(compressed)?;
                self.room = self.room.checked_sub(length).ok_or(Malformed)?;
                lzf::decompress(stream, length)
                    .map(Text::Owned)
                    .ok_or(Malformed)
            }
            Length::Special(_) => Err(Malformed),
        }
    }

    /// A double, as its eight bytes.
    pub(super) fn double(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }
}
