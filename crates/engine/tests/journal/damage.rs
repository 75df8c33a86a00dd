//! Every byte of a short log cut off or flipped: what comes is a prefix of the
//! history, or a refusal that names the file, and `check` says the same.

use sangam_engine::Seq;
use sangam_engine::journal::check::{Check, Verdict, check};
use sangam_engine::journal::recover::RecoverError;
use sangam_engine::journal::segment::{SEGMENT_HEADER, segment_name};
use sangam_engine::journal::snapshot::snapshot_name;
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::journal::watermark::WATERMARK;

use crate::history::*;

const ALL: u64 = 11;

/// What became of a damaged folder.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Everything up to here, and so many bytes set apart.
    Prefix(u64, u64),
    Refused,
}

/// Recovers a copy of `storage`, of which `file` was damaged, and holds the
/// outcome against everything that must be true whatever the damage is.
fn outcome(storage: &FaultyStorage, file: &str, known: u64) -> Outcome {
    let whole = storage.copy();
    let report = checked(&whole, false);
    let run = whole.copy();
    match recovered(&run) {
        Ok((state, recovered)) => {
            let expected: Vec<u64> = match state.sections.len() {
                0 => (1..=recovered.last.0).collect(),
                // Keyspace 0 stands at 6 in the snapshot, keyspace 1 at 7.
                _ => (6..=recovered.last.0)
                    .filter(|seq| *seq > if unit(*seq).0 == 0 { 6 } else { 7 })
                    .collect(),
            };
            assert_eq!(state.frames, expected, "{file}: a prefix, each unit once");
            assert!(
                recovered.last.0 >= known,
                "{file}: a durable unit was cut off"
            );
            let bytes = recovered.quarantined.as_ref().map_or(0, |q| q.bytes);
            if let Some(quarantined) = &recovered.quarantined {
                let kept = run.contents(&quarantined.file).unwrap();
                assert_eq!(kept.len() as u64, quarantined.bytes);
                let damaged = storage.contents(file).unwrap();
                assert!(damaged.windows(kept.len()).any(|bytes| bytes == kept));
            }
            let verdict = match bytes {
                0 => Verdict::Good,
                _ => Verdict::TornTail,
            };
            assert_eq!(report.verdict, verdict, "{file}: {report:?}");
            assert_eq!((report.last, report.lost), (recovered.last, 0));

            // Recovery made it durable, and has nothing more to do.
            let run = run.crash_hard();
            let (again, second) = self::recovered(&run).unwrap();
            assert_eq!((again, second.last), (state, recovered.last));
            assert_eq!(second.quarantined, None);
            Outcome::Prefix(recovered.last.0, bytes)
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("sangam check --repair"), "{text}");
            assert_eq!(report.verdict, Verdict::Damaged, "{text}");
            repaired(&whole, known, &text);
            Outcome::Refused
        }
    }
}

/// Repairs, recovers, and looks whether every byte is still there.
fn repaired(storage: &FaultyStorage, known: u64, text: &str) {
    let before = bytes_of(storage);
    let report = checked(storage, true);
    assert!(report.repaired, "{text}");
    let after = bytes_of(storage);
    assert!(after >= before, "{text}: {before} bytes became {after}");
    let (state, recovered) = recovered(&storage.crash_hard()).unwrap();
    assert_eq!(recovered.last, report.last, "{text}");
    assert!(recovered.last.0 <= ALL);
    if state.sections.is_empty() {
        let expected: Vec<u64> = (1..=recovered.last.0).collect();
        assert_eq!(state.frames, expected, "{text}");
    }
    assert!(
        report.lost >= known.saturating_sub(recovered.last.0),
        "{text}"
    );
    assert!(report.lost <= ALL - recovered.last.0, "{text}: {report:?}");
}

