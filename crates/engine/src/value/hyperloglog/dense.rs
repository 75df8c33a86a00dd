//! Registers of six bits, one after the other from the lowest bit on.

use super::{HEADER, Histogram, REGISTERS};
use crate::value::TextEdit;

/// Bytes of the registers.
pub(super) const BYTES: usize = REGISTERS * 6 / 8;

/// Where a register stands: its first byte, and the bit in it.
const fn place(index: usize) -> (usize, u32) {
    (index * 6 / 8, (index * 6 % 8) as u32)
}

/// The two bytes in which a register lies; nothing follows the last.
fn pair(registers: &[u8], at: usize) -> u16 {
    let byte = |at: usize| registers.get(at).copied().unwrap_or(0);
    u16::from_le_bytes([byte(at), byte(at + 1)])
}

pub(super) fn get(registers: &[u8], index: usize) -> u8 {
    let (at, bit) = place(index);
    (pair(registers, at) >> bit & 63) as u8
}

/// The two bytes with the register at `index` set, and where they stand.
fn with(registers: &[u8], index: usize, value: u8) -> (usize, [u8; 2]) {
    let (at, bit) = place(index);
    let pair = pair(registers, at) & !(63 << bit) | u16::from(value) << bit;
    (at, pair.to_le_bytes())
}

/// Sets a register of bytes that are not a key's yet.
pub(super) fn set(registers: &mut [u8], index: usize, value: u8) {
    let (at, bytes) = with(registers, index, value);
    for (target, byte) in registers.iter_mut().skip(at).zip(bytes) {
        *target = byte;
    }
}

/// Raises a register of a whole string; whether it was lower.
pub(super) fn raise(text: &mut TextEdit<'_>, index: usize, value: u8) -> bool {
    let registers = text.bytes().get(HEADER..).unwrap_or_default();
    if get(registers, index) >= value {
        return false;
    }
    let (at, bytes) = with(registers, index, value);
    let count = (registers.len() - at).min(2);
    text.replace(
        HEADER + at..HEADER + at + count,
        bytes.get(..count).unwrap_or_default(),
    );
    true
}

/// All registers in order, four at a time.
pub(super) fn fours(registers: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    registers.as_chunks::<3>().0.iter().map(|bytes| {
        let four = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        let register = |bit: u32| (four >> bit & 63) as u8;
        [register(0), register(6), register(12), register(18)]
    })
}

pub(super) fn histogram(registers: &[u8]) -> Histogram {
    let mut histogram = [0; 64];
    // Sixteen registers in two words, of which the middle four bytes are in both.
    for bytes in registers.as_chunks::<12>().0 {
        let [low @ .., _, _, _, _] = *bytes;
        let [_, _, _, _, high @ ..] = *bytes;
        for word in [u64::from_le_bytes(low), u64::from_le_bytes(high) >> 16] {
            for at in 0..8 {
                histogram[(word >> (6 * at) & 63) as usize] += 1;
            }
        }
    }
    histogram
}
