//! The parts of a snapshot as bytes: its header, and blocks, each checksummed
//! and numbered so that none can stand in another's place or file.

use super::Section;
use crate::effect::Seq;
use crate::journal::LogId;
use crate::journal::segment::{SEGMENT_HEADER, check_header, log_id_at, seal_header, u64_at};
use crate::keyspace::Class;

/// Bytes before the first block.
pub const SNAPSHOT_HEADER: usize = SEGMENT_HEADER;
/// Bytes of a block before its payload.
pub const BLOCK_HEADER: usize = 16;

const MAGIC: [u8; 8] = *b"SANGAMSN";
const VERSION: u32 = 1;

/// What a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The log that it belongs to.
    pub log: LogId,
    /// Every unit up to here is in it; its sections may go further.
    pub cut: Seq,
    /// When it was begun, milliseconds since the epoch.
    pub begun_ms: u64,
    /// Begins the crc of each block.
    pub salt: u64,
}

impl SnapshotHeader {
    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; SNAPSHOT_HEADER] {
        let mut bytes = [0; SNAPSHOT_HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log.0);
        bytes[32..40].copy_from_slice(&self.cut.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.begun_ms.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        seal_header(&mut bytes);
        bytes
    }

    /// The header in these bytes, if they are a valid one.
    pub fn read(bytes: &[u8; SNAPSHOT_HEADER]) -> Option<Self> {
        check_header(bytes, MAGIC, VERSION)?;
        Some(SnapshotHeader {
            log: log_id_at(bytes),
            cut: Seq(u64_at(bytes, 32)),
            begun_ms: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
        })
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// A keyspace begins.
    Section,
    /// Records of it.
    Records,
    /// A library of functions of it.
    Library,
    /// It ends.
    SectionEnd,
    /// The snapshot ends.
    Footer,
    /// The users of the keyspace that began.
    Users,
    /// Requests that it remembers.
    Requests,
}

impl BlockKind {
    const fn number(self) -> u32 {
        match self {
            BlockKind::Section => 1,
            BlockKind::Records => 2,
            BlockKind::SectionEnd => 3,
            BlockKind::Footer => 4,
            BlockKind::Library => 5,
            BlockKind::Users => 6,
            BlockKind::Requests => 7,
        }
    }

    const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(BlockKind::Section),
            2 => Some(BlockKind::Records),
            3 => Some(BlockKind::SectionEnd),
            4 => Some(BlockKind::Footer),
            5 => Some(BlockKind::Library),
            6 => Some(BlockKind::Users),
            7 => Some(BlockKind::Requests),
            _ => None,
        }
    }
}

/// A block's first bytes.
#[derive(Debug, Clone, Copy)]
pub struct BlockHeader([u8; BLOCK_HEADER]);

impl BlockHeader {
    /// The header of a block with this payload; `None` where it is too long
    /// to be told.
    pub fn seal(salt: u64, kind: BlockKind, number: u32, payload: &[u8]) -> Option<Self> {
        let length = u32::try_from(payload.len()).ok()?;
        let mut header = BlockHeader([0; BLOCK_HEADER]);
        header.0[0..4].copy_from_slice(&length.to_le_bytes());
        header.0[8..12].copy_from_slice(&kind.number().to_le_bytes());
        header.0[12..16].copy_from_slice(&number.to_le_bytes());
        let crc = header.checksum(salt, payload);
        header.0[4..8].copy_from_slice(&crc.to_le_bytes());
        Some(header)
    }

    /// The header in these bytes, which [`BlockHeader::check`] has to confirm.
    pub const fn of(bytes: [u8; BLOCK_HEADER]) -> Self {
        BlockHeader(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; BLOCK_HEADER] {
        &self.0
    }

    /// Bytes of the payload.
    pub fn length(&self) -> usize {
        self.field(0) as usize
    }

    /// What the block holds, if crc and number are right.
    pub fn check(&self, salt: u64, number: u32, payload: &[u8]) -> Result<BlockKind, &'static str> {
        if self.checksum(salt, payload) != self.field(4) {
            return Err("a block's checksum is wrong");
        }
        if self.field(12) != number {
            return Err("a block has another's number");
        }
        BlockKind::of(self.field(8)).ok_or("a block is of no known kind")
    }

    fn field(&self, at: usize) -> u32 {
        let mut number = [0; 4];
        number.copy_from_slice(&self.0[at..at + 4]);
        u32::from_le_bytes(number)
    }

    fn checksum(&self, salt: u64, payload: &[u8]) -> u32 {
        let mut fixed = [0; 8 + 4 + 8];
        fixed[..8].copy_from_slice(&salt.to_le_bytes());
        fixed[8..12].copy_from_slice(&self.0[..4]);
        fixed[12..].copy_from_slice(&self.0[8..]);
        crc32c::crc32c_append(crc32c::crc32c(&fixed), payload)
    }
}

impl<'a> Section<'a> {
    /// Bytes before the name.
    const FIXED: usize = 4 + 1 + 8;

    /// The payload of its block.
    pub fn to_payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(Self::FIXED + self.name.len());
        payload.extend_from_slice(&self.keyspace.to_le_bytes());
        payload.push(self.class.to_byte());
        payload.extend_from_slice(&self.cut.0.to_le_bytes());
        payload.extend_from_slice(self.name.as_bytes());
        payload
    }

    /// The section that a block's payload opens.
    pub fn of_payload(payload: &'a [u8]) -> Option<Self> {
        let (keyspace, rest) = payload.split_first_chunk()?;
        let (class, rest) = rest.split_first()?;
        let (cut, name) = rest.split_first_chunk()?;
        Some(Section {
            keyspace: u32::from_le_bytes(*keyspace),
            class: Class::from_byte(*class)?,
            cut: Seq(u64::from_le_bytes(*cut)),
            name: std::str::from_utf8(name).ok()?,
        })
    }
}

/// A payload of nothing but this many numbers.
pub(in crate::journal) fn numbers<const N: usize>(payload: &[u8]) -> Option<[u64; N]> {
    let (numbers, []) = payload.as_chunks() else {
        return None;
    };
    let numbers: &[[u8; 8]; N] = numbers.try_into().ok()?;
    Some(numbers.map(u64::from_le_bytes))
}
