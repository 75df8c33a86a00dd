//! Power lost at every point of a recovery and of a repair, and under a writer.

use sangam_engine::Seq;
use sangam_engine::journal::check::{Check, check};
use sangam_engine::journal::frame;
use sangam_engine::journal::segment::{SegmentHeader, segment_name};
use sangam_engine::journal::snapshot::snapshot_name;
use sangam_engine::journal::storage::{Faults, FaultyStorage, Storage as _};
use sangam_engine::journal::watermark::Watermark;

use crate::history::*;

const SEEDS: u64 = 12;

/// Runs `work` on copies of `storage` that stop after each number of changes,
/// and hands what a crash then leaves to `look`; at last, what the whole work
/// leaves.
fn at_every_point(
    storage: &FaultyStorage,
    work: impl Fn(&FaultyStorage) -> bool,
    look: impl Fn(FaultyStorage, bool),
) {
    for stop_after in 0.. {
        let mut ended = false;
        for seed in 0..SEEDS {
            let run = storage.copy();
            run.set_faults(Faults {
                stop_after: Some(stop_after),
                ..Faults::default()
            });
            ended = work(&run);
            look(run.crash(seed), ended);
        }
        if ended {
            assert!(stop_after > 3, "the work has steps");
            return;
        }
    }
}

#[test]
fn a_recovery_may_be_broken_off_anywhere() {
    let storage = three_segments(8, |_| 8);
    let file = segment_name(Seq(9));
    let mut bytes = storage.contents(&file).unwrap();
    let second = bytes.len() - 96 - 20;
    bytes[second] ^= 1;
    storage.put(&file, &bytes);
    let (expected, whole) = recovered(&storage.copy()).unwrap();
    assert!(whole.quarantined.is_some());
    at_every_point(
        &storage,
        |run| recovered(run).is_ok(),
        |left, ended| {
            let (state, again) = recovered(&left).unwrap();
            assert_eq!(state, expected);
            assert_eq!(again.last, whole.last);
            if ended {
                assert_eq!(again.quarantined, None);
            }
            // The bytes that were cut off are there, whenever it was.
            let kept = left.list().unwrap().into_iter().any(|name| {
                name.contains("quarantine")
                    && !left.contents(&name).unwrap().is_empty()
                    && bytes
                        .windows(16)
                        .any(|part| left.contents(&name).unwrap().starts_with(part))
            });
            assert!(kept);
        },
    );
}

#[test]
fn a_new_folder_may_be_broken_off_anywhere() {
    at_every_point(
        &FaultyStorage::new(),
        |run| recovered(run).is_ok(),
        |left, ended| {
            let (state, found) = recovered(&left).unwrap();
            assert_eq!((state, found.last), (State::default(), Seq(0)));
            assert!(!(ended && found.new), "the watermark is durable");
            assert_eq!(found.log, START.fresh);
        },
    );
}

