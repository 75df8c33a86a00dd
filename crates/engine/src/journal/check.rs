//! Check: what is wrong with a folder's files, found without an engine, and
//! what a repair would keep.
//!
//! Every file is read whole, those too that recovery would not need. The
//! verdict is the one that [`recover`](super::recover) would come to, except for
//! units that only an engine can refuse. Memory: one segment, or one block of a
//! snapshot and the largest record in it.

use std::collections::HashMap;
use std::io;

use super::LogId;
use super::quarantine::Quarantined;
use super::recover::Start;
use super::repair;
use super::scan::{Folder, Frames, Presence, Segment, Stop, Unreadable};
use super::segment::{SEGMENT_HEADER, SegmentHeader, segment_name};
use super::snapshot::block::{SNAPSHOT_HEADER, SnapshotHeader};
use super::snapshot::{self, Summary, snapshot_name};
use super::storage::Storage;
use super::watermark::{WATERMARK, Watermark};
use crate::effect::Seq;

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Whether damage is to be repaired: the longest exact prefix is kept, the
    /// rest moves to quarantine files, the watermark says what is left.
    pub repair: bool,
    /// With `repair`: nothing after this seq is kept, sound or not.
    pub last: Option<Seq>,
    /// As for recovery.
    pub start: Start,
}

/// What a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is there yet.
    Empty,
    /// Everything that is needed is sound.
    Good,
    /// The last write did not end; recovery cuts it off, and nothing that was
    /// durable with it.
    TornTail,
    /// Recovery refuses it.
    Damaged,
    /// A restore began and did not end: there is no data.
    Restoring,
}

/// What was found, and done.
#[derive(Debug, Clone)]
pub struct Report {
    /// The log's name, as most files have it.
    pub log: Option<LogId>,
    /// What the folder is, or was before the repair.
    pub verdict: Verdict,
    /// Each file.
    pub files: Vec<FileReport>,
    /// The last unit of the longest exact prefix.
    pub last: Seq,
    /// Units behind it that are known to have been durable.
    pub lost: u64,
    /// Whether something was repaired.
    pub repaired: bool,
    /// Where the repair put what it cut off.
    pub quarantined: Vec<Quarantined>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// What is in it.
    pub content: Content,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A part of the log.
    Segment {
        /// Its first seq, or the one that it would begin with.
        first: Seq,
        /// Valid frames from its start.
        frames: u64,
    },
    /// A state.
    Snapshot {
        /// Its cut.
        cut: Seq,
        /// Its keyspaces.
        sections: u64,
        /// Its keys.
        records: u64,
    },
    /// The watermark.
    Watermark {
        /// What it calls durable.
        durable: Seq,
    },
    /// A file that was being made, or waits to be used: of no account.
    Draft,
    /// Bytes set apart, and files of others.
    Other,
}

/// Where a file goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The byte.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

impl Problem {
    fn new(offset: u64, reason: impl Into<String>) -> Self {
        Problem {
            offset,
            reason: reason.into(),
        }
    }
}

/// Reads all files, repairs them if that is wanted, and says what was found.
/// `progress` is told how many files are done, of how many.
pub fn check(
    storage: &dyn Storage,
    wanted: &Check,
    progress: &mut dyn FnMut(usize, usize),
) -> io::Result<Report> {
    let limit = wanted.last.filter(|_| wanted.repair);
    let survey = Survey::read(storage, limit, progress)?;
    let plan = survey.plan();
    let mut report = survey.report(&plan);
    if wanted.repair && plan.verdict == Verdict::Damaged {
        report.repaired = true;
        report.quarantined = repair::repair(storage, wanted.start, survey, plan, limit)?;
    }
    Ok(report)
}

/// What the files are.
pub(super) struct Survey {
    pub(super) folder: Folder,
    pub(super) log: Option<LogId>,
    /// What the watermark calls durable; `None` where it is not valid.
    pub(super) watermark: Option<Seq>,
    pub(super) segments: Vec<Surveyed>,
    snapshots: Vec<(Seq, Result<Summary, Problem>)>,
    /// Whether the newest snapshot whose checksums are right cannot be loaded.
    unloadable: bool,
    files: Vec<FileReport>,
}

