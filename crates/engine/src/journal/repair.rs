//! Repair: what cannot be part of the history any more is set apart, and the
//! rest made a folder that recovery takes.
//!
//! It may be broken off at any point: until its last step recovery refuses the
//! folder or comes to the same state, and a second repair ends the work. The
//! steps go from the log's end to its beginning for that: copies first, then
//! whole files, then the cut, then the watermark, which stops claiming what is
//! lost.

use std::io;

use super::LogId;
use super::check::{Plan, Survey, Verdict};
use super::quarantine::{self, Quarantined};
use super::recover::Start;
use super::scan::{DRAFT, read_whole};
use super::segment::segment_name;
use super::snapshot::block::{
    BLOCK_HEADER, BlockHeader, BlockKind, SNAPSHOT_HEADER, SnapshotHeader,
};
use super::snapshot::{Section, Summary, snapshot_name};
use super::storage::{Storage, StorageFile};
use super::watermark::{WATERMARK, Watermark};
use crate::effect::Seq;

/// Repairs until recovery would take the folder: files that the log did not
/// reach before may come into it again when others are gone.
pub(super) fn repair(
    storage: &dyn Storage,
    start: Start,
    mut survey: Survey,
    mut plan: Plan,
    limit: Option<Seq>,
) -> io::Result<Vec<Quarantined>> {
    let mut quarantined = Vec::new();
    // Each round takes a file away, or comes to the end of the work.
    let mut rounds = survey.segments.len() + plan.bad_snapshots.len() + 3;
    while plan.verdict == Verdict::Damaged {
        rounds = rounds
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the repair does not come to an end"))?;
        step(storage, start, &survey, &plan, &mut quarantined)?;
        survey = Survey::read(storage, limit, &mut |_, _| ())?;
        plan = survey.plan();
    }
    Ok(quarantined)
}

fn step(
    storage: &dyn Storage,
    start: Start,
    survey: &Survey,
    plan: &Plan,
    quarantined: &mut Vec<Quarantined>,
) -> io::Result<()> {
    if let Some((first, used)) = plan.cut {
        let name = segment_name(first);
        let bytes = read_whole(storage, &name)?;
        let rest = bytes.get(used as usize..).unwrap_or_default();
        let end = rest.iter().rposition(|byte| *byte != 0);
        if let Some(rest) = end.and_then(|end| rest.get(..=end)) {
            quarantined.push(quarantine::copy(storage, &name, rest, start.now_ms)?);
        }
    }
    let segments = plan.dropped.iter().rev().map(|first| segment_name(*first));
    let snapshots = plan.bad_snapshots.iter().map(|cut| snapshot_name(*cut));
    let watermark =
        (survey.folder.watermark && survey.watermark.is_none()).then(|| WATERMARK.to_owned());
    for name in segments.chain(snapshots).chain(watermark) {
        quarantined.push(quarantine::set_apart(storage, &name, start.now_ms)?);
    }
    storage.sync_folder()?;
    if let Some((first, used)) = plan.cut {
        let mut file = storage.open(&segment_name(first))?;
        file.set_len(used)?;
        file.sync()?;
    }
    if let Some(summary) = plan.snapshot.filter(|summary| summary.highest > plan.last) {
        lower(storage, &summary, plan.last)?;
    }
    let log = survey.log.unwrap_or(start.fresh);
    set_watermark(storage, survey, log, plan.last)
}

fn set_watermark(storage: &dyn Storage, survey: &Survey, log: LogId, last: Seq) -> io::Result<()> {
    let opened = match survey.watermark {
        Some(_) => Watermark::open(storage)?,
        None => None,
    };
    match opened {
        Some(mut watermark) => {
            watermark.write(last)?;
            watermark.sync()
        }
        None => Watermark::create(storage, log, last).map(drop),
    }
}

/// Writes the snapshot anew with no section's cut above `last`: its state stays
/// what it is, and the units that follow are numbered from `last` on.
fn lower(storage: &dyn Storage, summary: &Summary, last: Seq) -> io::Result<()> {
    let name = snapshot_name(summary.cut);
    let from = storage.open(&name)?;
    let draft = format!("{name}{DRAFT}");
    let mut to = storage.create(&draft, summary.bytes, false)?;
    copy_lowered(&*from, &mut *to, summary.bytes, last)?;
    to.sync()?;
    storage.rename(&draft, &name)?;
    storage.sync_folder()
}

fn copy_lowered(
    from: &dyn StorageFile,
    to: &mut dyn StorageFile,
    size: u64,
    last: Seq,
) -> io::Result<()> {
    let changed = || io::Error::other("the snapshot has changed since it was verified");
    let read = |offset: u64, into: &mut [u8]| {
        let wanted = into.len();
        if from.read_full_at(offset, into)? == wanted {
            Ok(())
        } else {
            Err(changed())
        }
    };
    let mut header = [0; SNAPSHOT_HEADER];
    read(0, &mut header)?;
    let salt = SnapshotHeader::read(&header).ok_or_else(changed)?.salt;
    to.write_all_at(0, &header)?;
    let (mut offset, mut number) = (SNAPSHOT_HEADER as u64, 0);
    while offset < size {
        let mut head = [0; BLOCK_HEADER];
        read(offset, &mut head)?;
        let mut head = BlockHeader::of(head);
        let start = offset + BLOCK_HEADER as u64;
        if start + head.length() as u64 > size {
            return Err(changed());
        }
        let mut payload = vec![0; head.length()];
        read(start, &mut payload)?;
        if head.check(salt, number, &payload) == Ok(BlockKind::Section) {
            let section = Section::of_payload(&payload).ok_or_else(changed)?;
            let cut = section.cut.min(last);
            payload = Section { cut, ..section }.to_payload();
            head = BlockHeader::seal(salt, BlockKind::Section, number, &payload)
                .ok_or_else(changed)?;
        }
        to.write_all_at(offset, head.bytes())?;
        to.write_all_at(start, &payload)?;
        offset = start + payload.len() as u64;
        number = number.wrapping_add(1);
    }
    Ok(())
}
