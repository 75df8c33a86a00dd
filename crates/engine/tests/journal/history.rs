//! A known history, as files made by the book and as what recovery gives.

use std::collections::BTreeMap;

use sangam_engine::Seq;
use sangam_engine::effect::Effects;
use sangam_engine::journal::LogId;
use sangam_engine::journal::check::{Check, Report, check};
use sangam_engine::journal::frame::{self, FRAME_HEADER, Frame, FrameKind};
use sangam_engine::journal::recover::{RecoverError, Recovered, Restore, Start, recover};
use sangam_engine::journal::segment::{SEGMENT_HEADER, SegmentHeader, segment_name};
use sangam_engine::journal::snapshot::block::{BlockHeader, BlockKind, SnapshotHeader};
use sangam_engine::journal::snapshot::{Section, snapshot_name};
use sangam_engine::journal::storage::{FaultyStorage, Storage};
use sangam_engine::journal::watermark::Watermark;
use sangam_engine::keyspace::{Class, Record};

pub(crate) const LOG: LogId = LogId([7; 16]);
pub(crate) const START: Start = Start {
    fresh: LogId([9; 16]),
    now_ms: 1_700_000_000_000,
};

/// What each seq stands for: two keyspaces, declared first, and all kinds of
/// frames in various lengths.
pub(crate) fn unit(seq: u64) -> (u32, FrameKind, Vec<u8>) {
    let class = Class::default().to_byte();
    match seq {
        1 => (0, FrameKind::Keyspace, [&[class], &b"app"[..]].concat()),
        2 => (1, FrameKind::Keyspace, [&[class], &b"jobs"[..]].concat()),
        _ if seq.is_multiple_of(5) => {
            let mut payload = vec![1];
            payload.extend(integer("n", seq));
            payload.push(0);
            payload.extend([4, 0, 0, 0]);
            payload.extend(b"gone");
            (1, FrameKind::Values, payload)
        }
        _ => {
            let mut effects = Effects::default();
            let value = "v".repeat(seq as usize % 4 * 9);
            effects.push(&[b"SET", format!("k{seq}").as_bytes(), value.as_bytes()]);
            if seq.is_multiple_of(3) {
                effects.push(&[b"DEL", b"other"]);
            }
            (
                (seq % 2) as u32,
                FrameKind::Effects,
                effects.as_bytes().to_vec(),
            )
        }
    }
}

