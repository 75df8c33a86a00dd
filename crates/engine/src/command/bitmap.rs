//! Strings as arrays of bits; bit 0 is the highest of the first byte.
//!
//! Counting and searching take eight bytes a step; a range of bits is a range
//! of bytes with a mask at each end.

mod bitop;

use super::Ctx;
use super::args::{int, int_or, is, parse_i64};
use super::spec::{Acl, CommandSpec, Flags, Keys, ONE_KEY, Outcome};
use super::string::clamp;
use crate::error::CommandError;
use crate::keyspace::Db;
use crate::notify::Event;
use crate::reply::Reply;

const FROM_SECOND: Keys = Keys::Range {
    first: 2,
    last: -1,
    step: 1,
};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("setbit", 4, setbit)
        .writes(ONE_KEY, Acl::BITMAP)
        .denyoom()
        .since("2.2.0"),
    CommandSpec::new("getbit", 3, getbit)
        .reads(ONE_KEY, Acl::BITMAP)
        .fast()
        .since("2.2.0"),
    CommandSpec::new("bitcount", -2, bitcount)
        .reads(ONE_KEY, Acl::BITMAP)
        .flags(Flags::LONG)
        .since("2.6.0"),
    CommandSpec::new("bitpos", -3, bitpos)
        .reads(ONE_KEY, Acl::BITMAP)
        .flags(Flags::LONG)
        .since("2.8.7"),
    CommandSpec::new("bitop", -4, bitop::bitop)
        .writes(FROM_SECOND, Acl::BITMAP)
        .denyoom()
        .flags(Flags::LONG)
        .since("2.6.0"),
];

/// A bit's offset; `width` is what a `#` before it multiplies by, where that
/// is allowed. The product wraps, as it does in Redis.
pub(super) fn bit_offset(db: &Db, text: &[u8], width: Option<u32>) -> Result<usize, CommandError> {
    let number = match (text, width) {
        ([b'#', text @ ..], Some(width)) => {
            parse_i64(text).map(|index| index.wrapping_mul(i64::from(width)))
        }
        _ => parse_i64(text),
    };
    number
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset >> 3 < db.settings.proto_max_bulk_len)
        .ok_or(CommandError::text(
            "ERR bit offset is not an integer or out of range",
        ))
}

fn setbit(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    const NOT_A_BIT: &str = "ERR bit is not an integer or out of range";
    let key = argv[1];
    let offset = bit_offset(ctx.db, argv[2], None)?;
    let on = match int_or(argv[3], NOT_A_BIT)? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text(NOT_A_BIT)),
    };
    let (at, mask) = (offset >> 3, 0x80_u8 >> (offset & 7));
    let byte = ctx
        .db
        .peek_str(key)?
        .and_then(|text| text.with(|text| text.get(at).copied()));
    let was_on = byte.is_some_and(|byte| byte & mask != 0);
    if byte.is_none() || was_on != on {
        let byte = byte.unwrap_or(0) & !mask;
        ctx.db
            .splice(key, at, &[if on { byte | mask } else { byte }]);
        ctx.db.notify(Event::String, "setbit", key);
    }
    Ok(was_on.into())
}

fn getbit(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let offset = bit_offset(ctx.db, argv[2], None)?;
    let Some(text) = ctx.db.get_str(argv[1])? else {
        return Ok(Reply::Int(0));
    };
    let byte = text.with(|text| text.get(offset >> 3).copied().unwrap_or(0));
    Ok((byte & (0x80 >> (offset & 7)) != 0).into())
}

/// Whether a range counts bits (`BIT`) or bytes (`BYTE`).
fn counts_bits(unit: &[u8]) -> Result<bool, CommandError> {
    if is(unit, "BIT") {
        Ok(true)
    } else if is(unit, "BYTE") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// A non-empty range of bits inside a string, both ends included.
#[derive(Debug, Clone, Copy)]
struct BitRange {
    start: usize,
    end: usize,
}

impl BitRange {
    /// From the ends as the caller gave them; `None` where nothing is in it.
    fn new(start: i64, end: i64, in_bits: bool, bytes: usize) -> Option<Self> {
        let len = if in_bits { bytes * 8 } else { bytes };
        let (start, end) = clamp(start, end, len as i64);
        if start > end {
            return None;
        }
        let (start, end) = (start as usize, end as usize);
        Some(if in_bits {
            BitRange { start, end }
        } else {
            BitRange {
                start: start * 8,
                end: end * 8 + 7,
            }
        })
    }

    /// The bytes that hold it, with the masks of the bits that belong to it in
    /// the first and in the last.
    fn bytes(self) -> (std::ops::RangeInclusive<usize>, u8, u8) {
        (
            self.start >> 3..=self.end >> 3,
            0xff >> (self.start & 7),
            0xff << (7 - (self.end & 7)),
        )
    }
}

/// Ones in `text`.
fn ones(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let words: u64 = words
        .iter()
        .map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()))
        .sum();
    words
        + rest
            .iter()
            .map(|byte| u64::from(byte.count_ones()))
            .sum::<u64>()
}

