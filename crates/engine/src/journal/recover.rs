//! Recovery: from the files of a folder to the state that they tell.
//!
//! The procedure and its verdicts are those of docs/journal.md. What it keeps:
//!
//! - what was handed over is a prefix of the history, each unit whole and once;
//! - a unit that was known to be durable is never cut off: recovery refuses;
//! - bytes that are cut off stay in a quarantine file;
//! - when it returns, everything handed over is durable. What the watermark does
//!   not vouch for is written anew before it is synced, since an earlier sync
//!   that failed may have left pages that only look clean.
//!
//! It may be broken off at any point and begun again. Memory: one segment.
//! Time: every byte is read once, a snapshot's twice.

use std::collections::HashMap;
use std::io;

use super::LogId;
use super::frame::{self, Frame};
use super::quarantine::{self, Quarantined};
use super::scan::{Folder, Presence, Segment, Stop, Unreadable};
use super::segment::segment_name;
use super::snapshot::{self, Part, Section, snapshot_name};
use super::storage::Storage;
use super::watermark::{WATERMARK, Watermark};
use crate::effect::Seq;
use crate::keyspace::Record;

/// Progress is told after about this many bytes.
const PROGRESS_EVERY: u64 = 4 << 20;

/// Takes the state that recovery reads. If recovery then fails, what was taken
/// is to be thrown away.
pub trait Restore {
    /// A keyspace as a snapshot names it; its records follow.
    fn section(&mut self, section: Section<'_>) -> Result<(), String>;

    /// The users of a section that came before, as the commands that make them
    /// (well-formed effects).
    fn users(&mut self, keyspace: u32, commands: &[u8]) -> Result<(), String>;

    /// A library of functions, of a section that came before.
    fn library(&mut self, keyspace: u32, code: &[u8]) -> Result<(), String>;

    /// Requests that the keyspace of a section that came before remembers: the
    /// newest id that was dropped, then well-formed effects.
    fn requests(&mut self, keyspace: u32, block: &[u8]) -> Result<(), String>;

    /// A key with its value, of a section that came before.
    fn record(&mut self, keyspace: u32, record: Box<Record>) -> Result<(), String>;

    /// One unit, to be run at its own time. Its payload is well-formed if its
    /// kind is effects or keyspace.
    fn frame(&mut self, frame: Frame<'_>) -> Result<(), String>;

    /// How many bytes are done, of how many. Told now and then.
    fn progress(&mut self, done: u64, total: u64) {
        let _ = (done, total);
    }
}

/// What recovery is told by its caller.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// Random; names the log if the folder is new.
    pub fresh: LogId,
    /// The time, milliseconds since the epoch; names quarantine files.
    pub now_ms: u64,
}

/// What recovery found.
pub struct Recovered {
    /// The log's name.
    pub log: LogId,
    /// The last unit of the state, durable as all before it; the next one is
    /// one higher and goes to a segment of its own.
    pub last: Seq,
    /// Says so already.
    pub watermark: Watermark,
    /// Whether the folder was empty.
    pub new: bool,
    /// The cut of the snapshot that was loaded.
    pub snapshot: Option<Seq>,
    /// Frames handed over.
    pub frames: u64,
    /// Bytes of the frames in the log.
    pub log_bytes: u64,
    /// Bytes of the snapshot that was loaded.
    pub snapshot_bytes: u64,
    /// Bytes of a torn tail.
    pub quarantined: Option<Quarantined>,
    /// Snapshots that were not used, and why.
    pub skipped: Vec<(String, String)>,
}

/// Why a folder is refused. Nothing of it was changed, but for drafts removed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The system refused.
    #[error("{file}: {source}")]
    Io {
        /// The file, or the folder's name for itself.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// Bytes that no crash leaves behind.
    #[error(
        "{file} is damaged at byte {offset}: {reason}; seq {} was expected there. \
         `sangam check --repair` keeps everything before it and sets the rest apart",
        expected.0
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// The unit that should be there.
        expected: Seq,
        /// What is wrong.
        reason: String,
    },
    /// The files end before a unit that was durable.
    #[error(
        "{file} ends at byte {offset} before seq {}, but everything up to seq {} had been \
         stored. `sangam check --repair` accepts the loss of {} units",
        expected.0, durable.0, durable.0 - (expected.0 - 1)
    )]
    Shortened {
        /// The last file.
        file: String,
        /// Where its frames end.
        offset: u64,
        /// The first unit that is missing.
        expected: Seq,
        /// The last one that was durable.
        durable: Seq,
    },
    /// The log begins after what the usable snapshots contain.
    #[error(
        "{file} is the first of the log, but seq {} comes before it and no snapshot has it{}. \
         `sangam check --repair` keeps what is left",
        expected.0, list(skipped)
    )]
    Beginning {
        /// The first segment.
        file: String,
        /// The first unit that is missing.
        expected: Seq,
        /// Snapshots that are not whole, and why.
        skipped: Vec<(String, String)>,
    },
    /// A unit that the state refuses.
    #[error(
        "{file} at byte {offset}: seq {} cannot be repeated: {reason}. \
         `sangam check --repair --last {}` keeps everything before it",
        seq.0, seq.0.saturating_sub(1)
    )]
    Replay {
        /// The file.
        file: String,
        /// Where the unit stands.
        offset: u64,
        /// The unit.
        seq: Seq,
        /// What the state said.
        reason: String,
    },
    /// A record of a snapshot that the state refuses.
    #[error("{file} cannot be loaded: {reason}")]
    Load {
        /// The snapshot.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A restore began here and did not end.
    #[error(
        "a backup was being restored here and that did not end; what is here is no data. \
         Restore it again"
    )]
    Restoring,
}

