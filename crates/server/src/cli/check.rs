//! `sangam check`: what is wrong with the data files, and their repair.
//!
//! Without `--repair` it reads only, and a server may run on the folder.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use sangam_engine::Seq;
use sangam_engine::journal::LogId;
use sangam_engine::journal::check::{Check, Content, FileReport, Report, Verdict, check};
use sangam_engine::journal::recover::Start;
use sangam_engine::journal::storage::Storage;
use serde_json::{Value, json};

use super::error::CliError;
use super::figures::{bytes, counted, now_ms};
use super::{CheckArgs, figures};
use crate::advice;
use crate::data::{DataError, DataFolder};
use crate::progress::Progress;

/// Times that the files are read while a server changes which there are.
const TRIES: usize = 5;

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, CliError> {
    let (folder, storage) = args.data.existing()?;
    let _held = args.repair.then(|| DataFolder::open(&folder)).transpose()?;
    let mut fresh = [0; 16];
    getrandom::fill(&mut fresh).map_err(|error| DataError::Random(error.to_string()))?;
    let wanted = Check {
        repair: args.repair,
        last: args.last.map(Seq),
        start: Start {
            fresh: LogId(fresh),
            now_ms: now_ms(),
        },
    };
    let engine = DataFolder::engine_in(&folder);
    let mut report = read(&*storage, &wanted).map_err(CliError::of(&engine))?;
    if report.repaired {
        let again = Check {
            repair: false,
            ..wanted
        };
        let now = read(&*storage, &again).map_err(CliError::of(&engine))?;
        report.lost = (report.last.0 + report.lost).saturating_sub(now.last.0);
        report.last = now.last;
        report.repaired = matches!(now.verdict, Verdict::Good | Verdict::Empty);
    }
    let mut out = io::stdout().lock();
    if args.data.json {
        writeln!(out, "{}", as_json(&folder, &report))
    } else {
        tell(&mut out, &folder, &report, args.repair)
    }
    .and_then(|()| out.flush())
    .map_err(CliError::Output)?;
    Ok(match report.verdict {
        Verdict::Damaged if report.repaired => ExitCode::SUCCESS,
        Verdict::Damaged | Verdict::Restoring => ExitCode::FAILURE,
        Verdict::Empty | Verdict::Good | Verdict::TornTail => ExitCode::SUCCESS,
    })
}

/// A server that runs takes files away and begins others: what looks damaged
/// then is read again.
fn read(storage: &dyn Storage, wanted: &Check) -> io::Result<Report> {
    let mut progress = Progress::of_files("checking");
    let mut tries = 0;
    loop {
        tries += 1;
        let before = names(storage)?;
        let outcome = check(storage, wanted, &mut |done, total| {
            progress.set(done as u64, total as u64);
        });
        let sound = outcome
            .as_ref()
            .is_ok_and(|report| report.verdict != Verdict::Damaged);
        if sound || wanted.repair || tries == TRIES || names(storage)? == before {
            return outcome;
        }
    }
}

fn names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    let mut names = storage.list()?;
    names.sort();
    Ok(names)
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Empty => "empty",
        Verdict::Good => "good",
        Verdict::TornTail => "torn tail",
        Verdict::Damaged => "damaged",
        Verdict::Restoring => "restoring",
    }
}

fn tell(out: &mut impl Write, folder: &Path, report: &Report, repair: bool) -> io::Result<()> {
    let width = report.files.iter().map(|file| file.name.len()).max();
    let width = width.unwrap_or_default();
    writeln!(out, "{}:", DataFolder::engine_in(folder).display())?;
    for file in &report.files {
        let (what, size) = (content(file.content), bytes(file.bytes));
        writeln!(out, "  {:width$}  {size:>9}  {what}", file.name)?;
        if let Some(problem) = &file.problem {
            let (offset, reason) = (problem.offset, &problem.reason);
            writeln!(out, "  {:width$}  ^ at byte {offset}: {reason}", "")?;
        }
    }
    let last = report.last.0;
    match report.verdict {
        Verdict::Empty => writeln!(out, "empty: there is no data yet"),
        Verdict::Good => writeln!(out, "good: everything up to unit {last} is there and sound"),
        Verdict::TornTail => writeln!(
            out,
            "good up to unit {last}; the write behind it has not ended. If no server is writing \
             it now, the next start sets it apart; nothing that was stored is lost"
        ),
        Verdict::Damaged => damaged(out, folder, report, repair),
        Verdict::Restoring => {
            let command = advice::command("restore BACKUP", folder);
            writeln!(
                out,
                "a restore began and did not end: there is no data\nrun: {command}"
            )
        }
    }
}

fn damaged(out: &mut impl Write, folder: &Path, report: &Report, repair: bool) -> io::Result<()> {
    let (last, lost) = (report.last.0, figures::counted(report.lost, "stored unit"));
    if report.repaired {
        for cut in &report.quarantined {
            writeln!(out, "set apart: {} ({})", cut.file, bytes(cut.bytes))?;
        }
        return writeln!(
            out,
            "repaired: everything up to unit {last} is kept, {lost} behind it are lost"
        );
    }
    let (kept, command) = (
        format!("everything up to unit {last} can be kept, {lost} behind it would be lost"),
        advice::command("check --repair", folder),
    );
    if repair {
        return writeln!(out, "still damaged: {kept}");
    }
    writeln!(out, "damaged: {kept}\nrun: {command}")
}

fn content(content: Content) -> String {
    match content {
        Content::Segment { first, frames: 0 } => format!("no units yet, from {} on", first.0),
        Content::Segment { first, frames } => {
            format!("units {} to {}", first.0, first.0 + frames - 1)
        }
        Content::Snapshot {
            cut,
            sections,
            records,
        } => {
            let (sections, records) = (counted(sections, "keyspace"), counted(records, "key"));
            format!("a state, cut {}: {sections}, {records}", cut.0)
        }
        Content::Watermark { durable } => format!("stored up to unit {}", durable.0),
        Content::Draft => "of no account".to_owned(),
        Content::Other => "no part of the data".to_owned(),
    }
}

fn as_json(folder: &Path, report: &Report) -> Value {
    let quarantined = report.quarantined.iter();
    json!({
        "folder": DataFolder::engine_in(folder).to_string_lossy(),
        "verdict": name(report.verdict),
        "log": report.log.map(log_name),
        "last": report.last.0,
        "lost": report.lost,
        "repaired": report.repaired,
        "files": report.files.iter().map(file_json).collect::<Vec<_>>(),
        "quarantined": quarantined
            .map(|cut| json!({"file": cut.file, "bytes": cut.bytes}))
            .collect::<Vec<_>>(),
    })
}

fn file_json(file: &FileReport) -> Value {
    let content = match file.content {
        Content::Segment { first, frames } => {
            json!({"kind": "segment", "first": first.0, "frames": frames})
        }
        Content::Snapshot {
            cut,
            sections,
            records,
        } => json!({"kind": "snapshot", "cut": cut.0, "sections": sections, "records": records}),
        Content::Watermark { durable } => json!({"kind": "watermark", "durable": durable.0}),
        Content::Draft => json!({"kind": "draft"}),
        Content::Other => json!({"kind": "other"}),
    };
    let problem = file.problem.as_ref();
    json!({
        "name": file.name,
        "bytes": file.bytes,
        "content": content,
        "problem": problem
            .map(|problem| json!({"offset": problem.offset, "reason": problem.reason})),
    })
}

/// A log's name in hexadecimal digits.
pub(super) fn log_name(log: LogId) -> String {
    format!("{:032x}", u128::from_be_bytes(log.0))
}