fn ones_in(text: &[u8], range: BitRange) -> u64 {
    let (bytes, first, last) = range.bytes();
    let Some(text) = text.get(bytes) else {
        return 0;
    };
    let (Some(head), Some(tail)) = (text.first(), text.last()) else {
        return 0;
    };
    let outside = (head & !first).count_ones() + (tail & !last).count_ones();
    ones(text) - u64::from(outside)
}

fn bitcount(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let Some(text) = ctx.db.get_str(argv[1])? else {
        return Ok(Reply::Int(0));
    };
    let count = text.with(|text| {
        let (start, end) = match *argv {
            [_, _] => return Ok(ones(text)),
            [_, _, start, end] | [_, _, start, end, _] => (int(start)?, int(end)?),
            _ => return Err(CommandError::Syntax),
        };
        if start < 0 && end < 0 && start > end {
            return Ok(0);
        }
        let in_bits = argv.get(4).map_or(Ok(false), |unit| counts_bits(unit))?;
        Ok(BitRange::new(start, end, in_bits, text.len()).map_or(0, |range| ones_in(text, range)))
    })?;
    Ok(Reply::Int(count as i64))
}

/// The first byte of `text` that is not `filler`.
fn first_other(text: &[u8], filler: u8) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    let skipped = words
        .iter()
        .position(|word| *word != [filler; 8])
        .unwrap_or(words.len())
        * 8;
    let rest = if skipped < text.len() - rest.len() {
        text.get(skipped..)?
    } else {
        rest
    };
    rest.iter()
        .position(|byte| *byte != filler)
        .map(|at| skipped + at)
}

/// The first `bit` in `range`.
fn first_bit(text: &[u8], range: BitRange, bit: bool) -> Option<usize> {
    // What is looked for becomes a one.
    let filler = if bit { 0 } else { 0xff };
    let (bytes, first, last) = range.bytes();
    let (begin, end) = bytes.into_inner();
    let wanted = |at: usize, mask: u8| {
        let byte = text.get(at).map_or(0, |byte| (byte ^ filler) & mask);
        (byte != 0).then(|| at * 8 + byte.leading_zeros() as usize)
    };
    if begin == end {
        return wanted(begin, first & last);
    }
    wanted(begin, first)
        .or_else(|| {
            let at = first_other(text.get(begin + 1..end)?, filler)?;
            wanted(begin + 1 + at, 0xff)
        })
        .or_else(|| wanted(end, last))
}

fn bitpos(ctx: &mut Ctx<'_>, argv: &[&[u8]]) -> Outcome {
    let bit = match int(argv[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let Some(text) = ctx.db.get_str(argv[1])? else {
        return Ok(Reply::Int(if bit { -1 } else { 0 }));
    };
    text.with(|text| {
        let (start, end, in_bits) = match *argv {
            [_, _, _] => (0, -1, false),
            [_, _, _, start] => (int(start)?, -1, false),
            [_, _, _, start, end] => (int(start)?, int(end)?, false),
            [_, _, _, start, end, unit] => {
                let start = int(start)?;
                let in_bits = counts_bits(unit)?;
                (start, int(end)?, in_bits)
            }
            _ => return Err(CommandError::Syntax),
        };
        let Some(range) = BitRange::new(start, end, in_bits, text.len()) else {
            return Ok(Reply::Int(-1));
        };
        Ok(match first_bit(text, range, bit) {
            Some(at) => at.into(),
            // Without an end, zeros are thought to follow the string.
            None if !bit && argv.len() < 5 => (text.len() * 8).into(),
            None => Reply::Int(-1),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both walks against looking at each bit, over every range.
    #[test]
    fn ranges_agree_with_single_bits() {
        let texts: [&[u8]; 4] = [
            &[0; 21],
            &[0xff; 21],
            &[
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 1,
            ],
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x7f, 0xff,
            ],
        ];
        for text in texts {
            let bits = text.len() * 8;
            let is_on = |at: &usize| text[at >> 3] & (0x80 >> (at & 7)) != 0;
            for start in 0..bits {
                for end in start..bits {
                    let range = BitRange { start, end };
                    let count = (start..=end).filter(is_on).count() as u64;
                    assert_eq!(ones_in(text, range), count, "{start} {end}");
                    for bit in [false, true] {
                        let first = (start..=end).find(|at| is_on(at) == bit);
                        assert_eq!(first_bit(text, range, bit), first, "{start} {end} {bit}");
                    }
                }
            }
        }
    }
}