#[test]
fn a_repair_may_be_broken_off_anywhere_and_goes_on() {
    // Damage in the middle of a durable log, and a snapshot that is not whole.
    let middle = three_segments(11, |seq| seq - 1);
    let file = segment_name(Seq(5));
    let mut bytes = middle.contents(&file).unwrap();
    bytes[200] ^= 1;
    middle.put(&file, &bytes);
    middle.put(&snapshot_name(Seq(3)), b"no snapshot");
    // A snapshot beyond the log's end, and no watermark.
    let lowered = with_snapshot(0);
    lowered.put(&segment_name(Seq(5)), &segment(5, 6, |seq| seq - 1));
    lowered.remove(&segment_name(Seq(9))).unwrap();
    lowered.put("watermark", b"gone");
    // Nothing that could be kept.
    let hopeless = three_segments(11, |seq| seq - 1);
    for first in [1, 5, 9] {
        hopeless.put(&segment_name(Seq(first)), &[1; 100]);
    }
    hopeless.put("watermark", b"gone");
    for storage in [middle, lowered, hopeless] {
        let whole = storage.copy();
        let report = checked(&whole, true);
        assert!(report.repaired);
        let (expected, _) = recovered(&whole).unwrap();
        let attempt = |run: &FaultyStorage| {
            let wanted = Check {
                repair: true,
                last: None,
                start: START,
            };
            check(run, &wanted, &mut |_, _| ()).is_ok()
        };
        at_every_point(&storage, attempt, |left, ended| {
            if let Ok((state, found)) = recovered(&left.copy()) {
                assert_eq!(state, expected, "recovery takes the repaired state only");
                assert!(!found.new, "what was set apart is not forgotten");
            } else {
                assert!(!ended);
            }
            let again = checked(&left, true);
            assert_eq!(again.last, report.last);
            let (state, found) = recovered(&left.crash_hard()).unwrap();
            assert_eq!(found.last, report.last);
            assert_eq!(state, expected);
        });
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_stored_by_recovery() {
    let storage = three_segments(8, |_| 8);
    let file = segment_name(Seq(9));
    let bytes = storage.contents(&file).unwrap();
    storage.put(&file, &bytes[..64]);
    let mut segment = storage.open(&file).unwrap();
    segment.write_all_at(64, &bytes[64..]).unwrap();
    storage.set_faults(Faults {
        sync_error: Some(1),
        ..Faults::default()
    });
    segment.sync().unwrap_err();
    segment.sync().unwrap();
    let restarted = storage.kill();
    let (state, found) = recovered(&restarted).unwrap();
    assert_eq!(found.last, Seq(11));
    let (again, found) = recovered(&restarted.crash_hard()).unwrap();
    assert_eq!((again, found.last), (state, Seq(11)));
}

#[test]
fn recovery_that_cannot_store_says_so() {
    for fault in 1..4 {
        let storage = three_segments(8, |_| 8);
        storage.set_faults(Faults {
            sync_error: Some(fault),
            ..Faults::default()
        });
        let error = recovered(&storage).err().unwrap().to_string();
        assert!(error.contains("error"), "{error}");
        let (state, _) = recovered(&storage.kill()).unwrap();
        assert_eq!(state.frames.len(), 11);
    }
}

/// A writer as the book has it: group after group into a segment, a sync after
/// some of them, power lost at any change.
#[test]
fn no_acknowledged_unit_is_lost_wherever_power_goes() {
    let (mut torn, mut beyond) = (0, 0);
    for stop_after in 0..60 {
        for seed in 0..SEEDS {
            let storage = folder(0);
            storage.set_faults(Faults {
                stop_after: Some(stop_after),
                ..Faults::default()
            });
            let mut acknowledged = 0;
            let mut write = || -> std::io::Result<()> {
                let mut watermark = Watermark::open(&storage)?.unwrap();
                for first in [1, 11, 21] {
                    let header = SegmentHeader {
                        log: LOG,
                        first: Seq(first),
                        made_ms: 0,
                        salt: first + seed,
                    };
                    let mut file = storage.create("spare.seg", 4096, false)?;
                    file.write_all_at(0, &header.to_bytes())?;
                    file.sync()?;
                    storage.rename("spare.seg", &segment_name(Seq(first)))?;
                    storage.sync_folder()?;
                    let mut offset = 64;
                    for group in (first..first + 10).collect::<Vec<_>>().chunks(5) {
                        let mut bytes = Vec::new();
                        for seq in group {
                            let start = bytes.len();
                            let (keyspace, kind, payload) = unit(*seq);
                            frame::append(
                                &mut bytes,
                                Seq(*seq),
                                1000 + seq,
                                keyspace,
                                kind,
                                &payload,
                            );
                            frame::seal(&mut bytes[start..], header.salt, Seq(acknowledged))
                                .unwrap();
                        }
                        file.write_all_at(offset, &bytes)?;
                        offset += bytes.len() as u64;
                        // Some groups wait for the next one's sync.
                        if group[0] % 10 == 1 {
                            file.sync()?;
                            acknowledged = group[group.len() - 1];
                            watermark.write(Seq(acknowledged))?;
                        }
                    }
                    file.set_len(offset)?;
                    file.sync()?;
                    watermark.sync()?;
                }
                Ok(())
            };
            let _ = write();
            for left in [storage.copy(), storage.crash(seed)] {
                let (state, found) = recovered(&left).unwrap();
                assert!(
                    found.last.0 >= acknowledged,
                    "{acknowledged} was acknowledged"
                );
                assert_eq!(state.frames, (1..=found.last.0).collect::<Vec<_>>());
                torn += usize::from(found.quarantined.is_some());
                beyond += usize::from(found.last.0 > acknowledged);
            }
        }
    }
    assert!(torn > 10 && beyond > 20, "{torn} torn, {beyond} beyond");
}