/// How many bytes that are not zero the history's files have, set apart or not.
fn bytes_of(storage: &FaultyStorage) -> usize {
    let names = storage.list().unwrap();
    names
        .iter()
        .filter(|name| !name.starts_with(WATERMARK))
        .flat_map(|name| storage.contents(name).unwrap())
        .filter(|byte| *byte != 0)
        .count()
}

fn cut(storage: &FaultyStorage, file: &str, length: usize) -> FaultyStorage {
    let damaged = storage.copy();
    let bytes = storage.contents(file).unwrap();
    damaged.put(file, &bytes[..length]);
    damaged
}

fn flipped(storage: &FaultyStorage, file: &str, at: usize, mask: u8) -> FaultyStorage {
    let damaged = storage.copy();
    let mut bytes = storage.contents(file).unwrap();
    bytes[at] ^= mask;
    damaged.put(file, &bytes);
    damaged
}

fn last_of(storage: &FaultyStorage, file: &str) -> usize {
    let bytes = storage.contents(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn an_undamaged_log_comes_back_whole() {
    let storage = three_segments(ALL, |seq| seq - 1);
    assert_eq!(outcome(&storage, "", ALL), Outcome::Prefix(ALL, 0));
    let (state, recovered) = recovered(&with_snapshot(ALL)).unwrap();
    assert_eq!(recovered.snapshot, Some(Seq(5)));
    assert_eq!(
        state.frames,
        [8, 9, 10, 11],
        "7 was in keyspace 1, at its cut"
    );
    assert_eq!(state.records.len(), 18);
    assert_eq!(
        outcome(&with_snapshot(ALL), "", ALL),
        Outcome::Prefix(ALL, 0)
    );
}

#[test]
fn where_everything_was_durable_no_cut_and_no_flip_goes_unnoticed() {
    let storage = three_segments(ALL, |seq| seq - 1);
    for (first, last) in [(1, 4), (5, 8), (9, ALL)] {
        let file = segment_name(Seq(first));
        let length = storage.contents(&file).unwrap().len();
        let padding = padding(first, last);
        let frames = segment(first, last, |seq| seq - 1).len();
        let behind_payload = |at: usize| (at..frames).all(|at| padding.contains(&at));
        for at in 0..length {
            // Of the last frame only padding may be missing.
            let expected = if behind_payload(at) {
                Outcome::Prefix(ALL, 0)
            } else {
                Outcome::Refused
            };
            let found = outcome(&cut(&storage, &file, at), &file, ALL);
            assert_eq!(found, expected, "{file} cut to {at}");

            let expected = if padding.contains(&at) {
                Outcome::Prefix(ALL, 0)
            } else if at >= frames {
                Outcome::Prefix(ALL, (at + 1 - frames) as u64)
            } else {
                Outcome::Refused
            };
            for mask in [1, 0x80] {
                let found = outcome(&flipped(&storage, &file, at, mask), &file, ALL);
                assert_eq!(found, expected, "{file} flipped at {at}");
            }
        }
    }
}

#[test]
fn a_tail_that_was_not_durable_is_set_apart_and_the_rest_comes() {
    // 9 to 11 were written in one group, while 8 was durable.
    let storage = three_segments(8, |seq| if seq > 8 { 8 } else { seq - 1 });
    let file = segment_name(Seq(9));
    let used = last_of(&storage, &file);
    let mut torn = 0;
    let padding = padding(9, ALL);
    for at in SEGMENT_HEADER..used {
        for damaged in [cut(&storage, &file, at), flipped(&storage, &file, at, 0x10)] {
            match outcome(&damaged, &file, 8) {
                Outcome::Prefix(last, bytes) => {
                    assert!((8..=ALL).contains(&last));
                    torn += usize::from(bytes > 0);
                }
                Outcome::Refused => panic!("{file} at {at}: nothing durable was harmed"),
            }
        }
        // The file before it has only durable units.
        let before = segment_name(Seq(5));
        if at < last_of(&storage, &before) {
            let found = outcome(&cut(&storage, &before, at), &before, 8);
            assert_eq!(found, Outcome::Refused);
        }
    }
    assert!(torn > used - SEGMENT_HEADER - padding.len(), "{torn}");
}

#[test]
fn a_later_frame_convicts_where_the_watermark_does_not_know() {
    // 10 was written when 9 was durable; the watermark only knows of 8.
    let storage = three_segments(8, |seq| if seq == 9 { 8 } else { 9 });
    let file = segment_name(Seq(9));
    for at in SEGMENT_HEADER..SEGMENT_HEADER + 32 {
        let damaged = flipped(&storage, &file, at, 1);
        assert_eq!(outcome(&damaged, &file, 8), Outcome::Refused, "{at}");
        let error = recovered(&damaged.copy()).err().unwrap();
        assert!(
            matches!(
                &error,
                RecoverError::Corrupt { file: named, offset, expected, .. }
                    if *named == file && *offset == SEGMENT_HEADER as u64 && *expected == Seq(9)
            ),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_frame_below_the_watermark_is_named() {
    // Nothing behind 11 bears witness.
    let storage = three_segments(ALL, |_| 0);
    let file = segment_name(Seq(9));
    let at = last_of(&storage, &file) - 1;
    let error = recovered(&flipped(&storage, &file, at, 1)).err().unwrap();
    assert!(
        matches!(
            &error,
            RecoverError::Corrupt { file: named, expected: Seq(ALL), .. } if *named == file
        ),
        "{error}"
    );
}

#[test]
fn zeros_in_front_of_frames_are_a_hole_and_no_end() {
    let storage = three_segments(8, |_| 8);
    let file = segment_name(Seq(9));
    let mut bytes = storage.contents(&file).unwrap();
    bytes[SEGMENT_HEADER..SEGMENT_HEADER + 40].fill(0);
    storage.put(&file, &bytes);
    let Outcome::Prefix(8, quarantined) = outcome(&storage, &file, 8) else {
        panic!("a hole is a torn tail");
    };
    assert!(quarantined > 64);
}

#[test]
fn a_missing_or_foreign_segment_is_refused() {
    for first in [1, 5, 9] {
        let file = segment_name(Seq(first));
        let storage = three_segments(ALL, |seq| seq - 1);
        storage.remove(&file).unwrap();
        storage.sync_folder().unwrap();
        assert_eq!(outcome(&storage, &file, ALL), Outcome::Refused, "{file}");
    }
    // The same frames at another place of the log.
    let storage = three_segments(ALL, |seq| seq - 1);
    let third = storage.contents(&segment_name(Seq(9))).unwrap();
    storage.put(&segment_name(Seq(5)), &third);
    assert_eq!(outcome(&storage, "log", ALL), Outcome::Refused);
}

#[test]
fn every_byte_of_the_watermark() {
    let storage = three_segments(ALL, |seq| seq - 1);
    let length = storage.contents(WATERMARK).unwrap().len();
    for at in 0..length {
        let found = outcome(&flipped(&storage, WATERMARK, at, 1), WATERMARK, 0);
        assert_eq!(
            found,
            Outcome::Prefix(ALL, 0),
            "the other slot serves: {at}"
        );
        let found = outcome(&cut(&storage, WATERMARK, at), WATERMARK, 0);
        // Slot 0 has the newer claim, 512 the older one.
        let expected = if at < 64 {
            Outcome::Refused
        } else {
            Outcome::Prefix(ALL, 0)
        };
        assert_eq!(found, expected, "cut to {at}");
    }
    storage.remove(WATERMARK).unwrap();
    storage.sync_folder().unwrap();
    assert_eq!(outcome(&storage, WATERMARK, 0), Outcome::Refused);
}

#[test]
fn a_log_that_ends_below_the_watermark_is_refused_with_both_seqs() {
    let storage = three_segments(14, |seq| seq - 1);
    let error = recovered(&storage.copy()).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, RecoverError::Shortened { .. }), "{text}");
    assert!(
        text.contains("before seq 12") && text.contains("loss of 3 units"),
        "{text}"
    );
    let report = checked(&storage, true);
    assert_eq!((report.last, report.lost), (Seq(ALL), 3));
    recovered(&storage).unwrap();
}

#[test]
fn every_byte_of_a_snapshot_that_the_log_cannot_replace() {
    let storage = with_snapshot(ALL);
    let file = snapshot_name(Seq(5));
    let length = storage.contents(&file).unwrap().len();
    for at in 0..length {
        for damaged in [cut(&storage, &file, at), flipped(&storage, &file, at, 4)] {
            assert_eq!(outcome(&damaged, &file, 0), Outcome::Refused, "{at}");
            let error = recovered(&damaged.copy()).err().unwrap().to_string();
            assert!(error.contains(&file), "{error}");
        }
    }
}

#[test]
fn every_byte_of_a_snapshot_that_the_log_replaces() {
    let storage = three_segments(ALL, |seq| seq - 1);
    let file = snapshot_name(Seq(5));
    storage.put(&file, &snapshot(5, [6, 7], 3));
    let length = storage.contents(&file).unwrap().len();
    for at in 0..length {
        let damaged = flipped(&storage, &file, at, 4);
        assert_eq!(outcome(&damaged, &file, ALL), Outcome::Prefix(ALL, 0));
        let (_, recovered) = recovered(&damaged).unwrap();
        assert_eq!(recovered.snapshot, None);
        assert_eq!(recovered.skipped[0].0, file);
    }
}

#[test]
fn an_older_snapshot_serves_where_the_log_reaches_back_to_it() {
    let storage = with_snapshot(ALL);
    let newer = snapshot_name(Seq(9));
    storage.put(&newer, &snapshot(9, [9, 9], 2));
    let (_, whole) = recovered(&storage.copy()).unwrap();
    assert_eq!(whole.snapshot, Some(Seq(9)));
    let damaged = flipped(&storage, &newer, 70, 1);
    let (_, fallen_back) = recovered(&damaged.copy()).unwrap();
    assert_eq!(
        (fallen_back.snapshot, fallen_back.last),
        (Some(Seq(5)), Seq(ALL))
    );
    damaged.remove(&segment_name(Seq(5))).unwrap();
    assert!(recovered(&damaged.copy()).is_err());
}

#[test]
fn a_log_that_ends_below_a_sections_cut_is_repaired_by_lowering_it() {
    let storage = with_snapshot(0);
    let file = segment_name(Seq(5));
    storage.remove(&segment_name(Seq(9))).unwrap();
    let bytes = segment(5, 6, |seq| seq - 1);
    storage.put(&file, &bytes);
    let error = recovered(&storage.copy()).err().unwrap();
    assert!(matches!(error, RecoverError::Shortened { .. }), "{error}");
    let report = checked(&storage, true);
    assert_eq!((report.last, report.lost), (Seq(6), 1));
    let (state, recovered) = recovered(&storage).unwrap();
    assert_eq!(recovered.last, Seq(6));
    assert_eq!(state.sections[&1], ("jobs".to_owned(), 6));
    assert_eq!(state.records.len(), 18);
}

#[test]
fn nothing_after_a_wanted_end_is_kept() {
    for last in 0..=ALL {
        let storage = three_segments(ALL, |seq| seq - 1);
        let wanted = Check {
            repair: true,
            last: Some(Seq(last)),
            start: START,
        };
        let before = bytes_of(&storage);
        let report = check(&storage, &wanted, &mut |_, _| ()).unwrap();
        assert_eq!((report.last.0, report.lost), (last, ALL - last));
        assert!(bytes_of(&storage) >= before);
        let (state, _) = recovered(&storage).unwrap();
        assert_eq!(state.frames, (1..=last).collect::<Vec<_>>());
    }
}