fn list(skipped: &[(String, String)]) -> String {
    let mut text = String::new();
    for (file, reason) in skipped {
        text.push_str("; ");
        text.push_str(file);
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

/// Hands the state that `storage` tells to `into`, and readies the folder for
/// a segment that begins after [`Recovered::last`].
pub fn recover(
    storage: &dyn Storage,
    start: Start,
    into: &mut dyn Restore,
) -> Result<Recovered, RecoverError> {
    let folder = Folder::read(storage).map_err(in_file("the folder"))?;
    if folder.restoring {
        return Err(RecoverError::Restoring);
    }
    for draft in &folder.drafts {
        storage.remove(draft).map_err(in_file(draft))?;
    }
    let Some(watermark) = watermark(storage, &folder)? else {
        let watermark =
            Watermark::create(storage, start.fresh, Seq(0)).map_err(in_file(WATERMARK))?;
        return Ok(Recovered {
            log: start.fresh,
            last: Seq(0),
            watermark,
            new: true,
            snapshot: None,
            frames: 0,
            log_bytes: 0,
            snapshot_bytes: 0,
            quarantined: None,
            skipped: Vec::new(),
        });
    };
    Recovery {
        storage,
        start,
        into,
        log: watermark.log(),
        durable: watermark.durable(),
        cut: Seq(0),
        sections: HashMap::new(),
        done: 0,
        total: 0,
        frames: 0,
        log_bytes: 0,
        snapshot_bytes: 0,
    }
    .run(&folder, watermark)
}

/// The watermark; `None` where the folder is new.
fn watermark(storage: &dyn Storage, folder: &Folder) -> Result<Option<Watermark>, RecoverError> {
    let damaged = |reason: &str| RecoverError::Corrupt {
        file: WATERMARK.to_owned(),
        offset: 0,
        expected: Seq(0),
        reason: reason.to_owned(),
    };
    match folder.presence() {
        Presence::New => Ok(None),
        Presence::Headless => Err(damaged("the file is missing")),
        Presence::Log => match Watermark::open(storage).map_err(in_file(WATERMARK))? {
            Some(watermark) => Ok(Some(watermark)),
            None => Err(damaged("neither of its slots is valid")),
        },
    }
}

fn in_file(name: &str) -> impl FnOnce(io::Error) -> RecoverError {
    let file = name.to_owned();
    move |source| RecoverError::Io { file, source }
}

struct Recovery<'a> {
    storage: &'a dyn Storage,
    start: Start,
    into: &'a mut dyn Restore,
    log: LogId,
    /// Everything up to here is known to have been durable.
    durable: Seq,
    /// Everything up to here is in the loaded snapshot.
    cut: Seq,
    /// How far each of its sections goes.
    sections: HashMap<u32, Seq>,
    done: u64,
    total: u64,
    frames: u64,
    log_bytes: u64,
    snapshot_bytes: u64,
}

/// The end of the log.
struct Tail {
    segment: Segment,
    /// Where its valid frames end.
    used: usize,
    /// Where its first frame stands that the watermark does not vouch for.
    unsure: usize,
    /// What follows them and is cut off.
    torn: Vec<u8>,
}

impl Recovery<'_> {
    fn run(mut self, folder: &Folder, mut watermark: Watermark) -> Result<Recovered, RecoverError> {
        let vouched = self.durable;
        let (snapshot, skipped) = self.choose(folder)?;
        let Some(segments) = folder.segments_from(snapshot.unwrap_or_default()) else {
            return Err(RecoverError::Beginning {
                file: folder
                    .segments
                    .first()
                    .map_or_else(String::new, |first| segment_name(*first)),
                expected: Seq(snapshot.unwrap_or_default().0.saturating_add(1)),
                skipped,
            });
        };
        self.measure(snapshot, segments)?;
        if let Some(cut) = snapshot {
            self.load(cut)?;
        }
        let tail = self.replay(segments, vouched)?;
        let logged = tail.as_ref().map_or(0, |(_, expected)| expected.0 - 1);
        let last = Seq(logged.max(self.cut.0));
        if last < self.durable {
            let (file, offset) = match &tail {
                Some((tail, _)) => (tail.segment.name.clone(), tail.used as u64),
                None => ("the log".to_owned(), 0),
            };
            return Err(RecoverError::Shortened {
                file,
                offset,
                expected: Seq(last.0.saturating_add(1)),
                durable: self.durable,
            });
        }
        let quarantined = match tail {
            Some((tail, _)) => self.seal(&tail)?,
            None => None,
        };
        self.storage.sync_folder().map_err(in_file("the folder"))?;
        watermark
            .write(last)
            .and_then(|()| watermark.sync())
            .map_err(in_file(WATERMARK))?;
        self.into.progress(self.total, self.total);
        Ok(Recovered {
            log: self.log,
            last,
            watermark,
            new: false,
            snapshot,
            frames: self.frames,
            log_bytes: self.log_bytes,
            snapshot_bytes: self.snapshot_bytes,
            quarantined,
            skipped,
        })
    }

    /// The newest snapshot that is whole and from which the log goes on, and
    /// those that are newer, with the reason why not.
    #[allow(clippy::type_complexity, reason = "the two halves of one answer")]
    fn choose(
        &self,
        folder: &Folder,
    ) -> Result<(Option<Seq>, Vec<(String, String)>), RecoverError> {
        let mut skipped = Vec::new();
        for cut in &folder.snapshots {
            let name = snapshot_name(*cut);
            let file = self.storage.open(&name).map_err(in_file(&name))?;
            let reason = match snapshot::verify(&*file, self.log) {
                Ok(summary) if summary.cut != *cut => {
                    format!("it says that its cut is {}", summary.cut.0)
                }
                Ok(_) if folder.segments_from(*cut).is_none() => {
                    "the log begins after its cut".to_owned()
                }
                Ok(_) => return Ok((Some(*cut), skipped)),
                Err(damage) => damage.to_string(),
            };
            skipped.push((name, reason));
        }
        Ok((None, skipped))
    }

    fn measure(&mut self, snapshot: Option<Seq>, segments: &[Seq]) -> Result<(), RecoverError> {
        let names = snapshot
            .map(snapshot_name)
            .into_iter()
            .chain(segments.iter().map(|first| segment_name(*first)));
        for name in names {
            let file = self.storage.open(&name).map_err(in_file(&name))?;
            self.total += file.len().map_err(in_file(&name))?;
        }
        self.into.progress(0, self.total);
        Ok(())
    }

    fn load(&mut self, cut: Seq) -> Result<(), RecoverError> {
        let name = snapshot_name(cut);
        let file = self.storage.open(&name).map_err(in_file(&name))?;
        let (into, sections, durable) = (&mut *self.into, &mut self.sections, &mut self.durable);
        let summary = snapshot::load(&*file, &mut |part| match part {
            Part::Section(section) => {
                sections.insert(section.keyspace, section.cut);
                // The log was synced up to every cut before the snapshot got
                // its name.
                *durable = (*durable).max(section.cut);
                into.section(section)
            }
            Part::Users { keyspace, commands } => into.users(keyspace, commands),
            Part::Library { keyspace, code } => into.library(keyspace, code),
            Part::Requests { keyspace, block } => into.requests(keyspace, block),
            Part::Record { keyspace, record } => into.record(keyspace, record),
        })
        .map_err(|damage| RecoverError::Load {
            file: name,
            reason: damage.to_string(),
        })?;
        self.cut = cut;
        self.done += summary.bytes;
        self.snapshot_bytes = summary.bytes;
        self.into.progress(self.done, self.total);
        Ok(())
    }

    /// Replays `segments` and answers the last of them with the seq expected
    /// at its end.
    fn replay(
        &mut self,
        segments: &[Seq],
        vouched: Seq,
    ) -> Result<Option<(Tail, Seq)>, RecoverError> {
        let mut before: Option<(String, u64, Seq)> = None;
        for (at, first) in segments.iter().enumerate() {
            if let Some((file, offset, expected)) = before.take()
                && expected != *first
            {
                return Err(RecoverError::Corrupt {
                    file,
                    offset,
                    expected,
                    reason: format!(
                        "its frames end here, and the next segment begins with seq {}",
                        first.0
                    ),
                });
            }
            let name = segment_name(*first);
            let segment = Segment::read(self.storage, *first)
                .and_then(|segment| segment.belongs_to(self.log).map(|()| segment))
                .map_err(|unreadable| match unreadable {
                    Unreadable::Io(source) => RecoverError::Io {
                        file: name.clone(),
                        source,
                    },
                    Unreadable::Header(reason) => RecoverError::Corrupt {
                        file: name.clone(),
                        offset: 0,
                        expected: *first,
                        reason,
                    },
                })?;
            let (tail, expected) = self.segment(segment, at + 1 == segments.len(), vouched)?;
            if at + 1 == segments.len() {
                return Ok(Some((tail, expected)));
            }
            before = Some((tail.segment.name, tail.used as u64, expected));
        }
        Ok(None)
    }

    /// Replays one segment and judges its end.
    fn segment(
        &mut self,
        segment: Segment,
        is_last: bool,
        vouched: Seq,
    ) -> Result<(Tail, Seq), RecoverError> {
        let corrupt = |offset: usize, expected: Seq, reason: &str| RecoverError::Corrupt {
            file: segment.name.clone(),
            offset: offset as u64,
            expected,
            reason: reason.to_owned(),
        };
        let begun = self.done;
        let mut told = begun;
        let mut unsure = None;
        let mut frames = segment.frames();
        for (offset, frame) in frames.by_ref() {
            if frame.seq > vouched && unsure.is_none() {
                unsure = Some(offset);
            }
            self.log_bytes += frame::frame_size(frame.payload.len()) as u64;
            let seen = self.sections.get(&frame.keyspace).copied();
            if frame.seq > self.cut && seen.is_none_or(|cut| frame.seq > cut) {
                self.into
                    .frame(frame)
                    .map_err(|reason| RecoverError::Replay {
                        file: segment.name.clone(),
                        offset: offset as u64,
                        seq: frame.seq,
                        reason,
                    })?;
                self.frames += 1;
            }
            self.done = begun + offset as u64;
            if self.done - told >= PROGRESS_EVERY {
                told = self.done;
                self.into.progress(self.done, self.total);
            }
        }
        let (used, expected) = (frames.offset(), frames.expected());
        let torn = match frames.stop() {
            Stop::End => Vec::new(),
            Stop::Misplaced(reason) => return Err(corrupt(used, expected, reason)),
            Stop::Invalid if !is_last => {
                return Err(corrupt(used, expected, "these bytes are no valid frame"));
            }
            Stop::Invalid if expected <= self.durable => {
                return Err(corrupt(
                    used,
                    expected,
                    "these bytes are no valid frame, and that seq had been stored",
                ));
            }
            Stop::Invalid => match frames.witnesses().next() {
                Some((at, _)) => {
                    let reason = format!(
                        "these bytes are no valid frame, and the frame at byte {at} \
                         was written when that seq had been stored"
                    );
                    return Err(corrupt(used, expected, &reason));
                }
                None => frames.remainder().to_vec(),
            },
        };
        self.done = begun + segment.bytes.len() as u64;
        self.into.progress(self.done, self.total);
        let tail = Tail {
            unsure: unsure.unwrap_or(used),
            used,
            torn,
            segment,
        };
        Ok((tail, expected))
    }

    /// Makes the last segment end with its last frame, durably; what is behind
    /// it stays in a file of its own.
    fn seal(&self, tail: &Tail) -> Result<Option<Quarantined>, RecoverError> {
        let name = &tail.segment.name;
        let quarantined = if tail.torn.is_empty() {
            None
        } else {
            let copied = quarantine::copy(self.storage, name, &tail.torn, self.start.now_ms);
            Some(copied.map_err(in_file(name))?)
        };
        let unsure = tail.segment.bytes.get(tail.unsure..tail.used);
        self.storage
            .open(name)
            .and_then(|mut file| {
                file.write_all_at(tail.unsure as u64, unsure.unwrap_or_default())?;
                file.set_len(tail.used as u64)?;
                file.sync()
            })
            .map_err(in_file(name))?;
        Ok(quarantined)
    }
}
