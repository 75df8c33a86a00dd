//! Segments: the log's files, and their headers (docs/journal.md).

use super::LogId;
use crate::effect::Seq;

/// Bytes before the first frame.
pub const SEGMENT_HEADER: usize = 64;
/// Bytes of a segment, unless one frame needs more.
pub const SEGMENT_SIZE: u64 = 64 << 20;
/// The segment that was allocated ahead.
pub const SPARE: &str = "spare.seg";

const MAGIC: [u8; 8] = *b"SANGAMLG";
const VERSION: u32 = 1;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log it belongs to.
    pub log: LogId,
    /// Seq of its first frame.
    pub first: Seq,
    /// When it was made, milliseconds since the epoch.
    pub made_ms: u64,
    /// Begins the crc of each frame.
    pub salt: u64,
}

impl SegmentHeader {
    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log.0);
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.made_ms.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        seal_header(&mut bytes);
        bytes
    }

    /// The header in these bytes, if they are a valid one.
    pub fn read(bytes: &[u8; SEGMENT_HEADER]) -> Option<Self> {
        Self::check(bytes).ok()
    }

    /// The header in these bytes, or why they are none.
    pub fn check(bytes: &[u8; SEGMENT_HEADER]) -> Result<Self, HeaderRefusal> {
        check_header(bytes, MAGIC, VERSION).ok_or_else(|| refusal(bytes, MAGIC))?;
        Ok(SegmentHeader {
            log: log_id_at(bytes),
            first: Seq(u64_at(bytes, 32)),
            made_ms: u64_at(bytes, 40),
            salt: u64_at(bytes, 48),
        })
    }
}

/// Why bytes are not taken for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefusal {
    /// No header, or a damaged one.
    #[error("the header is damaged")]
    Damaged,
    /// A header of a version that this build does not know.
    #[error("the file is of version {0}, which this build does not read")]
    Version(u32),
}

/// The name of the segment whose first frame is `first`.
pub fn segment_name(first: Seq) -> String {
    format!("log-{:020}.seg", first.0)
}

/// The first seq that a segment's name says.
pub fn segment_of(name: &str) -> Option<Seq> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    (digits.len() == 20)
        .then(|| digits.parse().ok().map(Seq))
        .flatten()
}

/// Writes the crc that headers of 64 bytes carry at 12.
pub(super) fn seal_header(bytes: &mut [u8; SEGMENT_HEADER]) {
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// Whether these are the 64 bytes of a valid header of this kind.
pub(super) fn check_header(
    bytes: &[u8; SEGMENT_HEADER],
    magic: [u8; 8],
    version: u32,
) -> Option<()> {
    let mut sealed = *bytes;
    seal_header(&mut sealed);
    let same = sealed == *bytes
        && bytes.starts_with(&magic)
        && bytes.get(8..12) == Some(&version.to_le_bytes()[..]);
    same.then_some(())
}

/// Why `bytes`, which are no header of a known version, are none.
pub(super) fn refusal(bytes: &[u8; SEGMENT_HEADER], magic: [u8; 8]) -> HeaderRefusal {
    let mut version = [0; 4];
    version.copy_from_slice(&bytes[8..12]);
    let version = u32::from_le_bytes(version);
    match check_header(bytes, magic, version) {
        Some(()) => HeaderRefusal::Version(version),
        None => HeaderRefusal::Damaged,
    }
}

pub(super) fn log_id_at(bytes: &[u8; SEGMENT_HEADER]) -> LogId {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    LogId(id)
}

pub(super) fn u64_at(bytes: &[u8; SEGMENT_HEADER], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_every_flip_is_noticed() {
        let header = SegmentHeader {
            log: LogId([9; 16]),
            first: Seq(77),
            made_ms: 1_700_000_000_000,
            salt: 0xfeed,
        };
        let bytes = header.to_bytes();
        assert_eq!(SegmentHeader::read(&bytes), Some(header));
        for at in 0..SEGMENT_HEADER {
            let mut flipped = bytes;
            flipped[at] ^= 0x10;
            assert_eq!(SegmentHeader::read(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn names_order_as_seqs_do() {
        assert_eq!(segment_of(&segment_name(Seq(12))), Some(Seq(12)));
        assert!(segment_name(Seq(9)) < segment_name(Seq(10)));
        assert_eq!(segment_of("log-1.seg"), None);
        assert_eq!(segment_of(SPARE), None);
    }
}
