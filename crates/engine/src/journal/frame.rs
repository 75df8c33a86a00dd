//! Frames: one atomic unit each, checksummed whole (docs/journal.md).
//!
//! A caller lays a frame down in the writer's buffer with [`append`],
//! under its keyspace's lock; the writer thread seals it (lag and
//! crc) in place, so that nothing is copied twice.

use super::snapshot::record;
use crate::effect::{self, Seq};
use crate::keyspace::Class;

/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 32;
/// Frames begin at multiples of this.
pub const FRAME_ALIGN: usize = 8;
/// The lag that stands for itself or more.
const LAG_MAX: u64 = (1 << 24) - 1;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Commands that repeat a unit.
    Effects,
    /// A keyspace's class and name.
    Keyspace,
    /// The latest values of keys.
    Values,
}

impl FrameKind {
    const fn byte(self) -> u8 {
        match self {
            FrameKind::Effects => 1,
            FrameKind::Keyspace => 2,
            FrameKind::Values => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(FrameKind::Effects),
            2 => Some(FrameKind::Keyspace),
            3 => Some(FrameKind::Values),
            _ => None,
        }
    }
}

/// A frame as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its number.
    pub seq: Seq,
    /// Time of the unit, milliseconds since the epoch.
    pub now_ms: u64,
    /// Number of the keyspace.
    pub keyspace: u32,
    /// What the payload is.
    pub kind: FrameKind,
    /// A seq that was durable when this was written; the true one may be higher.
    pub durable: Seq,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Whether the payload is one of its kind, to the last byte.
    pub fn is_well_formed(&self) -> bool {
        match self.kind {
            FrameKind::Effects => effect::decode(self.payload).is_some(),
            FrameKind::Keyspace => self.keyspace_payload().is_some(),
            FrameKind::Values => are_values(self.payload),
        }
    }

    /// Class and name that a frame of the kind keyspace gives its keyspace.
    pub fn keyspace_payload(&self) -> Option<(Class, &'a str)> {
        let (class, name) = self.payload.split_first()?;
        Some((Class::from_byte(*class)?, std::str::from_utf8(name).ok()?))
    }
}

/// Whether these are values: records, and keys that went.
fn are_values(mut bytes: &[u8]) -> bool {
    while let Some((there, rest)) = bytes.split_first() {
        bytes = rest;
        let whole = match there {
            0 => take_key(&mut bytes).is_some(),
            1 => record::skip(&mut bytes).is_ok(),
            _ => false,
        };
        if !whole {
            return false;
        }
    }
    true
}

fn take_key(bytes: &mut &[u8]) -> Option<()> {
    let (length, rest) = bytes.split_first_chunk()?;
    *bytes = rest.get(u32::from_le_bytes(*length) as usize..)?;
    Some(())
}

/// Bytes that a payload of this length takes in a segment.
pub const fn frame_size(payload: usize) -> usize {
    (FRAME_HEADER + payload).next_multiple_of(FRAME_ALIGN)
}

/// Appends a frame, not yet sealed.
pub fn append(
    out: &mut Vec<u8>,
    seq: Seq,
    now_ms: u64,
    keyspace: u32,
    kind: FrameKind,
    payload: &[u8],
) {
    let size = frame_size(payload.len());
    out.reserve(size);
    let start = out.len();
    let mut header = [0; FRAME_HEADER];
    header[0..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&seq.0.to_le_bytes());
    header[16..24].copy_from_slice(&now_ms.to_le_bytes());
    header[24..28].copy_from_slice(&keyspace.to_le_bytes());
    header[28] = kind.byte();
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    out.resize(start + size, 0);
}

/// Seals the frame at the start of `bytes` and answers its size: writes its
/// lag behind `durable` and its crc. `None` where no whole frame stands there.
pub fn seal(bytes: &mut [u8], salt: u64, durable: Seq) -> Option<usize> {
    let (header, rest) = bytes.split_first_chunk_mut::<FRAME_HEADER>()?;
    let length = u32_at(header, 0) as usize;
    let payload = rest.get(..length)?;
    let seq = u64_at(header, 8);
    let lag = seq.saturating_sub(durable.0).min(LAG_MAX) as u32;
    header[29..32].copy_from_slice(&lag.to_le_bytes()[..3]);
    let crc = checksum(salt, header, payload);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    Some(frame_size(length))
}

/// The size of the unsealed frame at the start of `bytes`.
pub fn size_at(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<FRAME_HEADER>()?;
    Some(frame_size(u32_at(header, 0) as usize))
}

