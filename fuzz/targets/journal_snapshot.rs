//! The snapshot's decoder: any bytes load or do not, and what loads verifies.
//! Every second input gets its checksums made right first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sangam_engine::Seq;
use sangam_engine::journal::LogId;
use sangam_engine::journal::snapshot::block::{BlockHeader, BlockKind, SnapshotHeader};
use sangam_engine::journal::snapshot::{load, verify};
use sangam_engine::journal::storage::{FaultyStorage, Storage as _};

const LOG: LogId = LogId([1; 16]);

fuzz_target!(|input: (Option<Vec<(u8, Vec<u8>)>>, u64, Vec<u8>)| {
    let (blocks, cut, raw) = input;
    let header = SnapshotHeader {
        log: LOG,
        cut: Seq(cut),
        begun_ms: 0,
        salt: 7,
    };
    let mut bytes = header.to_bytes().to_vec();
    for (number, (kind, payload)) in blocks.into_iter().flatten().enumerate() {
        let kind = match kind % 5 {
            0 => BlockKind::Section,
            1 => BlockKind::Records,
            2 => BlockKind::SectionEnd,
            3 => BlockKind::Requests,
            _ => BlockKind::Footer,
        };
        let sealed = BlockHeader::seal(header.salt, kind, number as u32, &payload);
        bytes.extend(sealed.expect("short").bytes());
        bytes.extend(payload);
    }
    bytes.extend(raw);
    let storage = FaultyStorage::new();
    storage.put("s", &bytes);
    let file = storage.open("s").expect("it was put there");
    let verified = verify(&*file, LOG);
    let mut records = 0;
    let loaded = load(&*file, &mut |part| {
        if let sangam_engine::journal::snapshot::Part::Record { .. } = part {
            records += 1;
        }
        Ok(())
    });
    if let Ok(loaded) = loaded {
        assert_eq!(verified, Ok(loaded));
        assert_eq!(records, loaded.records);
        assert_eq!(loaded.bytes, bytes.len() as u64);
    }
});
