//! Any bytes at all are read or refused: no panic, no endless work, and no
//! memory that a length field asks for and the file has not.
//!
//! Random bytes seldom pass a checksum, so most cases are valid files with some
//! bytes changed and, where it has a say, the checksum made right again.

use proptest::prelude::*;
use sangam_engine::Seq;
use sangam_engine::effect;
use sangam_engine::journal::backup::{backup, restore};
use sangam_engine::journal::frame::{self, FrameKind};
use sangam_engine::journal::scan::{Frames, Stop};
use sangam_engine::journal::segment::{SegmentHeader, segment_name};
use sangam_engine::journal::snapshot::snapshot_name;
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};
use sangam_engine::journal::watermark::{WATERMARK, Watermark};

use crate::history::*;

/// Bytes to be put at places of a file, and a place to cut it at.
fn edits() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        Just(vec![0xff; 4]),
        Just(vec![0; 32]),
    ];
    prop::collection::vec((0_usize..2000, piece), 0..4)
}

fn edited(mut bytes: Vec<u8>, edits: &[(usize, Vec<u8>)], cut: usize) -> Vec<u8> {
    for (at, piece) in edits {
        for (offset, byte) in piece.iter().enumerate() {
            let length = bytes.len().max(1);
            if let Some(place) = bytes.get_mut((at + offset) % length) {
                *place = *byte;
            }
        }
    }
    if cut < 400 {
        bytes.truncate(cut);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn payloads(bytes in prop::collection::vec(any::<u8>(), 0..200), small in any::<bool>()) {
        // Small numbers make lengths that fit.
        let bytes: Vec<u8> = bytes
            .into_iter()
            .map(|byte| if small { byte % 3 } else { byte })
            .collect();
        if let Some(commands) = effect::decode(&bytes) {
            let mut again = effect::Effects::default();
            for argv in commands {
                again.push(&argv);
            }
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn frames_with_any_payload(
        payload in prop::collection::vec(any::<u8>(), 1..200),
        kind in prop::sample::select(vec![FrameKind::Effects, FrameKind::Keyspace, FrameKind::Values]),
        seq in any::<u64>(),
        durable in any::<u64>(),
    ) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, Seq(seq), 0, 0, kind, &payload);
        frame::seal(&mut bytes, 1, Seq(durable)).unwrap();
        let (frame, _) = frame::read(&bytes, 1).unwrap();
        let well_formed = frame.is_well_formed();
        let header = SegmentHeader { log: LOG, first: Seq(seq), made_ms: 0, salt: 1 };
        let segment = [&header.to_bytes()[..], &bytes].concat();
        let mut frames = Frames::new(&segment, &header);
        prop_assert_eq!(frames.by_ref().count(), usize::from(well_formed));
        let stop = frames.stop();
        prop_assert_eq!(matches!(stop, Stop::Misplaced(_)), !well_formed);
        prop_assert_eq!(frames.witnesses().next(), None);
    }

    #[test]
    fn files(
        edits in edits(),
        cut in 0_usize..800,
        which in 0_usize..3,
        raw in prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..600)),
    ) {
        let storage = with_snapshot(9);
        let name = match which {
            0 => segment_name(Seq(9)),
            1 => snapshot_name(Seq(5)),
            _ => WATERMARK.to_owned(),
        };
        let bytes = raw.unwrap_or_else(|| edited(storage.contents(&name).unwrap(), &edits, cut));
        storage.put(&name, &bytes);
        if name == WATERMARK {
            let _ = Watermark::open(&storage).unwrap();
        }
        let _ = backup(&storage, 0, &mut std::io::sink(), &mut |_, _| ());
        let before = checked(&storage, false);
        let _ = recovered(&storage.copy());
        let after = checked(&storage, true);
        prop_assert_eq!(before.verdict, after.verdict);
        let (_, found) = recovered(&storage).unwrap();
        prop_assert_eq!(found.last, after.last);
    }

    #[test]
    fn backups(
        edits in edits(),
        cut in 0_usize..800,
        raw in prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..600)),
    ) {
        let mut whole = Vec::new();
        backup(&with_snapshot(11), 0, &mut whole, &mut |_, _| ()).unwrap();
        let bytes = raw.unwrap_or_else(|| edited(whole.clone(), &edits, cut));
        let storage = FaultyStorage::new();
        let outcome = restore(&mut &bytes[..], &storage, &mut |_| ());
        prop_assert_eq!(outcome.is_ok(), bytes == whole);
        prop_assert_eq!(storage.list().unwrap().is_empty(), outcome.is_err());
    }

    #[test]
    fn names_of_any_number(first in any::<u64>(), cut in any::<u64>()) {
        // Files whose names and contents agree on numbers that no log reaches.
        let storage = folder(3);
        let header = SegmentHeader { log: LOG, first: Seq(first), made_ms: 0, salt: 1 };
        storage.put(&segment_name(Seq(first)), &header.to_bytes());
        storage.put(&snapshot_name(Seq(cut)), &snapshot(cut, [cut, u64::MAX], 2));
        let _ = recovered(&storage.copy());
        checked(&storage, true);
        recovered(&storage).unwrap();
    }
}

#[test]
fn the_highest_numbers_do_not_overflow() {
    for number in [0, 1, u64::MAX - 1, u64::MAX] {
        let storage = folder(number);
        let header = SegmentHeader {
            log: LOG,
            first: Seq(number),
            made_ms: 0,
            salt: 1,
        };
        let mut bytes = header.to_bytes().to_vec();
        let (keyspace, kind, payload) = unit(1);
        frame::append(&mut bytes, Seq(number), 1, keyspace, kind, &payload);
        frame::seal(&mut bytes[64..], 1, Seq(number)).unwrap();
        storage.put(&segment_name(Seq(number)), &bytes);
        let cut = number.saturating_sub(1);
        storage.put(&snapshot_name(Seq(cut)), &snapshot(cut, [number; 2], 1));
        let _ = backup(&storage, 0, &mut std::io::sink(), &mut |_, _| ());
        let error = recovered_quietly(&storage.copy());
        checked(&storage, true);
        assert!(recovered_quietly(&storage).is_none(), "{error:?}");
    }
}

/// Recovers without comparing the frames with the history.
fn recovered_quietly(storage: &FaultyStorage) -> Option<String> {
    use sangam_engine::journal::frame::Frame;
    use sangam_engine::journal::recover::{Restore, recover};
    use sangam_engine::journal::snapshot::Section;
    use sangam_engine::keyspace::Record;
    struct Blind;
    impl Restore for Blind {
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
        fn record(&mut self, _: u32, _: Box<Record>) -> Result<(), String> {
            Ok(())
        }
        fn frame(&mut self, _: Frame<'_>) -> Result<(), String> {
            Ok(())
        }
    }
    recover(storage, START, &mut Blind)
        .err()
        .map(|error| error.to_string())
}