/// A segment.
pub(super) struct Surveyed {
    pub(super) first: Seq,
    /// `None` where not even its header is right.
    pub(super) frames: Option<Extent>,
}

/// The valid frames of a segment.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// Where they end.
    pub(super) used: u64,
    /// The seq that would stand there.
    next: Seq,
    /// What stands there instead.
    stop: Stop,
    /// Whether a frame behind it shows that it had been durable.
    witness: bool,
    /// Up to where any of its frames shows that the log was durable.
    durable: Seq,
}

/// What a repair keeps.
pub(super) struct Plan {
    pub(super) verdict: Verdict,
    /// The snapshot that is kept.
    pub(super) snapshot: Option<Summary>,
    /// Snapshots that are not whole.
    pub(super) bad_snapshots: Vec<Seq>,
    /// The segment that is cut, and its new length.
    pub(super) cut: Option<(Seq, u64)>,
    /// Segments of which nothing is kept.
    pub(super) dropped: Vec<Seq>,
    pub(super) last: Seq,
    durable: Seq,
}

impl Survey {
    pub(super) fn read(
        storage: &dyn Storage,
        limit: Option<Seq>,
        progress: &mut dyn FnMut(usize, usize),
    ) -> io::Result<Self> {
        let folder = Folder::read(storage)?;
        let total = folder.segments.len() + folder.snapshots.len();
        let mut survey = Survey {
            log: log_of(storage, &folder)?,
            watermark: None,
            segments: Vec::new(),
            snapshots: Vec::new(),
            unloadable: false,
            files: Vec::new(),
            folder,
        };
        if survey.folder.watermark {
            survey.watermark(storage)?;
        }
        let mut done = 0;
        for cut in survey.folder.snapshots.clone() {
            survey.snapshot(storage, cut)?;
            done += 1;
            progress(done, total);
        }
        for first in survey.folder.segments.clone() {
            survey.segment(storage, first, limit)?;
            done += 1;
            progress(done, total);
        }
        let rest = [
            (Content::Draft, &survey.folder.drafts),
            (Content::Other, &survey.folder.others),
        ];
        for (content, names) in rest {
            for name in names {
                survey.files.push(FileReport {
                    name: name.clone(),
                    bytes: storage.open(name)?.len()?,
                    content,
                    problem: None,
                });
            }
        }
        Ok(survey)
    }

    fn watermark(&mut self, storage: &dyn Storage) -> io::Result<()> {
        let problem = match Watermark::open(storage)? {
            Some(watermark) if Some(watermark.log()) == self.log => {
                self.watermark = Some(watermark.durable());
                None
            }
            Some(_) => Some(Problem::new(0, "the watermark belongs to another log")),
            None => Some(Problem::new(0, "neither of its slots is valid")),
        };
        self.files.push(FileReport {
            name: WATERMARK.to_owned(),
            bytes: storage.open(WATERMARK)?.len()?,
            content: Content::Watermark {
                durable: self.watermark.unwrap_or_default(),
            },
            problem,
        });
        Ok(())
    }

    fn snapshot(&mut self, storage: &dyn Storage, cut: Seq) -> io::Result<()> {
        let name = snapshot_name(cut);
        let file = storage.open(&name)?;
        let log = self.log.unwrap_or(LogId([0; 16]));
        let verified = snapshot::verify(&*file, log)
            .map_err(|damage| Problem::new(damage.offset, damage.reason))
            .and_then(|summary| {
                if summary.cut == cut {
                    return Ok(());
                }
                let reason = format!("it says that its cut is {}", summary.cut.0);
                Err(Problem::new(0, reason))
            });
        let is_newest = self.snapshots.iter().all(|(_, found)| found.is_err());
        let found = verified.and_then(|()| {
            snapshot::load(&*file, &mut |_| Ok(())).map_err(|damage| {
                self.unloadable |= is_newest;
                Problem::new(damage.offset, damage.reason)
            })
        });
        self.files.push(FileReport {
            name,
            bytes: file.len()?,
            content: Content::Snapshot {
                cut,
                sections: found.as_ref().map_or(0, |summary| summary.sections),
                records: found.as_ref().map_or(0, |summary| summary.records),
            },
            problem: found.as_ref().err().cloned(),
        });
        self.snapshots.push((cut, found));
        Ok(())
    }

