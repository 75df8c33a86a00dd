//! Backups: what is sent comes back, damaged ones are refused whole, a writer
//! goes on meanwhile, and half a restore is never data.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;
use sangam_engine::Seq;
use sangam_engine::journal::backup::{BackupError, RestoreError, backup, restore};
use sangam_engine::journal::check::Verdict;
use sangam_engine::journal::frame;
use sangam_engine::journal::recover::RecoverError;
use sangam_engine::journal::segment::{SegmentHeader, segment_name};
use sangam_engine::journal::snapshot::snapshot_name;
use sangam_engine::journal::storage::{Faults, FaultyStorage, Storage, StorageFile};
use sangam_engine::journal::watermark::Watermark;

use crate::history::*;

fn sent(storage: &dyn Storage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = backup(storage, START.now_ms, &mut bytes, &mut |_, _| ()).unwrap();
    assert_eq!(summary.log, LOG);
    bytes
}

fn restored(mut bytes: &[u8]) -> Result<FaultyStorage, RestoreError> {
    let storage = FaultyStorage::new();
    match restore(&mut bytes, &storage, &mut |_| ()) {
        Ok(_) => Ok(storage),
        Err(error) => {
            assert_eq!(storage.list().unwrap(), [""; 0], "{error}");
            Err(error)
        }
    }
}

#[test]
fn what_was_sent_comes_back() {
    for storage in [
        three_segments(11, |seq| seq - 1),
        with_snapshot(11),
        with_snapshot(7),
        folder(0),
    ] {
        let bytes = sent(&storage);
        let (expected, from) = recovered(&storage).unwrap();
        let copy = restored(&bytes).unwrap();
        assert_eq!(checked(&copy, false).verdict, Verdict::Good);
        let (state, found) = recovered(&copy.crash_hard()).unwrap();
        assert_eq!(state, expected);
        assert_eq!((found.last, found.log), (from.last, LOG));
    }
}

#[test]
fn every_cut_and_every_flip_of_a_backup_is_refused() {
    let bytes = sent(&with_snapshot(11));
    for at in 0..bytes.len() {
        assert!(restored(&bytes[..at]).is_err(), "cut to {at}");
        for mask in [1, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            assert!(restored(&flipped).is_err(), "flipped at {at}");
        }
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(restored(&longer).is_err());
}

#[test]
fn a_folder_with_anything_in_it_is_refused() {
    let bytes = sent(&with_snapshot(11));
    let storage = FaultyStorage::new();
    storage.put("notes", b"mine");
    let error = restore(&mut &bytes[..], &storage, &mut |_| ()).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty(name) if name == "notes"));
    assert_eq!(storage.contents("notes").unwrap(), b"mine");
}

#[test]
fn what_is_damaged_or_empty_is_not_sent() {
    let mut sink = io::sink();
    let empty = backup(&FaultyStorage::new(), 0, &mut sink, &mut |_, _| ());
    assert!(matches!(empty, Err(BackupError::Empty)));
    // A durable frame of the last segment, which a torn tail would hide.
    for (first, at) in [(9, 80), (5, 80), (5, 20)] {
        let storage = with_snapshot(11);
        let file = segment_name(Seq(first));
        let mut bytes = storage.contents(&file).unwrap();
        bytes[at] ^= 1;
        storage.put(&file, &bytes);
        let error = backup(&storage, 0, &mut sink, &mut |_, _| ()).unwrap_err();
        assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    }
    let storage = with_snapshot(11);
    storage.remove(&segment_name(Seq(9))).unwrap();
    assert!(backup(&storage, 0, &mut sink, &mut |_, _| ()).is_err());
}

#[test]
fn a_frame_that_is_being_written_is_left_out() {
    let storage = three_segments(8, |_| 8);
    let file = segment_name(Seq(9));
    let bytes = storage.contents(&file).unwrap();
    storage.put(&file, &bytes[..bytes.len() - 96 - 30]);
    let (state, _) = recovered(&restored(&sent(&storage)).unwrap()).unwrap();
    assert_eq!(state.frames.last(), Some(&10));
}

#[test]
fn half_a_restore_is_never_data() {
    let bytes = sent(&with_snapshot(11));
    let (expected, _) = recovered(&with_snapshot(11)).unwrap();
    for stop_after in 0.. {
        let mut ended = false;
        for seed in 0..8 {
            let storage = FaultyStorage::new();
            storage.set_faults(Faults {
                stop_after: Some(stop_after),
                ..Faults::default()
            });
            ended = restore(&mut &bytes[..], &storage, &mut |_| ()).is_ok();
            let left = storage.crash(seed);
            match recovered(&left.copy()) {
                Ok((state, found)) if found.new => {
                    assert!(!ended && state == State::default());
                }
                Ok((state, _)) => assert_eq!(state, expected),
                Err(RecoverError::Restoring) => {
                    assert!(!ended);
                    assert_eq!(checked(&left, true).verdict, Verdict::Restoring);
                }
                Err(error) => panic!("{stop_after}: {error}"),
            }
            if left.list().unwrap().contains(&"restoring".to_owned()) {
                restore(&mut &bytes[..], &left, &mut |_| ()).unwrap();
                assert_eq!(recovered(&left.crash_hard()).unwrap().0, expected);
            }
        }
        if ended {
            assert!(stop_after > 10);
            return;
        }
    }
}

#[test]
fn a_full_disk_leaves_an_empty_folder() {
    let bytes = sent(&with_snapshot(11));
    let storage = FaultyStorage::new();
    storage.set_faults(Faults {
        capacity: Some(900),
        ..Faults::default()
    });
    let error = restore(&mut &bytes[..], &storage, &mut |_| ()).unwrap_err();
    assert!(matches!(error, RestoreError::Io { .. }), "{error}");
    assert_eq!(storage.list().unwrap(), [""; 0]);
}