/// A record of an integer without a deadline.
pub(crate) fn integer(key: &str, value: u64) -> Vec<u8> {
    let mut bytes = vec![1, 0, 5, 0, 0, 0, key.len() as u8];
    bytes.extend(key.as_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}

/// A segment with the units `first..=last`; `durable` says what was durable
/// when a unit was written.
pub(crate) fn segment(first: u64, last: u64, durable: impl Fn(u64) -> u64) -> Vec<u8> {
    let header = SegmentHeader {
        log: LOG,
        first: Seq(first),
        made_ms: START.now_ms,
        salt: first * 31,
    };
    let mut bytes = header.to_bytes().to_vec();
    for seq in first..=last {
        let start = bytes.len();
        let (keyspace, kind, payload) = unit(seq);
        frame::append(&mut bytes, Seq(seq), 1000 + seq, keyspace, kind, &payload);
        frame::seal(&mut bytes[start..], header.salt, Seq(durable(seq))).unwrap();
    }
    bytes
}

/// Which bytes of that segment no checksum covers: padding behind payloads.
pub(crate) fn padding(first: u64, last: u64) -> Vec<usize> {
    let mut at = SEGMENT_HEADER;
    let mut padding = Vec::new();
    for seq in first..=last {
        let payload = unit(seq).2.len();
        let end = at + frame::frame_size(payload);
        padding.extend(at + FRAME_HEADER + payload..end);
        at = end;
    }
    padding
}

/// A snapshot whose two sections stand at these cuts, each with the records of
/// the integers `1..=count` of its keyspace.
pub(crate) fn snapshot(cut: u64, cuts: [u64; 2], count: u64) -> Vec<u8> {
    let header = SnapshotHeader {
        log: LOG,
        cut: Seq(cut),
        begun_ms: START.now_ms,
        salt: 4242,
    };
    let mut bytes = header.to_bytes().to_vec();
    let mut number = 0;
    let mut block = |kind, payload: &[u8]| {
        let header = BlockHeader::seal(header.salt, kind, number, payload).unwrap();
        bytes.extend(header.bytes());
        bytes.extend(payload);
        number += 1;
    };
    for (keyspace, (cut, name)) in cuts.into_iter().zip(["app", "jobs"]).enumerate() {
        let section = Section {
            keyspace: keyspace as u32,
            class: Class::default(),
            cut: Seq(cut),
            name,
        };
        block(BlockKind::Section, &section.to_payload());
        let records: Vec<u8> = (1..=count)
            .flat_map(|n| integer(&format!("{name}{n}"), n))
            .collect();
        block(BlockKind::Records, &records);
        block(BlockKind::SectionEnd, &count.to_le_bytes());
    }
    block(
        BlockKind::Footer,
        &[2_u64.to_le_bytes(), (2 * count).to_le_bytes()].concat(),
    );
    bytes
}

/// A folder with a watermark.
pub(crate) fn folder(durable: u64) -> FaultyStorage {
    let storage = FaultyStorage::new();
    let mut watermark = Watermark::create(&storage, LOG, Seq(0)).unwrap();
    watermark.write(Seq(durable)).unwrap();
    watermark.sync().unwrap();
    storage
}

/// Units 1 to 11 in three segments, the last with room behind its frames.
pub(crate) fn three_segments(durable: u64, seen: impl Fn(u64) -> u64 + Copy) -> FaultyStorage {
    let storage = folder(durable);
    storage.put(&segment_name(Seq(1)), &segment(1, 4, seen));
    storage.put(&segment_name(Seq(5)), &segment(5, 8, seen));
    let mut last = segment(9, 11, seen);
    last.resize(last.len() + 96, 0);
    storage.put(&segment_name(Seq(9)), &last);
    storage
}

/// A snapshot at 5 whose sections stand at 6 and 7, and units 5 to 11.
pub(crate) fn with_snapshot(durable: u64) -> FaultyStorage {
    let storage = three_segments(durable, |seq| seq - 1);
    storage.put(&snapshot_name(Seq(5)), &snapshot(5, [6, 7], 9));
    storage.remove(&segment_name(Seq(1))).unwrap();
    storage.sync_folder().unwrap();
    storage
}

/// What recovery handed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) sections: BTreeMap<u32, (String, u64)>,
    pub(crate) records: Vec<String>,
    pub(crate) frames: Vec<u64>,
}

impl Restore for State {
    fn section(&mut self, section: Section<'_>) -> Result<(), String> {
        let value = (section.name.to_owned(), section.cut.0);
        self.sections.insert(section.keyspace, value);
        Ok(())
    }

    fn users(&mut self, keyspace: u32, commands: &[u8]) -> Result<(), String> {
        self.records.push(format!("{keyspace} {commands:?}"));
        Ok(())
    }

    fn library(&mut self, keyspace: u32, code: &[u8]) -> Result<(), String> {
        let code = String::from_utf8_lossy(code);
        self.records.push(format!("{keyspace} {code}"));
        Ok(())
    }

    fn requests(&mut self, keyspace: u32, block: &[u8]) -> Result<(), String> {
        self.records.push(format!("{keyspace} {block:?}"));
        Ok(())
    }

    fn record(&mut self, keyspace: u32, record: Box<Record>) -> Result<(), String> {
        self.records.push(format!("{keyspace} {record:?}"));
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), String> {
        let expected = unit(frame.seq.0);
        assert_eq!(
            (frame.keyspace, frame.kind, frame.payload.to_vec()),
            expected
        );
        assert_eq!(frame.now_ms, 1000 + frame.seq.0);
        self.frames.push(frame.seq.0);
        Ok(())
    }
}

pub(crate) fn recovered(storage: &dyn Storage) -> Result<(State, Recovered), RecoverError> {
    let mut state = State::default();
    let recovered = recover(storage, START, &mut state)?;
    Ok((state, recovered))
}

pub(crate) fn checked(storage: &dyn Storage, repair: bool) -> Report {
    let wanted = Check {
        repair,
        last: None,
        start: START,
    };
    check(storage, &wanted, &mut |_, _| ()).unwrap()
}