    fn segment(&mut self, storage: &dyn Storage, first: Seq, limit: Option<Seq>) -> io::Result<()> {
        let name = segment_name(first);
        let mut report = FileReport {
            bytes: storage.open(&name)?.len()?,
            name,
            content: Content::Segment { first, frames: 0 },
            problem: None,
        };
        let log = self.log.unwrap_or(LogId([0; 16]));
        let segment = Segment::read(storage, first)
            .and_then(|segment| segment.belongs_to(log).map(|()| segment));
        let frames = match segment {
            Err(Unreadable::Io(error)) => return Err(error),
            Err(Unreadable::Header(reason)) => {
                report.problem = Some(Problem::new(0, reason));
                None
            }
            Ok(segment) => {
                let extent = extent(segment.frames(), limit);
                report.content = Content::Segment {
                    first,
                    frames: extent.next.0 - first.0,
                };
                report.problem = match extent.stop {
                    Stop::End => None,
                    Stop::Invalid => Some("these bytes are no valid frame"),
                    Stop::Misplaced(reason) => Some(reason),
                }
                .map(|reason| Problem::new(extent.used, reason));
                Some(extent)
            }
        };
        self.files.push(report);
        self.segments.push(Surveyed { first, frames });
        Ok(())
    }

    /// What recovery would say, and what can be kept.
    pub(super) fn plan(&self) -> Plan {
        let snapshot = self
            .snapshots
            .iter()
            .find_map(|(_, found)| found.as_ref().ok())
            .copied();
        let mut plan = Plan {
            verdict: Verdict::Good,
            snapshot,
            bad_snapshots: self
                .snapshots
                .iter()
                .filter_map(|(cut, found)| found.is_err().then_some(*cut))
                .collect(),
            cut: None,
            dropped: Vec::new(),
            last: Seq(0),
            durable: self.durable(),
        };
        if self.folder.restoring {
            plan.verdict = Verdict::Restoring;
            return plan;
        }
        match self.folder.presence() {
            Presence::New => {
                plan.verdict = Verdict::Empty;
                return plan;
            }
            Presence::Headless => plan.verdict = Verdict::Damaged,
            Presence::Log if self.watermark.is_none() || self.unloadable => {
                plan.verdict = Verdict::Damaged;
            }
            Presence::Log => {}
        }
        let vouched = self
            .watermark
            .unwrap_or_default()
            .max(snapshot.map_or(Seq(0), |summary| summary.highest));
        let tail = self.chain(&mut plan);
        match tail {
            Tail::Whole => {}
            Tail::Torn(next) if next > vouched => {
                if plan.verdict == Verdict::Good {
                    plan.verdict = Verdict::TornTail;
                }
            }
            Tail::Torn(_) | Tail::Broken => plan.verdict = Verdict::Damaged,
        }
        if plan.last < vouched {
            plan.verdict = Verdict::Damaged;
        }
        plan
    }

    /// Follows the segments from the snapshot's cut on as far as they are
    /// exact.
    fn chain(&self, plan: &mut Plan) -> Tail {
        let cut = plan.snapshot.map_or(Seq(0), |summary| summary.cut);
        plan.last = cut;
        let before = self
            .segments
            .partition_point(|segment| segment.first.0 <= cut.0.saturating_add(1));
        let start = before.saturating_sub(1);
        let mut expected = None;
        let mut tail = Tail::Whole;
        for (at, segment) in self.segments.iter().enumerate().skip(start) {
            let follows = match expected {
                None => segment.first.0 <= cut.0.saturating_add(1),
                Some(expected) => segment.first == expected,
            };
            match segment.frames.filter(|_| follows && tail.is_whole()) {
                None => {
                    plan.dropped.push(segment.first);
                    tail = Tail::Broken;
                }
                Some(extent) => {
                    plan.last = plan.last.max(Seq(extent.next.0 - 1));
                    expected = Some(extent.next);
                    let is_last = at + 1 == self.segments.len();
                    tail = match extent.stop {
                        Stop::End => Tail::Whole,
                        Stop::Invalid if is_last && !extent.witness => Tail::Torn(extent.next),
                        Stop::Invalid | Stop::Misplaced(_) => Tail::Broken,
                    };
                    if !tail.is_whole() {
                        plan.cut = Some((segment.first, extent.used));
                    }
                }
            }
        }
        tail
    }