/// The seq of the frame at the start of `bytes`, sealed or not.
pub fn seq_at(bytes: &[u8]) -> Option<Seq> {
    let header = bytes.first_chunk::<FRAME_HEADER>()?;
    Some(Seq(u64_at(header, 8)))
}

/// The valid frame at the start of `bytes` and its size.
pub fn read(bytes: &[u8], salt: u64) -> Option<(Frame<'_>, usize)> {
    let claim = claim(bytes)?;
    let payload = bytes.get(FRAME_HEADER..)?.get(..claim.length)?;
    if checksum(salt, claim.header, payload) != u32_at(claim.header, 4) {
        return None;
    }
    let frame = Frame {
        seq: claim.seq,
        now_ms: u64_at(claim.header, 16),
        keyspace: u32_at(claim.header, 24),
        kind: claim.kind,
        durable: claim.durable,
        payload,
    };
    Some((frame, frame_size(claim.length)))
}

/// What bytes say that could be the header of a frame.
pub(super) struct Claim<'a> {
    header: &'a [u8; FRAME_HEADER],
    kind: FrameKind,
    pub(super) length: usize,
    pub(super) seq: Seq,
    pub(super) durable: Seq,
}

/// What the start of `bytes` says if it is a frame's header.
pub(super) fn claim(bytes: &[u8]) -> Option<Claim<'_>> {
    let header = bytes.first_chunk::<FRAME_HEADER>()?;
    let length = u32_at(header, 0) as usize;
    let kind = FrameKind::of(header[28]).filter(|_| length > 0)?;
    let seq = u64_at(header, 8);
    let lag = u32::from_le_bytes([header[29], header[30], header[31], 0]);
    let durable = if u64::from(lag) == LAG_MAX {
        0
    } else {
        seq.saturating_sub(u64::from(lag))
    };
    Some(Claim {
        header,
        kind,
        length,
        seq: Seq(seq),
        durable: Seq(durable),
    })
}

impl Claim<'_> {
    /// Whether it is true, given the checksum of the payload alone.
    pub(super) fn holds(&self, salt: u64, payload: u32) -> bool {
        let header = header_checksum(salt, self.header);
        crc32c::crc32c_combine(header, payload, self.length) == u32_at(self.header, 4)
    }
}

fn checksum(salt: u64, header: &[u8; FRAME_HEADER], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(header_checksum(salt, header), payload)
}

fn header_checksum(salt: u64, header: &[u8; FRAME_HEADER]) -> u32 {
    // One call over header fields gathered on the stack, one over the payload.
    let mut fixed = [0; 8 + 4 + 24];
    fixed[..8].copy_from_slice(&salt.to_le_bytes());
    fixed[8..12].copy_from_slice(&header[..4]);
    fixed[12..].copy_from_slice(&header[8..]);
    crc32c::crc32c(&fixed)
}

fn u32_at(header: &[u8; FRAME_HEADER], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(header: &[u8; FRAME_HEADER], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&header[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append(&mut bytes, Seq(7), 99, 3, FrameKind::Effects, payload);
        seal(&mut bytes, 42, Seq(5)).unwrap();
        bytes
    }

    #[test]
    fn what_was_framed_comes_back() {
        for length in [1, 7, 8, 9, 4096] {
            let payload = vec![b'x'; length];
            let bytes = framed(&payload);
            assert_eq!(bytes.len() % FRAME_ALIGN, 0);
            let (frame, size) = read(&bytes, 42).unwrap();
            assert_eq!(size, bytes.len());
            assert_eq!(
                frame,
                Frame {
                    seq: Seq(7),
                    now_ms: 99,
                    keyspace: 3,
                    kind: FrameKind::Effects,
                    durable: Seq(5),
                    payload: &payload,
                }
            );
        }
    }

    #[test]
    fn every_flipped_bit_but_padding_is_noticed() {
        let bytes = framed(b"0123456789");
        for at in 0..FRAME_HEADER + 10 {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(read(&flipped, 42), None, "byte {at} bit {bit}");
            }
        }
        assert_eq!(read(&bytes, 43), None, "another segment's frame");
        assert_eq!(read(&bytes[..bytes.len() - 7], 42), None, "cut");
    }

    #[test]
    fn a_long_lag_claims_nothing() {
        let mut bytes = Vec::new();
        append(&mut bytes, Seq(1 << 30), 0, 0, FrameKind::Values, b"v");
        seal(&mut bytes, 0, Seq(1)).unwrap();
        assert_eq!(read(&bytes, 0).unwrap().0.durable, Seq(0));
    }
}
