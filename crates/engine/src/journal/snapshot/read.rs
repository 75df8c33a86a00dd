//! Reading a snapshot: a block at a time, and nothing of it is believed before
//! its checksum, its number and its place were.
//!
//! Memory: one block, whose length is compared with the file's before a byte
//! of it is taken.

use std::collections::HashSet;
use std::fmt;

use super::block::{
    BLOCK_HEADER, BlockHeader, BlockKind, SNAPSHOT_HEADER, SnapshotHeader, numbers,
};
use super::{Section, record};
use crate::effect::{self, Seq};
use crate::journal::LogId;
use crate::journal::storage::StorageFile;
use crate::keyspace::{Record, requests};

/// What a whole snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Every unit up to here is in it; no section's cut is below it.
    pub cut: Seq,
    /// The highest cut of a section; the log was synced that far.
    pub highest: Seq,
    /// Records of all sections.
    pub records: u64,
    /// Sections, one for each keyspace.
    pub sections: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Where a file stops being a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Damage {
    /// Byte of the file: the start of the block that is not right.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

/// What [`load`] hands out, in the order of the file.
#[derive(Debug)]
pub enum Part<'a> {
    /// A keyspace begins; no keyspace comes twice.
    Section(Section<'a>),
    /// The users of the section before, as the commands that make them.
    Users {
        /// Number of the keyspace.
        keyspace: u32,
        /// As in [`crate::effect::Effects`].
        commands: &'a [u8],
    },
    /// A library of functions of the section before.
    Library {
        /// Number of the keyspace.
        keyspace: u32,
        /// Its text, as FUNCTION LOAD took it.
        code: &'a [u8],
    },
    /// Requests that the keyspace of the section before remembers.
    Requests {
        /// Number of the keyspace.
        keyspace: u32,
        /// The newest id that was dropped, then the effects that remember.
        block: &'a [u8],
    },
    /// A record of the section before.
    Record {
        /// Number of the keyspace.
        keyspace: u32,
        /// The key with its value, to be given to `Db::restore_record`.
        record: Box<Record>,
    },
}

/// Reads the whole file and says what it holds, or where it is not a snapshot
/// of this log: every checksum, number and count, the extent of every record,
/// and that nothing follows the footer.
pub fn verify(file: &dyn StorageFile, log: LogId) -> Result<Summary, Damage> {
    read(file, Some(log), &mut Skip)
}

/// Reads the whole file and gives `each` what it holds. What it gave before it
/// met damage, or before `each` failed, is for the caller to throw away.
pub fn load(
    file: &dyn StorageFile,
    each: &mut dyn FnMut(Part<'_>) -> Result<(), String>,
) -> Result<Summary, Damage> {
    read(file, None, &mut Load(each))
}

/// What is done with what was read.
trait Reader {
    fn section(&mut self, section: Section<'_>) -> Result<(), String>;
    fn users(&mut self, keyspace: u32, commands: &[u8]) -> Result<(), String>;
    fn library(&mut self, keyspace: u32, code: &[u8]) -> Result<(), String>;
    fn requests(&mut self, keyspace: u32, block: &[u8]) -> Result<(), String>;
    /// Takes the first of `records`.
    fn record(&mut self, keyspace: u32, records: &mut &[u8]) -> Result<(), String>;
}

struct Skip;

impl Reader for Skip {
    fn section(&mut self, _: Section<'_>) -> Result<(), String> {
        Ok(())
    }

    fn users(&mut self, _: u32, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn library(&mut self, _: u32, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn requests(&mut self, _: u32, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: u32, records: &mut &[u8]) -> Result<(), String> {
        record::skip(records).map_err(|malformed| malformed.to_string())
    }
}

struct Load<'a>(&'a mut dyn FnMut(Part<'_>) -> Result<(), String>);

impl Reader for Load<'_> {
    fn section(&mut self, section: Section<'_>) -> Result<(), String> {
        (self.0)(Part::Section(section))
    }

    fn users(&mut self, keyspace: u32, commands: &[u8]) -> Result<(), String> {
        (self.0)(Part::Users { keyspace, commands })
    }

    fn library(&mut self, keyspace: u32, code: &[u8]) -> Result<(), String> {
        (self.0)(Part::Library { keyspace, code })
    }

    fn requests(&mut self, keyspace: u32, block: &[u8]) -> Result<(), String> {
        (self.0)(Part::Requests { keyspace, block })
    }

    fn record(&mut self, keyspace: u32, records: &mut &[u8]) -> Result<(), String> {
        let record = record::decode(records).map_err(|malformed| malformed.to_string())?;
        (self.0)(Part::Record { keyspace, record })
    }
}

fn read(
    file: &dyn StorageFile,
    log: Option<LogId>,
    reader: &mut impl Reader,
) -> Result<Summary, Damage> {
    let mut blocks = Blocks::open(file, log)?;
    let mut order = Order::default();
    while !order.ended {
        let at = blocks.offset;
        let damage = |reason: String| Damage { offset: at, reason };
        let kind = blocks.next()?;
        order
            .block(kind, &blocks.payload, blocks.header.cut, reader)
            .map_err(damage)?;
    }
    if blocks.offset != blocks.size {
        return Err(Damage {
            offset: blocks.offset,
            reason: "something follows the footer".to_owned(),
        });
    }
    Ok(Summary {
        cut: blocks.header.cut,
        highest: order.highest.max(blocks.header.cut),
        records: order.records,
        sections: order.keyspaces.len() as u64,
        bytes: blocks.size,
    })
}

/// What may come after what, and how much there was.
#[derive(Default)]
struct Order {
    /// The open section: its keyspace, and its records so far.
    open: Option<(u32, u64)>,
    /// Whether nothing of it came yet.
    begins: bool,
    keyspaces: HashSet<u32>,
    highest: Seq,
    records: u64,
    ended: bool,
}

impl Order {
    fn block(
        &mut self,
        kind: BlockKind,
        payload: &[u8],
        cut: Seq,
        reader: &mut impl Reader,
    ) -> Result<(), String> {
        match (kind, &mut self.open) {
            (BlockKind::Section, None) => {
                let section = Section::of_payload(payload).ok_or("a section names no keyspace")?;
                if section.cut < cut {
                    return Err("a section's cut is below the snapshot's".to_owned());
                }
                if !self.keyspaces.insert(section.keyspace) {
                    return Err("a keyspace comes twice".to_owned());
                }
                self.highest = self.highest.max(section.cut);
                self.open = Some((section.keyspace, 0));
                self.begins = true;
                reader.section(section)
            }
            (BlockKind::Users, Some((keyspace, _))) if self.begins => {
                self.begins = false;
                if effect::decode(payload).is_none() {
                    return Err("users are not told by commands".to_owned());
                }
                reader.users(*keyspace, payload)
            }
            (BlockKind::Library, Some((keyspace, 0))) => {
                self.begins = false;
                reader.library(*keyspace, payload)
            }
            (BlockKind::Requests, Some((keyspace, 0))) => {
                self.begins = false;
                if !requests::is_block(payload) {
                    return Err("requests are not told by effects".to_owned());
                }
                reader.requests(*keyspace, payload)
            }
            (BlockKind::Records, Some((keyspace, count))) => {
                self.begins = false;
                let mut records = payload;
                while !records.is_empty() {
                    reader.record(*keyspace, &mut records)?;
                    *count += 1;
                }
                Ok(())
            }
            (BlockKind::SectionEnd, Some((_, count))) => {
                if numbers(payload) != Some([*count]) {
                    return Err("a section has not the records that its end tells".to_owned());
                }
                self.records += *count;
                self.open = None;
                Ok(())
            }
            (BlockKind::Footer, None) => {
                if numbers(payload) != Some([self.keyspaces.len() as u64, self.records]) {
                    return Err("the snapshot has not what its footer tells".to_owned());
                }
                self.ended = true;
                Ok(())
            }
            _ => Err("a block stands where its kind has no place".to_owned()),
        }
    }
}

/// The file, block by block.
struct Blocks<'a> {
    file: &'a dyn StorageFile,
    header: SnapshotHeader,
    size: u64,
    /// Where the next block begins.
    offset: u64,
    number: u32,
    /// What the last block held.
    payload: Vec<u8>,
}

/// A payload longer than this gives its memory back before the next.
const LARGE: usize = 1 << 20;

impl<'a> Blocks<'a> {
    fn open(file: &'a dyn StorageFile, log: Option<LogId>) -> Result<Self, Damage> {
        let damage = |reason: String| Damage { offset: 0, reason };
        let size = file.len().map_err(|error| damage(unreadable(&error)))?;
        let mut bytes = [0; SNAPSHOT_HEADER];
        fill(file, 0, &mut bytes)?;
        let header = SnapshotHeader::read(&bytes)
            .ok_or_else(|| damage("the header is not a snapshot's".to_owned()))?;
        if log.is_some_and(|log| log != header.log) {
            return Err(damage("the snapshot belongs to another log".to_owned()));
        }
        Ok(Blocks {
            file,
            header,
            size,
            offset: SNAPSHOT_HEADER as u64,
            number: 0,
            payload: Vec::new(),
        })
    }

    fn next(&mut self) -> Result<BlockKind, Damage> {
        let offset = self.offset;
        let damage = |reason: &str| Damage {
            offset,
            reason: reason.to_owned(),
        };
        let mut header = [0; BLOCK_HEADER];
        fill(self.file, offset, &mut header)?;
        let header = BlockHeader::of(header);
        let start = offset + BLOCK_HEADER as u64;
        let end = start + header.length() as u64;
        if end > self.size {
            return Err(damage("the file ends inside a block"));
        }
        if self.payload.capacity() > LARGE {
            self.payload = Vec::new();
        }
        self.payload.resize(header.length(), 0);
        fill(self.file, start, &mut self.payload)?;
        let kind = header
            .check(self.header.salt, self.number, &self.payload)
            .map_err(damage)?;
        self.offset = end;
        self.number = self.number.wrapping_add(1);
        Ok(kind)
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("the file cannot be read ({error})")
}

fn fill(file: &dyn StorageFile, offset: u64, into: &mut [u8]) -> Result<(), Damage> {
    let damage = |reason: String| Damage { offset, reason };
    let wanted = into.len();
    match file.read_full_at(offset, into) {
        Ok(count) if count == wanted => Ok(()),
        Ok(_) => Err(damage("the file ends too early".to_owned())),
        Err(error) => Err(damage(unreadable(&error))),
    }
}