    /// Up to where anything shows that the log was durable.
    fn durable(&self) -> Seq {
        let snapshots = self
            .snapshots
            .iter()
            .filter_map(|(_, found)| found.as_ref().ok())
            .map(|summary| summary.highest);
        let frames = self
            .segments
            .iter()
            .filter_map(|segment| Some(segment.frames?.durable));
        // A segment is only begun when everything before it is durable.
        let begun = self
            .segments
            .iter()
            .filter(|segment| segment.frames.is_some())
            .map(|segment| Seq(segment.first.0 - 1));
        snapshots
            .chain(frames)
            .chain(begun)
            .chain(self.watermark)
            .max()
            .unwrap_or_default()
    }

    pub(super) fn has_problems(&self) -> bool {
        self.files.iter().any(|file| file.problem.is_some())
    }

    /// What is wrong with which files, for a message.
    pub(super) fn problems(&self) -> String {
        let problems = self.files.iter().filter_map(|file| {
            let problem = file.problem.as_ref()?;
            Some(format!(
                "{} at byte {}: {}",
                file.name, problem.offset, problem.reason
            ))
        });
        let all: Vec<String> = problems.collect();
        if all.is_empty() {
            "parts of it are missing".to_owned()
        } else {
            all.join("; ")
        }
    }

    fn report(&self, plan: &Plan) -> Report {
        Report {
            log: self.log,
            verdict: plan.verdict,
            files: self.files.clone(),
            last: plan.last,
            lost: plan.durable.0.saturating_sub(plan.last.0),
            repaired: false,
            quarantined: Vec::new(),
        }
    }
}

/// How the log ends.
#[derive(Clone, Copy)]
enum Tail {
    Whole,
    /// With bytes that may be a write that did not end, where this seq would
    /// stand.
    Torn(Seq),
    Broken,
}

impl Tail {
    fn is_whole(self) -> bool {
        matches!(self, Tail::Whole)
    }
}

fn extent(mut frames: Frames<'_>, limit: Option<Seq>) -> Extent {
    let mut durable = Seq(0);
    let mut cut = None;
    for (offset, frame) in frames.by_ref() {
        durable = durable.max(frame.durable);
        if limit.is_some_and(|limit| frame.seq > limit) {
            cut = cut.or(Some((offset, frame.seq)));
        }
    }
    let (used, next) = cut.unwrap_or((frames.offset(), frames.expected()));
    let stop = match cut {
        Some(_) => Stop::Misplaced("frames from here on are not wanted"),
        None => frames.stop(),
    };
    let witness = frames.witnesses().map(|(_, durable)| durable).max();
    Extent {
        used: used as u64,
        next,
        stop,
        witness: witness.is_some(),
        durable: durable.max(witness.unwrap_or_default()),
    }
}

/// The log that most of the files belong to.
fn log_of(storage: &dyn Storage, folder: &Folder) -> io::Result<Option<LogId>> {
    let mut votes: HashMap<LogId, usize> = HashMap::new();
    if folder.watermark
        && let Some(watermark) = Watermark::open(storage)?
    {
        *votes.entry(watermark.log()).or_default() += 1;
    }
    for first in &folder.segments {
        let mut bytes = [0; SEGMENT_HEADER];
        let file = storage.open(&segment_name(*first))?;
        if file.read_full_at(0, &mut bytes)? == SEGMENT_HEADER
            && let Some(header) = SegmentHeader::read(&bytes)
        {
            *votes.entry(header.log).or_default() += 1;
        }
    }
    for cut in &folder.snapshots {
        let mut bytes = [0; SNAPSHOT_HEADER];
        let file = storage.open(&snapshot_name(*cut))?;
        if file.read_full_at(0, &mut bytes)? == SNAPSHOT_HEADER
            && let Some(header) = SnapshotHeader::read(&bytes)
        {
            *votes.entry(header.log).or_default() += 1;
        }
    }
    Ok(votes
        .into_iter()
        .max_by_key(|(log, count)| (*count, log.0))
        .map(|(log, _)| log))
}
