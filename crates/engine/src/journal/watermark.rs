//! The watermark: up to where the log was known to be durable.
//!
//! Two slots, written in turn, so that a torn write leaves the other. It is
//! written after the sync that it tells of and never claims too much.

use std::io;

use super::LogId;
use super::segment::{SEGMENT_HEADER, check_header, log_id_at, seal_header, u64_at};
use super::storage::{Storage, StorageFile};
use crate::effect::Seq;

/// The file's name.
pub const WATERMARK: &str = "watermark";

const MAGIC: [u8; 8] = *b"SANGAMWM";
const VERSION: u32 = 1;
/// Slots stand in sectors of their own.
const SLOTS: [u64; 2] = [0, 512];

/// The file, open.
pub struct Watermark {
    file: Box<dyn StorageFile>,
    log: LogId,
    generation: u64,
    durable: Seq,
}

impl Watermark {
    /// Makes the file, durable itself when this returns.
    pub fn create(storage: &dyn Storage, log: LogId, durable: Seq) -> io::Result<Self> {
        let draft = format!("{WATERMARK}.tmp");
        let mut watermark = Watermark {
            file: storage.create(&draft, SLOTS[1] + SEGMENT_HEADER as u64, true)?,
            log,
            generation: 0,
            durable,
        };
        watermark.write(durable)?;
        watermark.sync()?;
        storage.rename(&draft, WATERMARK)?;
        storage.sync_folder()?;
        Ok(watermark)
    }

    /// Opens the file; `None` where no slot of it is valid.
    pub fn open(storage: &dyn Storage) -> io::Result<Option<Self>> {
        let file = storage.open(WATERMARK)?;
        let mut newest: Option<(u64, Seq, LogId)> = None;
        for slot in SLOTS {
            let mut bytes = [0; SEGMENT_HEADER];
            if file.read_full_at(slot, &mut bytes)? < bytes.len()
                || check_header(&bytes, MAGIC, VERSION).is_none()
            {
                continue;
            }
            let generation = u64_at(&bytes, 32);
            if newest.is_none_or(|(other, ..)| generation > other) {
                newest = Some((generation, Seq(u64_at(&bytes, 40)), log_id_at(&bytes)));
            }
        }
        Ok(newest.map(|(generation, durable, log)| Watermark {
            file,
            log,
            generation,
            durable,
        }))
    }

    /// The log that it belongs to.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The highest seq that it calls durable.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Says that everything up to `durable` is; the system may lose that yet.
    pub fn write(&mut self, durable: Seq) -> io::Result<()> {
        self.generation += 1;
        self.durable = durable;
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log.0);
        bytes[32..40].copy_from_slice(&self.generation.to_le_bytes());
        bytes[40..48].copy_from_slice(&durable.0.to_le_bytes());
        seal_header(&mut bytes);
        let slot = SLOTS[(self.generation % 2) as usize];
        self.file.write_all_at(slot, &bytes)
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}