/// Runs `change` on the folder before the first file of this name is opened.
struct Changing<F> {
    folder: FaultyStorage,
    name: String,
    change: Mutex<Option<F>>,
}

impl<F: FnOnce(&FaultyStorage) + Send> Storage for Changing<F> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        if name == self.name
            && let Some(change) = self.change.lock().take()
        {
            change(&self.folder);
        }
        self.folder.open(name)
    }

    fn create(&self, name: &str, size: u64, filled: bool) -> io::Result<Box<dyn StorageFile>> {
        self.folder.create(name, size, filled)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_folder()
    }

    fn available(&self) -> io::Result<u64> {
        self.folder.available()
    }
}

#[test]
fn files_that_go_or_come_while_they_are_opened_make_it_begin_again() {
    // A snapshot takes the log's beginning away, or a segment is begun and
    // written, between the list and the opening.
    let discard = |folder: &FaultyStorage| {
        folder.put(&snapshot_name(Seq(8)), &snapshot(8, [8, 8], 4));
        for first in [1, 5] {
            folder.remove(&segment_name(Seq(first))).unwrap();
        }
    };
    let grow = |folder: &FaultyStorage| {
        folder.put(&segment_name(Seq(12)), &segment(12, 14, |seq| seq - 1));
        let mut watermark = Watermark::open(folder).unwrap().unwrap();
        watermark.write(Seq(14)).unwrap();
    };
    for (name, change, last) in [
        (
            segment_name(Seq(5)),
            &discard as &(dyn Fn(&FaultyStorage) + Sync),
            11,
        ),
        ("watermark".to_owned(), &grow, 14),
    ] {
        let storage = Changing {
            folder: three_segments(11, |seq| seq - 1),
            name,
            change: Mutex::new(Some(change)),
        };
        let (_, found) = recovered(&restored(&sent(&storage)).unwrap()).unwrap();
        assert_eq!(found.last, Seq(last));
    }
}

/// A writer that appends, syncs, rotates and makes snapshots as the journal
/// does, while backups are made of its folder.
#[test]
fn a_backup_of_a_living_folder_is_a_prefix_with_everything_durable() {
    let storage = folder(0);
    let durable = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (storage, durable, stop) = (storage.clone(), durable.clone(), stop.clone());
        move || write_until(&storage, &durable, &stop).unwrap()
    });
    let mut with_snapshots = 0;
    while durable.load(Ordering::SeqCst) < 60 {
        thread::yield_now();
    }
    for _ in 0..60 {
        let known = durable.load(Ordering::SeqCst);
        let mut bytes = Slow(Vec::new());
        backup(&storage, 0, &mut bytes, &mut |_, _| ()).unwrap();
        let (state, found) = recovered(&restored(&bytes.0).unwrap()).unwrap();
        assert!(found.last.0 >= known, "{known} was durable before");
        let start = found.snapshot.map_or(1, |cut| cut.0 + 1);
        assert_eq!(state.frames, (start..=found.last.0).collect::<Vec<_>>());
        with_snapshots += usize::from(found.snapshot.is_some());
    }
    stop.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    assert!(with_snapshots > 30, "{with_snapshots}");
}

/// Lets the writer run between any two blocks.
struct Slow(Vec<u8>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::yield_now();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_until(storage: &FaultyStorage, durable: &AtomicU64, stop: &AtomicBool) -> io::Result<()> {
    let mut watermark = Watermark::open(storage)?.unwrap();
    let mut first = 1;
    let mut segments = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let header = SegmentHeader {
            log: LOG,
            first: Seq(first),
            made_ms: 0,
            salt: first,
        };
        let mut file = storage.create("spare.seg", 8192, false)?;
        file.write_all_at(0, &header.to_bytes())?;
        file.sync()?;
        storage.rename("spare.seg", &segment_name(Seq(first)))?;
        storage.sync_folder()?;
        segments.push(first);
        let mut offset = 64;
        for seq in first..first + 20 {
            let (keyspace, kind, payload) = unit(seq);
            let mut bytes = Vec::new();
            frame::append(&mut bytes, Seq(seq), 1000 + seq, keyspace, kind, &payload);
            frame::seal(&mut bytes, header.salt, Seq(seq - 1)).unwrap();
            // In two steps, so that a backup may meet half a frame.
            file.write_all_at(offset, &bytes[..20])?;
            thread::yield_now();
            file.write_all_at(offset + 20, &bytes[20..])?;
            offset += bytes.len() as u64;
            file.sync()?;
            watermark.write(Seq(seq))?;
            durable.store(seq, Ordering::SeqCst);
        }
        file.set_len(offset)?;
        file.sync()?;
        watermark.sync()?;
        first += 20;
        if segments.len() == 3 {
            // A snapshot at the end of the second; what it stands for goes.
            let cut = segments[2] - 1;
            let draft = "snapshot.tmp";
            let bytes = snapshot(cut, [cut, cut], cut % 50);
            let mut file = storage.create(draft, 0, false)?;
            file.write_all_at(0, &bytes)?;
            file.sync()?;
            storage.rename(draft, &snapshot_name(Seq(cut)))?;
            storage.sync_folder()?;
            for first in segments.drain(..2) {
                storage.remove(&segment_name(Seq(first)))?;
            }
            for name in storage.list()? {
                if name.starts_with("snapshot-") && name < snapshot_name(Seq(cut)) {
                    storage.remove(&name)?;
                }
            }
            storage.sync_folder()?;
        }
    }
    Ok(())
}
