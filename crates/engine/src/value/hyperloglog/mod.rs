//! HyperLogLog: how many different elements a string has seen, within a percent.
//!
//! 16,384 registers keep the longest run of zeros among the hashes of the
//! elements that fell to them. A string that holds them is Redis' to the byte:
//! `HYLL`, the encoding, three bytes unused, the cached count (its highest bit
//! says that it is out of date), then the registers as runs or as six bits each.
//! Both the encodings and the moment of the change between them are visible, and
//! clients move such strings about with GET and SET.
//!
//! Strings come from outside: what is wrong in them is an error, [`Corrupted`].
//! Adding costs a few bytes' change; counting is linear in the registers, and
//! constant while nothing was added.

mod dense;
mod estimate;
mod hash;
mod sparse;
#[cfg(test)]
mod tests;

use super::TextEdit;
use sparse::Cursor;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
const SEED: u64 = 0xadc8_3b19;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
/// The cached count: eight bytes, the lowest first.
pub const CACHE_AT: usize = 8;
/// The highest byte of the count, of which the highest bit invalidates it.
const STALE_AT: usize = CACHE_AT + 7;
const STALE: u8 = 0x80;
const HEADER: usize = 16;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// How many registers have each value.
type Histogram = [u32; 64];

/// The runs of a string are not those of all registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupted;

/// A string that looks like a HyperLogLog.
#[derive(Debug, Clone, Copy)]
pub struct HyperLogLog<'a> {
    text: &'a [u8],
    is_dense: bool,
}

impl<'a> HyperLogLog<'a> {
    /// The HyperLogLog in `text`; `None` where its header or its length is not
    /// that of one. Its registers may be corrupted all the same.
    pub fn of(text: &'a [u8]) -> Option<Self> {
        let header = text.first_chunk::<HEADER>()?;
        let encoding = header[ENCODING_AT];
        let fits = match encoding {
            DENSE => text.len() == HEADER + dense::BYTES,
            SPARSE => true,
            _ => false,
        };
        (header.starts_with(MAGIC) && fits).then_some(HyperLogLog {
            text,
            is_dense: encoding == DENSE,
        })
    }

    /// Whether its registers have six bits each.
    pub const fn is_dense(&self) -> bool {
        self.is_dense
    }

    fn registers(&self) -> &'a [u8] {
        self.text.get(HEADER..).unwrap_or_default()
    }

    /// The count that is kept with it, unless something was added since.
    pub fn cached(&self) -> Option<u64> {
        let (_, cache) = self.text.split_at_checked(CACHE_AT)?;
        let count = u64::from_le_bytes(*cache.first_chunk()?);
        (count >> 63 == 0).then_some(count)
    }

    /// The number of elements.
    pub fn count(&self) -> Result<u64, Corrupted> {
        let histogram = if self.is_dense {
            dense::histogram(self.registers())
        } else {
            sparse::histogram(self.registers())?
        };
        Ok(estimate::estimate(&histogram))
    }

    /// The runs of a sparse one, as PFDEBUG DECODE writes them.
    pub fn decoded(&self) -> String {
        let runs = sparse::runs(self.registers()).map(|run| match run.value {
            0 if run.is_long() => format!("Z:{}", run.len),
            0 => format!("z:{}", run.len),
            value => format!("v:{value},{}", run.len),
        });
        runs.collect::<Vec<_>>().join(" ")
    }
}

/// Registers of several strings, the highest of each.
pub struct Union(Box<[u8]>);

impl Default for Union {
    fn default() -> Self {
        Union(vec![0; REGISTERS].into())
    }
}

impl Union {
    /// Takes in the registers of one more.
    pub fn add(&mut self, one: HyperLogLog<'_>) -> Result<(), Corrupted> {
        if one.is_dense {
            let highest = self.0.as_chunks_mut::<4>().0;
            for (highest, four) in highest.iter_mut().zip(dense::fours(one.registers())) {
                for (highest, register) in highest.iter_mut().zip(four) {
                    *highest = register.max(*highest);
                }
            }
            return Ok(());
        }
        sparse::each(one.registers(), |index, value| {
            if let Some(highest) = self.0.get_mut(index) {
                *highest = value.max(*highest);
            }
        })
    }

    /// The number of elements of all together.
    pub fn count(&self) -> u64 {
        let mut histogram = [0; 64];
        for register in &self.0 {
            histogram[usize::from(*register & 63)] += 1;
        }
        estimate::estimate(&histogram)
    }

    /// The registers, in order.
    pub fn registers(&self) -> &[u8] {
        &self.0
    }

    /// Raises the registers of `text`, which is a HyperLogLog that is not
    /// corrupted.
    pub fn write(&self, text: &mut TextEdit<'_>, max_bytes: usize) -> Result<(), Corrupted> {
        let mut cursor = Cursor::START;
        for (index, value) in self.0.iter().enumerate() {
            if *value > 0 {
                raise(text, &mut cursor, index, *value, max_bytes)?;
            }
        }
        invalidate(text);
        Ok(())
    }
}

/// A HyperLogLog that has seen nothing.
pub fn empty() -> Vec<u8> {
    let mut text = vec![0; HEADER];
    text[..MAGIC.len()].copy_from_slice(MAGIC);
    text[ENCODING_AT] = SPARSE;
    text.extend(sparse::EMPTY);
    text
}

/// Adds an element to `text`, which is a HyperLogLog; whether a register was
/// raised. The cached count is the caller's to [`invalidate`].
pub fn add(text: &mut TextEdit<'_>, element: &[u8], max_bytes: usize) -> Result<bool, Corrupted> {
    let hash = hash::murmur64a(element, SEED);
    let index = hash as usize & (REGISTERS - 1);
    // A bit beyond the hash ends the zeros.
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    let value = rest.trailing_zeros() as u8 + 1;
    let mut cursor = Cursor::START;
    raise(text, &mut cursor, index, value, max_bytes)
}

fn raise(
    text: &mut TextEdit<'_>,
    cursor: &mut Cursor,
    index: usize,
    value: u8,
    max_bytes: usize,
) -> Result<bool, Corrupted> {
    if text.bytes().get(ENCODING_AT) == Some(&DENSE) {
        return Ok(dense::raise(text, index, value));
    }
    sparse::raise(text, cursor, index, value, max_bytes)
}

/// Says that the cached count is out of date.
pub fn invalidate(text: &mut TextEdit<'_>) {
    if let Some(byte) = text.bytes().get(STALE_AT).filter(|byte| *byte & STALE == 0) {
        let byte = byte | STALE;
        text.replace(STALE_AT..STALE_AT + 1, &[byte]);
    }
}

/// Makes `text`, a HyperLogLog, dense; whether it was not.
pub fn to_dense(text: &mut TextEdit<'_>) -> Result<bool, Corrupted> {
    if text.bytes().get(ENCODING_AT) == Some(&DENSE) {
        return Ok(false);
    }
    sparse::to_dense(text).map(|()| true)
}
