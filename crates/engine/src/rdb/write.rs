//! Writing lengths and strings of a payload, as Redis does with its default
//! settings: integers of up to 32 bits as such, strings of more than 20 bytes
//! compressed where that saves four bytes.

use super::lzf::Compressor;
use crate::value::parse_integer;

/// A special string's first byte, by its kind.
const INT8: u8 = 0xc0;
const INT16: u8 = 0xc1;
const INT32: u8 = 0xc2;
const LZF: u8 = 0xc3;

/// Longest text of an integer of 32 bits.
const INT32_TEXT: usize = 11;
/// Shorter strings are not compressed.
const SHORTEST: usize = 21;
/// Bytes that compression must save.
const SAVING: usize = 4;

/// A payload in the making.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    compressor: Compressor,
    /// What was compressed last.
    stream: Vec<u8>,
}

impl Writer {
    /// The bytes so far.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A number as lengths are written: in one, two, five or nine bytes.
    pub(super) fn length(&mut self, length: u64) {
        match length {
            0..0x40 => self.bytes.push(length as u8),
            0x40..0x4000 => self.raw(&(0x4000 | length as u16).to_be_bytes()),
            _ => {
                if let Ok(length) = u32::try_from(length) {
                    self.bytes.push(0x80);
                    self.raw(&length.to_be_bytes());
                } else {
                    self.bytes.push(0x81);
                    self.raw(&length.to_be_bytes());
                }
            }
        }
    }

    /// An integer as a string.
    pub(super) fn integer(&mut self, integer: i64) {
        if let Ok(integer) = i8::try_from(integer) {
            self.raw(&[INT8, integer.to_le_bytes()[0]]);
        } else if let Ok(integer) = i16::try_from(integer) {
            self.bytes.push(INT16);
            self.raw(&integer.to_le_bytes());
        } else if let Ok(integer) = i32::try_from(integer) {
            self.bytes.push(INT32);
            self.raw(&integer.to_le_bytes());
        } else {
            self.verbatim(itoa::Buffer::new().format(integer).as_bytes());
        }
    }

    /// A string.
    pub(super) fn string(&mut self, text: &[u8]) {
        if text.len() <= INT32_TEXT
            && let Some(integer) = parse_integer(text)
            && i32::try_from(integer).is_ok()
        {
            self.integer(integer);
            return;
        }
        if text.len() >= SHORTEST {
            self.stream.clear();
            let most = text.len() - SAVING;
            if let Some(length) = self.compressor.compress(text, most, &mut self.stream) {
                self.bytes.push(LZF);
                self.length(length as u64);
                self.length(text.len() as u64);
                self.bytes.extend_from_slice(&self.stream);
                return;
            }
        }
        self.verbatim(text);
    }

    fn verbatim(&mut self, text: &[u8]) {
        self.length(text.len() as u64);
        self.raw(text);
    }
}
